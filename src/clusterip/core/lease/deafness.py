"""Who speaks and does not hear us: what to tell an administrator, and when; it decides nothing.

An incarnation that speaks and does not prove itself counts as one that does not hear us: so it is
where the port is closed towards a host from its start on. It may be recordings as well.
"""

from __future__ import annotations

from collections.abc import Mapping


class Deafness:
    """Since when each node does not hear us. `promise_length` (ns) is how long it may take to."""

    def __init__(self, promise_length: int) -> None:
        self.promise_length = promise_length
        self._since: dict[int, int] = {}
        self._told: set[int] = set()

    def look(self, speaking: Mapping[int, bool], *, now: int) -> list[int]:
        """Return who is to be told of, once; `speaking` says of who is heard if it hears us."""
        self._since = {
            node: self._since.get(node, now) for node, hears in speaking.items() if not hears
        }
        deaf = self.deaf(now=now)
        new = deaf - self._told
        self._told = deaf
        return sorted(new)

    def deaf(self, *, now: int) -> set[int]:
        """Return who does not hear us, and should."""
        return {node for node, since in self._since.items() if now >= since + self.promise_length}
