"""What a program gives to the client for Python: UsageError for what cannot be meant.

Types are looked at too, for nobody else does before it is too late to say what was wrong.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from clusterip.core.address import Address, address_of
from clusterip.core.errors import UsageError


def whole(given: object, what: str, most: int | None = None) -> int:
    """Return a number from 0 on, to `most` if there is one; `what` is what it would be."""
    bounds = "from 0 on" if most is None else f"of 0..{most}"
    if isinstance(given, bool) or not isinstance(given, int):
        raise UsageError(f"{given!r} is not {what}", f"give a whole number {bounds}")
    if given < 0 or (most is not None and given > most):
        raise UsageError(f"{given} is not {what}", f"give one {bounds}")
    return given


def text(given: object, what: str) -> str:
    """Return text; `what` is what it would be."""
    if not isinstance(given, str):
        raise UsageError(f"{given!r} is not {what}", "give it as text")
    return given


def address(given: object) -> Address:
    """Return an address, which may be given as text."""
    if isinstance(given, IPv4Address | IPv6Address):
        return given
    if isinstance(given, str):
        try:
            return address_of(given)
        except ValueError as error:
            raise UsageError(f"{given!r} is not an IP address", "give it as text") from error
    raise UsageError(f"{given!r} is not an IP address", "give it as text, or of `ipaddress`")
