"""The changes a user makes, each stopped at every step; and what is read of a host."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from typing import Any

import msgspec
import pytest

from clusterip.adapters.abi import NO_DEADLINE, BucketState
from clusterip.adapters.links import Link
from clusterip.core.address import Address
from clusterip.core.errors import RefusedError, SystemFaultError
from clusterip.core.hashing import HashMode
from clusterip.core.model import Mac, Match, Rule, Sharing
from clusterip.core.rules import chain as chains
from clusterip.core.rules.statefile import BucketChangeError, Change
from clusterip.core.state import Chain, Entry, Group, InterfaceState, XdpMode
from clusterip.runtime.change import unfinished
from clusterip.runtime.host import Host, held
from tests.runtime.worlds import ETH0, ETH1, Fault, Killed, Seen, World, check_safe

VIP, SECOND, THIRD = (IPv4Address(f"10.9.0.{last}") for last in (100, 101, 102))
MAC, OTHER_MAC = Mac("01005e000020"), Mac("01005e000021")
SHARED = Sharing(HashMode.SOURCEIP, MAC, 4)
OTHERWISE = Sharing(HashMode.SOURCEIP_SOURCEPORT, OTHER_MAC, 3, 7)
WEB, PING = Match(6), Match(1)

FIRST = Rule(VIP, "eth0", WEB, SHARED, 1)
JOINED = Rule(VIP, "eth0", PING)
MANAGED = Rule(VIP, "eth0", PING, manage_address=True)
TWO = Rule(SECOND, "eth0", Match(), OTHERWISE, 2, manage_address=True)
ON_ETH1 = Rule(THIRD, "eth1", Match(), SHARED, 3, manage_address=True)

Step = Callable[[Host], object]


def add(*rules: Rule, number: int | None = None, xdp: XdpMode | None = None) -> Step:
    return lambda host: host.add(rules, number, xdp)


def delete(*rules: Rule) -> Step:
    def change(chain: Chain) -> Chain:
        for rule in rules:
            chain = chains.delete(chain, rule)
        return chain

    return lambda host: host.edit(change)


def without(*rules: Rule) -> Step:
    """Delete those that are there, as no command does: each has rules of one interface."""

    def change(chain: Chain) -> Chain:
        for rule in rules:
            chain = chain if chains.find(chain, rule) is None else chains.delete(chain, rule)
        return chain

    return lambda host: host.edit(change)


def exchange(old: Rule, new: Rule, index: int = 2) -> Step:
    return lambda host: host.edit(
        lambda chain: chains.append(chains.delete(chain, old), new, index)
    )


def by_hand(vip: IPv4Address, *changes: Change) -> Step:
    """Move buckets, so that what is held is not what the rules say."""

    def step(host: Host) -> None:
        for one in changes:
            host.change_bucket(vip, one)

    return step


MOVED = by_hand(VIP, Change(add=False, bucket=1), Change(add=True, bucket=4))
SETUP = (add(FIRST), MOVED)
KINDS: dict[str, tuple[tuple[Step, ...], Step]] = {
    "first rule": ((), add(FIRST)),
    "first rule, without XDP": ((), add(FIRST, xdp=XdpMode.OFF)),
    "first rule, with its address": ((), add(TWO)),
    "second rule": (SETUP, add(JOINED)),
    "second rule, before the first": (SETUP, add(JOINED, number=1)),
    "second VIP": (SETUP, add(TWO)),
    "the address as well": (SETUP, add(MANAGED)),
    "an equal rule": (SETUP, add(FIRST)),
    "delete one of two": ((*SETUP, add(JOINED)), delete(FIRST)),
    "delete one of two VIPs": ((*SETUP, add(TWO)), delete(TWO)),
    "delete the other of two VIPs": ((*SETUP, add(TWO)), delete(FIRST)),
    "delete the rule with the address": ((*SETUP, add(MANAGED)), delete(MANAGED)),
    "delete the last": (SETUP, delete(FIRST)),
    "delete the last, with its address": ((add(TWO),), delete(TWO)),
    "flush": ((*SETUP, add(MANAGED), add(TWO)), Host.flush),
    "flush nothing": ((), Host.flush),
    "no XDP any more": (SETUP, add(FIRST, xdp=XdpMode.OFF)),
    "no XDP any more, and a rule": (SETUP, add(JOINED, xdp=XdpMode.OFF)),
    "one VIP for another": (SETUP, exchange(FIRST, TWO)),
    "other parameters": (
        SETUP,
        exchange(FIRST, msgspec.structs.replace(FIRST, sharing=OTHERWISE, local_node=2)),
    ),
    "a rule each on two interfaces": (SETUP, add(TWO, ON_ETH1)),
    "first rules on two interfaces": ((), add(FIRST, ON_ETH1)),
    "delete on two interfaces": (
        (*SETUP, add(TWO, ON_ETH1)),
        without(FIRST, ON_ETH1),
    ),
    "flush two interfaces": ((*SETUP, add(MANAGED, ON_ETH1)), Host.flush),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> tuple[tuple[Step, ...], Step]:
    return KINDS[request.param]


@pytest.fixture(params=["nothing of his own", "things of his own"])
def world(request: pytest.FixtureRequest) -> World:
    """The host, without and with what an administrator put there before."""
    world = World()
    if request.param == "things of his own":
        world.hooks.clsact = {ETH0.index}
        world.links.add_address(ETH0.index, VIP)
        world.links.add_mac(ETH0, OTHER_MAC)
        world.links.add_mac(ETH1, MAC)
    return world


def prepared(world: World, steps: tuple[Step, ...]) -> World:
    for step in steps:
        step(world.host())
    return world


def rules(seen: Seen, index: int) -> tuple[object, ...]:
    state = seen.states.get(index, InterfaceState(index, ""))
    entries = sorted(state.entries, key=lambda one: one.position)
    return [one.rule for one in entries], {(one.vip, one.sharing) for one in state.groups}


def holdings(seen: Seen, index: int) -> dict[Address, Any]:
    state = seen.states.get(index, InterfaceState(index, ""))
    return {group.vip: seen.held[group.vip] for group in state.groups}


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_each_step(
    kind: tuple[tuple[Step, ...], Step], world: World, after: bool
) -> None:
    steps, step = kind
    own = world.seen()
    old = prepared(world, steps).seen()
    whole, count = world.copy(), Fault()
    step(whole.host(count))
    new = whole.seen()
    check_safe(whole, own)
    for at in range(len(count.calls)):
        killed = world.copy()
        with pytest.raises(Killed):
            step(killed.host(Fault(at, after)))
        now = killed.seen()
        check_safe(killed, own)
        for index in (ETH0.index, ETH1.index):
            seen = [one for one in (old, new) if rules(one, index) == rules(now, index)]
            assert seen, "neither the old rules nor the new ones"
            assert any(holdings(one, index) == holdings(now, index) for one in seen)
        check_repeated(killed.copy(), step, new)
        killed.host().flush()
        assert killed.seen() == own


def check_repeated(world: World, step: Step, new: Seen) -> None:
    """The same change again completes it; a deletion that was done already says so."""
    done = all(rules(world.seen(), index) == rules(new, index) for index in new.addresses)
    try:
        step(world.host())
    except RefusedError:
        assert done
    assert world.seen() == new


@pytest.mark.parametrize("error", [OSError(errno.EIO, "no"), RefusedError("no")])
def test_an_error_at_each_step(
    kind: tuple[tuple[Step, ...], Step], world: World, error: Exception
) -> None:
    steps, step = kind
    old = prepared(world, steps).seen()
    count = Fault()
    step(world.copy().host(count))
    for at in range(len(count.calls)):
        failed = world.copy()
        with pytest.raises(type(error)) as raised:
            step(failed.host(Fault(at, error=error)))
        assert raised.value is error
        assert failed.seen() == old


def test_a_refused_change_mends_what_a_killed_one_left(world: World) -> None:
    """Deleted again after a kill, the rule is not there any more; nor is what it brought."""
    own = world.seen()
    prepared(world, (add(TWO),))
    count = Fault()
    delete(TWO)(world.copy().host(count))
    killed = 0
    for at in range(len(count.calls)):
        one = world.copy()
        with pytest.raises(Killed):
            delete(TWO)(one.host(Fault(at)))
        if one.chain().entries():
            continue
        killed += 1
        with pytest.raises(RefusedError):
            delete(TWO)(one.host())
        assert one.seen() == own
    assert killed >= 2


def test_an_interrupted_spread_keeps_the_order_of_each_interface() -> None:
    """Over several interfaces it may change: it says nothing, a VIP has one interface."""
    steps: list[Step] = [add(FIRST, ON_ETH1, JOINED)]
    world = prepared(World(), tuple(steps))
    number = 0
    while True:
        rule = Rule(VIP, "eth0", Match(20 + number))
        whole, count = world.copy(), Fault()
        add(rule, number=2)(whole.host(count))
        if count.calls.count("commit") > 1:
            break
        world, number = whole, number + 1
    new = whole.seen()
    for at in range(len(count.calls)):
        killed = world.copy()
        with pytest.raises(Killed):
            add(rule, number=2)(killed.host(Fault(at)))
        add(rule, number=2)(killed.host())
        for index in (ETH0.index, ETH1.index):
            assert rules(killed.seen(), index) == rules(new, index)
        last = Rule(VIP, "eth0", Match(19))
        for place in range(1, len(killed.chain().entries()) + 2):
            again = killed.copy()
            add(last, number=place)(again.host())
            assert again.chain().entries()[place - 1].rule == last


def test_a_refusal_on_the_second_interface_changes_the_first_back(world: World) -> None:
    old = prepared(world, SETUP).seen()
    world.hooks.foreign.add(ETH1.index)
    with pytest.raises(RefusedError, match="a foreign filter is in the way on eth1"):
        add(TWO, ON_ETH1)(world.host())
    assert world.seen() == old


def test_a_rule_among_others_that_is_refused(world: World) -> None:
    old = prepared(world, SETUP).seen()
    with pytest.raises(RefusedError, match="need 'new'"):
        add(TWO, Rule(THIRD, "eth0"))(world.host())
    assert world.seen() == old


def test_buckets_given_away_stay_away_when_a_flush_fails(world: World) -> None:
    prepared(world, (*SETUP, add(ON_ETH1)))
    old = world.seen()
    assert old.held[VIP][0][:4] == tuple(map(BucketState, (0, 0, 0, 1)))
    count = Fault()
    Host.flush(world.copy().host(count))
    last = len(count.calls) - 1
    with pytest.raises(OSError, match="no"):
        world.host(Fault(last, error=OSError(errno.EIO, "no"))).flush()
    assert world.seen() == old


def test_an_interface_that_is_gone() -> None:
    world = prepared(World(), (add(FIRST, JOINED, ON_ETH1),))
    world.links.links.remove(ETH0)
    # Reading shows what is there; the next change drops it, whatever becomes of the change.
    assert world.host().chain().entries() != ()
    with pytest.raises(RefusedError):
        delete(FIRST)(world.host())
    assert world.notices == ["eth0 is gone, and its 2 rules with it"]
    assert world.chain().entries() == world.host().chain().entries()
    assert [one.rule for one in world.chain().entries()] == [ON_ETH1]
    add(ON_ETH1)(world.host())
    assert len(world.notices) == 1


def test_an_interface_that_came_back_is_another() -> None:
    world = prepared(World(), (add(FIRST),))
    world.links.links[0] = Link(7, "eth0")
    add(FIRST)(world.host())
    assert [state.index for state in world.chain().interfaces] == [7]


def test_what_is_no_interface() -> None:
    world = World()
    world.links.links.append(Link(1, "lo", ethernet=False))
    with pytest.raises(RefusedError, match="there is no interface eth9") as error:
        world.host().link("eth9")
    assert error.value.cure == "Ethernet interfaces here: eth0, eth1"
    with pytest.raises(RefusedError, match="lo is not an Ethernet interface"):
        world.host().link("lo")
    assert world.host().link("eth1") == ETH1
    world.links.links.clear()
    with pytest.raises(RefusedError) as error:
        world.host().link("eth0")
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
        world.host().link("one")
    assert error.value.cure.startswith(cure)


@pytest.mark.parametrize("kind", ["", "veth", "bridge", "bond", "vlan", "vxlan", "macvlan"])
def test_interfaces_that_can_share(kind: str) -> None:
    world = World()
    world.links.links.append(Link(5, "one", kind=kind))
    assert world.host().link("one").index == 5


@pytest.mark.parametrize("name", ["eth9", "lo"])
def test_rules_for_what_is_no_interface(name: str) -> None:
    world = World()
    world.links.links.append(Link(1, "lo", ethernet=False))
    before = world.seen()
    with pytest.raises(RefusedError):
        add(FIRST, msgspec.structs.replace(ON_ETH1, interface=name))(world.host())
    assert world.seen() == before


def test_the_lock_is_held_by_changes_and_not_by_reading() -> None:
    world = World()
    events: list[str] = []

    @contextlib.contextmanager
    def lock() -> Iterator[None]:
        events.append("locked")
        yield
        events.append("free")

    host = Host(world.planes, world.hooks, world.links, lock, world.notices.append)
    for step in (*SETUP, Host.flush, Host.zero):
        step(host)
        assert events[-2:] == ["locked", "free"]
    with pytest.raises(RefusedError), contextlib.suppress(OSError):
        delete(FIRST)(host)
    events.clear()
    host.chain()
    host.vips()
    host.view()
    assert events == []


def test_buckets() -> None:
    world = prepared(World(), (add(FIRST, TWO),))
    host = world.host()
    assert host.buckets(VIP) == (1,)
    assert host.buckets(SECOND) == (2,)
    host.change_bucket(VIP, Change(add=True, bucket=4))
    host.change_bucket(VIP, Change(add=True, bucket=2))
    assert host.buckets(VIP) == (1, 2, 4)
    host.change_bucket(VIP, Change(add=False, bucket=1))
    assert host.buckets(VIP) == (2, 4)
    assert host.buckets(SECOND) == (2,)
    for refused in (
        Change(add=True, bucket=2),
        Change(add=True, bucket=5),
        Change(add=True, bucket=0),
        Change(add=False, bucket=1),
        Change(add=False, bucket=5),
    ):
        with pytest.raises(BucketChangeError):
            host.change_bucket(VIP, refused)
    assert host.buckets(VIP) == (2, 4)


DAEMONS = InterfaceState(
    ETH1.index,
    "eth1",
    groups=(Group(0, SECOND, SHARED), Group(0, THIRD, SHARED)),
    entries=tuple(
        Entry(at, at + 1, Rule(vip, "eth1", Match(), SHARED, 0, manage_address=True))
        for at, vip in enumerate((SECOND, THIRD))
    ),
    cluster="web",
)


def run_by_daemon(world: World) -> World:
    """Put what a daemon runs on eth1, with bucket 3 held and some of the lease left."""
    world.changer().bring(ETH1, None, DAEMONS)
    plane = world.planes.planes[ETH1.index]
    plane.set_bucket(0, 3, BucketState.OWNED)
    plane.set_deadline(0, 12345)
    return world


def test_commands_leave_alone_what_a_daemon_runs(world: World) -> None:
    run_by_daemon(prepared(world, SETUP))
    before = world.seen()
    for step in (
        add(JOINED),
        add(Rule(THIRD, "eth0", Match(), SHARED, 1)),
        add(msgspec.structs.replace(ON_ETH1, vip=VIP)),
        lambda host: host.edit(chains.flush),
        Host.zero,
    ):
        with contextlib.suppress(RefusedError):
            step(world.host())
        now = world.seen()
        assert now.states[ETH1.index] == before.states[ETH1.index]
        assert now.held[SECOND] == now.held[THIRD] == before.held[SECOND]
        assert now.addresses[ETH1.index] == before.addresses[ETH1.index]
    assert world.state(ETH0.index) is None
    assert world.host().vips() == ()


def test_buckets_that_a_daemon_gives_out() -> None:
    host = run_by_daemon(World()).host()
    assert host.buckets(SECOND) == host.buckets(THIRD) == (3,)
    for change in (Change(add=True, bucket=1), Change(add=False, bucket=3)):
        with pytest.raises(RefusedError, match="given out by the daemon of cluster web") as error:
            host.change_bucket(THIRD, change)
        assert "clusterip drain" in error.value.cure
    assert host.buckets(THIRD) == (3,)
    with pytest.raises(RefusedError) as error:
        host.buckets(VIP)
    assert error.value.cure == "VIPs of this host: 10.9.0.101, 10.9.0.102"


def test_counters_of_what_a_daemon_runs_are_not_set_to_zero() -> None:
    world = run_by_daemon(prepared(World(), (add(FIRST),)))
    assert sorted(zeroed(world, None)) == ["zero_rule"] * 2 + ["zero_traffic"]
    with pytest.raises(RefusedError, match="there is no rule number 2"):
        zeroed(world, 2)


def test_flush_takes_what_a_dead_daemon_left(world: World) -> None:
    own = world.seen()
    run_by_daemon(prepared(world, SETUP))
    before = world.seen()
    alive = dataclasses.replace(world.host(), running=lambda cluster: cluster == "web")
    with pytest.raises(RefusedError, match="the daemon of cluster web runs") as error:
        alive.flush()
    assert error.value.cure == "stop it first: systemctl stop clusterip"
    assert world.seen() == before
    dataclasses.replace(world.host(), running=lambda cluster: cluster == "other").flush()
    assert world.seen() == own


def test_what_a_daemon_runs_is_mended_by_any_change(world: World) -> None:
    run_by_daemon(world)
    before = world.seen()
    for mac in before.states[ETH1.index].taken.macs:
        world.links.remove_mac(ETH1, mac)
    world.links.remove_address(ETH1.index, THIRD)
    world.hooks.running.discard(ETH1.index)
    add(FIRST)(world.host())
    now = world.seen()
    assert now.states[ETH1.index] == before.states[ETH1.index]
    assert (now.held[THIRD], now.held[SECOND]) == (before.held[THIRD], before.held[SECOND])
    assert now.addresses[ETH1.index] == before.addresses[ETH1.index]
    assert now.macs[ETH1.index] == before.macs[ETH1.index]
    assert ETH1.index in now.running


def test_a_bucket_being_taken_is_held_and_one_drained_is_not() -> None:
    world = prepared(World(), (add(FIRST),))
    plane = world.planes.planes[ETH0.index]
    plane.set_bucket(0, 2, BucketState.TAKING)
    plane.set_bucket(0, 3, BucketState.DRAINING)
    assert world.host().buckets(VIP) == (1, 2)
    world.host().change_bucket(VIP, Change(add=True, bucket=3))
    assert world.host().buckets(VIP) == (1, 2, 3)


def test_held_stops_at_the_total() -> None:
    states = (BucketState.OWNED,) * 256
    assert held(states, Group(0, VIP, SHARED)) == (1, 2, 3, 4)


def test_buckets_of_a_vip_that_is_not_shared() -> None:
    world = prepared(World(), (add(FIRST, TWO),))
    for ask in (
        lambda: world.host().buckets(THIRD),
        lambda: world.host().change_bucket(THIRD, Change(add=True, bucket=1)),
    ):
        with pytest.raises(RefusedError, match=r"10\.9\.0\.102 is not shared here") as error:
            ask()
        assert error.value.cure == "VIPs of this host: 10.9.0.100, 10.9.0.101"


def test_vips_in_order() -> None:
    world = prepared(World(), (add(ON_ETH1, TWO, FIRST),))
    assert world.host().vips() == (VIP, SECOND, THIRD)
    assert World().host().vips() == ()


def test_a_view() -> None:
    world = prepared(World(), (add(FIRST, JOINED, TWO, ON_ETH1),))
    world.hooks.running.discard(ETH1.index)
    one, other = world.host().view()
    assert (one.state.index, other.state.index) == (ETH0.index, ETH1.index)
    assert (one.attached.tc, other.attached.tc) == (True, False)
    assert set(one.rules) == {entry.slot for entry in one.state.entries}
    assert set(one.groups) == set(one.deadlines) == set(one.traffic) == {0, 1}
    assert set(one.deadlines.values()) == {NO_DEADLINE}
    world.links.links.remove(ETH1)
    assert world.host().view()[1].attached.tc is False


def zeroed(world: World, number: int | None) -> list[str]:
    fault = Fault()
    world.host(fault).zero(number)
    return fault.calls


def test_zero() -> None:
    world = prepared(World(), (add(FIRST, JOINED, ON_ETH1),))
    assert zeroed(world, 1) == ["zero_rule"]
    # Three rules, what no rule covers on two interfaces, and two VIPs.
    assert sorted(zeroed(world, None)) == ["zero_rule"] * 5 + ["zero_traffic"] * 2
    with pytest.raises(RefusedError, match="there is no rule number 4"):
        zeroed(world, 4)
    assert zeroed(World(), None) == []


def test_nothing_is_left_unfinished(kind: tuple[tuple[Step, ...], Step]) -> None:
    steps, step = kind
    world = prepared(World(), (*steps, step))
    assert not any(unfinished(state) for state in world.chain().interfaces)


def test_without_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SystemFaultError, match="this needs root"):
        Host.open()
