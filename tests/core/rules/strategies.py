"""Rules for Hypothesis: every rule that the grammar can say, in its canonical form."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from hypothesis import strategies as st

from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import (
    ALL_PORTS,
    PORT_MATCH_PROTOCOLS,
    Comment,
    Mac,
    Match,
    PortRange,
    Ports,
    Rule,
    Sharing,
)

PLAIN = {6: "tcp", 17: "udp", 33: "dccp", 132: "sctp"}
LETTERS = "abcdefghijklmnopqrstuvwxyzABZ0189._-@%"

ports = st.integers(0, 0xFFFF)
ranges = st.tuples(ports, ports).map(lambda pair: (min(pair), max(pair)))
strict_ranges = ranges.filter(lambda pair: pair[0] < pair[1])


@st.composite
def port_lists(draw: st.DrawFn) -> tuple[PortRange, ...]:
    """Draw what multiport takes: up to 15 places, a range takes two."""
    entry = st.one_of(ports.map(lambda port: (port, port)), strict_ranges)
    wanted = draw(st.lists(entry, min_size=1, max_size=15))
    taken: list[PortRange] = []
    slots = 0
    for first, last in wanted:
        slots += 1 if first == last else 2
        if slots <= 15:
            taken.append((first, last))
    return tuple(taken)


multiports = st.builds(Ports, st.just("multiport"), port_lists(), st.booleans())


@st.composite
def matches(draw: st.DrawFn, *, lists: int = 2) -> Match:
    """Draw a match; at most `lists` multiport conditions of each kind."""
    protocol = draw(st.one_of(st.sampled_from(sorted(PORT_MATCH_PROTOCOLS)), st.integers(0, 255)))
    negated = protocol != 0 and draw(st.booleans())
    conditions: dict[str, tuple[Ports, ...]] = {"s": (), "d": (), "e": ()}
    if protocol in PORT_MATCH_PROTOCOLS and not negated:
        if protocol in PLAIN:
            plain = st.builds(
                Ports,
                st.just(PLAIN[protocol]),
                ranges.filter(lambda pair: pair != ALL_PORTS).map(lambda pair: (pair,)),
                st.booleans(),
            )
            for key in "sd":
                conditions[key] = tuple(draw(st.lists(plain, max_size=1)))
            if not any(conditions.values()) and draw(st.booleans()):
                conditions["d"] = (Ports(PLAIN[protocol], (ALL_PORTS,)),)
        for key in "sde":
            conditions[key] += tuple(draw(st.lists(multiports, max_size=lists)))
    network = st.builds(
        lambda address, bits: IPv4Network((address, bits), strict=False),
        st.integers(0, 2**32 - 1),
        st.integers(0, 32),
    )
    return Match(
        protocol,
        negated,
        draw(network),
        draw(st.booleans()),
        conditions["s"],
        conditions["d"],
        conditions["e"],
    )


# iptables does not quote them: a name that looks like an option is taken for one.
interfaces = st.text(LETTERS, min_size=1, max_size=15).filter(
    lambda name: name not in {".", ".."} and not name.startswith("-")
)
vips = (
    st.integers(1, 2**32 - 2)
    .map(IPv4Address)
    .filter(lambda vip: not vip.is_multicast and not vip.is_loopback)
)


texts = st.one_of(
    st.text("abcXYZ019_-", max_size=8).map(str.encode),
    st.text("ab é\"'\\\t\r!-/*", max_size=12).map(str.encode),
    st.binary(max_size=255).map(lambda raw: raw.translate(None, b"\0\n")),
)


@st.composite
def comments(draw: st.DrawFn, match: Match) -> tuple[Comment, ...]:
    """Draw comments of a rule, in their places among its other matches."""
    number = sum(map(len, match.ports()))
    plain = [[one for one in ports if one.module != "multiport"] for ports in match.ports()]
    number -= bool(plain[0] and plain[1])
    drawn = draw(st.lists(st.builds(Comment, texts, st.integers(0, number)), max_size=2))
    return tuple(sorted(drawn, key=lambda one: one.after))


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    """Draw a rule, one that introduces its VIP or one that joins."""
    sharing = None
    local_node = 0
    if draw(st.booleans()):
        raw = draw(st.binary(min_size=6, max_size=6))
        total = draw(st.integers(1, 256))
        sharing = Sharing(
            draw(st.sampled_from(HashMode)),
            Mac.of(bytes([raw[0] | 1]) + raw[1:]),
            total,
            draw(st.integers(0, 2**32 - 1)),
        )
        local_node = draw(st.integers(0, total))
    match = draw(matches())
    return Rule(
        draw(vips),
        draw(interfaces),
        match,
        sharing,
        local_node,
        draw(st.booleans()),
        comments=draw(comments(match)),
    )
