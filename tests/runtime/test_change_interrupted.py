"""From any rules to any other, on one interface: interrupted after each step, and refused at each.

The named changes that a user makes are in test_host; here Hypothesis makes them up.
"""

from __future__ import annotations

import dataclasses
import errno

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clusterip.adapters.takeover import NoRoomError
from clusterip.core.address import Address
from clusterip.core.errors import RefusedError
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import Mac, Match, Rule, Sharing
from clusterip.core.packets.state import Chain, InterfaceState, XdpMode
from clusterip.core.rules import chain as chains
from clusterip.runtime.change import unfinished
from tests.runtime.one_interface import (
    CLOSED,
    GROUP,
    MACS,
    VIPS,
    bring,
    give_away,
    interface,
    run_by_daemon,
)
from tests.runtime.worlds import ETH0, Fault, Killed, Seen, World, check_safe

MATCHES = (Match(), Match(1), Match(6))

SHARINGS = st.builds(
    Sharing, st.just(HashMode.SOURCEIP), st.sampled_from(MACS), st.sampled_from([3, 4])
)


@st.composite
def chains_of_rules(draw: st.DrawFn) -> Chain:
    """Draw the rules of eth0: up to three VIPs, with rules that manage the address or do not."""
    chain = Chain()
    for vip in draw(st.permutations(VIPS))[: draw(st.integers(0, 3))]:
        sharing, node = draw(SHARINGS), draw(st.integers(0, 3))
        for match in draw(st.lists(st.sampled_from(MATCHES), min_size=1, max_size=2)):
            rule = Rule(vip, "eth0", match, sharing, node, draw(st.booleans()))
            chain = chains.append(chain, rule, ETH0.index)
    chain = chains.with_xdp(chain, ETH0.index, draw(st.sampled_from(XdpMode)))
    if draw(st.booleans()) and chain.interfaces:
        sharing, mac = draw(SHARINGS), st.sampled_from(MACS)
        macs: dict[Address, Mac] = {vip: draw(mac) for vip in VIPS}
        return Chain((run_by_daemon(interface(chain), sharing, macs),))
    return chain


@st.composite
def owns(draw: st.DrawFn) -> World:
    """Draw what the administrator has on the interface."""
    world = World()
    world.hooks.clsact = set(draw(st.sampled_from([[], [ETH0.index]])))
    world.links.filters = {ETH0.index: set(draw(st.lists(st.sampled_from(MACS), max_size=1)))}
    addresses = st.sampled_from([*VIPS, GROUP])
    world.links.by_index = {ETH0.index: set(draw(st.lists(addresses, max_size=1)))}
    return world


def rules(state: InterfaceState | None) -> tuple[object, ...]:
    """Return what packets are ruled by; places of counters and buckets do not matter."""
    if state is None:
        return [], set(), ""
    return (
        [entry.rule for entry in sorted(state.entries, key=lambda one: one.position)],
        {(group.vip, group.sharing) for group in state.groups},
        state.cluster if state.entries else "",
    )


relaxed = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@relaxed
@given(owns(), chains_of_rules(), chains_of_rules(), st.booleans())
def test_killed_at_each_step(world: World, before: Chain, after: Chain, behind: bool) -> None:
    own = world.seen()
    bring(world, interface(before))
    give_away(world)
    old = world.seen()
    check_safe(world, own)
    whole, count = world.copy(), Fault()
    bring(whole, interface(after), count)
    check_safe(whole, own)
    for at in range(len(count.calls)):
        killed = world.copy()
        with pytest.raises(Killed):
            bring(killed, interface(after), Fault(at, behind))
        check_safe(killed, own)
        check_either(killed.seen(), old, whole.seen())
        again = killed.copy()
        bring(again, interface(after))
        check_same(again.seen(), whole.seen())
        bring(killed, InterfaceState(ETH0.index, "eth0"))
        assert killed.seen() == own


def check_either(now: Seen, old: Seen, new: Seen) -> None:
    """The rules in force are the old or the new ones, and the buckets those that go with them."""
    index = ETH0.index
    found = rules(now.states.get(index))
    expected = [one for one in (old, new) if rules(one.states.get(index)) == found]
    assert expected
    assert any(now.held == one.held for one in expected)


def check_same(now: Seen, whole: Seen) -> None:
    assert now.states.keys() == whole.states.keys()
    for index, state in now.states.items():
        assert rules(state) == rules(whole.states[index])
        assert not unfinished(state)
        assert state.taken == whole.states[index].taken
        assert (state.xdp, state.xdp_note) == (
            whole.states[index].xdp,
            whole.states[index].xdp_note,
        )
    assert now.held == whole.held
    assert (now.clsact, now.running) == (whole.clsact, whole.running)
    assert (now.addresses, now.macs) == (whole.addresses, whole.macs)


@relaxed
@given(owns(), chains_of_rules(), chains_of_rules(), st.booleans())
def test_an_error_at_each_step(world: World, before: Chain, after: Chain, refused: bool) -> None:
    own = world.seen()
    bring(world, interface(before))
    give_away(world)
    old = world.seen()
    whole, count = world.copy(), Fault()
    bring(whole, interface(after), count)
    for at, name in enumerate(count.calls):
        error = RefusedError(name, "") if refused else OSError(errno.EIO, name)
        failed = world.copy()
        fault = Fault(at, error=error)
        if name == "guard":
            # To have another interface unguarded is an alarm, and better than to serve nothing.
            bring(failed, interface(after), fault)
            assert not failed.hooks.guards
        else:
            with pytest.raises(type(error)) as raised:
                bring(failed, interface(after), fault)
            assert raised.value is error
            assert failed.seen() == old
        bring(failed, InterfaceState(ETH0.index, "eth0"))
        assert failed.seen() == own


