"""A child process that serves the state files of a fake host, and its user's view of it."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

import pytest

from clusterip.adapters.statefs import mounted_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VIP = "10.9.0.100"
PATIENCE = 10.0

needs_fuse = [
    pytest.mark.root("FUSE"),
    pytest.mark.skipif(not Path("/dev/fuse").exists(), reason="needs /dev/fuse"),
]

# The child: VIPS is a file with the addresses shared now, each with buckets 1 and 3 of 4.
CHILD = """
import sys, threading
from ipaddress import IPv4Address
from pathlib import Path
from msgspec import structs
from clusterip.adapters import statefs
from clusterip.cli import statefiles
from clusterip.core.errors import ClusterIPError, SystemFaultError
from clusterip.core.packets.state import Chain

class Buckets(statefs.FakeBuckets):
    def chain(self):
        shared = {IPv4Address(line) for line in Path(sys.argv[2]).read_text().split()}
        self.owned = {vip: self.owned.get(vip, {1, 3}) for vip in sorted(shared)}
        return super().chain()

class Daemons(Buckets):
    def chain(self):
        chain = super().chain()
        return Chain(tuple(structs.replace(one, cluster="web") for one in chain.interfaces))

class Stuck(Buckets):
    def buckets(self, vip):
        print("stuck", file=sys.stderr, flush=True)
        threading.Event().wait()

class Broken(Buckets):
    def buckets(self, vip):
        raise SystemFaultError("the pins are gone", "start again")

statefs._STOP_SECONDS = float(sys.argv[4])
try:
    sys.exit(statefiles.serve(globals()[sys.argv[3]]({}), Path(sys.argv[1])))
except ClusterIPError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_status)
"""


class Served:
    """A running child."""

    def __init__(self, directory: Path, vips: Path, kind: str, patience: float) -> None:
        self.directory = directory
        self.file = directory / VIP
        self.vips = vips
        # It heeds what nohup, or a script in its background, may have the tests ignore.
        words = ["env", "--default-signal", sys.executable, "-c", CHILD]
        words += [str(directory), str(vips), kind, str(patience)]
        self.process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        self.stderr: IO[str] = self.process.stderr

    def await_line(self, part: str) -> str:
        for line in self.stderr:
            if part in line:
                return line.rstrip()
        raise AssertionError(f"the child ended with {self.process.wait()} before it said {part!r}")

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


class Start(Protocol):
    """Start a child; it serves below the test's folder unless told where."""

    def __call__(
        self, directory: Path | None = None, kind: str = "Buckets", patience: float = 5.0
    ) -> Served: ...


@contextlib.contextmanager
def children(folder: Path) -> Iterator[Start]:
    """Offer a function that starts a child; end all of them and their mounts afterwards."""
    vips = folder / "vips"
    vips.write_text(f"{VIP}\n10.9.0.101\n")
    started: list[Served] = []

    def start(
        directory: Path | None = None, kind: str = "Buckets", patience: float = 5.0
    ) -> Served:
        started.append(Served(directory or folder / "mount", vips, kind, patience))
        return started[-1]

    try:
        yield start
    finally:
        for child in started:
            child.process.kill()
            child.process.wait()
            child.stderr.close()
            while mounted_type(child.directory):
                subprocess.run(["umount", "-l", child.directory], check=True)


def until(condition: Callable[[], bool]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
