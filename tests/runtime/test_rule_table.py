"""The changes a user makes, each stopped at every step; and what they leave to a daemon."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import Any

import msgspec
import pytest

from clusterip.adapters.abi import NO_DEADLINE, BucketState
from clusterip.core.address import Address
from clusterip.core.errors import RefusedError, SystemFaultError
from clusterip.core.packets.model import Match, Rule
from clusterip.core.packets.state import Entry, Group, InterfaceState, XdpMode
from clusterip.core.rules import chain as chains
from clusterip.core.rules.statefile import Change
from clusterip.runtime.change import unfinished
from clusterip.runtime.rule_table import RuleTable
from tests.runtime.steps import (
    FIRST,
    JOINED,
    MAC,
    MANAGED,
    ON_ETH1,
    OTHER_MAC,
    OTHERWISE,
    SECOND,
    SETUP,
    SHARED,
    THIRD,
    TWO,
    VIP,
    Step,
    add,
    delete,
    exchange,
    prepared,
    without,
    zeroed,
)
from tests.runtime.worlds import ETH0, ETH1, Fault, Killed, Seen, World, check_safe

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
    "flush": ((*SETUP, add(MANAGED), add(TWO)), RuleTable.flush),
    "flush nothing": ((), RuleTable.flush),
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
    "flush two interfaces": ((*SETUP, add(MANAGED, ON_ETH1)), RuleTable.flush),
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
    step(whole.table(count))
    new = whole.seen()
    check_safe(whole, own)
    for at in range(len(count.calls)):
        killed = world.copy()
        with pytest.raises(Killed):
            step(killed.table(Fault(at, after)))
        now = killed.seen()
        check_safe(killed, own)
        for index in (ETH0.index, ETH1.index):
            seen = [one for one in (old, new) if rules(one, index) == rules(now, index)]
            assert seen, "neither the old rules nor the new ones"
            assert any(holdings(one, index) == holdings(now, index) for one in seen)
        check_repeated(killed.copy(), step, new)
        killed.table().flush()
        assert killed.seen() == own


def check_repeated(world: World, step: Step, new: Seen) -> None:
    """The same change again completes it; a deletion that was done already says so."""
    done = all(rules(world.seen(), index) == rules(new, index) for index in new.addresses)
    try:
        step(world.table())
    except RefusedError:
        assert done
    assert world.seen() == new


@pytest.mark.parametrize("error", [OSError(errno.EIO, "no"), RefusedError("no", "yes")])
def test_an_error_at_each_step(
    kind: tuple[tuple[Step, ...], Step], world: World, error: Exception
) -> None:
    steps, step = kind
    old = prepared(world, steps).seen()
    count = Fault()
    step(world.copy().table(count))
    for at, name in enumerate(count.calls):
        if name == "guard":
            continue  # no error of the change: see test_change_interrupted
        failed = world.copy()
        with pytest.raises(type(error)) as raised:
            step(failed.table(Fault(at, error=error)))
        assert raised.value is error
        assert failed.seen() == old


def test_a_refused_change_mends_what_a_killed_one_left(world: World) -> None:
    """Deleted again after a kill, the rule is not there any more; nor is what it brought."""
    own = world.seen()
    prepared(world, (add(TWO),))
    count = Fault()
    delete(TWO)(world.copy().table(count))
    killed = 0
    for at in range(len(count.calls)):
        one = world.copy()
        with pytest.raises(Killed):
            delete(TWO)(one.table(Fault(at)))
        if one.chain().entries():
            continue
        killed += 1
        with pytest.raises(RefusedError):
            delete(TWO)(one.table())
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
        add(rule, number=2)(whole.table(count))
        if count.calls.count("commit") > 1:
            break
        world, number = whole, number + 1
    new = whole.seen()
    for at in range(len(count.calls)):
        killed = world.copy()
        with pytest.raises(Killed):
            add(rule, number=2)(killed.table(Fault(at)))
        add(rule, number=2)(killed.table())
        for index in (ETH0.index, ETH1.index):
            assert rules(killed.seen(), index) == rules(new, index)
        last = Rule(VIP, "eth0", Match(19))
        for place in range(1, len(killed.chain().entries()) + 2):
            again = killed.copy()
            add(last, number=place)(again.table())
            assert again.chain().entries()[place - 1].rule == last


def test_a_refusal_on_the_second_interface_changes_the_first_back(world: World) -> None:
    old = prepared(world, SETUP).seen()
    world.hooks.foreign.add(ETH1.index)
    with pytest.raises(RefusedError, match="a foreign filter is in the way on eth1"):
        add(TWO, ON_ETH1)(world.table())
    assert world.seen() == old


def test_a_rule_among_others_that_is_refused(world: World) -> None:
    old = prepared(world, SETUP).seen()
    with pytest.raises(RefusedError, match="need 'new'"):
        add(TWO, Rule(THIRD, "eth0"))(world.table())
    assert world.seen() == old


def test_buckets_given_away_stay_away_when_a_flush_fails(world: World) -> None:
    prepared(world, (*SETUP, add(ON_ETH1)))
    old = world.seen()
    assert old.held[VIP][0][:4] == tuple(map(BucketState, (0, 0, 0, 1)))
    count = Fault()
    RuleTable.flush(world.copy().table(count))
    last = len(count.calls) - 1
    with pytest.raises(OSError, match="no"):
        world.table(Fault(last, error=OSError(errno.EIO, "no"))).flush()
    assert world.seen() == old


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
    maps = world.maps.by_index[ETH1.index]
    maps.set_bucket(0, 3, BucketState.OWNED)
    maps.set_deadline(0, 12345)
    return world


def test_commands_leave_alone_what_a_daemon_runs(world: World) -> None:
    run_by_daemon(prepared(world, SETUP))
    before = world.seen()
    for step in (
        add(JOINED),
        add(Rule(THIRD, "eth0", Match(), SHARED, 1)),
        add(msgspec.structs.replace(ON_ETH1, vip=VIP)),
        lambda table: table.edit(chains.flush),
        RuleTable.zero,
    ):
        with contextlib.suppress(RefusedError):
            step(world.table())
        now = world.seen()
        assert now.states[ETH1.index] == before.states[ETH1.index]
        assert now.held[SECOND] == now.held[THIRD] == before.held[SECOND]
        assert now.addresses[ETH1.index] == before.addresses[ETH1.index]
    assert world.state(ETH0.index) is None
    assert world.table().vips() == ()


def test_buckets_that_a_daemon_gives_out() -> None:
    world = run_by_daemon(World())
    table = world.table()
    assert table.buckets(SECOND) == (), "nothing is answered without a lease"
    world.maps.by_index[ETH1.index].set_deadline(0, NO_DEADLINE)
    assert table.buckets(SECOND) == table.buckets(THIRD) == (3,)
    for change in (Change(add=True, bucket=1), Change(add=False, bucket=3)):
        with pytest.raises(RefusedError, match="given out by the daemon of cluster web") as error:
            table.change_bucket(THIRD, change)
        assert "clusterip drain" in error.value.cure
    assert table.buckets(THIRD) == (3,)
    with pytest.raises(RefusedError) as error:
        table.buckets(VIP)
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
    with pytest.raises(RefusedError, match="the daemon of cluster web runs") as error:
        world.table(None, "web").flush()
    assert error.value.cure.startswith("stop it first: `systemctl stop clusterip`")
    assert world.seen() == before
    world.table(None, "other").flush()
    assert world.seen() == own


def test_what_a_daemon_runs_is_mended_by_any_change(world: World) -> None:
    run_by_daemon(world)
    before = world.seen()
    for mac in before.states[ETH1.index].taken.macs:
        world.links.remove_mac(ETH1, mac)
    world.links.remove_address(ETH1.index, THIRD)
    world.hooks.running.discard(ETH1.index)
    add(FIRST)(world.table())
    now = world.seen()
    assert now.states[ETH1.index] == before.states[ETH1.index]
    assert (now.held[THIRD], now.held[SECOND]) == (before.held[THIRD], before.held[SECOND])
    assert now.addresses[ETH1.index] == before.addresses[ETH1.index]
    assert now.macs[ETH1.index] == before.macs[ETH1.index]
    assert ETH1.index in now.running


def test_nothing_is_left_unfinished(kind: tuple[tuple[Step, ...], Step]) -> None:
    steps, step = kind
    world = prepared(World(), (*steps, step))
    assert not any(unfinished(state) for state in world.chain().interfaces)


def test_without_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SystemFaultError, match="this needs root"):
        RuleTable.open()
