"""Cluster MACs: defaults nobody else uses, and who uses which."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterip.core.config.mac import COUNT, IN_USE, default_mac, igmp_group, named, snooped, user
from clusterip.core.packets.model import Mac


def test_the_default_of_the_documentation() -> None:
    assert str(default_mac(IPv4Address("10.9.0.100"))) == "01:00:5e:00:00:c4"


@given(st.ip_addresses())
def test_a_default_is_flooded_and_free(vip: IPv4Address | IPv6Address) -> None:
    mac = default_mac(vip)
    assert mac.multicast
    assert not user(mac)
    assert not snooped(mac)
    # Unassigned by IANA: 224.0.0.153 to .250.
    assert 153 <= bytes(mac)[5] <= 250


def test_neighbours_differ() -> None:
    first = int(IPv4Address("10.9.0.100"))
    assert len({default_mac(IPv4Address(first + at)) for at in range(COUNT)}) == COUNT


@pytest.mark.parametrize("last", [1, 2, 5, 6, 18, 22, 251, 252])
def test_what_is_in_use(last: int) -> None:
    assert user(Mac(f"01005e0000{last:02x}")) == IN_USE[last]


@pytest.mark.parametrize(
    ("digits", "protocol"),
    [
        ("01005e000020", ""),
        ("01005e000120", "IGMP"),
        ("01005e7fffff", "IGMP"),
        ("01005e800000", ""),
        ("333300000001", ""),
        ("333300000020", "MLD"),
        ("030000000001", ""),
    ],
)
def test_what_is_snooped(digits: str, protocol: str) -> None:
    assert snooped(Mac(digits)) == protocol


@pytest.mark.parametrize(
    ("digits", "joined"),
    [
        ("01005e0000c4", None),
        ("01005e000120", "239.0.1.32"),
        ("01005e7f0020", "239.127.0.32"),
        ("01005effffff", None),
        ("333380000020", "ff15::8000:20"),
        ("030000000001", None),
    ],
)
def test_the_group_to_join(digits: str, joined: str | None) -> None:
    assert igmp_group(Mac(digits)) == (joined and ip_address(joined))


@given(st.binary(min_size=4, max_size=4))
def test_a_group_has_the_mac_it_is_for(low: bytes) -> None:
    six = igmp_group(Mac.of(b"\x33\x33" + low))
    assert six is not None
    # Multicast, transient, of site scope; RFC 2464 (7) makes the MAC of its last four bytes.
    assert (six.packed[:2], six.packed[-4:]) == (b"\xff\x15", low)
    four = igmp_group(Mac.of(b"\x01\x00\x5e" + bytes([low[1] & 0x7F, *low[2:]])))
    if four is not None:
        # RFC 1112 (6.4): its low 23 bits.
        assert (four.packed[0], four.packed[1:]) == (239, bytes([low[1] & 0x7F, *low[2:]]))


def test_of_33_33_one_is_flooded() -> None:
    mac = Mac("333300000001")
    assert (snooped(mac), igmp_group(mac)) == ("", None)
    assert (named(mac), user(mac)) == ("ff02::1", "all IPv6 hosts")
