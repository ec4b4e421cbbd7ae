"""A daemon whose /run is a real file system that becomes full, or read-only."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from pathlib import Path

import pytest

from clusterip.adapters import runfiles
from clusterip.core.errors import SystemFaultError
from tests.runtime.places import Daemon, Place
from tests.served import until

pytestmark = pytest.mark.root("BPF and namespaces")

ROOT = runfiles.ROOT
RUN = 'mount -t tmpfs -o size={size},nr_inodes=24 tmpfs /run/clusterip-peer && exec "$@"'


class Small:
    """A place whose daemons have a small file system of their own in place of /run."""

    def __init__(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        self.place = place
        self._monkeypatch = monkeypatch
        self.before = place.traces()
        runfiles.ROOT.mkdir(mode=0o700, exist_ok=True)

    def start(self, size: str = "256k", then: str = "") -> Daemon:
        script = RUN.format(size=size).replace(" && exec", f" && {then or ':'} && exec")
        self.place.before = ("unshare", "--mount", "sh", "-c", script, "sh")
        return self.place.start()

    def serving(self) -> Daemon:
        daemon = self.start()
        self.place.await_status("READY=1")
        self.folder = Path(f"/proc/{daemon.process.pid}/root{runfiles.ROOT}")
        self._monkeypatch.setattr(runfiles, "ROOT", self.folder)
        until(lambda: self.place.show()["held"] == [1, 2, 3, 4])
        return daemon

    def fill(self) -> None:
        file = (self.folder / "filler").open("wb", buffering=0)
        with file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 512)
        with contextlib.suppress(OSError):
            for number in range(100):
                (self.folder / f"empty{number}").touch()
        with pytest.raises(OSError, match="No space left"):
            (self.folder / "one more").write_bytes(b"x")

    def empty(self) -> None:
        for one in (self.folder / "filler", *self.folder.glob("empty*")):
            one.unlink()

    def within(self, daemon: Daemon, script: str) -> None:
        """Do something where the daemon is; RUN stands for the file system."""
        enter = ("nsenter", "-t", str(daemon.process.pid), "-m", "sh", "-ec")
        subprocess.run((*enter, script.replace("RUN", str(ROOT))), check=True)


@pytest.fixture
def small(place: Place, monkeypatch: pytest.MonkeyPatch) -> Small:
    return Small(place, monkeypatch)


def restarted(small: Small, daemon: Daemon) -> None:
    """Restart it, and see that nothing was lost."""
    before = small.place.show()
    daemon.tell(signal.SIGUSR2)
    small.place.await_status("READY=1\nSTATUS=node")
    after = small.place.show()
    assert after["started"] > before["started"]
    assert (after["boot"], after["held"]) == (before["boot"], before["held"])


def test_a_full_run_stops_no_restart(small: Small) -> None:
    daemon = small.serving()
    small.fill()
    for _ in range(3):
        restarted(small, daemon)
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.said
    assert small.place.traces() == small.before


def test_where_nothing_can_be_written_a_restart_is_refused_and_all_goes_on(small: Small) -> None:
    daemon = small.serving()
    before = small.place.show()
    # What is open for writing keeps it from being remounted: so another mount of it.
    small.within(daemon, "mount --bind RUN RUN && mount -o remount,bind,ro RUN")
    with pytest.raises(SystemFaultError, match="on the file system of /run/clusterip-peer") as no:
        small.place.ask("restart")
    assert "Read-only file system" in no.value.message
    assert no.value.cure == "mount -o remount,rw /run/clusterip-peer"
    daemon.tell(signal.SIGUSR2)
    daemon.await_line("not restarting: cannot write to /run/clusterip-peer/")
    after = small.place.show()
    for key in ("boot", "started", "held", "restarting"):
        assert after[key] == before[key]
    small.within(daemon, "umount RUN")
    restarted(small, daemon)


def test_where_what_was_reserved_was_deleted_and_its_space_is_gone(small: Small) -> None:
    daemon = small.serving()
    for one in small.folder.glob("*/web/*.new"):
        one.unlink()
    small.fill()
    with pytest.raises(SystemFaultError, match="No space left on device") as no:
        small.place.ask("restart")
    assert "df /run/clusterip-peer" in no.value.cure
    assert small.place.show()["held"] == [1, 2, 3, 4]
    small.empty()
    restarted(small, daemon)


def test_no_start_without_space(small: Small) -> None:
    for size, then in (("32k", ":"), ("256k", "mount -o remount,ro /run/clusterip-peer")):
        daemon = small.start(size, then)
        assert daemon.ended() == 4
        assert "on the file system of /run/clusterip-peer: " in daemon.said
        assert "cure: " in daemon.said
        assert "Traceback" not in daemon.said
        assert small.place.traces() == small.before
