"""A daemon's interface: taken over, kept, given back, and interrupted at every step."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, ip_address

import pytest

from clusterip.adapters.abi import BucketState
from clusterip.adapters.configured import Configured
from clusterip.adapters.dataplane import FakePlane, OtherVersionError
from clusterip.adapters.links import Link
from clusterip.core.config import Config, read
from clusterip.core.config.state import GROUP, interface_state
from clusterip.core.errors import ClusterIPError, RefusedError
from clusterip.core.rules import grammar as rules
from clusterip.runtime.site import Site
from tests.core.config.texts import SMALL, config_with
from tests.runtime.worlds import ETH0, ETH1, Fault, Killed, World, check_safe

WEB = read(SMALL)
VIP = WEB.vips[0].address
CHANGED = config_with(vip='mac = "01:00:5e:00:00:21"')
MAIL = read(SMALL.replace('"web"', '"mail"'))
ELSEWHERE = read(SMALL.replace('"web"', '"mail"').replace("10.9.0.100", "10.9.0.7"))
RULE = (
    "-A INPUT -d {vip}/32 -i {interface} -p udp -j CLUSTERIP --new --hashmode sourceip"
    " --clustermac 01:00:5E:00:00:20 --total-nodes 3 --local-node 1 --manage-address"
)


def site(world: World, *alive: str, fault: Fault | None = None) -> Site:
    """Return the site of a world in which the daemons of those clusters live."""
    host = world.host(fault)
    return Site(
        host.planes, host.hooks, host.links, contextlib.nullcontext, lambda name: name in alive
    )


def entered(config: Config = WEB, *, serving: bool = False) -> World:
    """Return a world in which a daemon entered eth0, and what it had then, when it died."""
    world = World()
    site(world).enter(config, "eth0")
    if serving:
        plane = world.planes.planes[ETH0.index]
        plane.set_bucket(GROUP, 2, BucketState.OWNED)
        plane.set_bucket(GROUP, 3, BucketState.DRAINING)
        plane.set_deadline(GROUP, 77)
    return world


def with_rule(interface: str = "eth0", vip: str = "10.9.0.9") -> World:
    world = World()
    words = RULE.format(vip=vip, interface=interface).split()
    world.host().add(rules.parse(words).rules, None, None)
    return world


def closed(world: World) -> bool:
    plane = world.planes.planes[ETH0.index]
    return set(plane.states(GROUP)) == {BucketState.NONE} and plane.deadline(GROUP) == 0


def test_where_nothing_is() -> None:
    world = World()
    state, adopted = site(world).enter(WEB, "eth0")
    assert not adopted
    assert state == world.state()
    assert (state.groups, state.entries) == (
        interface_state(WEB, ETH0.index, "eth0").groups,
        interface_state(WEB, ETH0.index, "eth0").entries,
    )
    assert state.cluster == "web"
    assert closed(world)
    assert world.links.addresses(ETH0.index) == {VIP}
    assert world.links.macs(ETH0.index) == {WEB.vips[0].mac}
    assert world.hooks.running == {ETH0.index}


def test_what_an_earlier_daemon_left_goes_on() -> None:
    world = entered(serving=True)
    before = world.seen()
    state, adopted = site(world).enter(WEB, "eth0")
    assert adopted
    assert world.seen() == before
    assert state == world.state()


def test_what_of_it_somebody_took_away_is_put_back() -> None:
    world = entered(serving=True)
    before = world.seen()
    world.hooks.running.clear()
    world.links.remove_address(ETH0.index, VIP)
    world.links.remove_mac(ETH0, WEB.vips[0].mac)
    _, adopted = site(world).enter(WEB, "eth0")
    assert adopted
    assert world.seen() == before


@pytest.mark.parametrize(
    "config",
    [
        CHANGED,
        config_with(cluster="buckets = 8"),
        config_with(vip='service = [{ protocol = "all", hashmode = "sourceip" }]'),
        config_with(rest='[[vip]]\naddress = "10.9.0.7"'),
    ],
)
def test_what_an_earlier_configuration_left_goes_first(config: Config) -> None:
    world, fresh = entered(serving=True), World()
    _, adopted = site(world).enter(config, "eth0")
    assert not adopted
    assert closed(world)
    site(fresh).enter(config, "eth0")
    assert world.seen() == fresh.seen()


def test_what_does_not_concern_the_kernel_changes_nothing() -> None:
    world = entered(serving=True)
    before = world.seen()
    weight = config_with(node="weight = 7", cluster='stop = "drain"')
    assert site(world).enter(weight, "eth0")[1]
    assert world.seen() == before


def test_on_another_interface() -> None:
    world = entered(serving=True)
    state, adopted = site(world).enter(WEB, "eth1")
    assert (state.index, adopted) == (ETH1.index, False)
    assert world.state() is None
    assert world.hooks.running == {ETH1.index}
    assert world.links.addresses(ETH0.index) == frozenset()


@pytest.mark.parametrize(
    ("world", "name"),
    [
        (with_rule(), "eth0"),
        (with_rule("eth1", str(VIP)), "eth1"),
    ],
    ids=["on the interface", "of the VIP"],
)
def test_rules_given_by_commands_stay(world: World, name: str) -> None:
    before = world.seen()
    with pytest.raises(RefusedError, match=f"{name} is shared by rules already") as refused:
        site(world).enter(WEB, "eth0")
    assert "clusterip flush" in refused.value.cure
    assert world.seen() == before


def test_rules_of_other_vips_elsewhere_are_no_trouble() -> None:
    world = with_rule("eth1")
    before = world.state(ETH1.index)
    site(world).enter(WEB, "eth0")
    assert world.state(ETH1.index) == before


def test_a_refusal_comes_before_any_change() -> None:
    world = entered(serving=True)
    words = RULE.format(vip="10.9.0.9", interface="eth1").split()
    world.host().add(rules.parse(words).rules, None, None)
    before = world.seen()
    with pytest.raises(RefusedError, match="eth1 is shared by rules already"):
        site(world).enter(WEB, "eth1")
    assert world.seen() == before


@pytest.mark.parametrize("name", ["eth9", "lo"])
def test_an_interface_that_cannot_be(name: str) -> None:
    world = entered(serving=True)
    world.links.links.append(Link(1, "lo", ethernet=False))
    before = world.seen()
    with pytest.raises(RefusedError, match=name):
        site(world).enter(WEB, name)
    assert world.seen() == before


@pytest.mark.parametrize(
    ("other", "interface"), [(MAIL, "eth0"), (ELSEWHERE, "eth0"), (MAIL, "eth1")]
)
def test_another_cluster(other: Config, interface: str) -> None:
    world, fresh = entered(other, serving=True), World()
    before = world.seen()
    with pytest.raises(RefusedError, match="eth0 is shared by the daemon of cluster mail"):
        site(world, "mail").enter(WEB, interface)
    assert world.seen() == before
    # Its daemon died: what it left is in the way of nobody.
    _, adopted = site(world).enter(WEB, interface)
    assert not adopted
    site(fresh).enter(WEB, interface)
    assert world.seen() == fresh.seen()


def test_another_cluster_beside() -> None:
    world = entered(ELSEWHERE, serving=True)
    before = world.state()
    site(world, "mail").enter(WEB, "eth1")
    assert world.state() == before
    site(world, "mail").leave(ETH1.index)
    assert world.state() == before


def test_an_interface_that_went() -> None:
    world = entered(serving=True)
    world.links.links.remove(ETH0)
    world.links.links.append(Link(9, "eth0"))
    state, adopted = site(world).enter(WEB, "eth0")
    assert (state.index, adopted) == (9, False)
    assert world.planes.indices() == (9,)


def test_what_another_version_left_is_replaced() -> None:
    class Unreadable(FakePlane):
        def state(self) -> None:  # type: ignore[override]
            raise OtherVersionError

    world = entered(serving=True)
    world.planes.planes[ETH0.index] = Unreadable(world.planes.planes[ETH0.index].rules)
    _, adopted = site(world).enter(WEB, "eth0")
    assert not adopted
    assert closed(world)


def test_it_is_given_back_as_it_was_found() -> None:
    for prepare in (lambda world: None, own_things):
        world = World()
        prepare(world)
        before = world.seen()
        state, _ = site(world).enter(WEB, "eth0")
        site(world).leave(state.index)
        assert world.seen() == before
        site(world).leave(state.index)


def own_things(world: World) -> None:
    """Have the administrator give the VIP's MAC and a qdisc."""
    world.links.add_mac(ETH0, WEB.vips[0].mac)
    world.hooks.clsact.add(ETH0.index)


