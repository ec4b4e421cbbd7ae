"""What a node hands to its successor in a planned restart: its memory, as bytes.

It holds good on the same host and boot of the kernel only (its times are CLOCK_BOOTTIME), and
once: whoever takes it up removes it first.

Programs of other versions read it. Fields are named; what a reader does not know it leaves alone,
and a field that is newer than the first release has a default, which stands for "not told".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from clusterip.core import limits
from clusterip.core.errors import SystemFaultError

_VERSION: Final = 3
"""Another one means something else by a name that both have."""
_NUMBER: Final = range(1 << 64)
"""Of nodes, incarnations and messages; flow slots are so many bits."""
_BUCKET: Final = range(1, limits.BUCKETS + 1)
_BUCKETS: Final = range(1 << limits.BUCKETS)
_TIME: Final = range(1 << 63)
_LEAD: Final = range(-(1 << 63), 1 << 63)


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
        damage = SystemFaultError("the hand-over is damaged", "start without it")
        try:
            if _VERSIONED.decode(raw).version != _VERSION:
                raise SystemFaultError("the hand-over is of another release", "start without it")
            found = _HANDOVER.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise damage from error
        if not found.voters or any(one not in allowed for allowed, one in found.numbers()):
            raise damage
        return found

    def numbers(self) -> Iterator[tuple[range, int]]:
        """Yield each number with its range; another one would hang or end whoever goes by it."""
        numbers = (self.node, self.incarnation, self.sequence, self.config)
        yield from ((_NUMBER, one) for one in (*numbers, *self.voters, *self.before))
        masks = (self.owned, self.taking, self.draining, self.advertised)
        yield from ((_BUCKETS, one) for one in masks)
        times = (self.deadline, self.mute_until, self.lent_until)
        yield from ((_TIME, one) for one in times)
        for sequence, buckets in self.since.items():
            yield from ((_NUMBER, sequence), (_BUCKETS, buckets))
        for bucket, flow_slots in self.flows.items():
            yield from ((_BUCKET, bucket), (_NUMBER, flow_slots))
        for by_node in (self.contact, self.farewells, self.bound):
            for node, at in by_node.items():
                yield from ((_NUMBER, node), (_TIME, at))
        for proof in self.proofs:
            yield from ((_NUMBER, proof.voter), (_TIME, proof.until), (_BUCKETS, proof.buckets))
        for promise in self.promises:
            yield from ((_NUMBER, promise.node), (_NUMBER, promise.incarnation))
            yield from ((_BUCKETS, promise.buckets), (_TIME, promise.until))
        for peer in self.peers:
            yield from ((_NUMBER, peer.node), (_NUMBER, peer.incarnation))
            yield from ((_NUMBER, peer.sequence), (_TIME, peer.excused_until))
        for lead in self.leads:
            yield from ((_NUMBER, lead.node), (_NUMBER, lead.incarnation))
            yield from ((_LEAD, lead.newest), (_LEAD, lead.before), (_TIME, lead.since))


class _Versioned(msgspec.Struct):
    version: int


# Decoders are made with the module, for the reason that `core.packets.state` gives.
_VERSIONED: Final = msgspec.json.Decoder(_Versioned)
_HANDOVER: Final = msgspec.json.Decoder(HandOver)
