"""The record of an interface: what is stored is what is read, and the chain's order."""

from __future__ import annotations

import subprocess
import sys
import zlib
from ipaddress import IPv4Address, IPv4Network

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import Mac, Match, Ports, Rule, Sharing
from clusterip.core.packets.state import (
    Chain,
    Entry,
    Group,
    InterfaceState,
    Taken,
    XdpMode,
    decode,
    encode,
)

ADDRESS = st.integers(0, 0xFFFFFFFF).map(IPv4Address)
NETWORK = st.tuples(ADDRESS, st.integers(0, 32)).map(lambda pair: IPv4Network(pair, strict=False))
MAC = st.binary(min_size=6, max_size=6).map(Mac.of)
PORT = st.integers(0, 65535)
PORTS = st.builds(
    Ports,
    st.sampled_from(["tcp", "udp", "sctp", "dccp", "multiport"]),
    st.lists(st.tuples(PORT, PORT), max_size=3).map(tuple),
    st.booleans(),
)
CONDITIONS = st.lists(PORTS, max_size=2).map(tuple)
MATCH = st.builds(
    Match,
    st.integers(0, 255),
    st.booleans(),
    NETWORK,
    st.booleans(),
    CONDITIONS,
    CONDITIONS,
    CONDITIONS,
)
SHARING = st.builds(
    Sharing, st.sampled_from(HashMode), MAC, st.integers(1, 256), st.integers(0, 0xFFFFFFFF)
)
RULE = st.builds(
    Rule,
    ADDRESS,
    st.text(min_size=1, max_size=15),
    MATCH,
    st.none() | SHARING,
    st.integers(0, 256),
    st.booleans(),
)
STATE = st.builds(
    InterfaceState,
    index=st.integers(1, 1 << 30),
    name=st.text(min_size=1, max_size=15),
    xdp=st.sampled_from(XdpMode),
    xdp_note=st.text(max_size=40),
    groups=st.lists(st.builds(Group, st.integers(0, 63), ADDRESS, SHARING), max_size=3).map(tuple),
    entries=st.lists(st.builds(Entry, st.integers(0), st.integers(1, 1023), RULE), max_size=3).map(
        tuple
    ),
    taken=st.builds(
        Taken,
        st.booleans(),
        st.lists(MAC, max_size=2).map(tuple),
        st.lists(ADDRESS, max_size=2).map(tuple),
    ),
    cluster=st.text(max_size=40),
)
VIP = IPv4Address("10.9.0.100")
SHARED = Sharing(HashMode.SOURCEIP, Mac("01005e000020"), 4)


@given(STATE)
def test_what_is_stored_is_what_is_read(state: InterfaceState) -> None:
    assert decode(encode(state)) == state


@pytest.mark.parametrize("document", [b"", b"{}", zlib.compress(b"{"), zlib.compress(b"{}")])
def test_anything_else_is_refused(document: bytes) -> None:
    with pytest.raises((zlib.error, msgspec.DecodeError)):
        decode(document)


def test_a_bad_address_is_refused() -> None:
    document = b'{"index": 1, "name": "eth0", "taken": {"addresses": ["10.9.0"]}}'
    with pytest.raises(msgspec.DecodeError):
        decode(zlib.compress(document))


def entry(position: int, interface: str) -> Entry:
    return Entry(position, 1, Rule(VIP, interface, sharing=SHARED, local_node=1))


def test_the_chain_orders_the_rules_of_all_interfaces() -> None:
    one = InterfaceState(1, "eth0", entries=(entry(3, "eth0"), entry(1, "eth0")))
    two = InterfaceState(2, "eth1", entries=(entry(2, "eth1"),))
    assert [e.position for e in Chain((one, two)).entries()] == [1, 2, 3]


def test_the_chain_finds_a_vip() -> None:
    group = Group(0, VIP, SHARED)
    one, two = InterfaceState(1, "eth0"), InterfaceState(2, "eth1", groups=(group,))
    chain = Chain((one, two))
    assert chain.find(VIP) == (two, group)
    assert chain.find(IPv4Address("10.9.0.101")) is None
    assert chain.interface(1) == one
    assert chain.interface(3) is None


def test_what_daemons_run_is_not_static() -> None:
    one, two = InterfaceState(1, "eth0"), InterfaceState(2, "eth1", cluster="web")
    assert Chain((one, two)).static() == Chain((one,))


def test_a_rule_hashes_in_its_own_mode_or_in_that_of_its_vip() -> None:
    group = Group(0, VIP, SHARED)
    own = msgspec.structs.replace(SHARED, mode=HashMode.SOURCEIP_SOURCEPORT)
    assert group.mode(Rule(VIP, "eth0")) is HashMode.SOURCEIP
    assert group.mode(Rule(VIP, "eth0", sharing=own)) is HashMode.SOURCEIP_SOURCEPORT


def test_an_interface_is_put_in_or_replaced() -> None:
    one, two = InterfaceState(1, "eth0"), InterfaceState(2, "eth1")
    chain = Chain((two,)).with_interface(one)
    assert chain.interfaces == (one, two)
    again = InterfaceState(2, "eth1", XdpMode.OFF)
    assert chain.with_interface(again).interfaces == (one, again)


_TWO_THREADS = """
import sys, threading
from clusterip.core.packets.state import InterfaceState, decode, encode

document = encode(InterfaceState(1, "eth0"))

def decode_meanwhile(frame, event, argument):
    if event == "call" and frame.f_globals["__name__"].startswith("msgspec"):
        threading.setprofile(None)
        other = threading.Thread(target=decode, args=(document,))
        other.start()
        other.join()

threading.setprofile(decode_meanwhile)
first = threading.Thread(target=decode, args=(document,))
first.start()
first.join()
"""


def test_two_threads_may_be_the_first_to_read() -> None:
    """One reads while the other is in whatever msgspec does at first: neither crashes."""
    done = subprocess.run(
        (sys.executable, "-c", _TWO_THREADS), check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_as_before_is_not_written() -> None:
    """So an older program reads what a newer one wrote, as long as that is not new."""
    plain = InterfaceState(2, "eth0", entries=(Entry(1, 2, Rule(IPv4Address("10.9.0.1"), "eth0")),))
    written = msgspec.json.decode(zlib.decompress(encode(plain)))
    assert written.keys() <= {"index", "name", "xdp", "taken", "entries"}
    (entry,) = written["entries"]
    assert entry["rule"].keys() <= {"vip", "interface", "match"}


@pytest.mark.parametrize("place", ["interface", "rule"])
def test_what_is_not_known_is_refused(place: str) -> None:
    """It may be a condition: a rule without it would be another one."""
    plain = InterfaceState(2, "eth0", entries=(Entry(1, 2, Rule(IPv4Address("10.9.0.1"), "eth0")),))
    written = msgspec.json.decode(zlib.decompress(encode(plain)))
    (written if place == "interface" else written["entries"][0]["rule"])["newer"] = 1
    with pytest.raises(msgspec.ValidationError, match="newer"):
        decode(zlib.compress(msgspec.json.encode(written)))