def test_the_buckets_are_reached() -> None:
    world = entered()
    one = site(world)
    state = world.state()
    assert state is not None
    with one.open_plane(state) as plane:
        plane.set_bucket(GROUP, 1, BucketState.OWNED)
    assert world.planes.planes[ETH0.index].states(GROUP)[0] is BucketState.OWNED


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda world: world.hooks.running.clear(), "filters of tc, the XDP program"),
        (lambda world: world.links.remove_address(ETH0.index, VIP), f"the address {VIP}"),
        (
            lambda world: world.links.remove_mac(ETH0, WEB.vips[0].mac),
            f"{WEB.vips[0].mac} in the MAC filter",
        ),
        (
            lambda world: world.links.otherwise.update({ETH0.index: {VIP}}),
            f"the address {VIP}",
        ),
        (lambda world: None, ""),
    ],
    ids=["filters", "address", "MAC", "address otherwise", "nothing"],
)
def test_mending(harm: Callable[[World], None], told: str) -> None:
    world = entered(serving=True)
    before = world.seen()
    harm(world)
    assert site(world).mend(ETH0.index).put_back == told
    assert world.seen() == before
    assert world.links.as_added(ETH0.index) == {VIP}


def test_what_cannot_be_mended_can_be_closed() -> None:
    world = entered(serving=True)
    before = world.seen()
    world.hooks.running.clear()
    world.hooks.foreign.add(ETH0.index)
    with pytest.raises(RefusedError, match="a foreign filter is in the way"):
        site(world).mend(ETH0.index)
    site(world).close(world.planes.planes[ETH0.index].state())
    assert world.links.addresses(ETH0.index) == frozenset()
    assert world.planes.planes[ETH0.index].deadline(GROUP) == 77
    # When it can be mended again, all is as it was.
    world.hooks.foreign.clear()
    site(world).mend(ETH0.index)
    assert world.seen() == before


