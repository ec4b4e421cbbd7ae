"""IP addresses of both versions."""

from __future__ import annotations

from abc import ABC
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Address = IPv4Address | IPv6Address
else:

    class Address(ABC):  # noqa: B024 - only what is registered with it is one
        """An address of either version, as one type: msgspec takes no union of two of others."""

    Address.register(IPv4Address)
    Address.register(IPv6Address)


def address_of(text: str) -> Address:
    """Return the address that a text is; ValueError for anything else.

    That is an error for one with a zone, such as fe80::1%eth0 (RFC 4007): it would be an address
    of one host's interface, and equal to none that a packet has.
    """
    found: Address = ip_address(text)
    if "%" in text:
        raise ValueError(f"{text!r} has a zone")
    return found


def order(address: Address) -> tuple[int, int]:
    """Return what sorts addresses: IPv4 before IPv6."""
    return address.version, int(address)


def words(address: Address) -> tuple[int, int, int, int]:
    """Return the address as struct ci_vip has it: four words, each as it lies in memory.

    An IPv4 address is the first of them.
    """
    packed = address.packed.ljust(16, b"\0")
    first, second, third, fourth = (
        int.from_bytes(packed[at : at + 4], "little") for at in range(0, 16, 4)
    )
    return first, second, third, fourth


def prefix_mask(bits: int) -> tuple[int, int, int, int]:
    """Return the mask of an IPv6 prefix of `bits` (0..128) in the same form."""
    return words(IPv6Address((1 << 128) - (1 << (128 - bits))))
