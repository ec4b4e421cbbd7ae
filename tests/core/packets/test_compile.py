"""The compiled tables, walked as the programs walk them, against the rules as written."""

from __future__ import annotations

import random
from array import array
from ipaddress import IPv4Address, IPv4Network, IPv6Address

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from clusterip.core import limits
from clusterip.core.address import Address
from clusterip.core.errors import RefusedError
from clusterip.core.packets.compile import Condition, Tables, compile_tables, slot_of
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.lookup import Packet, packet_bucket, which
from clusterip.core.packets.model import PORT_MATCH_PROTOCOLS, Mac, Match, Ports, Rule, Sharing
from clusterip.core.packets.state import Chain, Entry, Group, InterfaceState
from tests.bpf.worlds import ipv4, rule_sets

VIP = IPv4Address("10.9.0.100")
SHARED = Sharing(HashMode.SOURCEIP, Mac("01005e000020"), 4)
EMPTY = bytes(512)


def state_of(*matches: Match, vips: tuple[Address, ...] = (VIP,)) -> InterfaceState:
    """Return rules with these matches, every one for each VIP."""
    rules = [Rule(vip, "eth0", match, SHARED) for vip in vips for match in matches]
    return InterfaceState(
        2,
        "eth0",
        groups=tuple(Group(at, vip, SHARED) for at, vip in enumerate(vips)),
        entries=tuple(
            Entry(at, at % (limits.RULES - 1) + 1, rule) for at, rule in enumerate(rules)
        ),
    )


def dports(*ranges: tuple[int, int], negated: bool = False, protocol: int = 6) -> Match:
    return Match(protocol, destination_ports=(Ports("multiport", ranges, negated),))


def from_port(first: int, last: int | None = None) -> Match:
    return Match(6, source_ports=(Ports("tcp", ((first, first if last is None else last),)),))


def walk(tables: Tables, packet: Packet) -> int | None:
    """Return the slot of the rule that covers a packet, 0 for none; None for no VIP."""
    found = condition_of(tables, packet)
    return found.slot if isinstance(found, Condition) else found


def condition_of(tables: Tables, packet: Packet) -> Condition | int | None:
    """Return the condition that holds, found as ci_find_service() of bpf/rules.h does."""
    at = tables.vip_slots[slot_of(packet.vip, tables.vip_seed)]
    if at == 0 or tables.vips[at - 1].group.vip != packet.vip:
        return None
    ported = packet.protocol in PORT_MATCH_PROTOCOLS
    source_port = packet.source_port if ported else 0
    port = packet.destination_port if ported else 0
    table = array("H", tables.tables[tables.vips[at - 1].tables[packet.protocol]])
    page = array("H", tables.pages[table[port >> 8]])
    index = page[port & 0xFF]
    for _ in range(limits.CHAIN):
        if index == 0:
            return 0
        service = tables.services[index - 1]
        condition = service.condition
        if condition.unconditional:
            return condition
        inside = packet.source in condition.source
        within = condition.ports[0] <= source_port <= condition.ports[1]
        if inside != condition.negated and within:
            return condition
        index = service.following
    return 0


def plain(state: InterfaceState, packet: Packet) -> int:
    """Return the slot by brute force over the rules, without boxes or tables."""
    for entry in sorted(state.entries, key=lambda one: one.position):
        match = entry.rule.match
        if entry.rule.vip == packet.vip and all(
            (
                match.protocol == 0
                or (match.protocol == packet.protocol) != match.protocol_negated,
                (packet.source in match.source) != match.source_negated,
                not has_ports(match) or packet.protocol in PORT_MATCH_PROTOCOLS,
                all(accepts(one, packet.source_port) for one in match.source_ports),
                all(accepts(one, packet.destination_port) for one in match.destination_ports),
                all(
                    accepts(one, packet.source_port, packet.destination_port)
                    for one in match.either_ports
                ),
            )
        ):
            return entry.slot
    return 0


def has_ports(match: Match) -> bool:
    return bool(match.source_ports or match.destination_ports or match.either_ports)


def accepts(condition: Ports, *ports: int) -> bool:
    named = any(first <= port <= last for port in ports for first, last in condition.ranges)
    return named != condition.negated


