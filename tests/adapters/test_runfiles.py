"""What a daemon keeps in /run: the lock, the note, the voters, the hand-over."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from clusterip.adapters import memory as memories
from clusterip.adapters import runfiles
from clusterip.adapters.memory import FakeMemory, Memory, RunFiles
from clusterip.core.errors import RefusedError
from clusterip.core.events import BucketsTaken
from clusterip.core.journal import ROOM, Journal, Stamp
from clusterip.core.leftovers import Handed

HOLD = """
import sys
from pathlib import Path
from clusterip.adapters import memory, runfiles
runfiles.ROOT = Path(sys.argv[1])
with memory.RunFiles("web").claimed():
    print("claimed", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /run of the test's own."""
    monkeypatch.setattr(runfiles, "ROOT", tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Boot the kernel."""
    file = tmp_path / "boot_id"
    monkeypatch.setattr(memories, "_BOOT_ID", file)

    def now(name: str) -> None:
        file.write_text(f"{name}\n")

    now("first")
    return now


HANDED = Handed(node=msgspec.Raw(b'{"a":1}'))


def claimed(cluster: str = "web") -> RunFiles:
    """Return the memory of a cluster whose folder is there, as it is after a first daemon."""
    memory = RunFiles(cluster)
    with memory.claimed():
        return memory


@pytest.mark.parametrize("make", [claimed, FakeMemory])
def test_a_memory(make: Callable[[], Memory]) -> None:
    memory = make()
    assert (memory.note(), memory.voters(), memory.take_handover()) == (None, None, None)
    memory.set_note(17)
    memory.set_note(18)
    memory.set_voters(frozenset({"a", "b"}))
    memory.put_handover(HANDED)
    assert memory.note() == 18
    assert memory.voters() == frozenset({"a", "b"})
    taken = memory.take_handover()
    assert taken is not None
    assert bytes(taken.node) == b'{"a":1}'
    assert memory.take_handover() is None


def test_it_outlives_the_daemon_and_not_the_boot(boot: Callable[[str], None]) -> None:
    memory = claimed()
    memory.set_note(17)
    memory.set_voters(frozenset({"a"}))
    memory.put_handover(HANDED)
    again = RunFiles("web")
    assert (again.note(), again.voters()) == (17, frozenset({"a"}))
    boot("second")
    later = RunFiles("web")
    assert (later.note(), later.voters(), later.take_handover()) == (None, None, None)
    # It was removed all the same: taken once, whatever it was.
    boot("first")
    assert RunFiles("web").take_handover() is None


def test_what_is_not_claimed_is_not_kept() -> None:
    RunFiles("web").keep()
    assert not runfiles.folder_of("web").exists()


def test_clusters_have_memories_of_their_own() -> None:
    claimed("web").set_note(1)
    claimed("mail").set_note(2)
    assert (RunFiles("web").note(), RunFiles("mail").note()) == (1, 2)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"17", b"\xff", b'{"until": 3}'])
def test_what_is_damaged_is_not_known(content: bytes) -> None:
    memory = claimed()
    (runfiles.folder_of("web") / "note").write_bytes(content)
    assert memory.note() is None
    memory.set_note(5)
    assert memory.note() == 5


def test_what_is_reserved_is_given_back_by_who_ends_well_and_left_by_who_does_not() -> None:
    memory = RunFiles("web")

    def files() -> set[str]:
        return {one.name for one in runfiles.folder_of("web").iterdir()}

    with memory.claimed():
        memory.set_note(5)
        memory.put_handover(HANDED)
        memory.take_handover()
    assert files() == {"lock", "note", "voters"}
    with contextlib.suppress(KeyError), RunFiles("web").claimed():
        raise KeyError
    assert files() == {"lock", "note", "voters"}, "it did not begin"
    kept = {"lock", "note", "note.new", "voters", "voters.new", "handover.new"}
    with contextlib.suppress(KeyError), memory.claimed():
        memory.set_note(6)
        raise KeyError
    assert files() == kept
    with contextlib.suppress(KeyError), RunFiles("web").claimed():
        raise KeyError
    assert files() == kept, "it is still known that one was killed"


def test_what_another_release_left_is_read(boot: Callable[[str], None]) -> None:
    """A newer one left more; and an older one reads what is written now by its names."""
    memory = claimed()
    folder = runfiles.folder_of("web")
    for name, document in (
        ("note", {"until": 17, "more": None}),
        ("voters", {"names": ["a", "b"], "more": 7}),
        ("handover", {"node": {"a": 1}, "more": [1]}),
    ):
        (folder / name).write_text(json.dumps({**document, "boot": "first"}))
    with memory.claimed():
        assert memory.note() == 17
        assert memory.voters() == frozenset({"a", "b"})
        memory.set_note(18)
        memory.set_voters(frozenset({"c"}))
        handed = memory.take_handover()
        assert handed is not None
        assert bytes(handed.node) == b'{"a": 1}'
        memory.put_handover(HANDED)
        for name, key, value in (
            ("note", "until", 18),
            ("voters", "names", ["c"]),
            ("handover", "node", {"a": 1}),
        ):
            assert json.loads((folder / name).read_bytes())[key] == value
    boot("second")
    assert RunFiles("web").note() is None


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("note", b'{"until": "17", "boot": "first"}'),
        ("note", b'{"boot": "first"}'),
        ("voters", b'{"names": [1], "boot": "first"}'),
        ("handover", b'{"node": {}, "weight": "7", "boot": "first"}'),
        ("handover", b"[" * 9999),
        ("handover", b"\xff"),
    ],
)
@pytest.mark.usefixtures("boot")
def test_what_is_damaged_is_as_if_nothing_was_left(name: str, raw: bytes) -> None:
    memory = claimed()
    (runfiles.folder_of("web") / name).write_bytes(raw)
    assert (memory.note(), memory.voters(), memory.take_handover()) == (None, None, None)


def test_only_root_may_enter(root: Path) -> None:
    claimed()
    assert runfiles.folder_of("web").stat().st_mode & 0o777 == 0o700
    assert runfiles.folder_of("web").is_relative_to(root)


def test_one_daemon_of_a_cluster() -> None:
    first, second = RunFiles("web"), RunFiles("web")
    with first.claimed():
        with (
            pytest.raises(RefusedError, match="the daemon of cluster web runs here already") as no,
            second.claimed(),
        ):
            pass
        assert "clusterip restart" in no.value.cure
        with RunFiles("mail").claimed():
            assert runfiles.running() == ("mail", "web")
    with second.claimed():
        assert runfiles.running() == ("web",)


def test_the_lock_is_seen_by_others_and_goes_with_its_holder(root: Path) -> None:
    assert (runfiles.running(), runfiles.is_running("web")) == ((), False)
    with subprocess.Popen(
        (sys.executable, "-c", HOLD, str(root)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "claimed\n"
        assert (runfiles.running(), runfiles.is_running("web")) == (("web",), True)
        assert not runfiles.is_running("mail")
        # To look does not take it.
        assert runfiles.is_running("web")
        with pytest.raises(RefusedError), RunFiles("web").claimed():
            pass
        other.kill()
    assert (runfiles.running(), runfiles.is_running("web")) == ((), False)
    with RunFiles("web").claimed():
        pass


def test_the_path_to_the_control_socket_is_short() -> None:
    name = "n" * 63
    claimed(name)
    with runfiles.control_path(name) as path:
        assert len(path) < 100
        Path(path).touch()
    assert (runfiles.folder_of(name) / "control").exists()
    with pytest.raises(FileNotFoundError), runfiles.control_path("nobody"):
        pass


def test_one_that_was_killed() -> None:
    one = RunFiles("killed")
    assert "killed" not in runfiles.killed()
    with one.claimed():
        assert "killed" not in runfiles.killed()
        assert runfiles.is_daemon("killed", os.getpid())
        assert not runfiles.is_daemon("killed", os.getppid())
        saved = (runfiles.folder_of("killed") / "note.new").read_bytes()
    assert "killed" not in runfiles.killed()
    # What is killed leaves its space to its successor.
    (runfiles.folder_of("killed") / "note.new").write_bytes(saved)
    assert "killed" in runfiles.killed()
    memories.release_killed()
    assert "killed" not in runfiles.killed()
    assert not runfiles.is_handed_over("killed")
    one.put_handover(HANDED)
    assert runfiles.is_handed_over("killed")


def test_a_clock_that_was_set_back_makes_nothing_young() -> None:
    """A hand-over that nobody took, and a clock that is an hour behind it since."""
    late = RunFiles("late")
    with late.claimed():
        late.put_handover(HANDED)
    assert "late" in runfiles.running()
    file = next(runfiles.folder_of("late").glob("handover*"))
    os.utime(file, (time.time() + 3600,) * 2)
    assert "late" not in runfiles.running()


def test_one_that_was_refused_was_not_killed() -> None:
    one = RunFiles("refused")
    with one.claimed():
        one.set_note(17)
    with pytest.raises(RefusedError, match="no such thing"), one.claimed():
        raise RefusedError("no such thing", "none")
    assert "refused" not in runfiles.killed()
    assert one.note() == 17
    with pytest.raises(OSError, match="broken"), one.claimed():
        raise OSError("broken")
    assert "refused" in runfiles.killed()


def test_who_only_looks_keeps_no_daemon_from_starting() -> None:
    """It has the lock for a moment, and may not get the processor in that moment."""
    with RunFiles("web").claimed():
        lock = runfiles.folder_of("web") / "lock"
    looks = os.open(lock, os.O_RDONLY)
    fcntl.flock(looks, fcntl.LOCK_SH)
    ends = threading.Timer(0.05, os.close, (looks,))
    ends.start()
    with RunFiles("web").claimed():
        assert runfiles.is_running("web")
    ends.join()


def journal(count: int = 3) -> Journal:
    one = Journal("a")
    for number in range(count):
        one.record(BucketsTaken(buckets=[1], cause=f"{number}"), at=Stamp(1.0, number))
    return one


def test_a_full_journal_is_handed_over_whole(boot: Callable[[str], None]) -> None:
    """Of a thousand entries of ordinary size none is left out."""
    boot("first")
    memory, one = claimed(), Journal("a")
    for number in range(ROOM + 1):
        text = (
            f"web{number} is silent for 0.7 s: does its daemon run, its network work? {'x' * 300}"
        )
        one.record(BucketsTaken(buckets=list(range(40)), cause=text), at=Stamp(1.0, number))
    memory.put_journal(one)
    kept = RunFiles("web").take_journal()
    assert kept is not None
    assert (len(kept.entries), kept.lost) == (ROOM, 0)


def test_a_journal_is_handed_over_once(boot: Callable[[str], None]) -> None:
    boot("first")
    memory = claimed()
    assert memory.take_journal() is None
    one = journal()
    memory.put_journal(one)
    kept = RunFiles("web").take_journal()
    assert kept is not None
    assert (kept.name, kept.last, kept.entries) == ("a", 3, list(one.entries))
    assert RunFiles("web").take_journal() is None
    # Its times mean nothing after a boot.
    memory.put_journal(one)
    boot("second")
    assert RunFiles("web").take_journal() is None
