"""Two daemons that run as one node: a file was copied with its host's name, or --node is wrong.

All see it who get messages of both: those whom both send to, and each of the two that hears the
other. Often it does not, for what is for its node goes to one of them. So who sees both tells the
one that is not heard, by a command: a message would let it prove itself, and take the other's
place. It says all to everybody on the interface then, and so the other learns of it, too; and it
serves nothing (`core.lease.namesake`).

Messages may be recordings of former incarnations, sent again by anybody: each counts once, so there
is an end to it; and only who lives can be told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from clusterip.core.findings import Code, Finding
from clusterip.core.lease import contact
from clusterip.core.lease.node import Node
from clusterip.core.messages.command import Command, Verb
from clusterip.core.messages.message import Message
from clusterip.core.messages.strangers import Stranger, Strangers
from clusterip.core.units import SECOND
from clusterip.core.words import amount

_MORE_THAN_LATE: Final = 3
"""Messages of another memory in our own name that are no leftovers of the last one here."""
_EVERY: Final = SECOND
"""How often a rival is told, ns."""
_HOLDS: Final = 3 * _EVERY
_CURE: Final = "stop the wrong one, and give each host an address, and a node with --node"


class Doubles:
    """What is known of them. `own` are the addresses of this node in the file."""

    def __init__(self, node: Node, name: Callable[[int], str]) -> None:
        self.own: tuple[str, ...] = ()
        self.sources: dict[int, str] = {}
        """Where the accepted messages of nodes come from, by id."""
        self._node, self._state, self._name = node, node.state, name
        self._ours = Strangers(node.state.promise_length)
        self._rivals = Strangers(node.state.promise_length)
        self._tells_at = 0
        self._told = (0, 0, 0)
        """Who said that another is heard in our place, since when, until when that holds; ns."""

    # ---- what comes ----

    def in_our_name(self, message: Message, source: str, *, now: int) -> None:
        """Note a message of this node that came back, or that another host sent as this node."""
        node = self._node
        if message.incarnation != node.incarnation or message.sequence > node.sequence:
            self._ours.note(message, source, now=now)

    def accepted(self, message: Message, source: str) -> None:
        """Note a message of another node that was accepted."""
        self.sources[message.sender] = source

    def passed_over(self, message: Message, source: str, *, now: int) -> None:
        """Note a message of another node that was not accepted."""
        peer = self._state.hearing.peers.all.get(message.sender)
        if peer is not None and peer.incarnation not in (0, message.incarnation):
            self._rivals.note(message, source, now=now)

    def heard_in_our_place(self, sender: int, *, now: int) -> None:
        """Note that `sender` hears another incarnation as this node."""
        self._node.bar(now=now)
        _, since, until = self._told
        self._told = sender, since if until > now else now, now + _HOLDS

    # ---- what follows ----

    @property
    def told_until(self) -> int:
        """Until when, ns, others are known to hear another daemon as this node."""
        return self._told[2]

    def commands(self, *, now: int) -> list[tuple[Command, str]]:
        """Return what to tell whom at which address, beside everybody; once a second.

        Of each node the one that spoke last: of recordings there may be many. Not one that serves
        while the one that is heard does not: others hear that one. Who is barred knows of none.
        """
        if now < self._tells_at or contact.barred(self._state, now):
            return []
        peers = self._state.hearing.peers.all
        rivals = sorted(
            (
                one
                for one in self._heard_beside(now)
                if not one.claims or ((newest := peers[one.node].newest) and newest.claims)
            ),
            key=lambda one: one.last,
        )
        if rivals:
            self._tells_at = now + _EVERY
        return [
            (
                Command(self._node.me, one.node, one.incarnation, one.sequence, Verb.DOUBLE),
                one.source,
            )
            for one in {one.node: one for one in rivals}.values()
        ]

    def findings(self, *, now: int) -> Iterator[tuple[str, Finding]]:
        """Yield what is doubled, each with what it is about."""
        in_our_name = [one for one in self._ours.heard(now=now) if one.count >= _MORE_THAN_LATE]
        for one in in_our_name:
            yield f"this node, at {one.source}", self._of_double(one, now)
        if self.told_until > now and not in_our_name:
            yield "this node", self._of_told(now)
        for one in self._heard_beside(now):
            silent = (
                self._state.hearing.peers.all[one.node].heard_at + self._state.promise_length <= now
            )
            about = self._of_lost(one) if silent else self._of_rival(one)
            place = f"{self._name(one.node)}, {'last ' if silent else ''}at {one.source}"
            yield place, about

    def _heard_beside(self, now: int) -> list[Stranger]:
        """Return the incarnations that speak beside the one heard as their node, for some time.

        A node that was started anew is none: the incarnation before it says nothing more. Who took
        the place of another may have ended: the other is not heard again all the same.
        """
        peers, lasting = self._state.hearing.peers.all, self._state.promise_length
        return [
            one
            for one in self._rivals.incarnations(now=now)
            if one.last >= one.since + lasting
            if (peer := peers.get(one.node)) is not None
            if peer.incarnation != one.incarnation and peer.heard_at > one.since + lasting
        ]

    def _barred(self, now: int) -> str:
        return "; until then this one serves nothing" if contact.barred(self._state, now) else ""

    def _of_double(self, one: Stranger, now: int) -> Finding:
        return Finding.of(
            Code.DOUBLE,
            f"another host runs as this node, {self._name(one.node)}, at {one.source},"
            f" {amount(one.count, 'message')}",
            cure=_CURE + self._barred(now),
        )

    def _of_lost(self, one: Stranger) -> Finding:
        return Finding.of(
            Code.HEARD_IN_ITS_PLACE,
            f"{self._name(one.node)} speaks at {one.source}, and another daemon, now silent, was"
            f" heard in its place; or recordings of it are sent again: {_how_many(one)}",
            cure="restart its daemon there",
        )

    def _of_rival(self, one: Stranger) -> Finding:
        return Finding.of(
            Code.SECOND_DAEMON,
            f"a second daemon runs as {self._name(one.node)}, at {one.source}, beside the one that"
            f" is heard, at {self.sources.get(one.node, 'an unknown address')}, or recordings of"
            f" one are sent again: {_how_many(one)}",
            cure=_CURE,
        )

    def _of_told(self, now: int) -> Finding:
        teller, since, _ = self._told
        at = f" ({', '.join(self.own)} in the file)" if self.own else ""
        return Finding.of(
            Code.DOUBLE,
            f"another host runs as this node, {self._name(self._node.me)}{at}, and is heard in its"
            f" place, as {self._name(teller)} says for {(now - since) / SECOND:.0f} s",
            cure=f"{_CURE}; then restart the right one{self._barred(now)}",
        )


def _how_many(one: Stranger) -> str:
    return f"{amount(one.count, 'message')} in {(one.last - one.since) / SECOND:.0f} s"