def test_an_interface_that_became_a_part_of_another_is_not_mended() -> None:
    world = entered(serving=True)
    before = world.seen()
    world.links.links.remove(ETH0)
    world.links.links.append(replace(ETH0, master="br0"))
    with pytest.raises(RefusedError, match="eth0 is a part of br0"):
        site(world).mend(ETH0.index)
    assert world.seen() == before


def test_a_mac_taken_out_of_the_filter_is_seen() -> None:
    world = World()
    state, _ = site(world).enter(WEB, "eth0")
    assert site(world).lets_in(state)
    world.links.remove_mac(ETH0, state.groups[0].sharing.mac)
    assert not site(world).lets_in(state)
    site(world).mend(ETH0.index)
    assert site(world).lets_in(state)


def test_closing_leaves_what_the_administrator_gave() -> None:
    world = World()
    own = IPv4Address("10.9.0.1")
    world.links.add_address(ETH0.index, own)
    state, _ = site(world).enter(WEB, "eth0")
    site(world).close(state)
    assert world.links.addresses(ETH0.index) == {own}


def test_mending_an_interface_that_is_gone() -> None:
    world = entered()
    world.links.links.remove(ETH0)
    with pytest.raises(ClusterIPError, match="the interface is gone"):
        site(world).mend(ETH0.index)


START: dict[str, Callable[[], World]] = {
    "empty": World,
    "own": lambda: entered(serving=True),
    "changed": lambda: entered(CHANGED, serving=True),
    "another": lambda: entered(MAIL, serving=True),
}


