"""Which interfaces can share; what is read of a host: buckets, VIPs, counters."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import msgspec
import pytest
from msgspec.structs import replace

from clusterip.adapters.abi import NO_DEADLINE, BucketState
from clusterip.adapters.links import Link
from clusterip.core.errors import RefusedError
from clusterip.core.packets.state import Group
from clusterip.core.rules.statefile import BucketChangeError, Change
from clusterip.runtime.rule_table import RuleTable, held
from tests.runtime.steps import (
    FIRST,
    JOINED,
    ON_ETH1,
    SECOND,
    SETUP,
    SHARED,
    THIRD,
    TWO,
    VIP,
    add,
    delete,
    prepared,
    zeroed,
)
from tests.runtime.worlds import ETH0, ETH1, World


def test_an_interface_that_is_gone() -> None:
    world = prepared(World(), (add(FIRST, JOINED, ON_ETH1),))
    world.links.links.remove(ETH0)
    # Reading shows what is there; the next change drops it, whatever becomes of the change.
    assert world.table().chain().entries() != ()
    with pytest.raises(RefusedError):
        delete(FIRST)(world.table())
    assert world.notices == ["eth0 is gone, and its 2 rules with it"]
    assert world.chain().entries() == world.table().chain().entries()
    assert [one.rule for one in world.chain().entries()] == [ON_ETH1]
    add(ON_ETH1)(world.table())
    assert len(world.notices) == 1


def test_an_interface_that_came_back_is_another() -> None:
    world = prepared(World(), (add(FIRST),))
    world.links.links[0] = Link(7, "eth0")
    add(FIRST)(world.table())
    assert [state.index for state in world.chain().interfaces] == [7]


@pytest.mark.parametrize("name", ["eth9", "lo"])
def test_rules_for_what_is_no_interface(name: str) -> None:
    world = World()
    world.links.links.append(Link(1, "lo", ethernet=False))
    before = world.seen()
    with pytest.raises(RefusedError):
        add(FIRST, msgspec.structs.replace(ON_ETH1, interface=name))(world.table())
    assert world.seen() == before


def test_the_lock_is_held_by_changes_and_not_by_reading() -> None:
    world = World()
    events: list[str] = []

    @contextlib.contextmanager
    def lock() -> Iterator[None]:
        events.append("locked")
        yield
        events.append("free")

    table = RuleTable(replace(world.netns(), lock=lock), world.notices.append)
    for step in (*SETUP, RuleTable.flush, RuleTable.zero):
        step(table)
        assert events[-2:] == ["locked", "free"]
    with pytest.raises(RefusedError), contextlib.suppress(OSError):
        delete(FIRST)(table)
    events.clear()
    table.chain()
    table.vips()
    table.view()
    assert events == []


def test_buckets() -> None:
    world = prepared(World(), (add(FIRST, TWO),))
    table = world.table()
    assert table.buckets(VIP) == (1,)
    assert table.buckets(SECOND) == (2,)
    table.change_bucket(VIP, Change(add=True, bucket=4))
    table.change_bucket(VIP, Change(add=True, bucket=2))
    assert table.buckets(VIP) == (1, 2, 4)
    table.change_bucket(VIP, Change(add=False, bucket=1))
    assert table.buckets(VIP) == (2, 4)
    assert table.buckets(SECOND) == (2,)
    for refused in (
        Change(add=True, bucket=2),
        Change(add=True, bucket=5),
        Change(add=True, bucket=0),
        Change(add=False, bucket=1),
        Change(add=False, bucket=5),
    ):
        with pytest.raises(BucketChangeError):
            table.change_bucket(VIP, refused)
    assert table.buckets(VIP) == (2, 4)


def test_a_bucket_being_taken_is_held_and_one_drained_is_not() -> None:
    world = prepared(World(), (add(FIRST),))
    maps = world.maps.by_index[ETH0.index]
    maps.set_bucket(0, 2, BucketState.TAKING)
    maps.set_bucket(0, 3, BucketState.DRAINING)
    assert world.table().buckets(VIP) == (1, 2)
    world.table().change_bucket(VIP, Change(add=True, bucket=3))
    assert world.table().buckets(VIP) == (1, 2, 3)


def test_held_stops_at_the_total() -> None:
    states = (BucketState.OWNED,) * 256
    assert held(states, Group(0, VIP, SHARED)) == (1, 2, 3, 4)


def test_buckets_of_a_vip_that_is_not_shared() -> None:
    world = prepared(World(), (add(FIRST, TWO),))
    for ask in (
        lambda: world.table().buckets(THIRD),
        lambda: world.table().change_bucket(THIRD, Change(add=True, bucket=1)),
    ):
        with pytest.raises(RefusedError, match=r"10\.9\.0\.102 is not shared here") as error:
            ask()
        assert error.value.cure == "VIPs of this host: 10.9.0.100, 10.9.0.101"


def test_vips_in_order() -> None:
    world = prepared(World(), (add(ON_ETH1, TWO, FIRST),))
    assert world.table().vips() == (VIP, SECOND, THIRD)
    assert World().table().vips() == ()


def test_a_view() -> None:
    world = prepared(World(), (add(FIRST, JOINED, TWO, ON_ETH1),))
    world.hooks.running.discard(ETH1.index)
    one, other = world.table().view()
    assert (one.state.index, other.state.index) == (ETH0.index, ETH1.index)
    assert (one.attached.tc, other.attached.tc) == (True, False)
    assert set(one.rules) == {entry.slot for entry in one.state.entries}
    assert set(one.groups) == set(one.deadlines) == set(one.traffic) == {0, 1}
    assert set(one.deadlines.values()) == {NO_DEADLINE}
    world.links.links.remove(ETH1)
    assert world.table().view()[1].attached.tc is False


def test_zero() -> None:
    world = prepared(World(), (add(FIRST, JOINED, ON_ETH1),))
    assert zeroed(world, 1) == ["zero_rule"]
    # Three rules, what no rule covers on two interfaces, and two VIPs.
    assert sorted(zeroed(world, None)) == ["zero_rule"] * 5 + ["zero_traffic"] * 2
    with pytest.raises(RefusedError, match="there is no rule number 4"):
        zeroed(world, 4)
    assert zeroed(World(), None) == []
