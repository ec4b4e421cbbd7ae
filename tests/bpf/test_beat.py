"""A message that shows a lease to be over closes the group, in tc, before what came after it."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP, IPOption
from scapy.layers.l2 import Dot1Q, Ether

from clusterip.adapters.abi import NO_DEADLINE, BucketState
from clusterip.adapters.clock import boottime
from clusterip.core.messages.message import Message
from clusterip.core.messages.siphash import siphash
from clusterip.core.messages.wire import Codec, clock_key
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import Mac, Rule, Sharing
from clusterip.core.packets.state import Chain
from clusterip.core.rules import chain as chains
from tests.bpf.loaded import Loaded
from tests.bpf.reference import World

UNSPEC = 2**32 - 1
MINUTE = 60 * 10**9
SLACK = 10**9
VIP = IPv4Address("10.9.0.100")
SHARING = Sharing(HashMode.SOURCEIP, Mac("01005e000020"), 1)
RULES = chains.append(Chain(), Rule(VIP, "eth0", sharing=SHARING), 7).interfaces[0]
SENDER, INCARNATION = 2**63 + 77, 2**63 + 5
LEADS = [10**15, -(10**10)]


CLUSTER, KEY = 3, 200
SECRET, NEXT_SECRET = bytes(range(32)), bytes(range(1, 33))


def beat(
    clock: int,
    *,
    incarnation: int = INCARNATION,
    sender: int = SENDER,
    secret: bytes = SECRET,
    cluster: int = CLUSTER,
) -> bytes:
    message = Message(sender, incarnation, 9, 1, 1, clock=clock)
    return Codec(cluster, {KEY: secret}, KEY, 120).encode(message)


def carried(content: bytes, *, port: int = 5407, tags: int = 0, **fields: Any) -> bytes:
    frame = Ether()
    for _ in range(tags):
        frame /= Dot1Q(vlan=0, prio=6)
    return bytes(frame / IP(dst="10.9.0.11", **fields) / UDP(dport=port) / content)


@pytest.fixture(params=LEADS)
def end(loaded: Loaded, request: pytest.FixtureRequest) -> int:
    """What the other's clock shows when the lease of a group that is open here is over."""
    until = boottime() + MINUTE
    loaded.put(World(RULES, {0: [BucketState.OWNED]}, {0: until}))
    loaded.maps.trust({KEY: clock_key(SECRET, CLUSTER)})
    loaded.maps.follow(0, SENDER, INCARNATION, request.param, 2 * MINUTE)
    return until + int(request.param)


def closes(loaded: Loaded, frame: bytes) -> bool:
    before = loaded.maps.deadline(0)
    assert loaded.ingress(frame) == UNSPEC
    after = loaded.maps.deadline(0)
    assert after in {0, before}
    return after == 0


def test_the_end_of_the_lease_by_another_clock_closes(loaded: Loaded, end: int) -> None:
    lead = end - loaded.maps.deadline(0)
    assert not closes(loaded, carried(beat(end - 1)))
    # It was taken for a clock that is so much ahead.
    loaded.maps.follow(0, SENDER, INCARNATION, lead, 2 * MINUTE)
    assert closes(loaded, carried(beat(end)))


@pytest.mark.parametrize("tags", [1, 2])
def test_behind_priority_tags_too(loaded: Loaded, end: int, tags: int) -> None:
    assert closes(loaded, carried(beat(end + 1), tags=tags))


def test_in_the_first_fragment(loaded: Loaded, end: int) -> None:
    assert closes(loaded, carried(beat(end + 1), flags=1))


def test_behind_options_and_to_any_port(loaded: Loaded, end: int) -> None:
    assert closes(loaded, carried(beat(end + 1), port=99, options=[IPOption(bytes(12))]))


