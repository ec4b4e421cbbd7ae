"""From some rules to others, on one interface: what each change does, takes and gives back."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import msgspec
import pytest

from clusterip.adapters.abi import NO_DEADLINE, BucketState
from clusterip.core import limits
from clusterip.core.errors import RefusedError
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import Mac, Match, Rule, ServiceAction, Sharing
from clusterip.core.packets.state import Chain, Guard, InterfaceState, Taken, XdpMode
from clusterip.core.rules import chain as chains
from clusterip.runtime.change import Holding, unfinished, wanted
from tests.runtime.one_interface import (
    CLOSED,
    GROUP,
    MACS,
    NONE,
    OWNED,
    VIPS,
    bring,
    give_away,
    interface,
    run_by_daemon,
)
from tests.runtime.worlds import ETH0, ETH1, Fault, Killed, World

GUARDS = (Guard(ETH1.index, clsact=True),)


def state_of(*some: Rule) -> InterfaceState:
    chain = Chain()
    for rule in some:
        chain = chains.append(chain, rule, ETH0.index)
    return interface(chain)


def taken_of(world: World) -> Taken:
    state = world.state()
    assert state is not None
    return state.taken


def rule(
    vip: int = 0, node: int = 1, total: int = 4, *, manage: bool = False, mac: Mac = MACS[0]
) -> Rule:
    sharing = Sharing(HashMode.SOURCEIP, mac, total)
    return Rule(VIPS[vip], "eth0", Match(), sharing, node, manage)


def test_a_first_rule() -> None:
    world, fault = World(), Fault()
    bring(world, state_of(rule(manage=True)), fault)
    seen = world.seen()
    assert seen.held == {VIPS[0]: ((OWNED, *[NONE] * 255), NO_DEADLINE)}
    assert seen.macs[ETH0.index] == {MACS[0]}
    assert seen.addresses[ETH0.index] == {VIPS[0]}
    assert taken_of(world) == Taken(True, (MACS[0],), (VIPS[0],), GUARDS)
    # Filters before rules, rules before the MAC, the MAC before the address.
    order = [
        fault.calls.index(name) for name in ("attach", "set_deadline", "add_mac", "add_address")
    ]
    assert order == sorted(order)
    assert "commit" in fault.calls[order[1] : order[2]]


def test_what_is_there_is_not_taken() -> None:
    world = World()
    world.hooks.clsact.add(ETH0.index)
    world.links.add_mac(ETH0, MACS[0])
    world.links.add_address(ETH0.index, VIPS[0])
    own = world.seen()
    bring(world, state_of(rule(manage=True)))
    assert taken_of(world) == Taken(guards=GUARDS)
    bring(world, state_of())
    assert world.seen() == own


def test_an_address_that_an_earlier_version_put_is_brought_over() -> None:
    world = World()
    bring(world, state_of(rule(manage=True)))
    before = world.seen()
    world.links.otherwise[ETH0.index] = {VIPS[0]}
    bring(world, state_of(rule(manage=True)))
    assert world.links.as_added(ETH0.index) == {VIPS[0]}
    assert world.seen() == before


def test_an_address_of_the_administrators_is_left_as_it_is() -> None:
    world = World()
    world.links.add_address(ETH0.index, VIPS[0])
    world.links.otherwise[ETH0.index] = {VIPS[0]}
    bring(world, state_of(rule(manage=True)))
    assert world.links.otherwise[ETH0.index] == {VIPS[0]}


def test_a_vip_without_a_node_holds_nothing() -> None:
    world = World()
    bring(world, state_of(rule(node=0)))
    assert world.seen().held == {VIPS[0]: ((NONE,) * 256, NO_DEADLINE)}


def test_one_vip_for_another_is_built_aside() -> None:
    world = World()
    bring(world, state_of(rule(0, node=1)))
    new = state_of(rule(1, node=2))
    assert new.groups[0].index == 0, "this is about the same place"
    for at in range(30):
        killed = world.copy()
        try:
            bring(killed, new, Fault(at))
        except Killed:
            held = killed.seen().held
        else:
            break
        assert held in (
            {VIPS[0]: ((OWNED, *[NONE] * 255), NO_DEADLINE)},
            {VIPS[1]: ((NONE, OWNED, *[NONE] * 254), NO_DEADLINE)},
        )
    bring(world, new)
    (group,) = world.seen().states[ETH0.index].groups
    assert group.index == 1
    (entry,) = world.seen().states[ETH0.index].entries
    assert entry.slot == 2, "the counter of the rule that goes is not the new rule's"


def test_a_rule_that_manages_its_address_from_now_on_keeps_its_counter() -> None:
    world, fault = World(), Fault()
    bring(world, state_of(rule()))
    bring(world, state_of(rule(manage=True)), fault)
    (entry,) = world.seen().states[ETH0.index].entries
    assert entry.slot == 1
    assert "zero_rule" not in fault.calls
    assert world.seen().addresses[ETH0.index] == {VIPS[0]}


def test_a_full_interface_cannot_exchange_a_vip() -> None:
    vips = [IPv4Address(f"10.9.1.{last}") for last in range(limits.GROUPS)]
    world = World()
    full = state_of(*(msgspec.structs.replace(rule(), vip=vip) for vip in vips))
    bring(world, full)
    before = world.seen()
    chain = chains.delete_number(Chain((full,)), 1)
    with pytest.raises(RefusedError, match="eth0 is full"):
        bring(world, interface(chains.append(chain, rule(), ETH0.index)))
    assert world.seen() == before


def test_the_same_vip_with_other_parameters_starts_anew() -> None:
    world = World()
    bring(world, state_of(rule(node=1)))
    give_away(world)
    bring(world, state_of(rule(node=2, total=3)))
    assert world.seen().held == {VIPS[0]: ((NONE, OWNED, *[NONE] * 254), NO_DEADLINE)}


def test_buckets_that_are_known_are_given_back() -> None:
    world = World()
    holding = Holding((NONE, OWNED, BucketState.DRAINING, *[NONE] * 253), 12345)
    new = state_of(rule(node=1))
    world.changer().bring(ETH0, None, new, {VIPS[0]: holding})
    assert world.seen().held == {VIPS[0]: (holding.states, 12345)}
    assert world.changer().holdings(ETH0.index) == {VIPS[0]: holding}
    assert world.changer().holdings(99) == {}


def daemons(*some: Rule, total: int = 4) -> InterfaceState:
    sharing = Sharing(HashMode.SOURCEIP, MACS[0], total)
    return run_by_daemon(state_of(*some), sharing, dict.fromkeys(VIPS, MACS[0]))


def test_a_daemons_table_is_prepared_once_and_closed_before_any_packet_gets_there() -> None:
    world, fault = World(), Fault()
    bring(world, daemons(rule(0), rule(1), rule(2)), fault)
    assert fault.calls.count("clear_group") == 1
    assert fault.calls.count("set_deadline") == 1
    assert "set_bucket" not in fault.calls
    seen = world.seen()
    assert seen.held == dict.fromkeys(VIPS, CLOSED)
    assert seen.addresses[ETH0.index] == set(VIPS)
    assert {group.index for group in seen.states[ETH0.index].groups} == {0}


def test_a_daemons_table_outlives_the_daemon() -> None:
    world = World()
    bring(world, daemons(rule(0), rule(1)))
    give_away(world)
    before, fault = world.seen(), Fault()
    world.links.remove_mac(ETH0, MACS[0])
    world.links.remove_address(ETH0.index, VIPS[1])
    world.hooks.running.clear()
    bring(world, daemons(rule(0), rule(1)), fault)
    assert world.seen() == before
    assert not {"set_bucket", "set_deadline", "clear_group", "zero_rule"} & {*fault.calls}


def test_a_vip_that_joins_a_daemons_table_closes_it() -> None:
    world = World()
    bring(world, daemons(rule(0)))
    give_away(world)
    old = world.seen().held[VIPS[0]]
    new = daemons(rule(0), rule(1))
    for at in range(30):
        killed = world.copy()
        try:
            bring(killed, new, Fault(at))
        except Killed:
            assert killed.seen().held in ({VIPS[0]: old}, dict.fromkeys(VIPS[:2], CLOSED))
    bring(world, new)
    assert world.seen().held == dict.fromkeys(VIPS[:2], CLOSED)
    assert {group.index for group in world.seen().states[ETH0.index].groups} == {1}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((ServiceAction.BALANCE, 0), (ServiceAction.SINGLE, 1)),
        ((ServiceAction.SINGLE, 1), (ServiceAction.SINGLE, 2)),
        ((ServiceAction.SINGLE, 1), (ServiceAction.DROP, 0)),
    ],
)
def test_a_service_that_does_something_else_closes_a_daemons_table(
    before: tuple[ServiceAction, int], after: tuple[ServiceAction, int]
) -> None:
    def doing(action: ServiceAction, bucket: int) -> InterfaceState:
        state = daemons(rule(0))
        (one,) = state.entries
        other = msgspec.structs.replace(one.rule, action=action, bucket=bucket)
        entries = (msgspec.structs.replace(one, rule=other),)
        return msgspec.structs.replace(state, entries=entries)

    world = World()
    bring(world, doing(*before))
    give_away(world)
    kept = world.seen().held
    assert kept != {VIPS[0]: CLOSED}
    bring(world, doing(*before))
    assert world.seen().held == kept
    bring(world, doing(*after))
    assert world.seen().held == {VIPS[0]: CLOSED}


def test_from_rules_to_a_daemon_and_back() -> None:
    world = World()
    own = world.seen()
    bring(world, state_of(rule(0)))
    bring(world, daemons(rule(0)))
    assert world.seen().held == {VIPS[0]: CLOSED}
    bring(world, state_of(rule(0)))
    assert world.seen().held == {VIPS[0]: ((OWNED, *[NONE] * 255), NO_DEADLINE)}
    bring(world, daemons(rule(0)))
    bring(world, state_of())
    assert world.seen() == own


def test_a_foreign_filter_leaves_nothing() -> None:
    world = World()
    world.hooks.foreign.add(ETH0.index)
    own = world.seen()
    with pytest.raises(RefusedError, match="a foreign filter is in the way on eth0"):
        bring(world, state_of(rule(manage=True)))
    assert world.seen() == own


def test_a_foreign_filter_that_came_later_leaves_all_as_it_was() -> None:
    world = World()
    bring(world, state_of(rule()))
    world.hooks.foreign.add(ETH0.index)
    before = world.seen()
    with pytest.raises(RefusedError, match="a foreign filter is in the way on eth0"):
        bring(world, state_of(rule(), rule(1, manage=True)))
    assert world.seen() == before
    bring(world, state_of())
    assert world.seen().states == {}


def test_why_xdp_is_not_used_is_kept() -> None:
    world = World()
    world.hooks.native_xdp = False
    bring(world, state_of(rule()))
    assert world.seen().states[ETH0.index].xdp_note == "no native XDP"
    required = msgspec.structs.replace(state_of(rule()), xdp=XdpMode.REQUIRE)
    before = world.seen()
    with pytest.raises(RefusedError, match="XDP is required on eth0"):
        bring(world, required)
    assert world.seen() == before
    bring(world, msgspec.structs.replace(required, xdp=XdpMode.OFF))
    assert world.seen().states[ETH0.index].xdp_note == ""


def test_too_many_conditions_are_refused_whole() -> None:
    world = World()
    bring(world, state_of(rule()))
    before = world.seen()
    many = [
        msgspec.structs.replace(
            rule(1), match=Match(6, source=IPv4Network((0x0A000000 + (at << 8), 24)))
        )
        for at in range(limits.CHAIN + 1)
    ]
    with pytest.raises(RefusedError, match="more than 32 conditions"):
        bring(world, state_of(rule(), *many))
    assert world.seen() == before


def test_what_rules_want() -> None:
    state = state_of(rule(0), rule(1, manage=True))
    assert wanted(state) == (frozenset({MACS[0]}), frozenset({VIPS[1]}))
    snooped = state_of(rule(0, mac=MACS[1]), rule(1, manage=True, mac=MACS[1]))
    assert wanted(snooped) == (frozenset({MACS[1]}), frozenset({VIPS[1], GROUP}))
    assert wanted(InterfaceState(2, "eth0")) == (frozenset(), frozenset())


def test_a_group_is_joined_once_and_left_with_the_last_vip() -> None:
    world = World()
    own = world.seen()
    for some in ((0, 1), (0, 1, 2), (1,)):
        bring(world, state_of(*(rule(vip, mac=MACS[1]) for vip in some)))
        assert world.seen().addresses[ETH0.index] == {GROUP}
        assert taken_of(world) == Taken(True, (MACS[1],), (GROUP,), GUARDS)
    bring(world, state_of())
    assert world.seen() == own


def test_a_group_that_was_joined_by_hand_stays() -> None:
    world = World()
    world.links.add_address(ETH0.index, GROUP)
    own = world.seen()
    bring(world, state_of(rule(mac=MACS[1])))
    bring(world, state_of())
    assert world.seen() == own


def test_what_is_unfinished() -> None:
    state = state_of(rule(manage=True))
    assert not unfinished(state)
    assert not unfinished(msgspec.structs.replace(state, taken=Taken(True, (MACS[0],), (VIPS[0],))))
    assert unfinished(msgspec.structs.replace(state, taken=Taken(macs=(MACS[1],))))
    assert unfinished(msgspec.structs.replace(state, taken=Taken(addresses=(VIPS[1],))))
    assert unfinished(InterfaceState(2, "eth0"))
