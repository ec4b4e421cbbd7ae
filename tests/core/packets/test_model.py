"""Port conditions and the rectangles of a rule, against what their words say."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import ANY_PROTOCOL, Box, Mac, Match, Ports, Rule, Sharing

# The ends of the port space and a few in the middle: where ranges can touch, overlap or miss.
EDGES = [0, 1, 2, 3, 79, 80, 81, 82, 65532, 65533, 65534, 65535]

RANGE = st.tuples(st.sampled_from(EDGES), st.sampled_from(EDGES)).map(
    lambda pair: (min(pair), max(pair))
)
CONDITION = st.builds(
    Ports, st.just("multiport"), st.lists(RANGE, min_size=1, max_size=4).map(tuple), st.booleans()
)
CONDITIONS = st.lists(CONDITION, max_size=2).map(tuple)
NETWORK = st.sampled_from(
    [IPv4Network(text) for text in ("0.0.0.0/0", "192.0.2.0/24", "192.0.2.128/25", "192.0.2.7/32")]
)
MATCH = st.builds(
    Match,
    protocol=st.sampled_from([ANY_PROTOCOL, 1, 6, 17]),
    protocol_negated=st.booleans(),
    source=NETWORK,
    source_negated=st.booleans(),
    source_ports=CONDITIONS,
    destination_ports=CONDITIONS,
    either_ports=CONDITIONS,
)


def holds(condition: Ports, port: int) -> bool:
    return any(first <= port <= last for first, last in condition.ranges) != condition.negated


def either_holds(condition: Ports, source: int, destination: int) -> bool:
    """Say what multiport's `--ports` says: either is named; with `!`, neither is."""
    named = any(
        first <= port <= last for first, last in condition.ranges for port in (source, destination)
    )
    return named != condition.negated


def in_box(box: Box, protocol: int, source: IPv4Address, ports: tuple[int, int]) -> bool:
    return (
        (box.protocols is None or protocol in box.protocols)
        and (source in box.source) != box.source_negated
        and box.source_ports[0] <= ports[0] <= box.source_ports[1]
        and box.destination_ports[0] <= ports[1] <= box.destination_ports[1]
    )


def in_match(match: Match, protocol: int, source: IPv4Address, ports: tuple[int, int]) -> bool:
    return (
        (match.protocol in {ANY_PROTOCOL, protocol}) != match.protocol_negated
        and (source in match.source) != match.source_negated
        and all(holds(one, ports[0]) for one in match.source_ports)
        and all(holds(one, ports[1]) for one in match.destination_ports)
        and all(either_holds(one, *ports) for one in match.either_ports)
    )


@given(CONDITION)
def test_accepts_is_what_the_ranges_say(condition: Ports) -> None:
    accepted = condition.accepts()
    for port in EDGES:
        assert any(first <= port <= last for first, last in accepted) == holds(condition, port)


@given(CONDITION)
def test_accepts_is_ascending_and_disjoint(condition: Ports) -> None:
    accepted = condition.accepts()
    assert all(0 <= first <= last <= 65535 for first, last in accepted)
    # Ranges that touch are one.
    assert all(one[1] + 1 < two[0] for one, two in pairwise(accepted))


@pytest.mark.parametrize(
    ("ranges", "negated", "accepted"),
    [
        (((80, 80),), False, ((80, 80),)),
        (((80, 90), (85, 95), (96, 96)), False, ((80, 96),)),
        (((0, 65535),), True, ()),
        (((0, 0), (65535, 65535)), True, ((1, 65534),)),
        (((80, 80), (443, 443)), True, ((0, 79), (81, 442), (444, 65535))),
    ],
)
def test_accepts_by_example(
    ranges: tuple[tuple[int, int], ...], negated: bool, accepted: tuple[tuple[int, int], ...]
) -> None:
    assert Ports("tcp", ranges, negated).accepts() == accepted


@given(
    match=MATCH,
    protocol=st.sampled_from([1, 6, 17, 47]),
    source=st.sampled_from(["192.0.2.7", "192.0.2.200", "198.51.100.1"]).map(IPv4Address),
    ports=st.tuples(st.sampled_from(EDGES), st.sampled_from(EDGES)),
)
def test_boxes_are_what_the_match_says(
    match: Match, protocol: int, source: IPv4Address, ports: tuple[int, int]
) -> None:
    boxed = any(in_box(box, protocol, source, ports) for box in match.boxes())
    assert boxed == in_match(match, protocol, source, ports)


def test_a_rule_without_conditions_is_one_box() -> None:
    assert list(Match().boxes()) == [
        Box(None, IPv4Network("0.0.0.0/0"), False, (0, 65535), (0, 65535))
    ]


def test_not_any_protocol_is_none() -> None:
    assert Match(protocol_negated=True).protocols() == frozenset()


def test_mac() -> None:
    mac = Mac.of(bytes.fromhex("01005e000020"))
    assert str(mac) == "01:00:5e:00:00:20"
    assert bytes(mac) == b"\x01\x00\x5e\x00\x00\x20"
    assert mac.multicast
    assert not Mac("00005e000020").multicast


def test_the_same_rule_is_equal() -> None:
    def rule() -> Rule:
        sharing = Sharing(HashMode.SOURCEIP, Mac("01005e000020"), 4)
        return Rule(IPv4Address("10.9.0.100"), "eth0", sharing=sharing, local_node=1)

    assert rule() == rule()
    assert hash(rule()) == hash(rule())
