"""A daemon whose pins are taken away, or its /run: it goes on, puts them back, and cleans up."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from clusterip.adapters import libbpf, runfiles
from clusterip.adapters.memory import RunFiles
from clusterip.core.errors import SystemFaultError
from clusterip.runtime.rule_table import RuleTable
from tests.adapters.test_pinned_maps import UNREAD
from tests.namespaces import Traces, ip, tc
from tests.runtime.places import Place
from tests.served import until

pytestmark = pytest.mark.root("BPF and namespaces")

PINNED_MAPS: Final = {"config", "groups", "verdicts", "traffic", "peers", "keys", *UNREAD}
PUT_BACK: Final = "put back on eth0, for it was gone: the pins in bpffs; find out"
NOT_PINNED: Final = "what is shared on eth0 is not pinned, and cannot be: "
OWN_BPFFS: Final = (
    'mount --make-rprivate / && mount -t bpf -o mode=0700 bpf /sys/fs/bpf && exec "$@"'
)


def here(place: Place) -> Path:
    """Return the folder of what is shared on eth0."""
    return place.pins / str(socket.if_nametoindex("eth0"))


def folder(place: Place) -> None:
    shutil.rmtree(here(place))


def all_of_the_namespace(place: Place) -> None:
    shutil.rmtree(place.pins)


def one_map(place: Place) -> None:
    (here(place) / "groups").unlink()


def one_program(place: Place) -> None:
    (here(place) / "xdp").unlink()


def another_map_in_its_place(place: Place) -> None:
    pin = here(place) / "groups"
    pin.unlink()
    with libbpf.new_array(8) as fd:
        libbpf.pin(fd, str(pin))


def a_file_in_place_of_the_folder(place: Place) -> None:
    folder(place)
    with libbpf.new_array(8) as fd:
        libbpf.pin(fd, str(here(place)))


def ids(place: Place) -> dict[str, int]:
    """Return which objects are pinned."""
    found = {}
    for path in sorted(here(place).iterdir()):
        if path.is_dir():
            continue
        with libbpf.pinned(str(path)) as fd:
            is_map = path.name in PINNED_MAPS
            found[path.name] = libbpf.map_info(fd).id if is_map else libbpf.program_info(fd)[0]
    return found


HARMS: Final = [
    folder,
    all_of_the_namespace,
    one_map,
    one_program,
    another_map_in_its_place,
    a_file_in_place_of_the_folder,
]


@pytest.mark.parametrize("harm", HARMS)
def test_what_was_pinned_is_pinned_anew(place: Place, harm: Callable[[Place], None]) -> None:
    before = place.traces()
    daemon = place.serving()
    pinned, incarnation = ids(place), place.show()["boot"]
    during = place.traces()
    harm(place)
    # Nobody tells of it.
    daemon.await_line(PUT_BACK)
    assert place.traces() == during
    assert ids(place) == pinned
    seen = place.show()
    assert (seen["held"], seen["faults"], seen["in_control"]) == ([1, 2, 3, 4], [], True)
    # A successor takes all over.
    place.ask("restart")
    place.await_status("READY=1\nSTATUS=node")
    assert (place.show()["boot"], place.show()["held"]) == (incarnation, [1, 2, 3, 4])
    assert ids(place) == pinned
    assert daemon.stop() == 0
    assert place.traces() == before


@pytest.mark.parametrize("harm", HARMS)
def test_a_stop_takes_all_away_without_the_pins(
    place: Place, harm: Callable[[Place], None]
) -> None:
    before = place.traces()
    daemon = place.serving()
    harm(place)
    assert daemon.stop() == 0
    assert place.traces() == before
    assert place.told() == "STOPPING=1"
    assert place.serving().stop() == 0


@pytest.mark.parametrize("harm", HARMS)
def test_a_restart_at_once_takes_over(place: Place, harm: Callable[[Place], None]) -> None:
    place.serving()
    before = place.show()
    pinned = ids(place)
    harm(place)
    place.ask("restart")
    place.await_status("READY=1\nSTATUS=node")
    assert (place.show()["boot"], place.show()["held"]) == (before["boot"], [1, 2, 3, 4])
    assert ids(place) == pinned


def test_where_a_file_is_in_the_place_of_the_namespaces_folder(place: Place) -> None:
    before = place.traces()
    daemon = place.serving()
    shutil.rmtree(place.pins)
    with libbpf.new_array(8) as fd:
        libbpf.pin(fd, str(place.pins))
    daemon.await_line(f"{NOT_PINNED}Not a directory")
    (fault,) = place.show()["faults"]
    assert f"remove what is in the place of a folder, above {place.pins}/" in fault["cure"]
    assert place.show()["held"] == [1, 2, 3, 4]
    assert daemon.stop() == 0
    place.pins.unlink()
    assert place.traces() == before


class OwnBpffs:
    """A daemon with a bpffs of its own."""

    def __init__(self, place: Place) -> None:
        self.place = place
        place.before = ("unshare", "--mount", "sh", "-c", OWN_BPFFS, "sh")
        self.before = self.traces()
        self.daemon = place.serving()
        self.root = Path(f"/proc/{self.daemon.process.pid}/root")
        self.pins = self.root / str(place.pins).removeprefix("/")
        assert self.pins.exists()
        assert not place.pins.exists()

    def traces(self) -> Traces:
        """Return what is left, but for pins."""
        return self.place.traces()

    def within(self, script: str) -> None:
        enter = ("nsenter", "-t", str(self.daemon.process.pid), "-m", "sh", "-ec", script)
        subprocess.run(enter, check=True)


@pytest.fixture
def own(place: Place) -> OwnBpffs:
    return OwnBpffs(place)


def test_a_bpffs_that_is_unmounted(own: OwnBpffs) -> None:
    own.within("umount /sys/fs/bpf")
    own.daemon.await_line(PUT_BACK)
    # Now they are where everybody sees them.
    assert set(ids(own.place)) > {"config", "ingress"}
    seen = own.place.show()
    assert (seen["held"], seen["faults"]) == ([1, 2, 3, 4], [])
    assert own.daemon.stop() == 0
    assert own.traces() == own.before


def test_a_stop_after_bpffs_was_unmounted(own: OwnBpffs) -> None:
    own.within("umount /sys/fs/bpf")
    assert own.daemon.stop() == 0
    assert own.traces() == own.before


@pytest.mark.parametrize("what", ["remount,ro", "remount,ro,bind"])
def test_a_bpffs_that_is_read_only(own: OwnBpffs, what: str) -> None:
    place, daemon = own.place, own.daemon
    own.within(f"mount -o {what} /sys/fs/bpf")
    daemon.await_line(f"{NOT_PINNED}Read-only file system")
    until(lambda: any(NOT_PINNED in fault["what"] for fault in place.show()["faults"]))
    (fault,) = place.show()["faults"]
    assert "mount -o remount,rw /sys/fs/bpf" in fault["cure"]
    # All goes on meanwhile, and what is taken away is put back.
    assert place.show()["held"] == [1, 2, 3, 4]
    tc("qdisc delete dev eth0 clsact")
    daemon.await_line("put back on eth0, for it was gone: filters of tc")
    with pytest.raises(SystemFaultError, match="Read-only file system"):
        place.ask("restart")
    own.within(f"mount -o {what.replace('ro', 'rw')} /sys/fs/bpf")
    until(lambda: not place.show()["faults"])
    assert place.show()["in_control"]
    assert daemon.stop() == 0
    assert own.traces() == own.before


@pytest.mark.parametrize("what", ["remount,ro", "remount,ro,bind"])
def test_a_stop_where_the_pins_cannot_be_removed_takes_all_else_away(
    own: OwnBpffs, what: str
) -> None:
    own.within(f"mount -o {what} /sys/fs/bpf")
    assert own.daemon.stop() == 4
    assert "Read-only file system" in own.daemon.said
    assert "cure: mount -o remount,rw /sys/fs/bpf" in own.daemon.said
    assert own.traces() == own.before


def its_lock(run: Path) -> None:
    (run / "web" / "lock").unlink()


def its_note(run: Path) -> None:
    (run / "web" / "note").unlink()


def its_voters(run: Path) -> None:
    (run / "web" / "voters").unlink()


def its_socket(run: Path) -> None:
    (run / "web" / "control").unlink()


@pytest.mark.parametrize("harm", [shutil.rmtree, its_lock, its_note, its_voters, its_socket])
def test_what_is_kept_in_run_is_removed(place: Place, harm: Callable[[Path], None]) -> None:
    before = place.traces()
    daemon = place.serving()
    memory = RunFiles("web")
    kept, seen = (memory.note(), memory.voters()), place.show()
    harm(runfiles.folder_of("web").parent)
    until(lambda: runfiles.running() == ("web",) and (memory.note(), memory.voters()) == kept)
    until((runfiles.folder_of("web") / "control").is_socket)
    second = place.start()
    assert second.ended() == 3
    assert "the daemon of cluster web runs here already" in second.said
    place.ask("restart")
    place.await_status("READY=1\nSTATUS=node")
    after = place.show()
    assert (after["boot"], after["held"]) == (seen["boot"], seen["held"])
    assert daemon.stop() == 0
    assert place.traces() == before


def test_what_another_command_took_away_is_taken_anew(place: Place) -> None:
    before = place.traces()
    daemon = place.serving()
    incarnation = place.show()["boot"]
    daemon.tell(signal.SIGSTOP)
    # With it, a command would know that the daemon runs, and be refused.
    (runfiles.folder_of("web") / "lock").unlink()
    RuleTable.open().flush()
    assert place.traces() == before
    daemon.tell(signal.SIGCONT)
    daemon.await_line("what was shared on eth0 was taken away")
    place.await_status("READY=1\nSTATUS=node")
    until(lambda: place.show()["held"] == [1, 2, 3, 4])
    assert place.show()["boot"] != incarnation
    assert daemon.stop() == 0
    assert place.traces() == before


def test_of_two_that_see_no_lock_one_goes_on(place: Place) -> None:
    before = place.traces()
    first = place.serving()
    first.tell(signal.SIGSTOP)
    (runfiles.folder_of("web") / "lock").unlink()
    # Else the port keeps it from starting.
    place.change("buckets = 4", "buckets = 4\nport = 5555")
    second = place.ready()
    first.tell(signal.SIGCONT)
    assert first.ended() == 3
    assert "the daemon of cluster web runs here already" in first.said
    second.await_line("what was shared on eth0 was taken away")
    place.await_status("READY=1\nSTATUS=node")
    until(lambda: place.show()["held"] == [1, 2, 3, 4])
    assert second.stop() == 0
    assert place.traces() == before


def test_a_run_that_is_read_only(place: Place) -> None:
    before = place.traces()
    script = 'mount --make-rprivate / && mount --rbind /run /run && exec "$@"'
    place.before = ("unshare", "--mount", "sh", "-c", script, "sh")
    daemon = place.serving()
    enter = ("nsenter", "-t", str(daemon.process.pid), "-m", "sh", "-ec")
    subprocess.run((*enter, "mount --rbind /run /run; mount -o remount,ro,bind /run"), check=True)
    ip("address delete 10.9.0.100/32 dev eth0")
    daemon.await_line("put back on eth0, for it was gone: the address 10.9.0.100")
    assert place.show()["in_control"]
    assert daemon.stop() == 4
    assert "Read-only file system" in daemon.said
    assert place.traces() == before