def edges(state: InterfaceState) -> list[int]:
    """Return the ports at which something changes, and their neighbours."""
    matches = [entry.rule.match for entry in state.entries]
    conditions = [
        one
        for match in matches
        for one in (*match.source_ports, *match.destination_ports, *match.either_ports)
    ]
    near = {
        edge + offset
        for one in conditions
        for pair in one.ranges
        for edge in pair
        for offset in (-1, 0, 1)
    }
    return sorted({port for port in near if 0 <= port <= 0xFFFF} | {0, 255, 256, 0xFFFF})


def sources(state: InterfaceState) -> list[IPv4Address]:
    """Return the addresses at the borders of the networks named, and just outside."""
    near = {
        (int(address) + offset) & 0xFFFFFFFF
        for entry in state.entries
        for address in (
            entry.rule.match.source.network_address,
            entry.rule.match.source.broadcast_address,
        )
        for offset in (-1, 0, 1)
    }
    return [IPv4Address(one) for one in sorted(near)]


def packets(state: InterfaceState, rnd: random.Random, count: int) -> list[Packet]:
    """Return packets near the rules' borders."""
    ports, near = edges(state), sources(state)
    protocols = [*{entry.rule.match.protocol for entry in state.entries}, 1, 6, 17, 50, 132, 255]

    def one_port() -> int:
        return rnd.choice(ports) if rnd.random() < 0.8 else rnd.randrange(0x10000)

    return [
        Packet(
            rnd.choice(state.groups).vip,
            rnd.choice(near) if rnd.random() < 0.8 else IPv4Address(rnd.getrandbits(32)),
            one_port(),
            one_port(),
            rnd.choice(protocols) if rnd.random() < 0.9 else rnd.randrange(256),
        )
        for _ in range(count)
    ]


@settings(
    max_examples=settings().max_examples * 5 // 2,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(rule_sets(ipv4), st.integers(0, 2**32))
def test_the_tables_say_what_the_rules_say(state: InterfaceState, seed: int) -> None:
    tables = compile_tables(state)
    chain = Chain((state,))
    for packet in packets(state, random.Random(seed), 60):
        expected = plain(state, packet)
        assert walk(tables, packet) == expected
        answer = which(chain, packet)
        assert (answer.entry.slot if answer.entry else 0) == expected
        found = condition_of(tables, packet)
        if isinstance(found, Condition):
            group = state.group(packet.vip)
            assert group is not None
            treatment = found.treatment
            hashed = replace(group.sharing, mode=treatment.mode)
            assert (treatment.bucket or packet_bucket(hashed, packet)) == answer.bucket


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rule_sets(ipv4))
def test_every_index_is_within_the_limits(state: InterfaceState) -> None:
    tables = compile_tables(state)
    assert tables.vip_seed % 2 == 1
    assert len(tables.vip_slots) == limits.VIP_SLOTS
    assert len(tables.tables) <= limits.TABLES
    assert len(tables.pages) <= limits.PAGES
    assert len(tables.services) < limits.SERVICES
    assert len(set(tables.tables)) == len(tables.tables)
    assert len(set(tables.pages)) == len(tables.pages)
    assert (tables.tables[0], tables.pages[0]) == (EMPTY, EMPTY)
    assert all(index < len(tables.pages) for one in tables.tables for index in array("H", one))
    assert all(index <= len(tables.services) for one in tables.pages for index in array("H", one))
    assert all(index < len(tables.tables) for vip in tables.vips for index in vip.tables)
    # A chain only leads backwards, so it ends.
    assert all(one.following <= at for at, one in enumerate(tables.services))
    assert all(chain_length(tables, at + 1) <= limits.CHAIN for at in range(len(tables.services)))


def chain_length(tables: Tables, index: int) -> int:
    return 0 if index == 0 else 1 + chain_length(tables, tables.services[index - 1].following)


def test_no_rules() -> None:
    tables = compile_tables(InterfaceState(2, "eth0"))
    assert tables.vips == ()
    assert tables.vip_slots == bytes(limits.VIP_SLOTS)
    assert (tables.tables, tables.pages, tables.services) == ((EMPTY,), (EMPTY,), ())
    assert walk(tables, Packet(VIP, VIP)) is None


