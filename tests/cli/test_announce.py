"""`clusterip announce`: how often, and what is refused. What is on the wire is for tests/lan."""

from __future__ import annotations

import errno
from ipaddress import ip_address
from pathlib import Path

import pytest

from clusterip.adapters import runfiles
from clusterip.adapters.abi import NO_DEADLINE
from clusterip.adapters.announcer import FakeAnnouncer
from clusterip.adapters.clock import boottime
from clusterip.adapters.pinned_maps import PinnedMaps
from clusterip.cli import announce
from clusterip.core.address import Address
from clusterip.core.errors import RefusedError, SystemFaultError
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import Mac, Sharing
from clusterip.core.packets.state import Group, InterfaceState
from clusterip.core.units import SECOND
from tests.cli.answering import answering
from tests.cli.conftest import Commands
from tests.runtime.worlds import World

VIP, MAC = ip_address("10.9.0.100"), Mac("01005e000020")
GROUP = Group(0, VIP, Sharing(HashMode.SOURCEIP, MAC, 3))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "nothing is shared in this network namespace"),
        (("10.9.0.7",), "10.9.0.7 is not shared here"),
    ],
)
def test_refused(cli: Commands, words: tuple[str, ...], said: str) -> None:
    assert said in cli.refused(1, "announce", *words)


def test_on_a_witness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runfiles, "ROOT", tmp_path)
    for vips in (frozenset[Address](), frozenset({VIP})):
        with answering() as daemon:
            daemon.document["witness"] = True
            with pytest.raises(RefusedError, match="cluster web here is a witness") as raised:
                announce._chosen(World().table(), vips)
            assert "on a host that holds buckets" in raised.value.cure
        with pytest.raises(RefusedError, match=" shared "):
            announce._chosen(World().table(), vips)


@pytest.fixture
def world() -> World:
    """Two interfaces that serve."""
    world = World()
    for index in (7, 8):
        world.maps.create(InterfaceState(index, "eth"))
        world.maps.by_index[index].set_deadline(0, NO_DEADLINE)
    return world


def announced(index: int, count: int) -> announce.Announced:
    state = InterfaceState(index, f"eth{index - 7}")
    return announce.Announced(state, state.name, GROUP, count, 0.001)


def test_each_as_often_as_it_says(world: World) -> None:
    announcer = FakeAnnouncer()
    announce.send(announcer, [announced(7, 3), announced(8, 1)], world.table())
    assert announcer.sent == [(7, VIP, MAC), (8, VIP, MAC), (7, VIP, MAC), (7, VIP, MAC)]


def test_what_cannot_be_sent(world: World) -> None:
    announcer = FakeAnnouncer(error=OSError(errno.ENETDOWN, "Network is down"))
    with pytest.raises(SystemFaultError, match="cannot be announced on eth0: Network is down"):
        announce.send(announcer, [announced(7, 3)], world.table())


@pytest.mark.parametrize("gone", [False, True])
def test_the_lease_ends_between_two_times(world: World, gone: bool) -> None:
    class Ending(FakeAnnouncer):
        """Has the lease end after the first time."""

        def announce(self, index: int, vip: Address, mac: Mac) -> None:
            super().announce(index, vip, mac)
            if gone:
                world.maps.remove(index)
            else:
                world.maps.by_index[index].set_deadline(0, 1)

    announcer = Ending()
    with pytest.raises(RefusedError, match="this host answers nothing now") as raised:
        announce.send(announcer, [announced(7, 3)], world.table())
    assert "announce on a host that holds buckets" in raised.value.cure
    assert len(announcer.sent) == 1


def test_the_lease_ends_while_it_is_sent(world: World) -> None:
    class Late(FakeAnnouncer):
        """Has the lease end before the frame is at the filter, which discards it."""

        def announce(self, index: int, vip: Address, mac: Mac) -> None:
            world.maps.by_index[index].set_deadline(0, 1)
            super().announce(index, vip, mac)

    announcer = Late(error=OSError(errno.ENOBUFS, "No buffer space available"))
    with pytest.raises(RefusedError, match="this host answers nothing now"):
        announce.send(announcer, [announced(7, 3)], world.table())


def test_the_kernel_stops_between_two_times(
    cli: Commands, folder: Path, run_by_daemon: InterfaceState
) -> None:
    with PinnedMaps(folder).open(run_by_daemon.index) as maps:
        maps.set_deadline(0, boottime() + SECOND // 2)
    told = cli.refused(1, "announce", "10.9.0.200")
    assert told.startswith("clusterip: 10.9.0.200: this host answers nothing now")
