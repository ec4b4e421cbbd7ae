"""A daemon whose bpffs the commands do not see: `ip netns exec` gives each a /sys of its own."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

import pytest

from clusterip.adapters import runfiles
from clusterip.core.errors import RefusedError
from tests.cli.conftest import Commands
from tests.runtime.places import WITNESS, Daemon, Place
from tests.served import until

pytestmark = pytest.mark.root("BPF and namespaces")

OWN = 'mount --make-rprivate / && mount -t bpf bpf /sys/fs/bpf && exec "$@"'
BELOW = """\
mount --make-rprivate / && mount -t bpf bpf /sys/fs/bpf &&
unshare --mount sh -c 'mount -t tmpfs none /sys/fs/bpf && exec "$@"' sh "$@"; true"""
"""The daemon sees no bpffs but that of the process above it."""
RULE = (
    "-A INPUT -d 10.9.0.109/32 -i eth0 -j CLUSTERIP --new --hashmode sourceip"
    " --clustermac 01:00:5E:00:00:29 --total-nodes 2 --local-node 1 --hash-init 0"
)
SAID = "what it shares is not to be seen from here: its pins are in another bpffs"


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], place: Place) -> Commands:
    return Commands(capsys, place.pins)


def test_what_a_daemon_shares_that_is_not_seen(place: Place, cli: Commands) -> None:
    place.before = ("unshare", "--mount", "sh", "-c", OWN, "sh")
    daemon = place.serving()
    saved = place.folder / "rules"
    saved.write_text(f"*filter\n{RULE}\nCOMMIT\n")
    for words in (
        ("flush",),
        ("iptables", *RULE.split()),
        ("iptables", *RULE.replace("-A", "-I").split()),
        ("iptables", *RULE.replace("-A", "-D").split()),
        ("iptables", "-F"),
        ("import", "--apply", str(saved)),
    ):
        before = place.traces()
        done = cli(*words)
        assert done.status == 1, words
        assert f"the daemon of cluster web runs here, and {SAID}" in done.err
        assert f"cure: stop it (kill {daemon.process.pid})" in done.err
        assert place.traces() == before
    shown = cli("show")
    assert shown.status == 1
    assert f"the daemon of cluster web runs here, and {SAID}\n" in shown.out
    assert f"  cure: stop it (kill {daemon.process.pid})" in shown.out
    assert cli("show", "--json").status == 1
    assert "put back" not in daemon.said
    assert daemon.stop() == 0
    assert cli("show").status == 0
    cli.well("iptables", *RULE.split())
    cli.well("flush")


def test_what_is_seen_or_not_shared_is_in_nobodys_way(place: Place, cli: Commands) -> None:
    place.change('[[node]]\nname = "web1"\n', f'[[node]]\nname = "web1"\n{WITNESS}')
    witness = place.ready("--node", "judge", verb="witness")
    shown = cli("show")
    assert SAID not in shown.out
    cli.well("iptables", *RULE.split())
    cli.well("flush")
    assert witness.stop() == 0


@contextlib.contextmanager
def orphan(place: Place) -> Iterator[Daemon]:
    """Have a daemon that serves, and found its bpffs through a process that has ended."""
    place.before = ("unshare", "--mount", "sh", "-c", BELOW, "sh")
    daemon = place.serving()
    pid = place.show()["pid"]
    assert pid != daemon.process.pid
    daemon.process.kill()
    daemon.process.wait()
    try:
        yield daemon
    finally:
        os.kill(pid, signal.SIGTERM)
        until(lambda: not runfiles.is_running("web"))


def test_no_restart_where_a_successor_would_look_elsewhere(place: Place) -> None:
    with orphan(place) as daemon:
        before = place.show()
        with pytest.raises(RefusedError, match="a successor would not find what is shared on"):
            place.ask("restart")
        after = place.show()
        for key in ("pid", "boot", "started", "held"):
            assert after[key] == before[key]
        assert "handing over" not in daemon.said


UNREFUSED = """\
import sys
from clusterip.cli import main
from clusterip.runtime.served_interface import ServedInterface
ServedInterface.refuse_successor = lambda *_: None
main.main(sys.argv[1:])
"""


def test_a_successor_that_does_not_find_the_pins_says_why(place: Place) -> None:
    place.program = ("-c", UNREFUSED)
    with orphan(place) as daemon:
        incarnation = place.show()["boot"]
        place.ask("restart")
        place.await_status("READY=1\nSTATUS=node")
        until(lambda: place.show()["held"] == [1, 2, 3, 4])
        assert place.show()["boot"] != incarnation
        assert "starting without the hand-over: what the daemon before shared on" in daemon.said
        assert "a VIP that others added" not in daemon.said
