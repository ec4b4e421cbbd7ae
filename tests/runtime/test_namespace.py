"""What is reached of a network namespace: which interfaces can share a VIP, and what is shared."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from clusterip.adapters.kernel_maps import FakeMaps, OtherVersionError
from clusterip.adapters.links import Link
from clusterip.adapters.pinned_maps import FakePinnedMaps
from clusterip.core.errors import RefusedError
from clusterip.core.packets.state import InterfaceState
from tests.runtime.served import entered, with_rule
from tests.runtime.worlds import ETH0, ETH1, World


def test_what_is_no_interface() -> None:
    world = World()
    world.links.links.append(Link(1, "lo", ethernet=False))
    with pytest.raises(RefusedError, match="there is no interface eth9") as error:
        world.netns().link("eth9")
    assert error.value.cure == "Ethernet interfaces here: eth0, eth1"
    with pytest.raises(RefusedError, match="lo is not an Ethernet interface"):
        world.netns().link("lo")
    assert world.netns().link("eth1") == ETH1
    world.links.links.clear()
    with pytest.raises(RefusedError) as error:
        world.netns().link("eth0")
    assert error.value.cure == "Ethernet interfaces here: none"


@pytest.mark.parametrize(
    ("link", "told", "cure"),
    [
        (Link(5, "one", master="br0"), "one is a part of br0", "use br0"),
        (Link(5, "one", kind="macvlan", parent="eth0"), "eth0 is in this", "use eth0, or move one"),
        (Link(5, "one", kind="macvtap"), "are for a virtual machine", "share the VIP inside"),
        (
            Link(5, "one", kind="ipvtap", parent="eth0"),
            "are for a virtual machine",
            "share the VIP",
        ),
    ],
)
def test_interfaces_whose_frames_go_elsewhere(link: Link, told: str, cure: str) -> None:
    world = World()
    world.links.links.append(link)
    with pytest.raises(RefusedError, match=told) as error:
        world.netns().link("one")
    assert error.value.cure.startswith(cure)


@pytest.mark.parametrize("kind", ["", "veth", "bridge", "bond", "vlan", "vxlan", "macvlan"])
def test_interfaces_that_can_share(kind: str) -> None:
    world = World()
    world.links.links.append(Link(5, "one", kind=kind))
    assert world.netns().link("one").index == 5


class _OfAnotherVersion(FakeMaps):
    def rules(self) -> InterfaceState:
        raise OtherVersionError


class _Late(FakePinnedMaps):
    """MapsByInterface of which one went just after the look at what there is."""

    def indices(self) -> tuple[int, ...]:
        return (ETH0.index, ETH1.index)


def test_what_is_shared() -> None:
    world = with_rule("eth1")
    assert [one.index for one in world.netns().states()] == [ETH1.index]
    assert world.netns().state(ETH1.index) == world.state(ETH1.index)
    with pytest.raises(FileNotFoundError):
        world.netns().state(ETH0.index)


def test_what_another_version_left_is_told_or_left_out() -> None:
    world = entered()
    world.maps.by_index[ETH0.index] = _OfAnotherVersion(InterfaceState(ETH0.index, "eth0"))
    assert list(world.netns().readable()) == []
    with pytest.raises(OtherVersionError):
        list(world.netns().states())


def test_what_goes_meanwhile_is_left_out() -> None:
    world = entered()
    netns = replace(world.netns(), maps=_Late(world.maps.by_index))
    assert [one.index for one in netns.states()] == [ETH0.index]
    assert [one.index for one in netns.readable()] == [ETH0.index]


def test_what_a_daemon_runs() -> None:
    of_daemon, of_rules = entered().state(), with_rule().state()
    assert of_daemon
    assert of_rules
    netns = World().netns("web", "")
    assert netns.is_run(of_daemon)
    assert not netns.is_run(of_rules)
    assert not World().netns("mail").is_run(of_daemon)
