"""`make test-fresh`: the README's two commands on Debian 12 and 13, where nothing was before.

Each release gets an empty system of its own (`lab.debian`) with no more than make, git and
python3, on this machine's kernel, and a clone of this repository as it is committed. It is a
mount point, in a mount and a process namespace that end with us, however we end.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lab import debian
from lab.cleanup import Interrupted, signals_raise

ROOT: Final = Path(__file__).parents[1]
BUILD: Final = ROOT / "build" / "fresh"
BEFORE: Final = ("git", "make", "python3")
"""What a machine has on which the README is followed."""
_CLONE: Final = "srv/clusterip"
"""Where others than root may read it too."""
_CARRIED: Final = "usr/local/share/carried"
_ENVIRONMENT: Final = {
    "HOME": "/root",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
}
_ENTER: Final = """\
set -e
root=$1 folder=$2 command=$3; shift 3
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t bpf bpf sys/fs/bpf
mount --rbind /dev dev
mount -t tmpfs -o mode=755 run run
mkdir -p run/lock
for shared; do
    mkdir -p "./$shared"
    mount -o bind,ro "$shared" "./$shared"
done
# Not chroot, which whoever enters this mount namespace (setns) would be outside of.
pivot_root . mnt
umount --lazy /mnt
cd "/$folder"
exec /bin/sh -c "$command"
"""


@dataclass(frozen=True)
class Pip:
    """How this machine's pip gets at packages, as another root needs it."""

    environment: dict[str, str] = field(default_factory=dict)
    files: dict[Path, str] = field(default_factory=dict)
    """Files of this machine -> where they lie there."""
    folders: tuple[Path, ...] = ()
    """Lie there where they lie here."""


@dataclass(frozen=True)
class Outcome:
    """What came of one command."""

    release: str
    command: str
    status: int
    output: str
    seconds: float

    @property
    def well(self) -> bool:
        """Whether it did what the README says."""
        return self.status == 0

    @property
    def row(self) -> tuple[str, ...]:
        """What the table says of it."""
        result = "ok" if self.well else f"exit status {self.status}"
        numbers = tuple(
            counts(self.output).get(kind, "") for kind in ("passed", "failed", "skipped")
        )
        return (f"Debian {self.release}", self.command, result, *numbers, f"{self.seconds:.0f} s")


def commands(readme: str) -> list[str]:
    """Return the commands of the section "See it", without what is said of them."""
    found = re.search(r"^## See it$.*?```sh\n(.*?)```", readme, re.DOTALL | re.MULTILINE)
    if found is None:
        raise RuntimeError("README.md has no commands in a section 'See it' any more")
    return [line.partition("#")[0].strip() for line in found[1].splitlines()]


def counts(output: str) -> dict[str, str]:
    """Return how many tests pytest says passed, failed and so on; nothing if it did not run."""
    said = re.findall(r"^(?:=+ )?((?:\d+ \w+,? ?)+)in [\d.]+s", output, re.MULTILINE)
    return {kind: number for number, kind in re.findall(r"(\d+) (\w+)", said[-1])} if said else {}


def pip_of(listed: str) -> Pip:
    """Read `pip config list`: what it says in files and in the environment, the latter first."""
    lines = [line.partition("=") for line in listed.splitlines()]
    lines.sort(key=lambda line: line[0].startswith(":env:"))
    settings = {name.rpartition(".")[2]: str(ast.literal_eval(text)) for name, _, text in lines}
    files: dict[Path, str] = {}
    folders: list[Path] = []
    environment = {}
    for name, value in settings.items():
        words = []
        for word in value.split():
            path = Path(word.removeprefix("file://"))
            if path.is_absolute() and path.is_file():
                # Not where it was: packages that are installed there may bring one of that name.
                files[path] = f"/{_CARRIED}/{len(files)}-{path.name}"
                words.append(files[path])
                continue
            if path.is_absolute() and path.is_dir():
                # The pages of an index refer to files that lie beside them.
                folders.append(path.parent if "index" in name else path)
            words.append(word)
        environment["PIP_" + name.upper().replace("-", "_")] = " ".join(words)
    return Pip(environment, files, tuple(sorted(set(folders))))


