"""The status socket of a daemon that runs: who may read it, what it says, and what it outlives."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clusterip.adapters import statuspath
from clusterip.adapters.statusclient import Follower, StatusClient
from clusterip.api import AsyncClient
from clusterip.core.errors import RefusedError, SystemFaultError
from clusterip.core.journal import Entry
from clusterip.core.messages import feed
from clusterip.core.messages.feed import Bye, Now
from clusterip.core.messages.following import Following
from tests.runtime.places import Place
from tests.served import until

pytestmark = pytest.mark.root("BPF and namespaces")


def there() -> bool:
    return statuspath.clusters() == ("web",)


def server_of(daemon: int) -> int:
    """Return the process that serves the socket of a daemon, 0 for none."""
    children = Path(f"/proc/{daemon}/task/{daemon}/children").read_text().split()
    for one in children:
        with contextlib.suppress(OSError):  # it has just ended
            if b"statusprogram" in Path(f"/proc/{one}/cmdline").read_bytes():
                return int(one)
    return 0


def events(client: StatusClient) -> list[Entry]:
    return [one.entry for one in said_by(client) if isinstance(one, feed.Entry)]


def said_by(client: StatusClient, *, follow: bool = False) -> Iterator[object]:
    """Yield what a connection says of the journal: up to now, or to the last word."""
    client.ask(feed.Listen(follow=follow))
    last = Bye if follow else Now
    while True:
        yield (said := client.line())
        if isinstance(said, last):
            return


def following() -> Follower:
    return Follower("web", Following(follow=True))


def test_what_it_says(place: Place) -> None:
    daemon = place.serving()
    until(there)
    with StatusClient("web") as client:
        assert (client.hello.cluster, client.hello.node) == ("web", "web1")
        assert client.hello.pid == daemon.process.pid
        seen = client.status()
        assert (seen.held, seen.pid) == ([1, 2, 3, 4], daemon.process.pid)
        said = events(client)
        assert [one.seq for one in said] == list(range(1, len(said) + 1))
        assert said[0].kind == "started"
        assert any(one.kind == "buckets-taken" for one in said)
        # One after the other, as often as one likes.
        assert client.status().held == [1, 2, 3, 4]
    # The log is made of them.
    lines = [one.removeprefix("clusterip: ") for one in daemon.said.splitlines()]
    assert [one.text for one in said] == lines[: len(said)]


def test_bytes_that_are_no_characters(place: Place) -> None:
    place.file = place.file.rename(place.folder / "caf\udce9.toml")
    daemon = place.serving()
    until(there)
    with StatusClient("web") as client:
        assert client.status().file.endswith("caf\\xe9.toml")
        assert client.status().pid == daemon.process.pid
    assert daemon.stop() == 0


def test_it_leaves_nothing(place: Place) -> None:
    daemon = place.serving()
    until(there)
    server = server_of(daemon.process.pid)
    with StatusClient("web") as client:
        listening = said_by(client, follow=True)
        until(lambda: isinstance(next(listening), Now))
        assert daemon.stop() == 0
        rest = list(listening)
    assert rest[-1] == Bye(why="stop")
    assert next(one.entry.kind for one in rest if isinstance(one, feed.Entry)) == "stopping"
    assert not statuspath.folder().exists()
    assert not Path(f"/proc/{server}").exists()
    with pytest.raises(SystemFaultError, match="no daemon of cluster web tells its status"):
        StatusClient("web")


def test_one_that_is_killed(place: Place) -> None:
    daemon = place.serving()
    until(there)
    server = server_of(daemon.process.pid)
    follower = following()
    until(lambda: next(follower).kind == "buckets-taken")
    daemon.process.kill()
    daemon.process.wait()
    since = time.monotonic()
    with pytest.raises(SystemFaultError, match="the daemon of cluster web ended"):
        list(follower)
    assert time.monotonic() < since + 5
    assert list(follower) == []
    until(lambda: not Path(f"/proc/{server}").exists())
    # It had no right to remove the socket, which counts for nothing.
    assert statuspath.clusters() == ()
    assert statuspath.path_of("web").is_socket()


def test_over_a_planned_restart(place: Place) -> None:
    daemon = place.serving()
    until(there)
    heard: list[Entry] = []
    follower = following()
    follower.begin()
    place.ask("restart")
    while not heard or heard[-1].kind != "restarted":
        heard.append(next(follower))
    seqs = [one.seq for one in heard]
    assert seqs == list(range(1, len(seqs) + 1))
    assert [one.kind for one in heard[-3:]] == ["commanded", "handing-over", "restarted"]
    follower.close()
    with StatusClient("web") as client:
        assert [one.seq for one in events(client)][: len(seqs)] == seqs
    # What served before is gone, and was taken note of.
    children = Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children")
    until(lambda: len(children.read_text().split()) == 1)
    assert daemon.stop() == 0


def test_it_is_made_anew(place: Place) -> None:
    daemon = place.serving()
    until(there)
    server = server_of(daemon.process.pid)
    os.kill(server, signal.SIGKILL)
    until(lambda: server_of(daemon.process.pid) not in (0, server))
    until(there)
    with StatusClient("web") as client:
        assert events(client)
    statuspath.path_of("web").unlink()
    until(there)
    with StatusClient("web") as client:
        assert client.status().held == [1, 2, 3, 4]


def test_who_follows_goes_on_with_the_next_program(place: Place) -> None:
    """Whatever happens to the program, or to its socket, and the daemon stays."""
    daemon = place.serving()
    until(there)

    async def looping() -> None:
        async with AsyncClient("web").events(follow=True) as events:
            while entry := await anext(events, None):
                heard.append(entry.seq)

    def plain() -> None:
        seen.extend(entry.seq for entry in following())

    seen: list[int] = []
    heard: list[int] = []
    servers: list[int] = []
    threads = [
        threading.Thread(target=plain),
        threading.Thread(target=asyncio.run, args=(looping(),)),
    ]
    for thread in threads:
        thread.start()
    for weight in (7, 8, 9):
        until(lambda: seen == heard != [])
        servers.append(server_of(daemon.process.pid))
        if weight == 8:
            statuspath.path_of("web").unlink()
        else:
            os.kill(servers[-1], signal.SIGKILL)
        place.ask("weight", value=weight)
        until(lambda: server_of(daemon.process.pid) not in (0, servers[-1]))
    until(lambda: len(seen) >= 6)
    assert daemon.stop() == 0
    for thread in threads:
        thread.join(10)
    assert seen == heard == list(range(1, len(seen) + 1))


def kinds(place: Place, code: str) -> list[str]:
    """Return what the journal has of a finding."""
    with StatusClient("web") as client:
        return [
            one.kind
            for one in events(client)
            if code in (one.event.get("code"), one.event.get("finding", {}).get("code"))
        ]


def faults(place: Place) -> list[str]:
    return [one["code"] for one in place.show()["faults"]]


def test_one_that_hangs_is_replaced(place: Place) -> None:
    daemon = place.serving()
    until(there)
    server = server_of(daemon.process.pid)
    follower = following()
    follower.begin()
    os.kill(server, signal.SIGSTOP)
    until(lambda: server_of(daemon.process.pid) not in (0, server))
    daemon.await_line("the program that tells the status does not answer: another one begins")
    until(lambda: not Path(f"/proc/{server}").exists())
    assert place.show()["held"] == [1, 2, 3, 4]
    # Who followed goes on, with what was missed meanwhile.
    while next(follower).event.get("what", "").find("does not answer") < 0:
        pass
    follower.close()


def test_one_that_hangs_does_not_outlive_a_restart(place: Place) -> None:
    daemon = place.serving()
    until(there)
    server = server_of(daemon.process.pid)
    os.kill(server, signal.SIGSTOP)
    place.ask("restart")
    daemon.await_line("taking over from the daemon before")
    until(lambda: not Path(f"/proc/{server}").exists())
    until(there)


def test_a_program_that_cannot_run(place: Place) -> None:
    """It is tried more and more seldom, and said once."""
    broken = place.folder / "broken"
    (broken / "clusterip").mkdir(parents=True)
    place.environment["CLUSTERIP_TEST_BROKEN"] = str(broken)
    place.program = ("-c", BROKEN)
    daemon = place.serving()
    until(lambda: faults(place) == ["status-not-told"])
    (fault,) = place.show()["faults"]
    assert fault["why"] == "the program that tells it ended (status 1): RuntimeError: not here"
    tries = place.folder / "broken" / "tries"
    until(lambda: len(tries.read_text()) >= 5)
    time.sleep(3)
    # After 1 s, 2 s, 4 s ...
    assert len(tries.read_text()) <= 6
    assert daemon.said.count("the program that tells") <= 3
    assert "Traceback" not in daemon.said
    assert daemon.stop() == 0


BROKEN = """
import os, sys
sys.argv = ["clusterip", *sys.argv[1:]]
from clusterip.adapters import statussocket
file = os.environ["CLUSTERIP_TEST_BROKEN"] + "/tries"
statussocket._PROGRAM = f"open({file!r}, 'a').write('x'); raise RuntimeError('not here')"
from clusterip.cli.main import main
sys.exit(main())
"""


def test_a_folder_in_its_place(place: Place) -> None:
    path = statuspath.path_of("web")
    path.mkdir(parents=True)
    (path / "there").touch()
    place.serving()
    until(lambda: faults(place) == ["status-not-told"])
    (fault,) = place.show()["faults"]
    assert (fault["why"], fault["cure"]) == (f"{path} is a folder", f"remove it: rm -r {path}")
    assert not list(path.parent.glob(".*"))
    time.sleep(3)
    (path / "there").unlink()
    path.rmdir()
    until(there)
    assert faults(place) == []
    until(lambda: kinds(place, "status-not-told") == ["alarm-raised", "alarm-cleared"])


def test_what_is_wrong_outlives_a_planned_restart(place: Place) -> None:
    place.change('name = "web"', 'name = "web"\nstatus_group = "no-such"')
    daemon = place.serving()
    until(there)
    until(lambda: kinds(place, "group-missing") == ["alarm-raised"])
    (before,) = place.show()["raised"]
    place.ask("restart")
    daemon.await_line("taking over from the daemon before")
    until(there)
    until(lambda: [one["last_seconds"] < 1 for one in place.show()["raised"]] == [True])
    (after,) = place.show()["raised"]
    assert after["finding"] == before["finding"]
    assert after["since_seconds"] > before["since_seconds"]
    time.sleep(3)
    # It is not said again.
    assert kinds(place, "group-missing") == ["alarm-raised"]


def test_rights_that_others_changed(place: Place) -> None:
    place.change('name = "web"', 'name = "web"\nstatus_group = "daemon"')
    daemon = place.serving()
    until(there)
    path = statuspath.path_of("web")
    path.chmod(0o666)
    os.chown(path, 2, 2)
    path.parent.chmod(0o700)
    until(lambda: path.stat().st_mode & 0o777 == 0o660)
    assert (path.stat().st_uid, path.stat().st_gid) == (0, 1)
    assert path.parent.stat().st_mode & 0o777 == 0o755
    daemon.await_line("who may use the status socket was changed by others: set right")


class Somebody:
    """A user without rights, in these groups."""

    def __init__(self, *groups: int) -> None:
        self._groups = list(groups)

    def following(self) -> int:
        """Return the process of one that follows, and ends with 7 where it is refused that."""
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            with contextlib.suppress(RefusedError):
                os.setgroups(self._groups)
                os.setgid(65534)
                os.setuid(65534)
                follower = following()
                follower.begin()
                os.write(writer, b"x")
                list(follower)
                os._exit(1)
            os._exit(7)
        os.read(reader, 1)
        return child

    def can_read(self) -> bool:
        child = os.fork()
        if not child:
            status = 1
            with contextlib.suppress(RefusedError):
                os.setgroups(self._groups)
                os.setgid(65534)
                os.setuid(65534)
                with StatusClient("web") as client:
                    status = 0 if client.status().held else 2
            os._exit(status)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_who_may_read_it(place: Place) -> None:
    place.change('name = "web"', 'name = "web"\nstatus_group = "daemon"')
    place.serving()
    until(there)
    assert Somebody(1).can_read()
    assert not Somebody(2).can_read()
    # In place.
    place.change('name = "web"', 'name = "web"\nstatus_group = "bin"')
    assert place.ask("reload")["changes"] == ["status_group: daemon -> bin"]
    until(lambda: statuspath.path_of("web").stat().st_gid == 2)
    assert Somebody(2).can_read()
    assert not Somebody(1).can_read()
    # One that is not there lets nobody in, and is a fault.
    place.change('name = "web"', 'name = "web"\nstatus_group = "no-such"')
    place.ask("reload")
    until(lambda: statuspath.path_of("web").stat().st_mode & 0o777 == 0o600)
    assert not Somebody(1, 2).can_read()
    until(lambda: faults(place) == ["group-missing"])
    until(lambda: kinds(place, "group-missing") == ["alarm-raised"])
    place.change('name = "web"', 'name = "web"\nstatus_group = "bin"')
    place.ask("reload")
    until(lambda: kinds(place, "group-missing") == ["alarm-raised", "alarm-cleared"])


GROUPS = """
import os, sys, time
sys.argv = ["clusterip", *sys.argv[1:]]
from pathlib import Path
from clusterip.runtime import feeding
def found(name):
    while Path(os.environ["CLUSTERIP_TEST_GROUPS"] + "/slow").exists():
        time.sleep(0.05)
    return 1 if Path(os.environ["CLUSTERIP_TEST_GROUPS"] + "/there").exists() else None
