"""SYN-ACKs on their way out: none leaves for a bucket whose SYNs another host answers by now."""

from __future__ import annotations

import random
from collections import Counter
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clusterip.adapters.abi import NO_DEADLINE, BucketState, Reason
from clusterip.core.address import Address
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import Mac, Match, Rule, Sharing
from clusterip.core.packets.state import Chain
from clusterip.core.rules import chain as chains
from tests.bpf.frames import plain_frame, tagged
from tests.bpf.frames6 import plain_frame6
from tests.bpf.loaded import TC_ACT_SHOT, TC_ACT_STOLEN, TC_ACT_UNSPEC, Loaded
from tests.bpf.reading import untagged
from tests.bpf.reference import Decision, World, decide, in_time
from tests.bpf.worlds import worlds

WORLDS = 3 * settings().max_examples  # 300, and fewer for each mutant
FLOWS = 50
SYN, ACK, ECE, RST, FIN, PSH = 2, 16, 64, 4, 1, 8
ANSWERS = (SYN | ACK, SYN | ACK | ECE)
OTHERS = (SYN, ACK, ACK | PSH, RST | ACK, FIN | ACK, 0)
TCP, UDP = 6, 17
VIPS: tuple[Address, ...] = (IPv4Address("10.9.0.100"), IPv6Address("fd00:9::100"))
SHARING = Sharing(HashMode.SOURCEIP, Mac("01005e000020"), 1)

seen: Counter[tuple[int, Reason]] = Counter()
"""Why SYN-ACKs were sent, or not, by version of IP."""


def whole(
    source: Address, sport: int, target: Address, dport: int, flags: int, protocol: int = TCP
) -> bytes:
    if isinstance(target, IPv4Address):
        return plain_frame(str(source), sport, target, dport, protocol, flags)
    return plain_frame6(str(source), sport, target, dport, protocol, flags)


def some(vip: Address, rnd: random.Random) -> Address:
    """Return any address of the version of `vip`."""
    kind = type(vip)
    return kind(rnd.randbytes(len(vip.packed)))


def in_force(world: World, vip: Address) -> bool:
    """Whether the lease of what shares a VIP is not over."""
    group = world.rules.group(vip)
    assert group is not None
    return not in_time(Decision(Reason.ACCEPT_DRAINING), group, world).drops


