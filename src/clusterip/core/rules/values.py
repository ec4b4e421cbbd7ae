"""The values that rule options take: numbers, addresses, ports, MACs.

Each function returns the value or raises UsageError in the words of iptables(8) 1.8.9.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv4Network
from typing import Final

from clusterip.core.errors import UsageError
from clusterip.core.packets.model import ANY_SOURCE, Mac, PortRange
from clusterip.core.rules.protocols import NUMBERS

Services = Callable[[str, str], int | None]
"""From a service's name and a protocol's name to the port, 0..65535; None if there is none."""

MULTIPORT_SLOTS: Final = 15
"""How many ports a multiport match holds; a range takes two (XT_MULTI_PORTS of the kernel)."""

IFNAMSIZ: Final = 16
"""Bytes of an interface name with its final zero (linux/if.h)."""

_NUMBER: Final = re.compile(r"(0[xX][0-9a-fA-F]{1,16}|0[0-7]{0,22}|[1-9][0-9]{0,20})")
_MAC: Final = re.compile(r"[0-9a-fA-F]{1,2}(?::[0-9a-fA-F]{1,2}){5}")
_PORT_CURE: Final = "a port is 0..65535, a range FIRST:LAST"


def no_services(_name: str, _protocol: str) -> int | None:
    """Know no service name: the default where nothing may be looked up."""
    return None


def number(text: str, low: int, high: int) -> int | None:
    """Return `text` as strtoul(3) with base 0 reads it, or None if it is not in `low`..`high`.

    0x starts a hexadecimal number and a plain 0 an octal one.
    """
    if not _NUMBER.fullmatch(text):
        return None
    octal = text[0] == "0" and text[1:2] not in {"x", "X"}
    value = int(text, 8 if octal else 0)
    return value if low <= value <= high else None


def ranged(option: str, text: str, low: int, high: int) -> int:
    """Return the number that a CLUSTERIP option takes, `low`..`high`."""
    value = number(text, low, high)
    if value is None:
        raise UsageError(
            f'CLUSTERIP: bad value for option "{option}", or out of range ({low}-{high}).',
            f"`{text}' was given; write a number {low}..{high}",
        )
    return value


def rule_number(text: str) -> int:
    """Return the place of a rule in the chain, from 1."""
    value = number(text, 1, 0x7FFFFFFF)
    if value is None:
        raise UsageError(f"Invalid rule number `{text}'", "rules are numbered from 1")
    return value


def protocol(text: str) -> int:
    """Return the protocol, 0..255, that a name in either case or a number stands for."""
    lower = text.lower()
    value = number(lower, 0, 255)
    if value is None:
        value = NUMBERS.get(lower)
    if value is None:
        raise UsageError(
            f'unknown protocol "{lower}" specified', "name one, such as tcp, or its number 0..255"
        )
    return value


def interface(text: str) -> str:
    """Return the name of one network device."""
    if not text:
        raise UsageError("Empty interface is likely to be undesired", "name the device of the VIP")
    if len(text.encode(errors="surrogateescape")) >= IFNAMSIZ:
        raise UsageError(
            f"interface name `{text}' must be shorter than IFNAMSIZ ({IFNAMSIZ - 1})",
            "check the name with `ip link`",
        )
    if text.endswith("+"):
        raise UsageError(
            f"interface `{text}' is a wildcard: Please specify an interface name",
            "a VIP lives on one device; name that one",
        )
    forbidden = any(one in "/:\0" or one.isspace() or "\ud800" <= one <= "\udfff" for one in text)
    if text in {".", ".."} or forbidden:
        raise UsageError(
            f"interface name `{text}' has a character that the kernel does not allow",
            "check the name with `ip link`",
        )
    return text


def addresses(text: str) -> list[str]:
    """Split the comma list that -s and -d take."""
    return [one.lstrip() for one in text.split(",")]


def network(text: str) -> IPv4Network:
    """Return the network of ADDRESS, ADDRESS/BITS or ADDRESS/MASK; host bits are cleared.

    As in iptables, missing bytes of the address are 0 (`10/8` is 10.0.0.0/8), and with the mask 0
    the address is not looked at (`any/0`).
    """
    address, slash, mask = text.rpartition("/") if "/" in text else (text, "", "")
    bits = _bits(mask) if slash else 32
    if not bits:
        return ANY_SOURCE
    parts = address.split(".")
    values = [number(part, 0, 255) for part in parts]
    if len(parts) > 4 or None in values:
        raise UsageError(f"host/network `{address}' not found", "write an IPv4 address")
    packed = bytes(value or 0 for value in values).ljust(4, b"\0")
    return IPv4Network((packed, bits), strict=False)


def _bits(mask: str) -> int:
    bits = number(mask, 0, 32)
    if bits is not None:
        return bits
    parts = mask.split(".")
    values = [number(part, 0, 255) for part in parts]
    if len(parts) != 4 or None in values:
        raise UsageError(f"invalid mask `{mask}' specified", "write 0..32 or 255.255.255.0")
    word = int.from_bytes(bytes(value or 0 for value in values), "big")
    ones = word.bit_count()
    if word != (0xFFFFFFFF << 32 - ones) & 0xFFFFFFFF:
        raise UsageError(
            f"invalid mask `{mask}' specified", "its ones must all come first, as in 255.255.255.0"
        )
    return ones


def _port(text: str, protocol_name: str, services: Services) -> int:
    value = number(text, 0, 0xFFFF)
    if value is None:
        value = services(text, protocol_name) if text else None
    if value is None:
        raise UsageError(f"invalid port/service `{text}' specified", _PORT_CURE)
    return value


def port_range(text: str, protocol_name: str, services: Services) -> PortRange:
    """Return the ports of `N`, `N:M`, `N:` or `:M`, as the tcp match takes them."""
    first, colon, last = text.partition(":")
    if not colon:
        port = _port(text, protocol_name, services)
        return port, port
    low = _port(first, protocol_name, services) if first else 0
    high = _port(last, protocol_name, services) if last else 0xFFFF
    if low > high:
        raise UsageError("invalid portrange (min > max)", _PORT_CURE)
    return low, high


def port_list(text: str, protocol_name: str, services: Services) -> tuple[PortRange, ...]:
    """Return the ports of a multiport list such as `80,443,1000:2000`."""
    ranges: list[PortRange] = []
    slots = 0
    for part in text.split(","):
        first, colon, last = part.partition(":")
        slots += 2 if colon else 1
        if slots > MULTIPORT_SLOTS:
            raise UsageError(
                "too many ports specified",
                f"a list has room for {MULTIPORT_SLOTS} ports, a range takes two; "
                "put the rest into another rule",
            )
        low = _port(first, protocol_name, services)
        high = _port(last, protocol_name, services) if colon else low
        if colon and low >= high:
            raise UsageError("invalid portrange specified", _PORT_CURE)
        ranges.append((low, high))
    return tuple(ranges)


def cluster_mac(text: str) -> Mac:
    """Return the cluster MAC: six hexadecimal bytes with colons, the group bit set."""
    if not _MAC.fullmatch(text):
        raise UsageError(
            f"Invalid MAC address specified: `{text}'", "write it as 01:00:5e:00:00:20"
        )
    mac = Mac("".join(part.zfill(2) for part in text.lower().split(":")))
    if not mac.multicast:
        raise UsageError(
            "MAC has to be a multicast ethernet address",
            f"the first byte of {mac} must be odd, as in 01:00:5e:00:00:20",
        )
    return mac
