"""Whether this node is in contact with a majority of the voters; what is said where it is not.

Who is cut off answers nothing, whatever else is wrong: that is said beside the causes. A moment
without contact is nothing to tell of: it may come and go with a lost message, and a node that
begins has not heard anybody yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from clusterip.core.findings import Code, Finding
from clusterip.core.lease import contact, pair
from clusterip.core.lease.node_state import State
from clusterip.core.units import SECOND

_PATIENCE: Final = 5 * SECOND
"""How long a node may take to be in contact for the first time, ns."""


class Majority:
    """What is known of the contact with the voters; `name` gives the names of nodes.

    `page` is where what a host's administrator can do is written.
    """

    def __init__(self, state: State, name: Callable[[int], str], *, page: str, now: int) -> None:
        self._state, self._name, self._page = state, name, page
        self._since = now
        """When this node was in contact last, or began, ns."""
        self._wait = _PATIENCE

    def findings(self, *, listens: int, now: int) -> Iterator[tuple[str, Finding]]:
        """Yield that there is no majority, where that lasts; this daemon runs since `listens`, ns.

        Where another daemon has the place of this node that is the cause, and is said.
        """
        state = self._state
        if contact.in_contact(state, now):
            self._since, self._wait = now, state.promise_length
        elif now >= max(self._since, listens) + self._wait and not contact.barred(state, now):
            yield "", self._of_lack(now)

    def _of_lack(self, now: int) -> Finding:
        there = {self._state.me, *self._state.hearing.living}
        voters, need = next(
            (one for one in pair.quorums(self._state, now) if len(one[0] & there) < one[1]),
            pair.quorums(self._state, now)[0],
        )
        here, away = self._names(voters & there), self._names(voters - there)
        lack = need - len(here)
        few = f"only {', '.join(here)} {'is' if len(here) == 1 else 'are'}" if here else "none is"
        which = ", ".join(away) if lack >= len(away) else f"{lack} of {', '.join(away)}"
        return Finding.of(
            Code.NO_MAJORITY,
            "no majority, so this host answers nothing",
            f"{need} of {len(voters)} voters must hear each other, with the same file; {few} here",
            cure=f"bring back {which}, or mend the network between; where hosts are lost for good,"
            f' see "Too few hosts are left" in {self._page}',
        )

    def _names(self, nodes: frozenset[int]) -> list[str]:
        return sorted(map(self._name, nodes))
