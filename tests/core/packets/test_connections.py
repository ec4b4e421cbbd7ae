"""Connections per bucket, against the plain way: one rule after the other."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address, IPv4Network

from hypothesis import given
from hypothesis import strategies as st

from clusterip.core.packets.connections import Connection, count
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.lookup import Packet, covers, packet_bucket
from clusterip.core.packets.model import Mac, Match, Ports, Rule, ServiceAction, Sharing
from clusterip.core.packets.state import Entry, Group, InterfaceState

VIPS = [IPv4Address("10.9.0.100"), IPv4Address("10.9.0.101"), IPv4Address("10.9.0.102")]
SOURCES = [IPv4Address("192.0.2.7"), IPv4Address("192.0.2.200"), IPv4Address("198.51.100.1")]
EDGES = [0, 1, 79, 80, 81, 443, 65535]
MAC = Mac("01005e000020")

SHARINGS = st.builds(
    Sharing,
    st.sampled_from(HashMode),
    st.just(MAC),
    st.sampled_from([1, 7, 256]),
    st.sampled_from([0, 1234, 0xFFFFFFFF]),
)
RANGES = st.tuples(st.sampled_from(EDGES), st.sampled_from(EDGES)).map(
    lambda pair: (min(pair), max(pair))
)
CONDITIONS = st.lists(
    st.builds(
        Ports,
        st.just("multiport"),
        st.lists(RANGES, min_size=1, max_size=2).map(tuple),
        st.booleans(),
    ),
    max_size=1,
).map(tuple)
NETWORKS = st.sampled_from(["0.0.0.0/0", "192.0.2.0/24", "192.0.2.7/32"]).map(IPv4Network)
MATCHES = st.builds(
    Match,
    protocol=st.sampled_from([0, 6, 17]),
    protocol_negated=st.booleans(),
    source=NETWORKS,
    source_negated=st.booleans(),
) | st.builds(
    Match,
    protocol=st.sampled_from([6, 6, 17]),
    source=NETWORKS,
    source_negated=st.booleans(),
    source_ports=CONDITIONS,
    destination_ports=CONDITIONS,
    either_ports=CONDITIONS,
)
ACTIONS = st.sampled_from(
    [
        (ServiceAction.BALANCE, 0),
        (ServiceAction.BALANCE, 0),
        (ServiceAction.SINGLE, 1),
        (ServiceAction.DROP, 0),
    ]
)
CONNECTIONS = st.lists(
    st.builds(
        Connection,
        st.sampled_from(VIPS),
        st.sampled_from(EDGES),
        st.sampled_from(SOURCES),
        st.sampled_from(EDGES),
    ),
    max_size=40,
)


@st.composite
def states(draw: st.DrawFn) -> InterfaceState:
    """Draw rules of two VIPs, stored in any order; each may hash in a mode of its own."""
    groups = tuple(Group(index, vip, draw(SHARINGS)) for index, vip in enumerate(VIPS[:2]))
    rules = []
    for group in draw(st.lists(st.sampled_from(groups), max_size=6)):
        own = Sharing(
            draw(st.sampled_from(HashMode)), MAC, group.sharing.total, group.sharing.hash_init
        )
        sharing = own if draw(st.booleans()) else None
        action, bucket = draw(ACTIONS)
        rule = Rule(group.vip, "eth0", draw(MATCHES), sharing, action=action, bucket=bucket)
        rules.append(rule)
    entries = [Entry(10 * place, place + 1, rule) for place, rule in enumerate(rules)]
    return InterfaceState(1, "eth0", groups=groups, entries=tuple(draw(st.permutations(entries))))


def oracle(state: InterfaceState, connections: list[Connection]) -> Counter[int]:
    """Count as `core.packets.lookup` has it: each rule in its order, each packet by itself."""
    counts: Counter[int] = Counter()
    for vip, port, source, source_port in connections:
        packet = Packet(vip, source, source_port, port)
        group = state.group(vip)
        for entry in sorted(state.entries, key=lambda entry: entry.position):
            if entry.rule.vip == vip and covers(entry.rule.match, packet):
                assert group
                if entry.rule.action is ServiceAction.SINGLE:
                    counts[entry.rule.bucket] += 1
                elif entry.rule.action is ServiceAction.BALANCE:
                    counts[packet_bucket(entry.rule.sharing or group.sharing, packet)] += 1
                break
    return counts


@given(states(), CONNECTIONS)
def test_every_connection_is_in_the_bucket_of_its_packets(
    state: InterfaceState, connections: list[Connection]
) -> None:
    assert count(state, connections) == oracle(state, connections)


def test_what_no_rule_covers_is_not_counted() -> None:
    sharing = Sharing(HashMode.SOURCEIP, MAC, 4)
    web = Rule(VIPS[0], "eth0", Match(6, destination_ports=(Ports("tcp", ((80, 80),)),)), sharing)
    state = InterfaceState(
        1, "eth0", groups=(Group(0, VIPS[0], sharing),), entries=(Entry(1, 1, web),)
    )
    covered = Connection(VIPS[0], 80, SOURCES[0], 1024)
    others = [covered._replace(port=22), covered._replace(vip=VIPS[1])]
    assert count(state, others) == {}
    assert count(state, iter([*others, covered, covered])) == {
        packet_bucket(sharing, Packet(VIPS[0], SOURCES[0], 1024, 80)): 2
    }
    assert count(state, []) == {}


def test_a_rule_hashes_in_its_own_mode() -> None:
    """So connections of one client to one port are apart, to another they are together."""
    by_client = Sharing(HashMode.SOURCEIP, MAC, 256)
    by_port = Sharing(HashMode.SOURCEIP_SOURCEPORT, MAC, 256)
    rules = [
        Rule(VIPS[0], "eth0", Match(6, destination_ports=(Ports("tcp", ((80, 80),)),)), by_client),
        Rule(VIPS[0], "eth0", Match(6), by_port),
    ]
    entries = tuple(Entry(place, place + 1, rule) for place, rule in enumerate(rules))
    state = InterfaceState(1, "eth0", groups=(Group(0, VIPS[0], by_port),), entries=entries)

    def spread(port: int) -> int:
        return len(count(state, (Connection(VIPS[0], port, SOURCES[0], n) for n in range(100))))

    assert spread(80) == 1
    assert spread(443) > 50


def test_a_single_service_is_one_bucket_and_a_dropping_one_is_none() -> None:
    sharing = Sharing(HashMode.SOURCEIP_SOURCEPORT, MAC, 256)
    ssh, ftp = (Match(6, destination_ports=(Ports("tcp", ((n, n),)),)) for n in (22, 21))
    rules = [
        Rule(VIPS[0], "eth0", ssh, sharing, action=ServiceAction.SINGLE, bucket=200),
        Rule(VIPS[0], "eth0", ftp, sharing, action=ServiceAction.DROP),
        Rule(VIPS[0], "eth0", Match(6), sharing),
    ]
    entries = tuple(Entry(place, place + 1, rule) for place, rule in enumerate(rules))
    state = InterfaceState(1, "eth0", groups=(Group(0, VIPS[0], sharing),), entries=entries)
    some = [Connection(VIPS[0], 22, source, port) for source in SOURCES for port in range(50)]
    assert count(state, some) == {200: 150}
    assert count(state, [one._replace(port=21) for one in some]) == {}
    assert len(count(state, [one._replace(port=80) for one in some])) > 50
