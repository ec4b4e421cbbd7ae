"""Root file systems of Debian, of other releases than this machine's too.

Packages come from where this machine's own apt list says, with the release exchanged, and by
its way there (proxies and the like, all that apt calls Acquire). What was made is kept.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from lab.cleanup import locked

RELEASES: Final = {"12": "bookworm", "13": "trixie"}
MADE: Final = Path(__file__).parents[1] / "build" / "debian"
_SCRIPTS: Final = Path("/usr/share/debootstrap/scripts")
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


def sources(release: str) -> list[Source]:
    """Return where the packages of a release come from.

    Raises NoSourceError if that cannot be told from this machine's list.
    """
    mine = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    found = list(exchanged(quietly("apt-get", "indextargets", "--format", _FORMAT), mine, release))
    if all(source.suite != release for source in found):
        raise NoSourceError(
            f"apt has no source of Debian's own packages (of {mine or 'any release'!r}) on this"
            f" machine, where those of {release} could come from too"
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


def root(release: str, packages: Sequence[str] = (), made: Path = MADE) -> Path:
    """Return a folder with the smallest system of a release, and these packages: not to change.

    It is made by debootstrap if there is none that was made for the same, which takes minutes.
    Raises NoSourceError, or subprocess.CalledProcessError with what debootstrap said.
    """
    where = sources(release)
    inputs = (Path(__file__).read_text(), release, *sorted(packages), *map(str, where))
    done = made / f"{release}-{hashlib.sha256(chr(0).join(inputs).encode()).hexdigest()[:12]}"
    made.mkdir(parents=True, exist_ok=True)
    with locked(made):
        if not done.exists():
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
    main = [source for source in where if source.suite == release]
    # All releases have had the same script for long; this machine's may not know the newest's name.
    script = () if (_SCRIPTS / release).exists() else (str(_SCRIPTS / "sid"),)
    include = (f"--include={','.join(sorted(packages))}",) if packages else ()
    components = ",".join(source.component for source in main if source.uri == main[0].uri)
    # What it mounts in there goes with its mount namespace, however it ends.
    quietly(
        *("unshare", "--mount", "--propagation", "private", "debootstrap", "--variant=minbase"),
        *(f"--components={components}", *include, release, str(folder), main[0].uri, *script),
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


def quietly(*command: str) -> str:
    """Run a command; return what it printed, the end of which is also in the error if it fails."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        error = subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
        error.add_note((done.stdout + done.stderr)[-4000:])
        raise error
    return done.stdout
