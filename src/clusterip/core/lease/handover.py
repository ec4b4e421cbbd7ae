"""What a node hands to its successor in a planned restart: its memory, as bytes.

It holds good on the same host and boot of the kernel only (its times are CLOCK_BOOTTIME), and
once: whoever takes it up removes it first.

Programs of other versions read it. Fields are named; what a reader does not know it leaves alone,
and a field that is newer than the first release has a default, which stands for "not told".
"""

from __future__ import annotations

from typing import Final

import msgspec

from clusterip.core.errors import SystemFaultError

_VERSION: Final = 3
"""Another one means something else by a name that both have."""


class _Part(msgspec.Struct, frozen=True):
    """Times are in ns, sets of buckets are masks, nodes and incarnations are ids."""


class Proven(_Part, frozen=True):
    """What a voter grants, as it counts until then."""

    voter: int
    until: int
    buckets: int


class Promised(_Part, frozen=True):
    """What was promised to an incarnation of a node."""

    node: int
    incarnation: int = msgspec.field(name="boot")
    buckets: int
    until: int


class Known(_Part, frozen=True):
    """A peer: the newest sequence heard, and until when its silence means nothing."""

    node: int
    incarnation: int = msgspec.field(name="boot")
    sequence: int
    excused_until: int = msgspec.field(name="borne_until")


class Leading(_Part, frozen=True):
    """The clock of a peer: see `standstill.Lead`."""

    node: int
    incarnation: int = msgspec.field(name="boot")
    newest: int
    before: int
    since: int


class HandOver(_Part, frozen=True, kw_only=True):
    """The memory of a node."""

    version: int = _VERSION
    node: int
    incarnation: int = msgspec.field(name="boot")
    sequence: int
    config: int
    voters: list[int]
    before: list[int]
    owned: int
    taking: int
    draining: int
    deadline: int
    advertised: int = msgspec.field(name="said")
    since: dict[int, int]
    """Sequence -> buckets asked for since."""
    proofs: list[Proven]
    promises: list[Promised]
    peers: list[Known]
    mute_until: int
    leaving: bool
    incumbent: bool
    flows: dict[int, int]
    """Bucket that drains -> flow slots that are answered."""
    contact: dict[int, int]
    """Voter -> until when it counts that it heard the node."""
    leads: list[Leading]
    farewells: dict[int, int]
    """Node -> when it said that it answers nothing any more."""
    lent_until: int
    """Until when the grace that the node announced binds it."""
    bound: dict[int, int]
    """Voter -> until when it counts to what drains, for the grace that it announced."""
    lone: bool
    """Whether it served without the other of two."""

    def encode(self) -> bytes:
        """Return it as bytes."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, raw: bytes) -> HandOver:
        """Read what `encode` wrote, of this or another release; raises SystemFaultError else."""
        try:
            if _VERSIONED.decode(raw).version == _VERSION:
                return _HANDOVER.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise SystemFaultError("the hand-over is damaged", "start without it") from error
        raise SystemFaultError("the hand-over is of another version", "start without it")


class _Versioned(msgspec.Struct):
    version: int


# Decoders are made with the module, for the reason that `core.packets.state` gives.
_VERSIONED: Final = msgspec.json.Decoder(_Versioned)
_HANDOVER: Final = msgspec.json.Decoder(HandOver)
