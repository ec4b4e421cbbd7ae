"""A daemon's interface: a VIP that is there already, here or elsewhere, and what of it is ours."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from msgspec.structs import replace

from clusterip.adapters.configured import Configured
from clusterip.adapters.links import Link
from clusterip.core.config.reading import read
from clusterip.core.errors import RefusedError
from clusterip.runtime.served_interface import Mended
from tests.core.config.texts import SMALL
from tests.runtime.served import VIP, WEB, entered, served
from tests.runtime.worlds import ETH0, ETH1, World


def strange(world: World, link: Link, prefix: int = 24) -> Configured:
    one = Configured(link.index, VIP, prefix)
    if prefix == 32:
        world.links.add_address(link.index, VIP)
    else:
        world.links.strange.add(one)
    return one


@pytest.mark.parametrize("link", [ETH0, ETH1], ids=["here", "elsewhere"])
@pytest.mark.parametrize("prefix", [24, 32])
def test_a_vip_that_is_there_already_is_refused(link: Link, prefix: int) -> None:
    world = World()
    strange(world, link, prefix)
    before = world.seen()
    with pytest.raises(RefusedError, match=f"{VIP} is on {link.name} already, as") as error:
        served(world).enter(WEB, "eth0")
    assert f"ip address del {VIP}/{prefix} dev {link.name}" in error.value.cure
    assert world.seen() == before
    # A planned restart goes on, and has it taken off.
    served(world).enter(WEB, "eth0", going_on=True)
    said = served(world).mend(ETH0.index).taken_off
    if (link, prefix) == (ETH0, 32):
        assert not said, "it may be of the daemon before, whose pins are not to be seen"
    else:
        assert f"{VIP}/{prefix} on {link.name}" in said
    served(world).mend(ETH0.index)
    assert not world.links.strange
    assert [one.index for one in world.links.configured()] == [ETH0.index]


@pytest.mark.parametrize(
    ("vip", "own", "what"),
    [
        ("10.9.255.255", "10.9.0.1/16", "the broadcast address"),
        ("10.9.0.0", "10.9.0.1/16", "the network's own address"),
        ("10.9.0.103", "10.9.0.101/30", "the broadcast address"),
        ("10.9.0.101", "10.9.0.100/31", ""),
        ("10.9.0.100", "10.9.0.101/31", ""),
        ("10.9.0.100", "10.9.0.101/32", ""),
        ("10.9.0.100", "10.9.0.101/16", ""),
        ("2001:db8::", "2001:db8::1/64", "the network's own address"),
        ("2001:db8::ffff:ffff:ffff:ffff", "2001:db8::1/64", ""),
        ("2001:db8::", "2001:db8::1/127", ""),
    ],
)
@pytest.mark.parametrize("link", [ETH0, ETH1], ids=["here", "elsewhere"])
def test_a_vip_that_is_no_hosts_address(vip: str, own: str, what: str, link: Link) -> None:
    config = read(SMALL.replace("10.9.0.100", vip))
    world = World()
    address, _, prefix = own.partition("/")
    world.links.strange.add(Configured(link.index, ip_address(address), int(prefix)))
    before = world.seen()
    if not what:
        served(world).enter(config, "eth0")
        return
    words = f"{vip} is {what} of {own} on {link.name}: no host can answer at it"
    with pytest.raises(RefusedError, match=words) as error:
        served(world).enter(config, "eth0")
    assert "share another address" in error.value.cure
    assert world.seen() == before
    world.links.links[1] = replace(ETH1, vrf="blue")
    if link is ETH1:
        served(world).enter(config, "eth0")


def test_a_vip_in_another_vrf_is_elsewhere() -> None:
    world = World()
    world.links.links[1] = replace(ETH1, vrf="blue")
    one = strange(world, ETH1)
    served(world).enter(WEB, "eth0")
    served(world).leave(ETH0.index)
    assert world.links.strange == {one}
    assert not world.hooks.guards


def test_an_interface_of_a_vrf_that_is_renamed_stays_in_it() -> None:
    world = World()
    world.links.links[0] = replace(ETH0, vrf="blue")
    one = served(world)
    one.enter(WEB, "eth0")
    world.links.links[0] = replace(ETH0, name="foo0", vrf="blue")
    elsewhere = strange(world, ETH1)
    assert one.mend(ETH0.index).taken_off == ""
    assert world.links.strange == {elsewhere}


@pytest.mark.parametrize("ends", ["leave", "close"])
def test_what_was_added_meanwhile_goes_with_the_vips(ends: str) -> None:
    world = World()
    one = served(world)
    state, _ = one.enter(WEB, "eth0")
    strange(world, ETH0)
    strange(world, ETH1)
    if ends == "leave":
        one.leave(ETH0.index)
    else:
        one.close(state)
    assert world.links.configured() == ()


@pytest.mark.parametrize(
    "one",
    [
        Configured(ETH0.index, VIP, 32, peer=ip_address("10.9.0.200")),
        Configured(ETH0.index, VIP, 31),
    ],
    ids=str,
)
def test_ours_is_what_we_add_and_nothing_else(one: Configured) -> None:
    world = World()
    world.links.strange.add(one)
    with pytest.raises(RefusedError, match=f"{VIP} is on eth0 already, as {one}") as error:
        served(world).enter(WEB, "eth0")
    assert f"ip address del {one} dev eth0" in error.value.cure
    world.links.strange.clear()
    served(world).enter(WEB, "eth0")
    world.links.strange.add(one)
    assert f"{one} on eth0" in served(world).mend(ETH0.index).taken_off
    assert [str(left) for left in world.links.configured()] == [f"{VIP}/32"]


def test_an_address_that_is_being_changed_is_ours() -> None:
    world = World()
    served(world).enter(WEB, "eth0")
    world.links.strange.add(Configured(ETH0.index, VIP, 31, scope=254))
    served(world).enter(WEB, "eth0")


def test_what_a_daemon_before_added_is_not_of_others_where_its_pins_are_out_of_sight() -> None:
    world = entered(serving=True)
    world.maps.by_index.clear()
    assert [one.address for one in world.links.configured()] == [VIP]
    state, adopted = served(world).enter(WEB, "eth0", going_on=True)
    assert not adopted
    assert state.taken.addresses == (VIP,)
    assert served(world).mend(ETH0.index) == Mended()
    assert [one.address for one in world.links.configured()] == [VIP]
    served(world).leave(ETH0.index)
    assert not world.links.configured()


def test_no_restart_where_a_successor_would_not_find_the_pins() -> None:
    world = entered(serving=True)
    served(world).refuse_successor(WEB, "eth0", ETH0.index)
    world.maps.found = False
    with pytest.raises(RefusedError, match="would not find what is shared on eth0"):
        served(world).refuse_successor(WEB, "eth0", ETH0.index)
