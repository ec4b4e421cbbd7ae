"""Whom a message says that its sender has heard: its echoes.

Every message has one for each node, and from one message to the next only their sequences change.
So the rest is a value of its own, `Echoed`, which messages share: what was concluded of it once
holds as long as it is the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple, overload


class Heard(NamedTuple):
    """The newest message of `node` that the sender has heard: an echo.

    Where `known`, the sender takes it in; if not, that incarnation may be over long since. Where
    `acknowledged`, it is known and `node` lately heard the sender: only that counts for a lease.
    What is not acknowledged proves to `node` that the sender lives and hears it, and no more. Of
    the sender itself it is another incarnation that it heard: both know by it that the node runs
    twice.
    """

    node: int
    incarnation: int
    sequence: int
    known: bool = True
    acknowledged: bool = True


class Echoed:
    """Echoes without their sequences: `entries` are (node, incarnation, known, acknowledged)."""

    __slots__ = ("acknowledged", "entries", "known", "place")

    def __init__(self, entries: tuple[tuple[int, int, bool, bool], ...]) -> None:
        self.entries = entries
        self.place: dict[int, int] = {}
        """Node -> which of the entries is about it, the first if there are several."""
        for at, entry in enumerate(entries):
            self.place.setdefault(entry[0], at)
        self.known = {entry[0]: at for at, entry in enumerate(entries) if entry[2]}
        """Of those that are known, node -> which."""
        self.acknowledged = {entry[0]: at for at, entry in enumerate(entries) if entry[3]}


class Echoes(Sequence[Heard]):
    """Echoes of several nodes: `of` whom, and the sequence of each, in that order."""

    __slots__ = ("of", "sequences")

    def __init__(self, of: Echoed, sequences: tuple[int, ...]) -> None:
        self.of = of
        self.sequences = sequences

    @classmethod
    def said(cls, heard: Iterable[Heard], like: Echoed | None = None) -> Echoes:
        """Return these; they share what they have in common with `like`, of an earlier message."""
        heard = tuple(heard)
        entries = tuple((one[0], one[1], one[3], one[4]) for one in heard)
        of = like if like is not None and like.entries == entries else Echoed(entries)
        return cls(of, tuple(one[2] for one in heard))

    def heard_of(self, node: int, incarnation: int) -> int:
        """Return the newest sequence heard of that incarnation of `node`, 0 if none was."""
        at = self.of.place.get(node)
        if at is None or self.of.entries[at][1] != incarnation:
            return 0
        return self.sequences[at]

    def acknowledged(self, node: int, incarnation: int) -> int:
        """Return the newest sequence of that incarnation that is acknowledged, 0 if none is."""
        at = self.of.place.get(node)
        if at is None or not self.of.entries[at][3]:
            return 0
        return self.heard_of(node, incarnation)

    def __len__(self) -> int:
        return len(self.sequences)

    def __iter__(self) -> Iterator[Heard]:
        for (node, incarnation, known, acknowledged), sequence in zip(
            self.of.entries, self.sequences, strict=True
        ):
            yield Heard(node, incarnation, sequence, known, acknowledged)

    @overload
    def __getitem__(self, at: int) -> Heard: ...

    @overload
    def __getitem__(self, at: slice) -> tuple[Heard, ...]: ...

    def __getitem__(self, at: int | slice) -> Heard | tuple[Heard, ...]:
        return tuple(self)[at]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Echoes):
            return NotImplemented
        return (self.of is other.of or self.of.entries == other.of.entries) and (
            self.sequences == other.sequences
        )

    def __hash__(self) -> int:
        return hash((self.of.entries, self.sequences))

    def __repr__(self) -> str:
        return f"Echoes({', '.join(map(repr, self))})"


NONE: Final = Echoes(Echoed(()), ())
"""Of nobody."""
