"""Cluster MACs: defaults nobody else uses, and who uses which."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterip.core.config_mac import COUNT, IN_USE, default_mac, snooped, user
from clusterip.core.model import Mac


def test_the_default_of_the_documentation() -> None:
    assert str(default_mac(IPv4Address("10.9.0.100"))) == "01:00:5E:00:00:C4"


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
        ("333300000001", "MLD"),
        ("030000000001", ""),
    ],
)
def test_what_is_snooped(digits: str, protocol: str) -> None:
    assert snooped(Mac(digits)) == protocol