def furnish(root: Path, pip: Pip) -> None:
    """Give a new root what of this machine it needs to reach packages, and the clone."""
    for name in ("resolv.conf", "hosts"):
        shutil.copyfile(Path("/etc") / name, root / "etc" / name)
    for file, there in pip.files.items():
        (root / _CARRIED).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, root / there.lstrip("/"))
    debian.quietly("git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(root / _CLONE))


def run(root: Path, command: str, pip: Pip, log: Path) -> tuple[int, str]:
    """Run a command in the clone; return its exit status and what it printed, as in `log`."""
    # Where we are killed, the kernel kills what we started, and with the namespaces go the mounts.
    words = (
        *("setpriv", "--pdeathsig=KILL", "unshare", "--mount", "--propagation=private"),
        *("--pid", "--fork", "--kill-child=KILL", "sh", "-c", _ENTER, "sh"),
        *(str(root), _CLONE, command, *map(str, pip.folders)),
    )
    with log.open("wb") as output:
        done = subprocess.run(
            words,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_ENVIRONMENT | pip.environment,
        )
    return done.returncode, log.read_text(errors="replace")


def fresh(release: debian.Release, wanted: Sequence[str], pip: Pip) -> list[Outcome]:
    """Run these commands on one release, one after the other as a reader does."""
    number = str(release.number)
    say(f"Debian {number}: an empty system")
    root = BUILD / number
    shutil.rmtree(root, ignore_errors=True)  # of one that was killed
    outcomes = []
    try:
        base = debian.root(release, BEFORE)
        debian.quietly("cp", "--archive", "--reflink=auto", str(base), str(root))
        furnish(root, pip)
        for command in wanted:
            log = BUILD / f"{number}-{re.sub(r'[^a-z]+', '-', command)}.log"
            say(f"Debian {number}: {command}, what it prints is in {log.relative_to(ROOT)}")
            began = time.monotonic()
            status, output = run(root, command, pip, log)
            outcomes.append(Outcome(number, command, status, output, time.monotonic() - began))
            if not outcomes[-1].well:
                say(output[-4000:])
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return outcomes


def table(outcomes: Sequence[Outcome]) -> str:
    """Return what is printed at the end."""
    head = ("release", "command", "result", "passed", "failed", "skipped", "time")
    rows = [head, *(one.row for one in outcomes)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)


def say(text: str) -> None:
    """Print at once: it takes long until the next line comes."""
    print(text, flush=True)


def main() -> int:
    """Run all, or what is asked for; return the exit status."""
    wanted = commands((ROOT / "README.md").read_text())
    parser = argparse.ArgumentParser(prog="python -m lab.fresh", description=__doc__)
    numbers = {str(release.number): release for release in debian.RELEASES}
    parser.add_argument("--release", choices=numbers, action="append", help="only this")
    parser.add_argument("--command", choices=wanted, action="append", help="only this")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        say("root is needed: systems of their own are built and entered")
        return 2
    if debian.quietly("git", "-C", str(ROOT), "status", "--porcelain"):
        say("what is not committed is not in the clones")
    BUILD.mkdir(parents=True, exist_ok=True)
    pip = pip_of(debian.quietly(sys.executable, "-m", "pip", "config", "list"))
    outcomes: list[Outcome] = []
    try:
        with signals_raise():
            for number in arguments.release or numbers:
                outcomes += fresh(numbers[number], arguments.command or wanted, pip)
    except Interrupted as ended:
        say(str(ended))
        return ended.status
    finally:
        if outcomes:
            say(table(outcomes))
    return 0 if all(one.well for one in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
