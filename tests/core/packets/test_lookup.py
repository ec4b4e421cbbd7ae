"""Which bucket and rule a packet falls to, against an oracle that works on other grounds."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterip import bucket
from clusterip.core.errors import RefusedError
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.lookup import Packet, which
from clusterip.core.packets.model import Mac, Match, Ports, Rule, ServiceAction, Sharing
from clusterip.core.packets.state import Chain, Entry, Group, InterfaceState

VIPS = [IPv4Address("10.9.0.100"), IPv4Address("10.9.0.101")]
SHARED = Sharing(HashMode.SOURCEIP_SOURCEPORT_DESTPORT, Mac("01005e000020"), 16, 1234)
EDGES = [0, 1, 79, 80, 81, 443, 65535]

RANGE = st.tuples(st.sampled_from(EDGES), st.sampled_from(EDGES)).map(
    lambda pair: (min(pair), max(pair))
)
CONDITIONS = st.lists(
    st.builds(
        Ports,
        st.just("multiport"),
        st.lists(RANGE, min_size=1, max_size=2).map(tuple),
        st.booleans(),
    ),
    max_size=1,
).map(tuple)
PORTLESS_MATCH = st.builds(
    Match,
    protocol=st.sampled_from([0, 1, 6, 17, 50]),
    protocol_negated=st.booleans(),
    source=st.sampled_from([IPv4Network("0.0.0.0/0"), IPv4Network("192.0.2.0/24")]),
    source_negated=st.booleans(),
)
# Ports can be named only beside one protocol that has them.
PORT_MATCH = st.builds(
    Match,
    protocol=st.sampled_from([6, 17, 33, 132, 136]),
    source=st.sampled_from([IPv4Network("0.0.0.0/0"), IPv4Network("192.0.2.0/24")]),
    source_ports=CONDITIONS,
    destination_ports=CONDITIONS,
    either_ports=CONDITIONS,
)
RULE = st.builds(
    Rule,
    st.sampled_from(VIPS),
    st.just("eth0"),
    PORTLESS_MATCH | PORT_MATCH,
    sharing=st.just(SHARED),
    local_node=st.just(1),
)
PACKET = st.builds(
    Packet,
    vip=st.sampled_from(VIPS),
    source=st.sampled_from(["192.0.2.7", "198.51.100.1"]).map(IPv4Address),
    source_port=st.sampled_from(EDGES),
    destination_port=st.sampled_from(EDGES),
    protocol=st.sampled_from([0, 1, 6, 17, 33, 50, 51, 132, 136, 255]),
)


def chain_of(*rules: Rule) -> Chain:
    """Put the rules on one interface in their order, stored in another."""
    entries = [Entry(10 * place, place + 1, rule) for place, rule in enumerate(rules)]
    groups = tuple(Group(index, vip, SHARED) for index, vip in enumerate(VIPS))
    return Chain((InterfaceState(1, "eth0", groups=groups, entries=tuple(reversed(entries))),))


def named(condition: Ports, port: int) -> bool:
    return any(port in range(first, last + 1) for first, last in condition.ranges)


def oracle(rules: list[Rule], packet: Packet) -> int:
    """Return the number of the first rule that covers the packet, 0 for none."""
    for number, rule in enumerate(rules, start=1):
        match = rule.match
        ports = (packet.source_port, packet.destination_port)
        wanted = [
            rule.vip == packet.vip,
            (match.protocol in (0, packet.protocol)) ^ match.protocol_negated,
            (packet.source in match.source) ^ match.source_negated,
            *(named(one, ports[0]) ^ one.negated for one in match.source_ports),
            *(named(one, ports[1]) ^ one.negated for one in match.destination_ports),
            *(
                (named(one, ports[0]) or named(one, ports[1])) ^ one.negated
                for one in match.either_ports
            ),
        ]
        if all(wanted):
            return number
    return 0


@given(st.lists(RULE, max_size=5), PACKET)
def test_the_rule_is_the_first_that_covers_it(rules: list[Rule], packet: Packet) -> None:
    answer = which(chain_of(*rules), packet)
    assert answer.number == oracle(rules, packet)
    assert answer.covered == bool(answer.number)
    if answer.entry is not None:
        assert answer.entry.rule == rules[answer.number - 1]
        assert answer.entry.slot == answer.number
    else:
        assert answer.number == 0


@given(st.lists(RULE, max_size=3), PACKET)
def test_the_bucket_is_the_hash_whatever_the_rules(rules: list[Rule], packet: Packet) -> None:
    ported = packet.protocol in {6, 17, 33, 50, 51, 132, 136}
    ports = (packet.source_port, packet.destination_port) if ported else ()
    expected = bucket(SHARED.mode.value, SHARED.total, SHARED.hash_init, str(packet.source), *ports)
    answer = which(chain_of(*rules), packet)
    assert (answer.bucket, answer.total) == (expected, 16)


def test_ports_of_esp_are_hashed_but_not_matched() -> None:
    web = Rule(VIPS[0], "eth0", Match(6, destination_ports=(Ports("tcp", ((80, 80),)),)))
    esp = Rule(VIPS[0], "eth0", Match(50))
    source = IPv4Address("192.0.2.7")
    answers = [which(chain_of(web, esp), Packet(VIPS[0], source, 1, low, 50)) for low in range(64)]
    assert {answer.number for answer in answers} == {2}
    assert len({answer.bucket for answer in answers}) > 1


def test_a_port_condition_of_zero_covers_what_has_port_zero() -> None:
    rule = Rule(VIPS[0], "eth0", Match(6, source_ports=(Ports("tcp", ((0, 0),)),)))
    packet = Packet(VIPS[0], IPv4Address("192.0.2.7"), 0, 80)
    assert which(chain_of(rule), packet).number == 1


def test_rules_of_another_vip_count_but_do_not_cover() -> None:
    rules = (Rule(VIPS[1], "eth0"), Rule(VIPS[0], "eth0"))
    assert which(chain_of(*rules), Packet(VIPS[0], IPv4Address("192.0.2.7"))).number == 2


def test_what_a_daemon_runs_is_numbered_by_itself_and_hashed_by_service() -> None:
    by_source = msgspec.structs.replace(SHARED, mode=HashMode.SOURCEIP)
    run = Rule(VIPS[1], "eth1", Match(6), by_source), Rule(VIPS[1], "eth1", Match(17), SHARED)
    entries = tuple(Entry(at, at + 1, rule) for at, rule in enumerate(run))
    daemons = InterfaceState(
        5, "eth1", groups=(Group(0, VIPS[1], by_source),), entries=entries, cluster="web"
    )
    (state,) = chain_of(Rule(VIPS[0], "eth0", Match(1)), Rule(VIPS[0], "eth0")).interfaces
    static = msgspec.structs.replace(state, groups=state.groups[:1])
    chain = Chain((static, daemons))
    source = IPv4Address("192.0.2.7")
    packets = [Packet(vip, source, 7, 80, protocol) for vip in VIPS for protocol in (6, 17)]
    answers = [which(chain, packet) for packet in packets]
    assert [answer.number for answer in answers] == [2, 2, 1, 2]
    assert answers[2].bucket == bucket("sourceip", 16, 1234, str(source))
    assert answers[3].bucket == bucket(SHARED.mode.value, 16, 1234, str(source), 7, 80)
    uncovered = which(chain, Packet(VIPS[1], source, 7, 80, 1))
    assert (uncovered.number, uncovered.bucket) == (0, answers[2].bucket)


def test_a_single_service_has_one_bucket_whoever_asks() -> None:
    ssh = Match(6, destination_ports=(Ports("tcp", ((22, 22),)),))
    chain = chain_of(
        Rule(VIPS[0], "eth0", ssh, SHARED, action=ServiceAction.SINGLE, bucket=9),
        Rule(VIPS[0], "eth0", Match(17), SHARED, action=ServiceAction.DROP),
        Rule(VIPS[0], "eth0", Match(), SHARED),
    )
    packets = [Packet(VIPS[0], IPv4Address(0xC0000200 + n), n, 22) for n in range(64)]
    answers = [which(chain, packet) for packet in packets]
    assert {(answer.number, answer.bucket) for answer in answers} == {(1, 9)}
    dropped = which(chain, msgspec.structs.replace(packets[0], protocol=17))
    assert dropped.number == 2
    others = [which(chain, msgspec.structs.replace(one, destination_port=80)) for one in packets]
    assert len({answer.bucket for answer in others}) > 8


def test_an_address_that_is_not_shared_is_refused() -> None:
    packet = Packet(IPv4Address("10.9.0.1"), IPv4Address("192.0.2.7"))
    with pytest.raises(RefusedError, match=r"10\.9\.0\.1 is not shared here"):
        which(chain_of(), packet)