def test_a_vip_whose_rules_match_nothing() -> None:
    tables = compile_tables(state_of(dports((0, 0xFFFF), negated=True)))
    assert {walk(tables, Packet(VIP, VIP, 1, port)) for port in (0, 80, 65535)} == {0}
    assert tables.services == ()
    assert (tables.tables, tables.pages) == ((EMPTY,), (EMPTY,))


def test_a_rule_that_covers_all() -> None:
    tables = compile_tables(state_of(Match()))
    assert len(tables.services) == 1
    assert len(tables.tables) == 2
    assert len(tables.pages) == 2
    assert {walk(tables, Packet(VIP, VIP, 1, 2, protocol)) for protocol in range(256)} == {1}


def test_what_is_equal_is_stored_once() -> None:
    one = compile_tables(state_of(dports((80, 80)), dports((53, 53), protocol=17)))
    # For each protocol its table and its one page with a port, and page 0.
    assert (len(one.tables), len(one.pages)) == (3, 3)
    vips = tuple(VIP + offset for offset in range(8))
    many = compile_tables(state_of(dports((80, 80)), vips=vips))
    # The slots of the rules differ, so the services do.
    assert (len(many.services), len(many.tables)) == (8, 9)
    # All pages of a range that fills them are one page.
    wide = compile_tables(state_of(dports((0x1000, 0x8FFF))))
    assert (len(wide.tables), len(wide.pages)) == (2, 2)


def test_what_comes_after_a_rule_for_all_sources_is_not_stored() -> None:
    tables = compile_tables(state_of(from_port(1), Match(6), from_port(2), Match(6)))
    assert len(tables.services) == 2


def addresses(count: int, rnd: random.Random) -> list[IPv4Address]:
    return [IPv4Address(number) for number in rnd.sample(range(1, 2**32), count)]


@pytest.mark.parametrize("seed", range(20))
def test_64_random_vips_share_no_slot(seed: int) -> None:
    check_slots(addresses(64, random.Random(seed)))


@pytest.mark.parametrize("shift", range(27))
def test_64_neighbours_at_any_bit_share_no_slot(shift: int) -> None:
    check_slots([IPv4Address((at + 1) << shift) for at in range(64 if shift < 26 else 31)])


@pytest.mark.parametrize("low", range(0, 30, 3))
def test_64_vips_on_a_grid_share_no_slot(low: int) -> None:
    grid = {(x << 24) | (y << low) | 1 for x in range(8) for y in range(8)}
    check_slots([IPv4Address(number & 0xFFFFFFFF) for number in grid])


def check_slots(vips: list[IPv4Address]) -> None:
    tables = compile_tables(state_of(Match(), vips=tuple(vips)))
    taken = [slot for slot in tables.vip_slots if slot]
    assert sorted(taken) == list(range(1, len(set(vips)) + 1))
    for vip in vips:
        assert walk(tables, Packet(vip, VIP)) != 0
    strangers = addresses(200, random.Random(99))
    assert {walk(tables, Packet(one, VIP)) for one in strangers if one not in vips} == {None}


def test_65_vips_are_refused() -> None:
    state = state_of(Match(), vips=tuple(addresses(65, random.Random(1))))
    with pytest.raises(RefusedError, match="more than 64 VIPs on one interface"):
        compile_tables(state)


def test_32_conditions_for_a_port_and_no_more() -> None:
    rules = [from_port(number) for number in range(100, 100 + limits.CHAIN)]
    tables = compile_tables(state_of(*rules))
    assert walk(tables, Packet(VIP, VIP, 100 + limits.CHAIN - 1, 80)) == limits.CHAIN
    with pytest.raises(RefusedError, match="more than 32 conditions on the source"):
        compile_tables(state_of(*rules, Match(6)))
    # Elsewhere there is room for more.
    compile_tables(state_of(*rules, from_network("10.0.0.0/8", 17), dports((80, 80), protocol=17)))


def from_network(text: str, protocol: int = 6) -> Match:
    return Match(protocol, source=IPv4Network(text))


