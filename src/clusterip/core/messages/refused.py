"""Datagrams that were refused: where they came from, why, how many.

Nothing of them was checked, so anybody can send them in anybody's name. What is kept is bounded
by the nodes that are known, and by one more for all the others.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from clusterip.core.messages.envelope import Fault

NOBODY: Final = 0
"""In place of a node: no node that is known."""
_KEYS: Final = "give all hosts the key file of the majority"
_REASONS: Final = {
    Fault.KEY: ("their key is not in the key file here", _KEYS),
    Fault.MAC: ("their key is another one than that of this number here", _KEYS),
    Fault.CLUSTER: (
        "they are of a cluster of another name",
        "compare `name` in [cluster] of the files",
    ),
    Fault.VERSION: ("they are of another release of clusterip", "install the same"),
}
_NO_MESSAGE: Final = "they are no messages of a daemon", "see what else sends to this port"


def reason_of(fault: Fault) -> tuple[str, str]:
    """Return why datagrams with that fault are refused, and the cure."""
    return _REASONS.get(fault, _NO_MESSAGE)


class Refused:
    """Those in the name of one node: the newest of them, and their number since it began.

    `source` is the address that it came from, `last` when, ns.
    """

    __slots__ = ("count", "fault", "last", "source")

    def __init__(self) -> None:
        self.source = ""
        self.fault = Fault.MAGIC
        self.count = 0
        self.last = 0


class Refusals:
    """All that was refused in the last `lately`, ns."""

    def __init__(self, lately: int) -> None:
        self.lately = lately
        self._of: dict[int, Refused] = {}

    def note(self, node: int, source: str, fault: Fault, *, now: int) -> None:
        """Note one in the name of a node that is known, or of NOBODY.

        Messages of other clusters are nobody's fault: they may well share the network.
        """
        if node == NOBODY and fault is Fault.CLUSTER:
            return
        one = self._of.get(node)
        if one is None or one.last + self.lately <= now:
            one = self._of[node] = Refused()
        one.source, one.fault, one.last = source, fault, now
        one.count += 1

    def forget(self, node: int) -> None:
        """Forget those in the name of a node, which is heard now."""
        self._of.pop(node, None)

    def of(self, node: int, *, now: int) -> Refused | None:
        """Return those of late in the name of a node."""
        one = self._of.get(node)
        return one if one is not None and one.last + self.lately > now else None

    def rest(self, nodes: Collection[int], *, now: int) -> Refused | None:
        """Return those that are in the name of none of `nodes`, as one."""
        whole = Refused()
        for node in self._of.keys() - set(nodes):
            one = self.of(node, now=now)
            if one is not None and one.fault is not Fault.CLUSTER:
                whole.count += one.count
                if one.last >= whole.last:
                    whole.source, whole.fault, whole.last = one.source, one.fault, one.last
        return whole if whole.count else None