def test_nobody_else_closes(loaded: Loaded, end: int) -> None:
    late = end + MINUTE
    other_kind = b"CLIC" + beat(late)[4:]
    for content in (
        beat(late, incarnation=INCARNATION + 1),
        beat(late, sender=SENDER + 1),
        beat(late)[:53],
        other_kind,
    ):
        assert not closes(loaded, carried(content))
    for fields in ({"frag": 1}, {"flags": 1, "frag": 1}, {"proto": 6}):
        assert not closes(loaded, carried(beat(late), **fields))


def test_what_is_said_in_another_version_closes(loaded: Loaded, end: int) -> None:
    """All begin alike."""
    assert closes(loaded, carried(beat(end + 1)[:4] + bytes([9]) + beat(end + 1)[5:]))


@pytest.mark.parametrize("lead", LEADS)
def test_a_clock_that_went_on_without_ours_closes(loaded: Loaded, end: int, lead: int) -> None:
    """However long the lease is; and what it is ahead by is known then."""
    loaded.maps.follow(0, SENDER, INCARNATION, lead, SLACK)
    assert not closes(loaded, carried(beat(boottime() + lead + SLACK // 2)))
    assert closes(loaded, carried(beat(boottime() + lead + 3 * SLACK)))
    loaded.maps.set_deadline(0, boottime() + MINUTE)
    assert not closes(loaded, carried(beat(boottime() + lead + 3 * SLACK)))
    assert closes(loaded, carried(beat(boottime() + lead + 5 * SLACK)))


def test_who_has_no_key_sets_no_clock(loaded: Loaded, end: int) -> None:
    ahead = end - MINUTE - boottime()
    loaded.maps.follow(0, SENDER, INCARNATION, ahead, SLACK)
    late = boottime() + ahead + 10 * SLACK
    assert not closes(loaded, carried(beat(late, secret=NEXT_SECRET)))
    assert closes(loaded, carried(beat(late)))


def test_who_has_no_key_closes_nothing(loaded: Loaded, end: int) -> None:
    """Neither by a clock put into a message of another, nor by another key or cluster."""
    late = end + MINUTE
    honest, told = beat(end - 1), beat(late)
    clock, tag = slice(38, 46), slice(46, 54)
    forged = [
        honest[: clock.start] + told[clock] + honest[clock.stop :],
        *(
            told[: tag.start] + (int.from_bytes(told[tag], "big") ^ 1 << bit).to_bytes(8, "big")
            for bit in range(64)
        ),
        told[:5] + bytes([KEY ^ 1]) + told[6:],
        beat(late, secret=NEXT_SECRET),
        beat(late, cluster=CLUSTER + 1),
    ]
    for content in forged:
        assert not closes(loaded, carried(content))
    assert closes(loaded, carried(told))


def test_without_a_key_nobody_closes_not_even_by_the_tag_of_none(loaded: Loaded, end: int) -> None:
    late = end + MINUTE
    loaded.maps.trust({})
    zero = siphash(bytes(16), struct.pack("<QQQ", SENDER, INCARNATION, late)).to_bytes(8, "big")
    for tag in (beat(late)[46:54], zero):
        assert not closes(loaded, carried(beat(late)[:46] + tag))
    loaded.maps.trust({KEY: clock_key(NEXT_SECRET, CLUSTER), 0: clock_key(SECRET, CLUSTER)})
    assert not closes(loaded, carried(beat(late)))
    assert closes(loaded, carried(beat(late, secret=NEXT_SECRET)))


def test_what_has_no_deadline_is_not_closed(loaded: Loaded, end: int) -> None:
    loaded.maps.set_deadline(0, NO_DEADLINE)
    assert not closes(loaded, carried(beat(end + 9 * MINUTE)))


def test_an_end_that_is_sooner_opens_nothing_that_was_closed(loaded: Loaded, end: int) -> None:
    assert closes(loaded, carried(beat(end)))
    loaded.maps.end_sooner(0, boottime() + MINUTE)
    assert loaded.maps.deadline(0) == 0
    loaded.maps.set_deadline(0, boottime() + MINUTE)
    loaded.maps.end_sooner(0, 5)
    assert loaded.maps.deadline(0) == 5