@pytest.mark.parametrize("start", START)
@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_step_while_it_enters(start: str, after: bool) -> None:
    plain = START[start]()
    site(plain).enter(WEB, "eth0")
    own = World().seen()
    for at in range(200):
        world, fault = START[start](), Fault(at, after)
        with contextlib.suppress(Killed):
            site(world, fault=fault).enter(WEB, "eth0")
        check_safe(world, own)
        site(world).enter(WEB, "eth0")
        assert world.seen() == plain.seen()
        site(world).leave(ETH0.index)
        assert world.seen() == own
        if not fault.dead:
            break
    assert not fault.dead


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_step_while_it_leaves(after: bool) -> None:
    own = World().seen()
    for at in range(200):
        world, fault = entered(serving=True), Fault(at, after)
        with contextlib.suppress(Killed):
            site(world, fault=fault).leave(ETH0.index)
        check_safe(world, own)
        site(world).enter(WEB, "eth0")
        site(world).leave(ETH0.index)
        assert world.seen() == own
        if not fault.dead:
            break
    assert not fault.dead


def test_an_error_at_any_step_while_it_enters() -> None:
    own = World().seen()
    for at in range(200):
        world, fault = World(), Fault(at, error=RefusedError("no", "yes"))
        with contextlib.suppress(RefusedError):
            site(world, fault=fault).enter(WEB, "eth0")
        if fault.failing is None:
            break
        if fault.failing[0] != "guard":  # which is an alarm, and no error
            assert world.seen() == own
    assert fault.failing is None


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
        site(world).enter(WEB, "eth0")
    assert f"ip address del {VIP}/{prefix} dev {link.name}" in error.value.cure
    assert world.seen() == before
    # A planned restart goes on, and has it taken off.
    site(world).enter(WEB, "eth0", going_on=True)
    assert f"{VIP}/{prefix} on {link.name}" in site(world).mend(ETH0.index).taken_off
    site(world).mend(ETH0.index)
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
        site(world).enter(config, "eth0")
        return
    words = f"{vip} is {what} of {own} on {link.name}: no host can answer at it"
    with pytest.raises(RefusedError, match=words) as error:
        site(world).enter(config, "eth0")
    assert "share another address" in error.value.cure
    assert world.seen() == before
    world.links.links[1] = replace(ETH1, vrf="blue")
    if link is ETH1:
        site(world).enter(config, "eth0")


def test_a_vip_in_another_vrf_is_elsewhere() -> None:
    world = World()
    world.links.links[1] = replace(ETH1, vrf="blue")
    one = strange(world, ETH1)
    site(world).enter(WEB, "eth0")
    site(world).leave(ETH0.index)
    assert world.links.strange == {one}
    assert not world.hooks.guards


@pytest.mark.parametrize("ends", ["leave", "close"])
def test_what_was_added_meanwhile_goes_with_the_vips(ends: str) -> None:
    world = World()
    one = site(world)
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
        site(world).enter(WEB, "eth0")
    assert f"ip address del {one} dev eth0" in error.value.cure
    world.links.strange.clear()
    site(world).enter(WEB, "eth0")
    world.links.strange.add(one)
    assert f"{one} on eth0" in site(world).mend(ETH0.index).taken_off
    assert [str(left) for left in world.links.configured()] == [f"{VIP}/32"]


def test_an_address_that_is_being_changed_is_ours() -> None:
    world = World()
    site(world).enter(WEB, "eth0")
    world.links.strange.add(Configured(ETH0.index, VIP, 31, scope=254))
    site(world).enter(WEB, "eth0")


@pytest.mark.parametrize("up", [True, False])
def test_an_interface_that_comes_is_guarded_and_may_have_answered_if_it_is_up(up: bool) -> None:
    world = World()
    world.links.links = [ETH0]
    site(world).enter(WEB, "eth0")
    assert site(world).guard(ETH0.index) == (False, "")
    world.links.links.append(replace(ETH1, up=up))
    assert site(world).guard(ETH0.index) == (up, "")
    assert world.hooks.guards == {(ETH1.index, ETH0.index)}
    assert site(world).guard(ETH0.index) == (False, "")
    site(world).leave(ETH0.index)
    assert not world.hooks.guards
    assert not world.hooks.clsact


def test_a_guard_that_is_interrupted_leaves_nothing() -> None:
    own = World().seen()
    for at in range(20):
        world = World()
        world.links.links = [ETH0]
        site(world).enter(WEB, "eth0")
        world.links.links.append(ETH1)
        fault = Fault(at)
        with contextlib.suppress(Killed):
            site(world, fault=fault).guard(ETH0.index)
        site(world).leave(ETH0.index)
        assert world.seen() == own
        if not fault.dead:
            break
    assert not fault.dead