@settings(
    deadline=None,
    max_examples=WORLDS,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(worlds(), st.integers(0, 2**32))
def test_as_the_syn_would_fare(loaded: Loaded, world: World, seed: int) -> None:
    loaded.put(world)
    rnd = random.Random(seed)
    counted: Counter[Reason] = Counter()
    vips = [group.vip for group in world.rules.groups]
    for _ in range(FLOWS):
        vip = rnd.choice(vips)
        client, sport, dport = some(vip, rnd), rnd.randrange(65536), rnd.choice((80, 443, 5060))
        reason = decide(whole(client, sport, vip, dport, SYN), world).reason
        assert reason is not None
        if reason is Reason.DROP_DRAINING and not in_force(world, vip):
            reason = Reason.DROP_EXPIRED
        sent = whole(vip, dport, client, sport, rnd.choice(ANSWERS))
        frame = tagged(sent, rnd) if rnd.random() < 0.2 else sent
        if untagged(frame) != sent:  # a VLAN's, or nobody's
            continue
        seen[vip.version, reason] += 1
        kept_back = reason is Reason.DROP_DRAINING
        discarded = reason.name.startswith("DROP")
        verdict = TC_ACT_SHOT if discarded else TC_ACT_UNSPEC
        first = TC_ACT_STOLEN if kept_back else verdict
        second = TC_ACT_UNSPEC if kept_back else verdict
        assert loaded.egress(frame) == (first, frame), (reason, frame.hex())
        assert loaded.guard_egress.verdict(frame) == second
        counted[reason] += kept_back or 2 * discarded
        other = whole(vip, dport, client, sport, rnd.choice(OTHERS))
        assert loaded.egress(other) == (TC_ACT_UNSPEC, other)
        stranger = whole(client, dport, some(vip, rnd), sport, SYN | ACK)
        assert loaded.egress(stranger) == (TC_ACT_UNSPEC, stranger)
    packets = loaded.plane.count(0).packets
    assert {one: number for one, number in packets.items() if number} == +counted


def test_every_reason_was_among_them() -> None:
    reasons = {
        Reason.ACCEPT_OWNED, Reason.ACCEPT_TAKING, Reason.DROP_NOT_OWNED, Reason.DROP_DRAINING,
        Reason.DROP_EXPIRED, Reason.DROP_NO_RULE, Reason.DROP_SERVICE,
    }  # fmt: skip
    assert set(seen) == {(version, reason) for version in (4, 6) for reason in reasons}


@pytest.mark.parametrize("vip", VIPS, ids=("ipv4", "ipv6"))
@pytest.mark.parametrize("state", BucketState)
@pytest.mark.parametrize("leased", [True, False])
def test_by_state(loaded: Loaded, vip: Address, state: BucketState, leased: bool) -> None:
    (rules,) = chains.append(Chain(), Rule(vip, "eth0", Match(), SHARING), 7).interfaces
    table = rules.groups[0].index
    deadline = NO_DEADLINE if leased else 1
    loaded.put(World(rules, {table: [state]}, {table: deadline}))
    client = some(vip, random.Random(1))
    first, second = (loaded.egress(whole(vip, 80, client, 1234, SYN | ACK))[0] for _ in range(2))
    goes = leased and state in {BucketState.OWNED, BucketState.WATCHING, BucketState.TAKING}
    if leased and state is BucketState.DRAINING:
        # To whoever sent it that is no error: it is sent again.
        assert (first, second) == (TC_ACT_STOLEN, TC_ACT_UNSPEC)
    else:
        assert {first, second} == {TC_ACT_UNSPEC if goes else TC_ACT_SHOT}
    for flags, protocol in ((ACK, TCP), (RST, TCP), (SYN | ACK, UDP)):
        assert loaded.egress(whole(vip, 80, client, 1234, flags, protocol))[0] == TC_ACT_UNSPEC


@pytest.mark.parametrize("vip", VIPS, ids=("ipv4", "ipv6"))
@pytest.mark.parametrize("whose", ["theirs", "ours"])
def test_a_syn_that_another_host_answered_meanwhile(
    loaded: Loaded, vip: Address, whose: str
) -> None:
    """Its bucket is back here, and so is the timer of the half-open connection."""
    (rules,) = chains.append(Chain(), Rule(vip, "eth0", Match(), SHARING), 7).interfaces
    client = some(vip, random.Random(1))
    ends = (str(client), 1234, str(vip), 80)
    table = rules.groups[0].index
    loaded.put(World(rules, {table: [BucketState.OWNED]}, openings={ends: whose}))
    verdict, _ = loaded.egress(whole(vip, 80, client, 1234, SYN | ACK))
    assert verdict == (TC_ACT_SHOT if whose == "theirs" else TC_ACT_UNSPEC)
    # The client's next SYN, which is accepted here, makes it ours.
    assert loaded.ingress(whole(client, 1234, vip, 80, SYN)) == TC_ACT_UNSPEC
    verdict, _ = loaded.egress(whole(vip, 80, client, 1234, SYN | ACK))
    assert verdict == TC_ACT_UNSPEC


@pytest.mark.parametrize("vip", VIPS, ids=("ipv4", "ipv6"))
@pytest.mark.parametrize("before", [0, 1, 2])
def test_a_syn_that_comes_again_while_the_bucket_drains(
    loaded: Loaded, vip: Address, before: int
) -> None:
    """Another host answers it, whatever was sent before, or kept back."""
    (rules,) = chains.append(Chain(), Rule(vip, "eth0", Match(), SHARING), 7).interfaces
    client = some(vip, random.Random(1))
    loaded.put(World(rules, {rules.groups[0].index: [BucketState.DRAINING]}))
    answer = whole(vip, 80, client, 1234, SYN | ACK)
    verdicts = [loaded.egress(answer)[0] for _ in range(before)]
    assert verdicts == [TC_ACT_STOLEN, TC_ACT_UNSPEC][:before]
    loaded.open({(str(client), 1234, str(vip), 80): "theirs"})
    assert [loaded.egress(answer)[0] for _ in range(2)] == [TC_ACT_SHOT] * 2


@pytest.mark.parametrize("vip", VIPS, ids=("ipv4", "ipv6"))
@pytest.mark.parametrize("state", BucketState)
def test_a_syn_that_came_to_this_host_alone(
    loaded: Loaded, vip: Address, state: BucketState
) -> None:
    """At the own MAC of another interface, from a container say, whoever has the bucket."""
    (rules,) = chains.append(Chain(), Rule(vip, "eth0", Match(6), SHARING), 7).interfaces
    table = rules.groups[0].index
    client = some(vip, random.Random(1))
    to_own_mac = bytes(6) + whole(client, 1234, vip, 80, SYN)[6:]
    for deadline in (NO_DEADLINE, 1):
        loaded.put(World(rules, {table: [state]}, {table: deadline}))
        assert loaded.guard_ingress.verdict(to_own_mac) == TC_ACT_UNSPEC
        for egress in (loaded.egress, loaded.guard_egress.changed):
            assert egress(whole(vip, 80, client, 1234, SYN | ACK))[0] == TC_ACT_UNSPEC
        assert set(loaded.openings().values()) == {"alone"}
        # Its next one comes to every host, and another answers it.
        ends = (str(client), 1234, str(vip), 80)
        loaded.open({ends: "theirs"})
        assert loaded.egress(whole(vip, 80, client, 1234, SYN | ACK))[0] == TC_ACT_SHOT
