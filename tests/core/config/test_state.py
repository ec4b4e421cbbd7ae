"""A configuration's state: what its tables choose for a packet is the first service covering it."""

from __future__ import annotations

import shlex
from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from clusterip.core.config.model import Config, Service, Vip
from clusterip.core.config.state import interface_state
from clusterip.core.packets.compile import Condition, compile_tables
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.lookup import Packet, packet_bucket, which
from clusterip.core.packets.model import (
    ALL_PORTS,
    PORT_MATCH_PROTOCOLS,
    Mac,
    Match,
    Ports,
    ServiceAction,
    Sharing,
    Treatment,
)
from clusterip.core.packets.state import Chain, InterfaceState, decode, encode
from clusterip.core.rules.grammar import parse
from clusterip.core.rules.render import rule_line
from tests.core.config.texts import config_with
from tests.core.packets.test_compile import condition_of

MODES = st.sampled_from(HashMode)
EDGES = [0, 1, 79, 80, 81, 255, 256, 443, 65535]
PORTS = st.tuples(st.sampled_from(EDGES), st.sampled_from(EDGES)).map(
    lambda pair: (min(pair), max(pair))
)
PLACES = st.one_of(
    st.tuples(st.sampled_from([0, 1, 6, 17, 50, 255]), st.just(ALL_PORTS)),
    st.tuples(st.sampled_from(sorted(PORT_MATCH_PROTOCOLS)), PORTS),
)
WAYS = st.one_of(
    st.tuples(MODES, st.just(ServiceAction.BALANCE), st.just(0)),
    st.tuples(MODES, st.just(ServiceAction.SINGLE), st.just(1)),
    st.tuples(MODES, st.just(ServiceAction.DROP), st.just(0)),
)
SERVICES = st.tuples(PLACES, WAYS).map(lambda both: Service(*both[0], *both[1]))
VIPS = st.lists(
    st.builds(
        Vip,
        st.integers(0, 9).map(
            lambda last: IPv4Address(0x0A090064 + last) if last < 6 else IPv6Address(last)
        ),
        st.integers(0, 255).map(lambda last: Mac(f"01005e0000{last:02x}")),
        st.lists(SERVICES, min_size=1, max_size=4).map(tuple),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda vip: vip.address,
).map(tuple)
CONFIGS = st.builds(
    lambda vips, buckets, hash_init: replace(
        config_with(), vips=vips, buckets=buckets, hash_init=hash_init
    ),
    VIPS,
    st.integers(1, 256),
    st.integers(0, 2**32 - 1),
)
PACKETS = st.builds(
    Packet,
    vip=st.just(IPv4Address(0)),
    source=st.integers(0, 2**32 - 1).map(IPv4Address),
    source_port=st.integers(0, 65535),
    destination_port=st.sampled_from(EDGES),
    protocol=st.sampled_from([0, 1, 6, 17, 33, 50, 132, 136, 255]),
)


def covering(vip: Vip, packet: Packet) -> int | None:
    """Return which service of the VIP is the first that covers the packet."""
    ported = packet.protocol in PORT_MATCH_PROTOCOLS
    port = packet.destination_port if ported else 0
    for at, service in enumerate(vip.services):
        wanted = service.protocol in {0, packet.protocol}
        if wanted and service.ports[0] <= port <= service.ports[1]:
            return at
    return None


@given(CONFIGS, PACKETS)
def test_the_first_service_decides_and_in_its_way(config: Config, packet: Packet) -> None:
    state = interface_state(config, 2, "eth0")
    tables = compile_tables(state)
    slot = 0
    for vip in config.vips:
        to_it = replace(packet, vip=vip.address)
        if isinstance(vip.address, IPv6Address):
            to_it = replace(to_it, source=IPv6Address(int(packet.source) << 64))
        answer, found = which(Chain((state,)), to_it), condition_of(tables, to_it)
        at = covering(vip, to_it)
        if at is None:
            assert (answer.entry, answer.number, found) == (None, 0, 0)
        else:
            service = vip.services[at]
            assert answer.entry is not None
            assert isinstance(found, Condition)
            assert answer.entry.slot == answer.number == found.slot == slot + at + 1
            assert found.treatment == Treatment(service.action, service.mode, service.bucket)
            sharing = Sharing(service.mode, vip.mac, config.buckets, config.hash_init)
            assert answer.bucket == (service.bucket or packet_bucket(sharing, to_it))
        slot += len(vip.services)


@given(CONFIGS)
def test_the_rules_can_be_read_back(config: Config) -> None:
    state = interface_state(config, 2, "eth0")
    assert decode(encode(state)) == state
    for entry in state.entries:
        if isinstance(entry.rule.vip, IPv6Address):
            continue  # the old target had no IPv6, and its grammar has none
        if entry.rule.action is not ServiceAction.BALANCE:
            continue  # nor has it actions
        words = shlex.split(rule_line(entry.rule))
        assert parse(words).rules == (entry.rule,)


def test_what_it_is() -> None:
    web = Service(6, (80, 81), HashMode.SOURCEIP_SOURCEPORT)
    lite = Service(136, (53, 53), HashMode.SOURCEIP)
    every = Service(mode=HashMode.SOURCEIP)
    macs = Mac("01005e000020"), Mac("01005e000021")
    vips = (
        Vip(IPv4Address("10.9.0.100"), macs[0], (web, lite)),
        Vip(IPv4Address("10.9.0.101"), macs[1], (every,)),
    )
    config = replace(config_with(), vips=vips, buckets=60, hash_init=7)
    state = interface_state(config, 5, "eth7")
    assert state == InterfaceState(
        5, "eth7", groups=state.groups, entries=state.entries, cluster="web"
    )
    assert [(one.index, one.vip, one.sharing) for one in state.groups] == [
        (0, vips[0].address, Sharing(web.mode, macs[0], 60, 7)),
        (0, vips[1].address, Sharing(every.mode, macs[1], 60, 7)),
    ]
    assert [(one.position, one.slot) for one in state.entries] == [(0, 1), (1, 2), (2, 3)]
    rules = [one.rule for one in state.entries]
    assert [one.match for one in rules] == [
        Match(6, destination_ports=(Ports("tcp", ((80, 81),)),)),
        Match(136, destination_ports=(Ports("multiport", ((53, 53),)),)),
        Match(),
    ]
    assert [one.sharing and one.sharing.mode for one in rules] == [web.mode, lite.mode, every.mode]
    assert {(one.interface, one.local_node, one.manage_address) for one in rules} == {
        ("eth7", 0, True)
    }