def test_so_many_pages_and_no_more() -> None:
    # Pages that differ in what rule their one port has; the empty one counts.
    def one(at: int, low: int = 0) -> Match:
        port = 256 * (at % 256) + low
        return dports((port, port), protocol=(6, 17, 33, 132, 136)[at // 256])

    rules = [one(at) for at in range(limits.PAGES - 1)]
    tables = compile_tables(state_of(*rules))
    assert len(tables.pages) == limits.PAGES
    last = rules[-1]
    port = last.destination_ports[0].ranges[0][0]
    assert walk(tables, Packet(VIP, VIP, 1, port, last.protocol)) == len(rules)
    message = f"need more than {limits.PAGES} pages of ports"
    with pytest.raises(RefusedError, match=message) as error:
        compile_tables(state_of(*rules, one(limits.PAGES - 1, low=1)))
    assert "distinct ports" in error.value.cure


def test_so_many_tables_and_no_more() -> None:
    # A table for each protocol of each VIP; the empty one counts.
    def rules(count: int) -> InterfaceState:
        vips = [VIP + at // 200 for at in range(count)]
        matches = [Match(1 + at % 200, source=IPv4Network("10.0.0.0/8")) for at in range(count)]
        return InterfaceState(
            2,
            "eth0",
            groups=tuple(Group(at, vip, SHARED) for at, vip in enumerate(sorted({*vips}))),
            entries=tuple(
                Entry(at, at + 1, Rule(vip, "eth0", match, SHARED))
                for at, (vip, match) in enumerate(zip(vips, matches, strict=True))
            ),
        )

    tables = compile_tables(rules(limits.TABLES - 1))
    assert len(tables.tables) == limits.TABLES
    with pytest.raises(RefusedError, match=f"need more than {limits.TABLES} port tables"):
        compile_tables(rules(limits.TABLES))


def test_so_many_services_and_no_more() -> None:
    # Each rule is a condition of its own, 31 of them for a port.
    def rules(count: int) -> InterfaceState:
        matches = [
            Match(
                6,
                source=IPv4Network((0x0A000000 + 256 * (at % 31), 24)),
                source_ports=(Ports("tcp", ((at, at),)),),
                destination_ports=(Ports("tcp", ((at // 31, at // 31),)),),
            )
            for at in range(count)
        ]
        return state_of(*matches)

    state = rules(limits.SERVICES - 1)
    tables = compile_tables(state)
    assert len(tables.services) == limits.SERVICES - 1
    last = state.entries[-1].rule.match
    at = limits.SERVICES - 2
    packet = Packet(VIP, last.source.network_address, at, at // 31)
    assert walk(tables, packet) == state.entries[-1].slot
    with pytest.raises(RefusedError, match=f"need more than {limits.SERVICES - 1} services"):
        compile_tables(rules(limits.SERVICES))


@settings(
    max_examples=settings().max_examples * 2 // 5,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(st.integers(1, 400), st.integers(0, 2**32))
def test_many_rules_compile_or_are_refused(count: int, seed: int) -> None:
    rnd = random.Random(seed)
    matches = []
    for _ in range(count):
        first = rnd.randrange(0x10000)
        last = min(0xFFFF, first + rnd.choice((0, 1, 10, 5000)))
        source = IPv4Network((rnd.getrandbits(32), rnd.choice((0, 0, 0, 8, 24))), strict=False)
        ports = (Ports("tcp", ((first, last),)),)
        matches.append(Match(rnd.choice((6, 17)), source=source, destination_ports=ports))
    state = state_of(*matches)
    try:
        tables = compile_tables(state)
    except RefusedError:
        return
    for packet in packets(state, rnd, 20):
        assert walk(tables, packet) == plain(state, packet)


def test_addresses_that_are_alike_have_slots_of_their_own() -> None:
    """Whatever the seed, some folds would never tell these apart, and none would ever be found."""
    numbers = [*(1 << bit for bit in range(32)), *(last << 24 for last in (1, 2, 127, 128, 255))]
    for number in numbers:
        vips: tuple[Address, ...] = (
            IPv4Address(number),
            *(IPv6Address(number << at) for at in range(0, 97, 32)),
            IPv6Address(number << 96 | number),
        )
        tables = compile_tables(state_of(Match(), vips=vips))
        assert len({slot_of(vip, tables.vip_seed) for vip in vips}) == len(vips)
