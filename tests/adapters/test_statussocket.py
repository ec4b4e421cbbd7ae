"""The status socket without a daemon: its place, and what is in it that is none."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import clusterip
from clusterip.adapters import statuspath, statussocket, statusstream
from clusterip.adapters.statusclient import StatusClient
from clusterip.adapters.statussocket import StatusSocket, obstacle
from clusterip.adapters.statusstream import StatusStream
from clusterip.core.errors import ClusterIPError, RefusedError, SystemFaultError
from clusterip.core.messages import feed
from clusterip.core.messages.feed import Hello
from tests.served import until

HELLO = Hello(cluster="web", node="web1", pid=1, journal="a")


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Offer where the socket of the cluster web is to be; a path of a socket is short."""
    with tempfile.TemporaryDirectory(prefix="ci", dir="/tmp") as folder:
        monkeypatch.setattr(statuspath, "ROOT", Path(folder) / "s")
        yield statuspath.path_of("web")


def listening(path: Path, backlog: int = 1) -> socket.socket:
    path.parent.mkdir(parents=True, exist_ok=True)
    one = socket.socket(socket.AF_UNIX)
    one.bind(str(path))
    one.listen(backlog)
    return one


def test_only_what_is_served_counts(place: Path) -> None:
    assert statuspath.clusters() == ()
    with listening(place), listening(place.parent / ".17"):
        (place.parent / "file").touch()
        (place.parent / "folder").mkdir()
        listening(place.parent / "dead").close()
        assert statuspath.clusters() == ("web",)
    assert statuspath.clusters() == ()


def test_to_ask_for_it_takes_no_place_of_a_client(place: Path) -> None:
    with listening(place) as one:
        for _ in range(10):
            assert statuspath.clusters() == ("web",)
        one.setblocking(False)
        with pytest.raises(BlockingIOError):
            one.accept()


@pytest.mark.root("others' sockets")
def test_what_is_left_of_the_dead_is_removed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listening(place).close()
    listening(place.parent / ".99999999").close()
    listening(place.parent / "mail").close()
    elsewhere = place.parent.parent / "17"
    listening(elsewhere / "web").close()
    with listening(place.parent / "live"):
        monkeypatch.setattr(statussocket, "_DEAD_SECONDS", 0.0)
        time.sleep(0.05)
        one = StatusSocket("web", None)
        try:
            assert sorted(one.name for one in place.parent.iterdir()) == ["live", "web"]
            assert not elsewhere.exists()
        finally:
            one.end()
    assert not place.exists()


@pytest.mark.root("a status socket")
def test_what_cannot_be_made_leaves_nothing(place: Path) -> None:
    place.mkdir(parents=True)
    with pytest.raises(IsADirectoryError) as raised:
        StatusSocket("web", None)
    assert obstacle("web", raised.value)[0] == f"{place} is a folder"
    assert [one.name for one in place.parent.iterdir()] == ["web"]
    shutil.rmtree(place.parent.parent)
    place.parent.parent.touch()
    with pytest.raises(OSError, match="directory") as other:
        StatusSocket("web", None)
    root = place.parent.parent
    assert obstacle("web", other.value) == (f"{root} is no folder", f"remove it: rm {root}")


