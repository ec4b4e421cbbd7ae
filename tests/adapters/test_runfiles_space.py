"""The space that a daemon reserves: enough for the largest hand-over, and all of it or nothing."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec
import pytest

from clusterip.adapters import runfiles, runspace
from clusterip.adapters.memory import RunFiles, release_killed, try_reserving
from clusterip.core import leftovers
from clusterip.core.alarms import LEFT_BYTES, Alarms
from clusterip.core.errors import SystemFaultError
from clusterip.core.events import BucketsTaken
from clusterip.core.findings import Code, Finding
from clusterip.core.journal import Journal, Stamp
from clusterip.core.lease.handover import HandOver, Known, Leading, Promised, Proven
from clusterip.core.leftovers import Had, Handed
from tests.adapters.smallfs import fill, mounted
from tests.namespaces import run

ID = 2**64 - 1
TIME = 10**17
EVERY = (1 << 256) - 1
NODES = [ID - node for node in range(32)]


def test_all_buckets_of_a_large_cluster_drain() -> None:
    check = {"check": "c" * 150, "good": True, "latest": True, "in_a_row": 3, "detail": "d" * 80}
    node = HandOver(
        node=ID,
        incarnation=ID,
        sequence=2**62,
        config=ID,
        voters=NODES,
        before=NODES[1:],
        owned=EVERY,
        taking=EVERY,
        draining=EVERY,
        deadline=TIME,
        advertised=EVERY,
        since={2**62 - at: EVERY for at in range(10)},
        proofs=[Proven(one, TIME, EVERY) for one in NODES],
        promises=[Promised(one, ID, EVERY, TIME) for one in NODES],
        peers=[Known(one, ID, 2**62, TIME) for one in NODES],
        mute_until=TIME,
        leaving=True,
        incumbent=False,
        flows=dict.fromkeys(range(1, 257), ID),
        contact=dict.fromkeys(NODES, TIME),
        leads=[Leading(one, ID, TIME, TIME, TIME) for one in NODES],
        farewells=dict.fromkeys(NODES, TIME),
        lent_until=TIME,
        bound=dict.fromkeys(NODES, TIME),
        lone=False,
    )
    alarms = Alarms()
    for number in range(256):
        found = Finding.of(Code.SILENT, "x" * 100, cure="x" * 50)
        alarms.raised(found, f"web{number}", now=TIME)
    handed = Handed(
        boot="b" * 36,
        node=msgspec.Raw(node.encode()),
        draining_since=dict.fromkeys(range(1, 257), TIME),
        health={"healthy": True, "checks": {f"check{at}": check for at in range(8)}},
        weight=255,
        had=dict.fromkeys(range(1, 257), Had(state="draining", since=TIME, of=ID)),
    )
    # Alarms have a bound of their own.
    more = len(msgspec.json.encode(alarms.leave()))
    assert LEFT_BYTES - 500 < more < LEFT_BYTES + 100
    assert 3 * len(leftovers.encode(handed)) + more <= runspace.HANDOVER_BYTES


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A /run of its own: a file system of 224 KiB, in a mount namespace of the test's own."""
    with mounted(tmp_path, "size=224k,nr_inodes=32"):
        monkeypatch.setattr(runfiles, "ROOT", tmp_path / "clusterip-peer")
        yield tmp_path


def occupy(small: Path, kib: int) -> None:
    (small / "taken").write_bytes(b"x" * (kib << 10))


def has_space(what: AbstractContextManager[None]) -> bool:
    """Tell whether there is space to enter and leave this."""
    try:
        with what:
            return True
    except SystemFaultError as error:
        if "No space left on device" not in error.message:
            raise
        return False


def starts() -> bool:
    return has_space(RunFiles("web").claimed())


@contextlib.contextmanager
def trial() -> Iterator[None]:
    try_reserving("web")
    yield


def fits() -> bool:
    return has_space(trial())


def kill(memory: RunFiles) -> None:
    """Have a daemon end that began and was not told to."""
    with contextlib.suppress(KeyError), memory.claimed():
        memory.set_note(17)
        raise KeyError


@pytest.mark.root("it mounts")
@pytest.mark.parametrize("taken", range(8, 216, 6))
def test_a_start_without_space_leaves_nothing(small: Path, taken: int) -> None:
    occupy(small, taken)
    before = fits()
    for _ in range(2):
        assert starts() is before
        assert fits() is before
        assert runfiles.killed() == ()
        left = {one.name for one in runfiles.folder_of("web").iterdir()}
        assert left == ({"lock", "note", "voters"} if before else {"lock"})


@pytest.mark.root("it mounts")
@pytest.mark.parametrize("taken", range(8, 216, 6))
def test_what_an_earlier_start_left_is_counted_once(small: Path, taken: int) -> None:
    """The note and the voters are there: a trial must not ask for more than a start does."""
    assert starts()
    occupy(small, taken)
    assert fits() is starts()
    assert {one.name for one in runfiles.folder_of("web").iterdir()} == {"lock", "note", "voters"}


@pytest.mark.root("it mounts")
def test_one_that_was_killed_is_still_known_where_its_successor_finds_no_space(
    small: Path,
) -> None:
    memory = RunFiles("web")
    kill(memory)
    folder = runfiles.folder_of("web")
    (folder / "handover.new").unlink()
    fill(small)
    assert not fits()
    assert not starts()
    assert runfiles.killed() == ("web",)
    assert {one.name for one in folder.iterdir()} == {
        "lock",
        "note",
        "note.new",
        "voters",
        "voters.new",
    }


@pytest.mark.root("it mounts")
@pytest.mark.parametrize("lock", [True, False])
def test_space_is_given_back_where_there_is_none(small: Path, lock: bool) -> None:
    memory = RunFiles("web")
    kill(memory)
    assert runfiles.killed() == ("web",)
    folder = runfiles.folder_of("web")
    (folder / "handover.new").unlink()
    if not lock:
        (folder / "lock").unlink()
    fill(small)
    release_killed()
    assert runfiles.killed() == ()
    assert memory.note() == 17


@pytest.mark.root("it mounts")
def test_where_nothing_can_be_written_no_space_is_given_back(small: Path) -> None:
    memory = RunFiles("web")
    kill(memory)
    run("mount", "-o", "remount,ro", str(small))
    with pytest.raises(SystemFaultError, match="Read-only file system"):
        release_killed()


def test_a_full_file_system_costs_the_journal_and_not_the_hand_over(small: Path) -> None:
    memory = RunFiles("web")
    with memory.claimed():
        fill(small)
        one = Journal("a")
        for number in range(1000):
            one.record(BucketsTaken(buckets=[1], cause="x" * 300), at=Stamp(1.0, number))
        memory.put_handover(Handed(node=msgspec.Raw(b"{}")))
        memory.put_journal(one)
        assert memory.take_journal() is None
        assert not list(small.rglob("journal"))
        assert memory.take_handover() is not None
        # Where there is room for some, the newest are there.
        filler = small / "filler"
        os.truncate(filler, max(0, filler.stat().st_size - (64 << 10)))
        (small / "empty0").unlink(missing_ok=True)
        memory.put_journal(one)
        kept = memory.take_journal()
        assert kept is not None
        assert 0 < len(kept.entries) == 1000 - kept.lost < 1000
