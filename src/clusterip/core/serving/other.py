"""Who else is there, and what they have: as any coordinator tells it of its cluster."""

from __future__ import annotations

from typing import NamedTuple


class Other(NamedTuple):
    """Another node, as it was known last.

    `word` names what is known by who said it, in which incarnation, as which of its words: the
    newest of all that it said. `want` are the buckets it has or asks for, `held` those it answers,
    `draining` those of which it keeps the connections: masks. `flows` are pairs of a bucket that
    drains, ascending, and its flow slots that this node answers still. `weight` is 0 for one that
    takes no buckets, and so for a while is one that is not `ready`; `leaving` gives its own away.
    """

    word: tuple[int, int, int]
    want: int = 0
    held: int = 0
    draining: int = 0
    flows: tuple[tuple[int, int], ...] = ()
    weight: int = 1
    healthy: bool = True
    leaving: bool = False
    ready: bool = True

    @property
    def node(self) -> int:
        """The id of the node."""
        return self.word[0]

    def flow_slots_of(self, bucket: int) -> int:
        """Return the flow slots of `bucket` in `flows`, 0 if it is not among them."""
        for number, flow_slots in self.flows:
            if number == bucket:
                return flow_slots
        return 0
