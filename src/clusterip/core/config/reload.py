"""What a running daemon makes of its file when it was changed: all of it, or nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from clusterip.core.config.advice import advised
from clusterip.core.config.changes import Difference, differences
from clusterip.core.config.declaring import Effect
from clusterip.core.config.model import Config
from clusterip.core.errors import RefusedError
from clusterip.core.findings import Finding

_ONE_BY_ONE: Final = "put the others back: one node at a time, on every host, before the next"


class Reloaded(msgspec.Struct, frozen=True):
    """What is said of a reload: each change, and what is unwise since it and was not before."""

    changes: list[str]
    warnings: list[Finding]

    def __str__(self) -> str:
        return "; ".join(self.changes) or "no change in the file, nor of the keys"


def reloadable(old: Config, new: Config, name: str) -> tuple[Difference, ...]:
    """Return the changes that node `name` can make in place.

    RefusedError if there is one that it cannot make, with what it takes.
    """
    if new.node(name) is None:
        raise RefusedError(
            f"the file has no node {name} any more",
            "stop this daemon first, then reload those of the others",
        )
    changes = differences(old, new)
    blocking = [one for one in changes if _blocks(one, name)]
    if blocking:
        # What takes the same is said together.
        whys = {
            one.why: [each.what for each in blocking if each.why == one.why] for one in blocking
        }
        raise RefusedError(
            "; ".join(f"{', '.join(whats)}: {why}" for why, whats in whys.items()),
            _ONE_BY_ONE
            if all(one.effect is Effect.REFUSED for one in blocking)
            else "put that back; or stop the daemons that it concerns, and start them with the new"
            " file",
        )
    return changes


def reloaded(
    old: Config, new: Config, changes: Iterable[Difference], of_keys: Iterable[str]
) -> Reloaded:
    """Return what is to be said when `new` is in force, with the changes of the keys."""
    lines = [_line(one) for one in changes]
    known = advised(old)
    return Reloaded([*lines, *of_keys], [one for one in advised(new) if one not in known])


def _line(change: Difference) -> str:
    old, new, words = change.old, change.new, change.what.split(" ")
    # A node or a check that came or went, and not a key of one.
    whole = (words[0] == "node" and len(words) == 2) or "there" in (old, new)
    if whole and not (old and new):
        return f"{change.what}: {'removed' if old else 'added'}"
    return f"{change.what}: {old or 'none'} -> {new or 'none'}"


def _blocks(change: Difference, name: str) -> bool:
    if change.effect is Effect.RESTART:
        # What another node does on its host is no business of this one.
        return change.what.startswith(f"node {name} ")
    return change.effect in {Effect.TOGETHER, Effect.REFUSED}
