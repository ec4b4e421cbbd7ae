"""The releases of Debian that others are to run on, and their root file systems.

Packages come from where this machine's own apt list says, with the release exchanged, and by
its way there (proxies and the like, all that apt calls Acquire). What was made is kept.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from lab.cleanup import locked


@dataclass(frozen=True, slots=True)
class Release:
    """One release: `kernel` is the series of its Linux, by which a user asks for it."""

    kernel: str
    number: int
    codename: str
    libfuse: str
    """The package of FUSE's library, which is named after its ABI."""


RELEASES: Final = (
    Release("6.1", 12, "bookworm", "libfuse3-3"),
    Release("6.12", 13, "trixie", "libfuse3-4"),
)
MADE: Final = Path(__file__).parents[1] / "build" / "debian"
_SCRIPTS: Final = Path("/usr/share/debootstrap/scripts")
_LONGEST: Final = 1200.0
"""Seconds that a command may take."""
_FORMAT: Final = "$(CREATED_BY)\t$(TARGET_OF)\t$(REPO_URI)\t$(RELEASE)\t$(COMPONENT)"


class NoSourceError(RuntimeError):
    """This machine's apt list names nothing that Debian's packages come from."""


class Source(NamedTuple):
    """A place that packages come from: of a suite (`trixie-updates`), a component (`main`)."""

    uri: str
    suite: str
    component: str

    def __str__(self) -> str:
        return f"deb {self.uri} {self.suite} {self.component}\n"


def sources(release: Release) -> list[Source]:
    """Return where the packages of a release come from.

    Raises NoSourceError if that cannot be told from this machine's list.
    """
    mine = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    targets = quietly("apt-get", "indextargets", "--format", _FORMAT)
    found = list(exchanged(targets, mine, release.codename))
    if all(source.suite != release.codename for source in found):
        raise NoSourceError(
            f"apt has no source of Debian's own packages (of {mine or 'any release'!r}) on this"
            f" machine, where those of {release.codename} could come from too: add one and run"
            " `apt-get update`"
        )
    return found


def exchanged(targets: str, mine: str, release: str) -> Iterator[Source]:
    """Read what apt says of its sources; yield those of Debian's own packages of `mine`.

    They are those of the same name in the other release, security and updates included.
    """
    for line in targets.splitlines():
        made, of, uri, suite, component = line.split("\t")
        if (made, of) == ("Packages", "deb") and mine and f"{suite}-".startswith(f"{mine}-"):
            yield Source(uri, release + suite.removeprefix(mine), component)


def root(release: Release, packages: Sequence[str] = (), made: Path = MADE) -> Path:
    """Return a folder with the smallest system of a release, and these packages: not to change.

    It is made by `bootstrap`, which takes minutes, if there is none that was made for the same.
    """
    inputs = (
        *(Path(__file__).read_text(), release.codename),
        *(*sorted(packages), *map(str, sources(release))),
    )
    digest = hashlib.sha256(chr(0).join(inputs).encode()).hexdigest()[:12]
    done = made / f"{release.codename}-{digest}"
    made.mkdir(parents=True, exist_ok=True)
    with locked(made):
        if not done.exists():
            needs({"debootstrap": "debootstrap"})
            making = made / "making"
            shutil.rmtree(making, ignore_errors=True)  # of one that was killed
            try:
                bootstrap(release, making, packages)
                making.rename(done)
            finally:
                shutil.rmtree(making, ignore_errors=True)
    return done


def bootstrap(release: Release, folder: Path, packages: Sequence[str] = ()) -> None:
    """Make the smallest system of a release in a folder that is not there, with these packages.

    Its apt has this machine's sources, of that release. Raises NoSourceError, or RuntimeError with
    what debootstrap said.
    """
    where = sources(release)
    main = [source for source in where if source.suite == release.codename]
    # All releases have had the same script for long; this machine's may not know the newest's name.
    script = () if (_SCRIPTS / release.codename).exists() else (str(_SCRIPTS / "sid"),)
    include = (f"--include={','.join(sorted(packages))}",) if packages else ()
    components = ",".join(source.component for source in main if source.uri == main[0].uri)
    # What it mounts in there goes with its mount namespace, however it ends.
    quietly(
        *("unshare", "--mount", "--propagation", "private", "debootstrap", "--variant=minbase"),
        *(f"--components={components}", *include, release.codename, str(folder)),
        *(main[0].uri, *script),
    )
    (folder / "etc/apt/sources.list").write_text("".join(map(str, where)))
    acquire = quietly("apt-config", "dump", "Acquire")
    (folder / "etc/apt/apt.conf.d/90acquire").write_text(acquire)


def needs(programs: Mapping[str, str]) -> None:
    """Install the packages of the programs that are missing; `programs` is name to package."""
    missing = {package for name, package in programs.items() if shutil.which(name) is None}
    if missing:
        quietly("apt-get", "update", "--quiet=2")
        install = ("apt-get", "install", "--yes", "--quiet=2", "--no-install-recommends")
        quietly(*install, *sorted(missing))


def quietly(*command: str, environment: Mapping[str, str] | None = None) -> str:
    """Run a command; return what it printed. RuntimeError with the end of that if it fails.

    It takes long, so whatever else this machine does goes first.
    """
    try:
        done = subprocess.run(
            ("nice", "-n", "10", *command),
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env=environment,
            timeout=_LONGEST,
        )
    except subprocess.TimeoutExpired as late:
        raise RuntimeError(f"{command[0]}: not ended within {_LONGEST:g} s") from late
    if done.returncode:
        told = (done.stdout + done.stderr)[-4000:]
        raise RuntimeError(f"{command[0]}: exit status {done.returncode}:\n{told}")
    return done.stdout