feeding.group_id = found
feeding._GROUP_SECONDS = 0.5
from clusterip.cli.main import main
sys.exit(main())
"""


def test_a_group_that_comes_and_goes(place: Place) -> None:
    """And one that is looked up where nobody answers: the rest goes on meanwhile."""
    place.environment["CLUSTERIP_TEST_GROUPS"] = str(place.folder)
    place.program = ("-c", GROUPS)
    slow, there_is = place.folder / "slow", place.folder / "there"
    slow.touch()
    place.change('name = "web"', 'name = "web"\nstatus_group = "watchers"')
    daemon = place.serving()
    until(there)
    path = statuspath.path_of("web")
    assert path.stat().st_mode & 0o777 == 0o600
    slow.unlink()
    until(lambda: faults(place) == ["group-missing"])
    there_is.touch()
    until(lambda: there() and path.stat().st_mode & 0o777 == 0o660)
    assert path.stat().st_gid == 1
    there_is.unlink()
    until(lambda: there() and path.stat().st_mode & 0o777 == 0o600)
    assert daemon.stop() == 0


def test_who_follows_is_put_off_with_its_group(place: Place) -> None:
    place.change('name = "web"', 'name = "web"\nstatus_group = "daemon"')
    place.serving()
    until(there)
    one = Somebody(1).following()
    place.change('name = "web"', 'name = "web"\nstatus_group = "bin"')
    place.ask("reload")
    assert os.waitstatus_to_exitcode(os.waitpid(one, 0)[1]) == 7


def test_nothing_can_be_changed_through_it(place: Place) -> None:
    place.serving()
    until(there)
    for words in (
        b'{"verb":"drain"}',
        b'{"ask":"drain"}',
        b"drain",
        b"\0\xff",
        b"[" * 3000,
        b"x" * 5000,
    ):
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(str(statuspath.path_of("web")))
            one.settimeout(10)
            one.sendall(words + b"\n")
            lines = b""
            while more := one.recv(1 << 16):
                lines += more
        said = [feed.read(line) for line in lines.splitlines()]
        assert [type(line) for line in said] == [feed.Hello, feed.Not], words
    assert place.show()["held"] == [1, 2, 3, 4]


def test_it_is_of_ordinary_priority_and_rights(place: Place) -> None:
    daemon = place.serving()
    until(there)
    server = server_of(daemon.process.pid)
    until(lambda: b"statusprogram" in Path(f"/proc/{server}/cmdline").read_bytes())
    assert os.sched_getscheduler(server) == os.SCHED_OTHER
    until(lambda: os.getpriority(os.PRIO_PROCESS, server) == 5)

    def rights() -> dict[str, str]:
        lines = Path(f"/proc/{server}/status").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        names = ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapAmb", "NoNewPrivs")
        return {name: " ".join(fields[name].split()) for name in names}

    nobody = " ".join(4 * ["65534"])
    wanted = {"Uid": nobody, "Gid": nobody, "Groups": "", "NoNewPrivs": "1"}
    until(lambda: rights() == {**rights(), **wanted})
    assert {value for name, value in rights().items() if name.startswith("Cap")} == {16 * "0"}


def test_snapshots_are_rare(place: Place) -> None:
    place.serving()
    until(there)
    with StatusClient("web") as client:
        began, count = time.monotonic(), 8
        for _ in range(count):
            client.status()
        assert time.monotonic() - began > (count - 2) * 0.25