@relaxed
@given(owns(), chains_of_rules())
def test_nothing_to_change_is_nothing_done(world: World, chain: Chain) -> None:
    bring(world, interface(chain))
    before, fault = world.seen(), Fault()
    bring(world, interface(chain), fault)
    assert world.seen() == before
    assert "commit" not in fault.calls


@relaxed
@given(owns(), chains_of_rules(), chains_of_rules())
def test_a_daemons_table_is_kept_as_it_is_or_starts_closed(
    world: World, before: Chain, after: Chain
) -> None:
    bring(world, interface(before))
    give_away(world)
    old, new = world.seen(), interface(after)
    bring(world, new)
    state = world.state()
    if not new.cluster:
        return
    assert state is not None
    assert len({group.index for group in state.groups}) == 1
    same = interface(before).entries and rules(interface(before)) == rules(new)
    for vip, held in world.seen().held.items():
        assert held == (old.held[vip] if same else CLOSED)


SOME = chains.append(
    chains.append(
        Chain(),
        Rule(VIPS[0], "eth0", Match(6), Sharing(HashMode.SOURCEIP, MACS[0], 3), 1),
        ETH0.index,
    ),
    Rule(VIPS[0], "eth0", Match(17)),
    ETH0.index,
)
NOTHING = InterfaceState(ETH0.index, "eth0")


def of_another_version(world: World, room: int) -> None:
    """Have the maps be laid out by another version, of which so many rules are taken over."""
    world.maps.outdated, world.maps.room = set(world.maps.by_index), room


@relaxed
@given(owns(), chains_of_rules(), st.booleans(), st.sampled_from([0, 100]))
def test_another_versions_rules_are_taken_away_killed_at_each_step(
    world: World, before: Chain, behind: bool, room: int
) -> None:
    """However many they are."""
    own = world.seen()
    bring(world, interface(before))
    of_another_version(world, room)
    whole, count = world.copy(), Fault()
    bring(whole, NOTHING, count)
    assert whole.seen() == own
    for at in range(len(count.calls)):
        killed = world.copy()
        with pytest.raises(Killed):
            bring(killed, NOTHING, Fault(at, behind))
        check_safe(killed, own)
        bring(killed, NOTHING)
        assert killed.seen() == own


@relaxed
@given(owns(), chains_of_rules(), st.sampled_from([0, 100]))
def test_another_versions_rules_are_taken_away_with_an_error_at_each_step(
    world: World, before: Chain, room: int
) -> None:
    """All is as before where there is room for it."""
    own = world.seen()
    bring(world, interface(before))
    give_away(world)
    of_another_version(world, room)
    old, count = world.seen(), Fault()
    bring(world.copy(), NOTHING, count)
    for at, name in enumerate(count.calls):
        failed = world.copy()
        with pytest.raises(OSError, match=name):
            bring(failed, NOTHING, Fault(at, error=OSError(errno.EIO, name)))
        if room and name != "commit":
            check_same_but_for_the_maps(failed.seen(), old)
        bring(failed, NOTHING)
        assert failed.seen() == own


def check_same_but_for_the_maps(now: Seen, old: Seen) -> None:
    assert dataclasses.replace(now, of_others=frozenset()) == dataclasses.replace(
        old, of_others=frozenset()
    )


@relaxed
@given(owns(), chains_of_rules(), st.data())
def test_fewer_rules_that_have_room_are_taken_over_in_one_step(
    world: World, before: Chain, data: st.DataObject
) -> None:
    old = interface(before)
    if old.cluster or not old.entries:
        return
    own = world.seen()
    bring(world, old)
    give_away(world)
    held = world.seen().held
    of_another_version(world, len(old.entries) - 1)
    gone = data.draw(st.sampled_from(sorted(before.entries(), key=lambda one: one.position)))
    fewer = interface(chains.delete(before, gone.rule))
    count = Fault()
    whole = world.copy()
    bring(whole, fewer, count)
    if fewer.entries:
        assert rules(whole.state()) == rules(fewer)
        assert not whole.seen().of_others
        assert whole.seen().held == {group.vip: held[group.vip] for group in fewer.groups}
    for at in range(len(count.calls)):
        killed = world.copy()
        with pytest.raises(Killed):
            bring(killed, fewer, Fault(at))
        check_safe(killed, own)
        bring(killed, fewer)
        check_same(killed.seen(), whole.seen())


def test_what_has_no_room_and_does_not_change_stays_as_it_is() -> None:
    world = World()
    bring(world, interface(SOME))
    of_another_version(world, 1)
    before = world.seen()
    bring(world, interface(SOME))
    assert world.seen() == before
    more = chains.append(SOME, Rule(VIPS[0], "eth0", Match(1)), ETH0.index)
    with pytest.raises(NoRoomError):
        bring(world, interface(more))
    assert world.seen() == before
