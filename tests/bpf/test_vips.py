"""What is a VIP, and which of its rules: where the tables could be right by chance."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address

import pytest

from clusterip import bucket
from clusterip.adapters.abi import BucketState, Reason
from clusterip.core.address import Address, words
from clusterip.core.limits import BUCKETS, CHAIN
from clusterip.core.packets.compile import compile_tables, slot_of
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import Mac, Match, Rule, Sharing
from clusterip.core.packets.state import Chain, InterfaceState
from clusterip.core.rules import chain as chains
from tests.bpf.frames import plain_frame
from tests.bpf.frames6 import plain_frame6
from tests.bpf.loaded import XDP_DROP, XDP_PASS, Loaded
from tests.bpf.reference import World, decide

SHARING = Sharing(HashMode.SOURCEIP, Mac("01005e000020"), 1)
CLIENT, CLIENT6 = "10.9.1.1", "2001:db8:1::1"


def rules_for(vip: Address) -> InterfaceState:
    return chains.append(Chain(), Rule(vip, "eth0", sharing=SHARING), 7).interfaces[0]


def in_one_slot(pairs: list[tuple[Address, Address]]) -> tuple[Address, Address]:
    """Return a pair of which the first, as a VIP, has the slot that the second would have."""
    seed = compile_tables(rules_for(pairs[0][0])).vip_seed  # of any single VIP
    return next(pair for pair in pairs if slot_of(pair[0], seed) == slot_of(pair[1], seed))


def test_an_ipv4_address_that_an_ipv6_vip_begins_with(loaded: Loaded) -> None:
    begun = IPv4Address("32.1.13.184")  # 2001:db8::
    vips: list[tuple[Address, Address]] = [
        (IPv6Address(begun.packed + host.to_bytes(12, "big")), begun) for host in range(1, 20_000)
    ]
    vip, address = in_one_slot(vips)
    assert words(vip)[0] == words(address)[0]
    assert isinstance(address, IPv4Address)
    loaded.put(World(rules_for(vip)))
    assert loaded.xdp(plain_frame(CLIENT, 1, address, 2)) == XDP_PASS


def test_an_ipv6_address_that_an_ipv4_vip_begins(loaded: Loaded) -> None:
    vips: list[tuple[Address, Address]] = [
        (IPv4Address(number), IPv6Address(number << 96))
        for number in range(1 << 29, (1 << 29) + 20_000)
    ]
    vip, address = in_one_slot(vips)
    assert isinstance(address, IPv6Address)
    loaded.put(World(rules_for(vip)))
    assert loaded.xdp(plain_frame6(CLIENT6, 1, address, 2)) == XDP_PASS


@pytest.mark.parametrize("word", range(4))
def test_an_ipv6_address_of_which_one_word_is_not_the_vips(loaded: Loaded, word: int) -> None:
    one = int(IPv6Address("2001:db8:1:2:3:4:5:100"))
    vip, address = in_one_slot(
        [(IPv6Address(one), IPv6Address(one ^ other << 32 * word)) for other in range(1, 20_000)]
    )
    assert isinstance(vip, IPv6Address)
    assert isinstance(address, IPv6Address)
    loaded.put(World(rules_for(vip)))
    assert loaded.xdp(plain_frame6(CLIENT6, 1, vip, 2)) == XDP_DROP
    assert loaded.xdp(plain_frame6(CLIENT6, 1, address, 2)) == XDP_PASS


def test_the_last_bucket_of_the_most_is_counted(loaded: Loaded) -> None:
    vip, most = IPv4Address("10.9.0.100"), BUCKETS
    sharing = Sharing(HashMode.SOURCEIP_SOURCEPORT, Mac("01005e000020"), most)
    loaded.put(World(chains.append(Chain(), Rule(vip, "eth0", sharing=sharing), 7).interfaces[0]))
    mode = "sourceip-sourceport"
    port = next(one for one in range(1, 1 << 16) if bucket(mode, most, 0, CLIENT, one) == most)
    assert loaded.xdp(plain_frame(CLIENT, port, vip, 2)) == XDP_DROP
    assert [packets for packets, _ in loaded.maps.traffic(0)] == [0] * (most - 1) + [1]


def test_the_last_rule_of_the_longest_chain(loaded: Loaded) -> None:
    vip = IPv4Address("10.9.0.100")
    chain = Chain()
    for number in range(CHAIN):
        match = Match(source=IPv4Network(f"10.8.{number}.0/24"))
        chain = chains.append(chain, Rule(vip, "eth0", match, SHARING), 7)
    rules = chain.interfaces[0]
    world = World(rules, {0: [BucketState.OWNED]})
    loaded.put(world)
    for number in (0, CHAIN - 1):
        frame = plain_frame(f"10.8.{number}.1", 1, vip, 2)
        assert decide(frame, world).reason is Reason.ACCEPT_OWNED
        assert loaded.xdp(frame) == XDP_PASS
    assert loaded.xdp(plain_frame(f"10.8.{CHAIN}.1", 1, vip, 2)) == XDP_DROP
