"""What a daemon leaves to the next one of its host, as JSON.

That is until when its promises bind that one, the voters it ran with, and in a planned restart its
memory.

Programs of other versions read it. Fields are named; what a reader does not know it leaves alone,
and a field that is newer than the first release has a default, which stands for "not told".
"""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeVar

import msgspec

from clusterip.core import limits
from clusterip.core.errors import SystemFaultError

Time = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
Bucket = Annotated[int, msgspec.Meta(ge=1, le=limits.BUCKETS)]


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """What holds good in one boot of the kernel, by its id: times are CLOCK_BOOTTIME, ns."""

    boot: str = ""


class Note(Left, frozen=True, kw_only=True):
    """Until when promises bind a successor."""

    until: Time


class Voters(Left, frozen=True, kw_only=True):
    """The names of the voters last used."""

    names: frozenset[str]


class Had(msgspec.Struct, frozen=True, kw_only=True):
    """A bucket of a node: its state (`lease.tenure`), since when, ns, and who had it before.

    `of` is a node, 0 for none that is known.
    """

    state: str = ""
    since: Time = 0
    of: Annotated[int, msgspec.Meta(ge=0)] = 0


class Handed(Left, frozen=True, kw_only=True):
    """The memory of a daemon: `node` is a `lease.handover.HandOver`, which is read by itself."""

    node: msgspec.Raw
    draining_since: dict[Bucket, Time] = {}
    """Bucket that drains -> since when."""
    health: dict[str, Any] = {}
    """See `health.Health.standing`."""
    weight: Annotated[int, msgspec.Meta(ge=0, le=255)] | None = None
    """The weight that was set by a command."""
    had: dict[Bucket, Had] = {}
    """Bucket -> since when it is as it is."""
    alarms: list[dict[str, Any]] = []
    """See `alarms.Alarms.leave`."""


Kind = TypeVar("Kind", Note, Voters, Handed)
# Decoders are made with the module, for the reason that `core.packets.state` gives.
_LEFT: Final = msgspec.json.Decoder(Left)
_KINDS: Final[dict[type[Left], msgspec.json.Decoder[Any]]] = {
    kind: msgspec.json.Decoder(kind) for kind in (Note, Voters, Handed)
}
_WORDS: Final[dict[type[Left], str]] = {
    Note: "the note of what was promised",
    Voters: "the note of who the voters were",
    Handed: "the hand-over",
}


def encode(left: Left) -> bytes:
    """Return it as bytes."""
    return msgspec.json.encode(left)


def decode(raw: bytes, kind: type[Kind], boot: str) -> Kind | None:
    """Return what was left in that boot of the kernel, None for nothing and for what is of another.

    SystemFaultError for damage.
    """
    if not raw:
        return None
    try:
        # There may be a boot of the kernel between: what was left then may be of any form.
        if _LEFT.decode(raw).boot != boot:
            return None
        found: Kind = _KINDS[kind].decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SystemFaultError(f"{_WORDS[kind]} is damaged", "start without it") from error
    return found
