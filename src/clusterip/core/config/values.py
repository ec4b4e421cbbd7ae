"""The values that keys of the configuration file take.

Each reader takes what tomllib made of the value and returns ours, or raises BadValueError.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable
from enum import Enum
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final, TypeVar

from clusterip.core.address import Address
from clusterip.core.config.declaring import Reader
from clusterip.core.errors import UsageError
from clusterip.core.packets.model import Mac
from clusterip.core.rules import values as rule_values
from clusterip.core.units import MILLISECOND, SECOND
from clusterip.core.words import nearest

MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE

Range = tuple[int, int]
"""Two numbers, both included."""

_E = TypeVar("_E", bound=Enum)

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_GROUP: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,62}")
_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)[ ]?(ms|s|m|h)")
_UNITS: Final = {"ms": MILLISECOND, "s": SECOND, "m": MINUTE, "h": HOUR}
_RANGE: Final = re.compile(r"([0-9]{1,5})(?:[ ]?-[ ]?([0-9]{1,5}))?")
_PROTOCOLS: Final = (
    "ah",
    "all",
    "dccp",
    "esp",
    "gre",
    "icmp",
    "ipv6-icmp",
    "sctp",
    "tcp",
    "udp",
    "udplite",
)
_URL_PATH: Final = re.compile(r"/[!-~]{0,1023}")


class BadValueError(Exception):
    """A value that will not do: what it is, and what would do."""

    def __init__(self, message: str, cure: str) -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure


_KINDS: Final[dict[type, str]] = {
    bool: "true or false",
    int: "a number",
    float: "a fraction",
    str: "text",
    dict: "a table",
    list: "an array",
}


def kind(value: object) -> str:
    """Say what a TOML value is."""
    return _KINDS.get(type(value), "a date or time")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise BadValueError(f"must be text, not {kind(value)}", "put it in quotation marks")
    return value


def _short(value: str) -> str:
    """Quote a value for a message: on one line, and not too long."""
    shown = value if len(value) <= 60 else f"{value[:57]}..."
    return repr(shown)


def printable(text: str) -> str:
    """Return a text as it is, or escaped where it could disturb a terminal or a log."""
    return text if text.isprintable() else repr(text)


def _plain(value: object) -> str:
    """Return a text that may stand in a message of another module."""
    text = _text(value)
    if not text.isprintable() or len(text) > 255:
        raise BadValueError(f"{_short(text)} will not do", "use letters, digits and punctuation")
    return text


def boolean(value: object) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise BadValueError(f"must be true or false, not {kind(value)}", "write true or false")
    return value


def whole(low: int, high: int) -> Reader[int]:
    """Return the reader of a whole number `low`..`high`."""

    def read(value: object) -> int:
        cure = f"write a whole number {low}..{high}"
        if isinstance(value, bool) or not isinstance(value, int):
            raise BadValueError(f"must be a whole number, not {kind(value)}", cure)
        if not low <= value <= high:
            # A number of thousands of digits cannot even be printed.
            shown = str(value) if value.bit_length() < 200 else "the number"
            raise BadValueError(f"{shown} is not in {low}..{high}", cure)
        return value

    return Reader(read, low=str(low), high=str(high))


def one_of(what: str, known: Iterable[str]) -> Callable[[object], str]:
    """Return the reader of one of the known words, each a `what`."""
    words = frozenset(known)

    def read(value: object) -> str:
        text = _text(value)
        if text not in words:
            raise BadValueError(f"unknown {what} {_short(text)}", nearest(text, words))
        return text

    return read


def word(choices: type[_E]) -> Callable[[object], _E]:
    """Return the reader of one of the words that an enumeration has as values."""
    read = one_of("value", [str(one.value) for one in choices])
    return lambda value: choices(read(value))


def duration(low: int, high: int) -> Reader[int]:
    """Return the reader of a duration such as "30s", `low`..`high` ns; it returns ns."""

    def read(value: object) -> int:
        cure = f'write a duration such as "500ms", "30s", "5m" or "1h", {span(low)}..{span(high)}'
        if not isinstance(value, str):
            raise BadValueError(f"must be a duration with its unit, not {kind(value)}", cure)
        match = _DURATION.fullmatch(value)
        if not match:
            raise BadValueError(f"{_short(value)} is not a duration", cure)
        # Six decimals of a millisecond are nanoseconds, so nothing is rounded.
        number, _, decimals = match[1].partition(".")
        time = int(number + decimals.ljust(6, "0")) * _UNITS[match[2]] // 1_000_000
        if not low <= time <= high:
            raise BadValueError(f"{_short(value)} is not in {span(low)}..{span(high)}", cure)
        return time

    return Reader(read, span, span(low), span(high))


def span(time: int) -> str:
    """Return a time in ns as the file would say it, in the largest unit that divides it."""
    for unit, size in (("h", HOUR), ("m", MINUTE), ("s", SECOND)):
        if time and not time % size:
            return f"{time // size}{unit}"
    return f"{time / MILLISECOND:g}ms"


def name(value: object) -> str:
    """Read the name of a cluster, node or check: 1..63 letters, digits, `.`, `_`, `-`."""
    text = _text(value)
    if not _NAME.fullmatch(text):
        raise BadValueError(
            f"{_short(text)} is not a name",
            "use 1 to 63 letters, digits, '.', '_' and '-', a letter or digit first and last",
        )
    return text


def group(value: object) -> str:
    """Read the name of a group of users."""
    text = _text(value)
    if not _GROUP.fullmatch(text):
        raise BadValueError(
            f"{_short(text)} is not the name of a group", 'write one of getent(1), as "adm"'
        )
    return text


def interface(value: object) -> str:
    """Read the name of a network device."""
    text = _plain(value)
    if not text:
        raise BadValueError("it is empty", 'write the name of the device of the VIPs, as "eth0"')
    try:
        return rule_values.interface(text)
    except UsageError as error:
        raise BadValueError(error.message, error.cure) from error


def address(value: object) -> IPv4Address:
    """Read an IPv4 address of one host."""
    text = _text(value)
    try:
        found = IPv4Address(text)
    except AddressValueError as error:
        raise BadValueError(*_no_address(text)) from error
    if found.is_multicast or int(found) in {0, 0xFFFFFFFF}:
        raise BadValueError(f"{found} is not the address of a host", "write a unicast address")
    return found


def _no_address(text: str) -> tuple[str, str]:
    try:
        IPv6Address(text)
    except AddressValueError:
        if "/" in text:
            return f"{_short(text)} has a prefix length", "write the address alone"
        return f"{_short(text)} is not an IPv4 address", "write it like 10.9.0.100"
    return f"{_short(text)} is an IPv6 address", "write an IPv4 address: only a VIP may be IPv6"


def addresses(value: object) -> tuple[IPv4Address, ...]:
    """Read one address or an array of them, none twice."""
    found = tuple(address(one) for one in (value if isinstance(value, list) else [value]))
    if not found or len(set(found)) < len(found):
        raise BadValueError(
            "an address is named twice" if found else "the array is empty",
            "name each address once, or leave the key out",
        )
    return found


def _address6(text: str) -> IPv6Address:
    cure = "write it like 2001:db8::100"
    try:
        found = IPv6Address(text)
    except AddressValueError as error:
        if "/" in text:
            raise BadValueError(
                f"{_short(text)} has a prefix length", "write the address alone"
            ) from error
        raise BadValueError(f"{_short(text)} is not an IPv6 address", cure) from error
    if found.scope_id is not None:
        raise BadValueError(
            f"{_short(text)} has a zone: it means something on one interface only",
            "write the address alone, a global or a unique local one",
        )
    if found.is_multicast or found.is_unspecified or found.ipv4_mapped:
        raise BadValueError(f"{_short(text)} is not the address of a host", cure)
    if found.is_link_local:
        raise BadValueError(
            f"{found} is link-local: it means something on one interface only",
            "a VIP is a global or a unique local address",
        )
    return found


def vip(value: object) -> Address:
    """Read the address of a VIP, IPv4 or IPv6."""
    text = _text(value)
    found = _address6(text) if ":" in text else address(value)
    if found.is_loopback:
        raise BadValueError(f"{found} never leaves a host", "a VIP is an address of the network")
    return found


def mac(value: object) -> Mac:
    """Read a cluster MAC: a multicast address that bridges forward."""
    try:
        found = rule_values.cluster_mac(_plain(value))
    except UsageError as error:
        raise BadValueError(error.message, error.cure) from error
    cure = 'leave "mac" out, or write one such as 01:00:5e:00:00:a0'
    if found.digits == "f" * 12:
        raise BadValueError("the broadcast address cannot be a cluster MAC", cure)
    if found.digits.startswith("0180c200000"):
        raise BadValueError(f"bridges never forward {found} (IEEE 802.1D)", cure)
    return found


def ranges(low: int, high: int, example: str) -> Reader[tuple[Range, ...]]:
    """Return the reader of numbers `low`..`high` and ranges: 80, "8000-8100", or an array.

    It returns them ascending, what touches or overlaps joined.
    """
    cure = f'write a number {low}..{high}, a range such as "{example}", or an array of these'

    def one(value: object) -> Range:
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise BadValueError(f"must be a number or text, not {kind(value)}", cure)
        if isinstance(value, int):
            return whole(low, high)(value), value
        match = _RANGE.fullmatch(value)
        if not match:
            raise BadValueError(f"{_short(value)} is neither a number nor a range", cure)
        first, last = int(match[1]), int(match[2] or match[1])
        if not low <= first <= last <= high:
            fault = "ends before it begins" if first > last else f"is not in {low}..{high}"
            raise BadValueError(f"{_short(value)} {fault}", cure)
        return first, last

    def read(value: object) -> tuple[Range, ...]:
        joined: list[Range] = []
        for first, last in sorted(
            one(item) for item in (value if isinstance(value, list) else [value])
        ):
            if joined and first <= joined[-1][1] + 1:
                joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
            else:
                joined.append((first, last))
        if not joined:
            raise BadValueError("the array is empty", cure)
        return tuple(joined)

    return Reader(read, _ranges_text, str(low), str(high))


def _ranges_text(value: tuple[Range, ...]) -> str:
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in value)


def protocol(value: object) -> int:
    """Read a protocol by name or number in text; returns 0..255, 0 for all."""
    text = _text(value)
    try:
        return rule_values.protocol(text)
    except UsageError as error:
        raise BadValueError(
            f"unknown protocol {_short(text)}", nearest(text, _PROTOCOLS)
        ) from error


def absolute(value: object) -> str:
    """Read the absolute path of a file."""
    text = _text(value)
    if not text.startswith("/") or "\0" in text:
        raise BadValueError(f"{_short(text)} is not an absolute path", "begin it with /")
    return text


def url_path(value: object) -> str:
    """Read the path of an HTTP request."""
    text = _text(value)
    if not _URL_PATH.fullmatch(text):
        raise BadValueError(
            f"{_short(text)} is not the path of a URL",
            "begin it with /; ASCII without blanks, at most 1024 characters",
        )
    return text


def host(value: object) -> str:
    """Read the Host of an HTTP request: a name, or an address, with or without a port."""
    text = _text(value)
    if not re.fullmatch(r"[A-Za-z0-9._:\[\]-]{1,255}", text):
        raise BadValueError(f"{_short(text)} is not a host name", "write it like www.example.org")
    return text


def body(value: object) -> str:
    """Read the text to look for in an answer."""
    text = _text(value)
    if not 1 <= len(text) <= 1024:
        raise BadValueError(
            f"has {len(text)} characters", "write 1 to 1024 characters, or leave the key out"
        )
    return text


def _argv(value: object) -> tuple[str, ...]:
    """Read a command: an array of its words, the first an absolute path."""
    cure = 'write an array of words: ["/usr/lib/checks/web", "--fast"]; no shell reads it'
    if not isinstance(value, list):
        raise BadValueError(f"must be an array of words, not {kind(value)}", cure)
    words = tuple(_text(one) for one in value)
    if not 1 <= len(words) <= 64:
        raise BadValueError(f"has {len(words)} words", cure)
    if any("\0" in one for one in words):
        raise BadValueError("has a word with a zero byte", cure)
    absolute(words[0])
    return words


argv: Final = Reader(_argv, shlex.join)
