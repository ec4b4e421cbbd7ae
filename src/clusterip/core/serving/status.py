"""What is to be seen of a coordinator at one moment.

Times are ns; sets of buckets are lists, ascending from 1; nodes are ids.
"""

from __future__ import annotations

import msgspec


class Standing(msgspec.Struct, frozen=True):
    """One node as this one sees it. `heard` is how long ago, ns; None if never, or it is us.

    `alive` counts for the plan; `agrees` is False for one that is heard, and cannot serve with
    us. `weight` is None where it is not known. `speaks` are the lowest and the highest version of
    messages that it speaks, None where nothing was heard of late. `hears` are those it heard
    something new of lately, as it or they said here; `deaf` is True for one whose messages come
    and show that it does not hear us, and for us if we hear nobody. `grants` is what it, as a
    voter, promised to whom. `fair_share` is how many buckets are its by weight, 0 for who takes
    none. `keys` is the mask of the ids of the keys that it has, 0 where it is not known.
    `ends` is whether it was told to stop, `restarts` whether it announced a planned restart.
    `config` is the digest of what must be equal to serve together, 0 where it is not known.
    """

    node: int
    me: bool
    heard: int | None
    alive: bool
    agrees: bool
    healthy: bool = False
    ready: bool = False
    leaving: bool = False
    weight: int | None = None
    speaks: tuple[int, int] | None = None
    hears: list[int] = []
    deaf: bool = False
    held: list[int] = []
    draining: list[int] = []
    grants: dict[int, list[int]] = {}
    fair_share: float = 0.0
    keys: int = 0
    ends: bool = False
    restarts: bool = False
    config: int = 0


class Snapshot(msgspec.Struct, frozen=True):
    """A node. `lease` is how long its kernel may go on by itself, ns; 0 if it holds nothing."""

    incarnation: int
    owned: list[int]
    taking: list[int]
    draining: list[int]
    asking: list[int]
    lease: int
    leaving: bool
    restarting: bool
    alone: bool
    settling: bool
    """Whether the voters changed and not every node has the new set yet."""
    version: int
    """In which version of messages it speaks."""
    held_down_by: list[int]
    """The nodes that keep it from the highest that it could speak."""
    nodes: list[Standing]
    grants_in: int = 0
    """In what time it may promise buckets to others, ns; 0 if it does."""
