"""Changes to the chain: what each does, and what is refused."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import msgspec
import pytest

from clusterip.core import limits
from clusterip.core.errors import RefusedError
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import Mac, Sharing
from clusterip.core.packets.state import Chain, Entry, InterfaceState, XdpMode
from clusterip.core.rules import chain as chains
from tests.core.rules.makers import (
    DAEMONS,
    ETH0,
    ETH1,
    OTHER,
    SHARED,
    TAKEN,
    VIP,
    join,
    listed,
    new,
    of,
    refused,
    slots_are_kept,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def test_append_keeps_the_order_over_interfaces() -> None:
    rules = [new(), new(OTHER, name="eth1"), join(), join(OTHER, 22, "eth1"), join(VIP, 25)]
    chain = of(rules)
    assert listed(chain) == rules
    assert [one.index for one in chain.interfaces] == [ETH0, ETH1]
    assert [one.name for one in chain.interfaces] == ["eth0", "eth1"]


def test_the_first_rule_makes_the_group() -> None:
    chain = of([new(), new(OTHER)])
    (state,) = chain.interfaces
    assert [(group.index, group.vip, group.sharing) for group in state.groups] == [
        (0, VIP, SHARED),
        (1, OTHER, SHARED),
    ]
    assert [entry.slot for entry in state.entries] == [1, 2]


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_insert_makes_it_that_number(number: int) -> None:
    rules = [new(), new(OTHER, name="eth1"), join()]
    added = join(VIP, 25)
    chain = chains.insert(of(rules), added, ETH0, number)
    assert listed(chain) == [*rules[: number - 1], added, *rules[number - 1 :]]
    assert chains.numbered(chain, number).rule == added


@pytest.mark.parametrize("number", [-1, 0, 3, 1000])
def test_an_index_of_insertion_too_big(number: int) -> None:
    chain = of([new()])
    said = refused(lambda: chains.insert(chain, join(), ETH0, number))
    assert said == "Index of insertion too big."


def test_insert_into_an_empty_chain() -> None:
    assert listed(chains.insert(Chain(), new(), ETH0, 1)) == [new()]
    assert refused(lambda: chains.insert(Chain(), new(), ETH0, 2)).startswith("Index of insertion")


@pytest.mark.parametrize("first", ["eth0", "eth1"])
def test_many_insertions_at_one_place(first: str) -> None:
    """Room between two positions is for 20 halvings: it runs out thrice and is made anew."""
    other = "eth1" if first == "eth0" else "eth0"
    expected = [new(name=first), new(OTHER, name=other)]
    chain = of(expected)
    spreads = 0
    for number in range(1000, 1070):
        vip, name = ((VIP, first), (OTHER, other))[number % 2]
        added = join(vip, number, name)
        before = {entry.rule: entry.position for entry in chain.entries()}
        chain = chains.insert(chain, added, 2 if name == "eth0" else 3, 2)
        expected.insert(1, added)
        assert listed(chain) == expected
        assert slots_are_kept(chain)
        spreads += any(
            entry.position != before.get(entry.rule, entry.position) for entry in chain.entries()
        )
    assert spreads >= 3


def test_a_spread_keeps_slots_and_groups() -> None:
    chain = of([new(), join()])
    for number in range(1000, 1030):
        slots = {entry.rule: entry.slot for entry in chain.entries()}
        chain = chains.insert(chain, join(VIP, number), ETH0, 2)
        assert {e.rule: e.slot for e in chain.entries()}.items() >= slots.items()
        assert chain.interfaces[0].groups == of([new()]).interfaces[0].groups


def test_positions_that_coincide_are_spread_too() -> None:
    """A spread interrupted between two interfaces can leave two rules at one position."""
    chain = Chain(
        (
            msgspec.structs.replace(
                of([new()]).interfaces[0],
                entries=(Entry(0, 1, new()), Entry(1 << 20, 2, join())),
            ),
            msgspec.structs.replace(
                of([new(OTHER, name="eth1")]).interfaces[0],
                entries=(Entry(1 << 20, 1, new(OTHER, name="eth1")),),
            ),
        )
    )
    added = join(VIP, 25)
    after = chains.insert(chain, added, ETH0, 3)
    assert listed(after) == [new(), join(), added, new(OTHER, name="eth1")]
    assert slots_are_kept(after)


def test_an_equal_rule_changes_nothing() -> None:
    chain = of([new(), join()])
    for rule in (new(), join()):
        assert chains.append(chain, rule, ETH0) == chain
        for number in (1, 2, 3):
            assert chains.insert(chain, rule, ETH0, number) == chain


def test_a_rule_that_joins_is_another_than_one_that_introduces() -> None:
    chain = chains.append(of([new()]), join(number=80), ETH0)
    assert listed(chain) == [new(), join(number=80)]
    assert len(chain.interfaces[0].groups) == 1


def test_who_adds_the_address_does_not_make_another_rule() -> None:
    managed = msgspec.structs.replace(join(), manage_address=True)
    chain = of([new(), join(), join(number=25)])
    after = chains.append(chain, managed, ETH0)
    assert listed(after) == [new(), managed, join(number=25)]
    assert [(e.position, e.slot) for e in after.entries()] == [
        (e.position, e.slot) for e in chain.entries()
    ]
    # Once managed it stays so, and goes by either name.
    assert chains.append(after, join(), ETH0) == after
    assert chains.insert(after, managed, ETH0, 1) == after
    for rule in (managed, join()):
        assert listed(chains.delete(after, rule)) == [new(), join(number=25)]
        assert listed(chains.delete(chain, rule)) == [new(), join(number=25)]


def test_a_vip_of_another_interface() -> None:
    chain = of([new()])
    for rule in (new(name="eth1"), join(name="eth1")):
        said = refused(lambda rule=rule: chains.append(chain, rule, ETH1))  # type: ignore[misc]
        assert said == f"{VIP} is shared on eth0 already"


def test_join_of_a_vip_that_is_not_there() -> None:
    said = refused(lambda: chains.append(of([new()]), join(OTHER), ETH0))
    assert said == f"no config found for {OTHER}, need 'new'"


@pytest.mark.parametrize(
    ("differing", "said"),
    [
        (
            {"mode": HashMode.SOURCEIP_SOURCEPORT},
            "hashmode sourceip-sourceport instead of sourceip",
        ),
        ({"mac": Mac("01005e000021")}, "clustermac 01:00:5e:00:00:21 instead of 01:00:5e:00:00:20"),
        ({"total": 5}, "total-nodes 5 instead of 4"),
        ({"hash_init": 8}, "hash-init 8 instead of 7"),
    ],
)
def test_a_parameter_that_differs_is_named(differing: dict[str, object], said: str) -> None:
    chain = of([new()])
    other = msgspec.structs.replace(SHARED, **differing)
    rule = msgspec.structs.replace(new(number=81), sharing=other)
    assert refused(lambda: chains.append(chain, rule, ETH0)) == (
        f"{VIP} is shared already, with other parameters: {said}"
    )


def test_another_local_node_is_named() -> None:
    chain = of([new()])
    assert refused(lambda: chains.append(chain, new(number=81, node=2), ETH0)).endswith(
        "with other parameters: local-node 2 instead of 1"
    )
    assert listed(chains.append(chain, new(number=81), ETH0)) == [new(), new(number=81)]


def test_all_that_differs_is_named_at_once() -> None:
    other = Sharing(HashMode.SOURCEIP_SOURCEPORT_DESTPORT, Mac("01005e000021"), 5, 8)
    rule = msgspec.structs.replace(new(), sharing=other, local_node=2)
    said = refused(lambda: chains.append(of([new()]), rule, ETH0))
    names = ("hashmode", "clustermac", "total-nodes", "hash-init", "local-node")
    assert all(f"{name} " in said for name in names)
    assert said.count(" instead of ") == len(names)


def test_a_joined_rule_keeps_the_vip() -> None:
    chain = chains.delete(of([new(), join()]), new())
    assert listed(chain) == [join()]
    assert chain.find(VIP) == (chain.interfaces[0], chain.interfaces[0].groups[0])
    assert chain.interfaces[0].groups[0].sharing == SHARED
    # Another --new may follow; nobody says any more which local node was meant.
    assert listed(chains.append(chain, new(node=3), ETH0)) == [join(), new(node=3)]


def test_the_last_rule_takes_the_group_with_it() -> None:
    chain = chains.delete(chains.delete(of([new(), new(OTHER), join()]), new()), join())
    assert [group.vip for group in chain.interfaces[0].groups] == [OTHER]
    chain = chains.delete(chain, new(OTHER))
    assert chain.interfaces[0].groups == ()
    assert chain.entries() == ()
    assert refused(lambda: chains.append(chain, join(), ETH0)).startswith("no config found")


def test_indices_and_slots_are_used_again() -> None:
    chain = chains.delete(of([new(), new(OTHER)]), new())
    (group, again) = chains.append(chain, new(), ETH0).interfaces[0].groups
    assert (group.index, again.index) == (1, 0)
    assert {e.slot for e in chains.append(chain, new(), ETH0).entries()} == {1, 2}


def test_delete_what_is_not_there() -> None:
    assert refused(lambda: chains.delete(of([new()]), join())) == (
        "Bad rule (does a matching rule exist in that chain?)."
    )


@pytest.mark.parametrize("number", [1, 2, 3])
def test_delete_by_number(number: int) -> None:
    rules = [new(), new(OTHER, name="eth1"), join()]
    chain = chains.delete_number(of(rules), number)
    assert listed(chain) == [*rules[: number - 1], *rules[number:]]


@pytest.mark.parametrize("number", [-1, 0, 2])
def test_a_number_that_is_not_there(number: int) -> None:
    said = f"there is no rule number {number}: the chain has 1"
    assert refused(lambda: chains.delete_number(of([new()]), number)) == said


def test_flush_leaves_what_must_be_given_back() -> None:
    chain = chains.flush(of([new(), new(OTHER, name="eth1")]))
    assert chain.entries() == ()
    assert [(one.index, one.name, one.groups) for one in chain.interfaces] == [
        (ETH0, "eth0", ()),
        (ETH1, "eth1", ()),
    ]
    assert chains.flush(Chain()) == Chain()


@pytest.mark.parametrize(
    "change",
    [
        lambda chain: chains.append(chain, join(OTHER, name="eth2"), DAEMONS.index),
        lambda chain: chains.append(chain, new(OTHER, name="eth2"), DAEMONS.index),
        lambda chain: chains.append(chain, new(OTHER, name="renamed"), DAEMONS.index),
        lambda chain: chains.append(chain, new(TAKEN), ETH0),
        lambda chain: chains.append(chain, DAEMONS.entries[0].rule, DAEMONS.index),
        lambda chain: chains.insert(chain, new(TAKEN), ETH0, 1),
        lambda chain: chains.insert(chain, new(OTHER, name="eth2"), DAEMONS.index, 1),
        lambda chain: chains.delete(chain, DAEMONS.entries[0].rule),
        lambda chain: chains.delete(chain, join(OTHER, name="eth2")),
        lambda chain: chains.with_xdp(chain, DAEMONS.index, XdpMode.OFF),
    ],
)
def test_what_a_daemon_runs_is_not_for_commands(change: Callable[[Chain], Chain]) -> None:
    chain = of([new()]).with_interface(DAEMONS)
    with pytest.raises(RefusedError) as error:
        change(chain)
    assert error.value.message == "eth2 is run by the daemon of cluster web"
    assert "in its file" in error.value.cure


def test_numbers_and_flush_pass_over_what_a_daemon_runs() -> None:
    chain = of([new(), join()]).with_interface(DAEMONS)
    assert [chains.numbered(chain, number).rule for number in (1, 2)] == [new(), join()]
    assert refused(lambda: chains.delete_number(chain, 3)).endswith("the chain has 2")
    assert chains.find(chain, DAEMONS.entries[0].rule) is None
    assert listed(chains.delete_number(chain, 1)) == [join()]
    assert chains.flush(chain).interfaces[1] == DAEMONS
    assert listed(chains.flush(chain)) == []


def test_where_a_daemon_runs_all_there_are_no_numbers() -> None:
    chain = Chain().with_interface(DAEMONS)
    said = "eth2 is run by the daemon of cluster web"
    assert refused(lambda: chains.delete_number(chain, 1)) == said
    assert refused(lambda: chains.delete_number(Chain(), 1)).endswith("the chain has 0")


def test_flush_is_refused_where_a_daemon_runs_all() -> None:
    with pytest.raises(RefusedError) as error:
        chains.flush(Chain().with_interface(DAEMONS))
    assert error.value.message == "eth2 is run by the daemon of cluster web"
    assert "in its file" in error.value.cure


def test_clear_takes_that_too() -> None:
    chain = chains.clear(of([new()]).with_interface(DAEMONS))
    assert chain.interfaces == (InterfaceState(ETH0, "eth0"), InterfaceState(4, "eth2"))


def test_the_xdp_mode_is_of_one_interface() -> None:
    chain = chains.with_xdp(of([new(), new(OTHER, name="eth1")]), ETH1, XdpMode.OFF)
    assert [one.xdp for one in chain.interfaces] == [XdpMode.AUTO, XdpMode.OFF]
    assert listed(chain) == [new(), new(OTHER, name="eth1")]
    assert chains.with_xdp(chain, 99, XdpMode.OFF) == chain
    # A further rule leaves it as it is.
    assert chains.append(chain, join(OTHER, name="eth1"), ETH1).interfaces[1].xdp is XdpMode.OFF


def test_64_vips_and_no_more() -> None:
    vips = [IPv4Address(f"10.9.1.{last}") for last in range(limits.GROUPS + 1)]
    chain = of([new(vip) for vip in vips[:-1]])
    assert sorted(group.index for group in chain.interfaces[0].groups) == list(range(64))
    said = refused(lambda: chains.append(chain, new(vips[-1]), ETH0))
    assert said == "eth0 has 64 VIPs, more do not fit"
    # Another interface has its own.
    assert len(chains.append(chain, new(vips[-1], name="eth1"), ETH1).interfaces) == 2
    assert len(chains.append(chain, join(vips[0]), ETH0).entries()) == 65


def test_1023_rules_and_no_more() -> None:
    chain = of([new(number=number) for number in range(1, limits.RULES)])
    assert {entry.slot for entry in chain.entries()} == set(range(1, 1024))
    said = refused(lambda: chains.append(chain, join(), ETH0))
    assert said == "eth0 has 1023 rules, more do not fit"
    assert chains.append(chain, new(number=1), ETH0) == chain
    assert len(chains.append(chain, new(OTHER, name="eth1"), ETH1).entries()) == 1024
    chain = chains.delete_number(chain, 500)
    assert len(chains.append(chain, join(number=2000), ETH0).entries()) == 1023
