"""Root file systems of Debian, of other releases than this machine's too.

Packages come from where this machine's own apt list says, with the release exchanged, and by
its way there (proxies and the like, all that apt calls Acquire). What was made is kept.
"""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lab.cleanup import locked

RELEASES = {"12": "bookworm", "13": "trixie"}
APT = Path("/etc/apt")
MADE = Path(__file__).parents[1] / "build" / "debian"
_SCRIPTS = Path("/usr/share/debootstrap/scripts")
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class NoSourceError(RuntimeError):
    """This machine's apt list names nothing that Debian's packages come from."""


@dataclass(frozen=True)
class Source:
    """An entry of the apt list (sources.list(5)), of packages that are compiled."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    options: tuple[tuple[str, str], ...] = ()
    """All else that a stanza says, Signed-By above all."""

    def __str__(self) -> str:
        stanza = {
            "Types": "deb",
            "URIs": " ".join(self.uris),
            "Suites": " ".join(self.suites),
            "Components": " ".join(self.components),
            **dict(self.options),
        }
        return "".join(f"{key}: {value}\n" for key, value in stanza.items())

    def of(self, mine: str, release: str) -> Source:
        """Return the same with the release exchanged; without suites if it has none of mine."""
        suites = (
            release + suite.removeprefix(mine)
            for suite in self.suites
            if re.fullmatch(rf"{re.escape(mine)}([-/].*)?", suite)
        )
        return replace(self, suites=tuple(suites))

    @property
    def keyring(self) -> str:
        """The file with the keys that sign it."""
        return {key.lower(): value for key, value in self.options}.get("signed-by", _KEYRING)


def stanzas(text: str) -> Iterator[Source]:
    """Read a file of apt's newer kind (deb822)."""
    for stanza in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = {}
        key = ""
        for line in stanza.splitlines():
            if line.startswith("#"):
                continue
            if line[:1].isspace():
                fields[key] += f"\n{line}"
                continue
            key, _, value = line.partition(":")
            key = key.strip().lower()
            fields[key] = value.strip()
        known = [fields.pop(name, "").split() for name in ("types", "uris", "suites", "components")]
        if "deb" in known[0] and fields.pop("enabled", "yes").lower() not in {"no", "false", "0"}:
            options = tuple((name.title(), value) for name, value in fields.items())
            yield Source(tuple(known[1]), tuple(known[2]), tuple(known[3]), options)


def lines(text: str) -> Iterator[Source]:
    """Read a file of apt's older kind, with one source a line."""
    pattern = (
        r"^\s*deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)(?P<rest>[^#\n]*)"
    )
    for found in re.finditer(pattern, text, re.MULTILINE):
        pairs = (option.partition("=") for option in (found["options"] or "").split())
        # The names differ: `arch` here is `Architectures` there, and all others are as they are.
        options = tuple(
            ("Architectures" if key == "arch" else key.title(), value.replace(",", " "))
            for key, _, value in pairs
        )
        yield Source((found["uri"],), (found["suite"],), tuple(found["rest"].split()), options)


def sources(release: str, apt: Path = APT) -> list[Source]:
    """Return where the packages of a release come from.

    Raises NoSourceError if that cannot be told from this machine's list.
    """
    mine = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    found: list[Source] = []
    for file in sorted([*apt.glob("sources.list"), *apt.glob("sources.list.d/*")]):
        if file.suffix == ".sources":
            found += stanzas(file.read_text())
        elif file.suffix == ".list":
            found += lines(file.read_text())
    told = [source.of(mine, release) for source in found] if mine else []
    told = [source for source in told if source.suites]
    if not any(release in source.suites for source in told):
        raise NoSourceError(
            f"{apt}/sources.list* names no source of Debian's own packages (of {mine or 'any'!r}),"
            f" where those of {release} could come from too"
        )
    return told


def root(release: str, packages: Sequence[str] = (), made: Path = MADE) -> Path:
    """Return a folder with the smallest system of a release, and these packages: not to change.

    It is made by debootstrap if there is none that was made for the same, which takes minutes.
    Raises NoSourceError, or subprocess.CalledProcessError with what debootstrap said.
    """
    where = sources(release)
    told = "\n".join(map(str, where))
    inputs = "\0".join((Path(__file__).read_text(), release, *sorted(packages), told))
    done = made / f"{release}-{hashlib.sha256(inputs.encode()).hexdigest()[:12]}"
    made.mkdir(parents=True, exist_ok=True)
    with locked(made):
        if done.exists():
            return done
        needs({"debootstrap": "debootstrap"})
        making = made / "making"
        shutil.rmtree(making, ignore_errors=True)  # of one that was killed
        try:
            _bootstrap(release, packages, where, making)
            making.rename(done)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    return done


def _bootstrap(release: str, packages: Sequence[str], where: list[Source], folder: Path) -> None:
    main = next(source for source in where if release in source.suites)
    # All releases have had the same script for long; this machine's may not know the newest's name.
    script = () if (_SCRIPTS / release).exists() else (str(_SCRIPTS / "sid"),)
    include = (f"--include={','.join(sorted(packages))}",) if packages else ()
    # A stanza may hold the key itself, which debootstrap cannot read.
    keyring = main.keyring if main.keyring.startswith("/") else _KEYRING
    # What it mounts in there goes with its mount namespace, however it ends.
    quietly(
        *("unshare", "--mount", "--propagation", "private", "debootstrap", "--variant=minbase"),
        *(f"--keyring={keyring}", f"--components={','.join(main.components)}", *include),
        *(release, str(folder), main.uris[0], *script),
    )
    (folder / "etc/apt/sources.list").unlink(missing_ok=True)
    listed = folder / "etc/apt/sources.list.d/debian.sources"
    listed.write_text("\n".join(map(str, where)))
    acquire = quietly("apt-config", "dump", "Acquire")
    (folder / "etc/apt/apt.conf.d/90acquire").write_text(acquire)
    for keyring in {source.keyring for source in where if source.keyring.startswith("/")}:
        inside = folder / keyring.lstrip("/")
        if not inside.exists():
            inside.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(keyring, inside)


def needs(programs: Mapping[str, str]) -> None:
    """Install the packages of the programs that are missing; `programs` is name to package."""
    missing = {package for name, package in programs.items() if shutil.which(name) is None}
    if missing:
        quietly("apt-get", "update", "--quiet=2")
        install = ("apt-get", "install", "--yes", "--quiet=2", "--no-install-recommends")
        quietly(*install, *sorted(missing))


def quietly(*command: str) -> str:
    """Run a command; return what it printed, which is also in the error if it fails."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        error = subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
        error.add_note((done.stdout + done.stderr)[-4000:])
        raise error
    return done.stdout