def test_what_the_system_refuses_has_its_cure(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    why, cure = obstacle("web", OSError(errno.EROFS, os.strerror(errno.EROFS)))
    assert why == f"cannot make {place}: Read-only file system"
    assert cure.startswith("mount -o remount,rw /")
    # A name that is too long has no number.
    long = place.parent / ("x" * 100)
    monkeypatch.setattr(statuspath, "ROOT", long)
    with pytest.raises(SystemFaultError, match="cannot be asked for: AF_UNIX path too long"):
        StatusClient("web")
    assert obstacle("web", OSError("too long"))[0].endswith("/web: too long")


@pytest.mark.root("a status socket")
def test_no_python_to_serve_it(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(FileNotFoundError) as raised:
        StatusSocket("web", None)
    assert obstacle("web", raised.value)[0].startswith("cannot start /nowhere/python: No such file")
    assert not place.exists()


@pytest.mark.root("a status socket")
@pytest.mark.parametrize("name", ["a:b", "with blanks", "sub"])
def test_wherever_it_is_installed(place: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The program is that of the daemon, whatever the path of that one is."""
    installed = place.parent.parent.parent / name
    shutil.copytree(Path(clusterip.__file__).parent, installed / "clusterip")
    (installed / "clusterip" / "__init__.py").write_text(
        "import os; __version__ = '0'; os.write(2, __file__.encode())"
    )
    monkeypatch.setattr(statussocket, "_PLACE", str(installed))
    one = StatusSocket("web", None)
    try:
        assert one.say(b"h" + feed.encode(HELLO) + b"p\n")
        with StatusClient("web") as client:
            assert client.hello == HELLO
        until(lambda: one.wanted() or one.answered)
        one.give_up()
    finally:
        with contextlib.suppress(OSError):
            one.end()


def test_a_full_house_is_waited_for_and_then_said(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel says at once that too many wait: that is no end of a daemon."""
    monkeypatch.setattr(statusstream, "PATIENCE_SECONDS", 0.5)
    with contextlib.ExitStack() as stack:
        stack.enter_context(listening(place, 0))
        waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
        waiting.connect(str(place))
        since = time.monotonic()
        with pytest.raises(SystemFaultError, match="the daemon of cluster web does not answer"):
            StatusClient("web", patience=0.5)
        with pytest.raises(SystemFaultError, match="the daemon of cluster web does not answer"):
            asyncio.run(StatusStream.connect("web"))
        assert 1.0 <= time.monotonic() - since < 5.0


@pytest.mark.root("a user without rights")
def test_who_may_not_is_refused(place: Path) -> None:
    with listening(place):
        place.chmod(0o600)
        for folder in (place.parent.parent.parent, place.parent.parent, place.parent):
            folder.chmod(0o755)
        child = os.fork()
        if not child:
            status = 1
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            with contextlib.suppress(ClusterIPError):
                if statuspath.clusters() == ("web",):
                    try:
                        StatusClient("web")
                    except RefusedError:
                        status = 0
            os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_two_clusters_have_one_folder(place: Path) -> None:
    one, other = StatusSocket("web", None), StatusSocket("mail", None)
    assert statuspath.clusters() == ("mail", "web")
    one.end()
    assert statuspath.clusters() == ("mail",)
    other.end()
    assert not place.parent.parent.exists()


LACKING = ("setpriv", "--bounding-set", "-setuid,-setgid", "--inh-caps=-all")


MAY_NOT_KILL = """
import os, signal, sys, time
from pathlib import Path
from clusterip.adapters import statuspath
from clusterip.adapters.statussocket import StatusSocket
statuspath.ROOT = Path(sys.argv[1])
one = StatusSocket("web", None)
server = one._server.pid
while "Uid:\\t65534" not in Path(f"/proc/{server}/status").read_text():
    time.sleep(0.01)
print(server, flush=True)
input()
if sys.argv[2] == "end":
    one.end()
else:
    one.give_up()
print("left alone", flush=True)
"""


@pytest.mark.root("a status socket")
@pytest.mark.parametrize("how", ["end", "give up"])
def test_one_that_may_not_be_killed_holds_up_nobody(place: Path, how: str) -> None:
    """In a container without CAP_KILL, once it hangs: it belongs to another user."""
    words = ("setpriv", "--bounding-set", "-kill", sys.executable, "-c", MAY_NOT_KILL)
    daemon = subprocess.Popen(
        (*words, str(statuspath.ROOT), how),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert daemon.stdout is not None
    server = int(daemon.stdout.readline())
    os.kill(server, signal.SIGSTOP)
    try:
        said, _ = daemon.communicate("go on\n", timeout=10)
        assert said == "left alone\n"
    finally:
        os.kill(server, signal.SIGCONT)
    # It finds that its daemon is gone.
    until(lambda: not Path(f"/proc/{server}").exists())


@pytest.mark.root("a status socket")
def test_in_a_container_that_keeps_back_what_it_takes_to_be_another(place: Path) -> None:
    """Then it is root, and may do nothing of what root may."""
    program = f"""
from pathlib import Path
from clusterip.adapters import statuspath
from clusterip.adapters.statussocket import StatusSocket
from clusterip.adapters.statusclient import StatusClient
statuspath.ROOT = Path({str(statuspath.ROOT)!r})
one = StatusSocket("web", None)
one.say(bytes({list(b"h" + feed.encode(HELLO))!r}))
with StatusClient("web") as client:
    print(Path(f"/proc/{{one._server.pid}}/status").read_text())
one.end()
"""
    said = subprocess.run(
        (*LACKING, sys.executable, "-c", program), check=True, capture_output=True, text=True
    ).stdout
    fields = dict(line.split(":", 1) for line in said.splitlines() if ":" in line)
    assert fields["Uid"].split() == 4 * ["0"]
    caps = {fields[one].strip() for one in ("CapInh", "CapPrm", "CapEff", "CapAmb")}
    assert caps == {16 * "0"}
