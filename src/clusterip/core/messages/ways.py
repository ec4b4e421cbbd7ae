"""Whether nodes are reached at their addresses, or only by what is said to everybody.

What is not heard is said to everybody on the interface as well, so a wrong address of a node that
runs costs nothing, and nobody would notice. But each message says which of ours is the newest that
its sender heard. Who names one that everybody was told, some time after others had gone to its
address alone, does not get what goes there. Which address a node sends from proves nothing: hosts
have several.
"""

from __future__ import annotations

from collections import deque
from typing import Final

_MOST: Final = 64
"""Messages of ours that are remembered."""
_MISSES: Final = 8
"""Messages of a node in a row that show it, for it to be said."""


class Ways:
    """What was sent how, and what nodes show of it.

    What was sent `late` ns before is heard or lost. What lasts for `patience`, ns, is no outage of
    the network; and what was not shown for so long is over.
    """

    def __init__(self, *, late: int, patience: int) -> None:
        self._late, self._patience = late, patience
        self._sent: deque[tuple[int, int, bool]] = deque(maxlen=_MOST)
        self._missed: dict[int, tuple[int, int, int]] = {}
        """Node -> since when, ns, how often and when last it showed that it misses something."""

    def said(self, sequence: int, *, everybody: bool, now: int) -> None:
        """Note a message of ours; `everybody` if it did not only go to addresses."""
        self._sent.append((sequence, now, everybody))

    def heard(self, node: int, echoed: int, *, now: int) -> None:
        """Note that a node says that `echoed` is the newest message of ours that it heard."""
        # It is one of the last, as a rule.
        how = next((everybody for one, _, everybody in reversed(self._sent) if one == echoed), None)
        if how is None:
            return
        if not how:
            self._missed.pop(node, None)
        elif any(
            one > echoed and at + self._late <= now and not everybody
            for one, at, everybody in self._sent
        ):
            since, count, _ = self._missed.get(node, (now, 0, now))
            self._missed[node] = since, count + 1, now

    def forget(self) -> None:
        """Begin anew: addresses have changed."""
        self._missed.clear()

    def missing(self, *, now: int) -> set[int]:
        """Return the nodes that are not reached at their addresses."""
        return {
            node
            for node, (since, count, last) in self._missed.items()
            if count >= _MISSES and since + self._patience <= last
            if now < last + self._patience
        }
