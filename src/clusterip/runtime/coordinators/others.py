"""The other nodes, in words: who is silent, refused, deaf or not in the file, why, and the cure.

The log has each once when it begins, and when it is over; `clusterip show` has what is so now.
What comes from who has no key is only ever said of a node that is not heard anyway, once as long as
that lasts, and in one line for all the rest, which the log has once in ten minutes at most.

Silence counts only while this daemon ran: after it stood still, nobody was heard, whoever spoke.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Final

from clusterip.adapters import pages
from clusterip.adapters.telling import tell
from clusterip.core.alarms import Alarms
from clusterip.core.buckets import buckets_of
from clusterip.core.errors import ClusterIPError
from clusterip.core.events import PeerBack, PeerHeard, PeerSilent, RestartRefused
from clusterip.core.findings import Code, Finding
from clusterip.core.lease import contact, pair
from clusterip.core.lease.idle import Idle
from clusterip.core.lease.majority import Majority
from clusterip.core.lease.node import Node
from clusterip.core.lease.node_lists import NodeLists
from clusterip.core.lease.peers import Peer
from clusterip.core.messages.envelope import Fault, claimed_sender
from clusterip.core.messages.message import Message
from clusterip.core.messages.refused import NOBODY, Refusals, Refused, reason_of
from clusterip.core.messages.strangers import Stranger, Strangers
from clusterip.core.messages.ways import Ways
from clusterip.core.units import SECOND
from clusterip.core.words import amount, were
from clusterip.runtime.coordinators.doubles import Doubles
from clusterip.runtime.coordinators.seen import Seen

_SELDOM: Final = 600 * SECOND
_LATELY: Final = 10 * SECOND
_PATIENCE: Final = 5 * SECOND
"""How long a node may take to be heard for the first time, ns."""
_DECLINED: Final = -1
"""Not said again for a while: no node has that id."""
_OR_ALONE: Final = (
    "Is this node in their files? Or are they all down, or does another host run as this node?"
)


class Others:
    """What was said of the other nodes. `name` gives their names, `port` is the UDP port.

    `addresses` are where messages to nodes go, by id, as the file says.
    """

    def __init__(self, node: Node, name: Callable[[int], str], alarms: Alarms, *, now: int) -> None:
        self.alarms = alarms
        self.port = 0
        self.addresses: Mapping[int, tuple[str, ...]] = {}
        self.refusals = Refusals(_LATELY)
        self.strangers = Strangers(node.state.promise_length)
        self.doubles = Doubles(node, name)
        self._majority = Majority(node.state, name, page=pages.place("operations.md"), now=now)
        self._idle = Idle(node.state, name, now=now)
        self.lists = NodeLists(node.state, name)
        self.ways = Ways(late=node.state.timing.interval, patience=_PATIENCE)
        self._unreached: set[int] = set()
        self._node, self._state, self._name = node, node.state, name
        self._began = now
        self._next = 0
        self._ran = self._listens = now
        # After a planned restart they are there until shown otherwise: nobody needs to be told.
        self._seen = {
            other: Seen(peer.incarnation, known=now)
            for other, peer in node.state.hearing.peers.all.items()
        }
        self._deaf: set[int] = set()
        self._rarely: dict[Hashable, int] = {}
        """What is not said again before that time, ns."""

    # ---- what comes ----

    def refused(self, raw: bytes, source: str, fault: Fault, *, now: int) -> int:
        """Note a datagram that is no message to us; return in whose name it seems to be."""
        claimed = claimed_sender(raw)
        if claimed not in self._others():
            senders = (node for node, places in self.addresses.items() if source in places)
            claimed = next(senders, NOBODY)
        self.refusals.note(claimed, source, fault, now=now)
        return claimed

    def stranger(self, message: Message, source: str, *, now: int) -> None:
        """Note a message of a node that is not in the file."""
        self.strangers.note(message, source, now=now)

    def declined(self, node: int, why: ClusterIPError, *, now: int) -> None:
        """Say that the restart of a node is not agreed to, for that cannot be recorded."""
        if self._is_news(_DECLINED, now):
            name = self._name(node)
            tell(RestartRefused(cause=f"{why.message}; {why.cure}", node=name))

    # ---- the log ----

    def look(self, *, now: int) -> None:
        """Say what changed, if it is time to look."""
        self._note_standstill(now)
        if now < self._next:
            return
        self._next = now + self._state.timing.interval // 2
        others = self._others()
        self._seen = {other: seen for other, seen in self._seen.items() if other in others}
        for other in sorted(others):
            seen = self._seen.setdefault(other, Seen(known=now))
            if self._is_there(other, now):
                self._look_at_heard(other, seen, now)
            else:
                self._look_at_silent(other, seen, now)
        self._look_at_deaf(now)
        self._look_at_ways(now)
        for one in self.strangers.heard(now=now):
            self._raise(self._of_stranger(one), self._name(one.node), now)
        for what, found in (*self._lack(now), *self.doubles.findings(now=now)):
            self._raise(found, what, now)
        rest = self._rest(now)
        if rest is not None:
            self._raise(self._of_rest(rest), "", now)

    def _raise(self, found: Finding, about: str, now: int) -> None:
        """Say what is wrong, unless that was said and is not over, or others may repeat it."""
        if self.alarms.is_said(found, about):
            return
        if found.code == Code.NO_MAJORITY or self._is_news((found.code, about), now):
            tell(self.alarms.raised(found, about, now=now))

    def _note_standstill(self, now: int) -> None:
        """Count silence anew if this daemon did not run: its timer is due in every interval."""
        stood = now > self._ran + self._state.promise_length // 2
        self._ran = now
        if not stood:
            return
        self._listens = now
        for seen in self._seen.values():
            if seen.incarnation:
                seen.anew = now
            elif not seen.former and not seen.silent:
                seen.known = now

    def _look_at_heard(self, other: int, seen: Seen, now: int) -> None:
        incarnation = self._state.hearing.peers.all[other].incarnation
        if seen.incarnation == incarnation:
            return
        name = self._name(other)
        if seen.incarnation:
            tell(PeerHeard(node=name, anew=True))
        elif seen.former:
            seconds = round((now - seen.since) / SECOND, 3)
            tell(PeerBack(node=name, seconds=seconds, anew=seen.former != incarnation))
        else:
            tell(PeerHeard(node=name))
        self.alarms.heard(name)
        self._seen[other] = Seen(incarnation, known=seen.known)
        self.refusals.forget(other)

    def _look_at_silent(self, other: int, seen: Seen, now: int) -> None:
        peer = self._state.hearing.peers.all.get(other)
        if seen.incarnation and peer is not None:
            seen.former, seen.incarnation = seen.incarnation, 0
            before = self.alarms.silent_since(self._name(other))
            seen.since = before or max(peer.heard_at, seen.anew) or now
            seen.silent = True
            self._tell_silent(other, now, had=_had(peer), expected=contact.left(peer))
        elif not seen.silent and not seen.former and now >= seen.known + _PATIENCE:
            seen.silent = True
            if not self._speaks(other, now):
                self._tell_silent(other, now)
        elif not seen.silent or seen.refused or self.refusals.of(other, now=now) is None:
            return
        else:
            self._tell_silent(other, now)
        seen.refused = self.refusals.of(other, now=now) is not None

    def _tell_silent(
        self, other: int, now: int, *, had: Sequence[int] = (), expected: bool = False
    ) -> None:
        found, name = self._of_silent(other, now), self._name(other)
        # Before a planned restart it was said, though the reason may be known anew only later.
        said = self.alarms.silent_since(name) is not None and found.code != Code.REFUSED
        if said or self.alarms.is_said(found, name):
            return
        tell(PeerSilent(node=name, finding=found, buckets=list(had), expected=expected))
        self.alarms.note_said(found, name, now=now)

    def _look_at_deaf(self, now: int) -> None:
        deaf = self._state.hearing.deafness.deaf(now=now)
        for other in sorted(self._deaf - deaf):
            if self._is_there(other, now):
                name = self._name(other)
                tell(self.alarms.over(Code.DEAF, name, f"{name} hears this node again", now=now))
        me = self._node.me
        if self._hears_nobody(now):
            deaf.add(me)
            if me not in self._deaf and not self.alarms.is_said(
                self.of_deaf(me, 0), self._name(me)
            ):
                tell(self.alarms.raised(self.of_deaf(me, 0), self._name(me), now=now))
        self._deaf = deaf

    def _look_at_ways(self, now: int) -> None:
        unreached = self._missing(now)
        for other in sorted(unreached - self._unreached):
            found, name = self._of_unreached(other), self._name(other)
            if not self.alarms.is_said(found, name):
                tell(self.alarms.raised(found, name, now=now))
        for other in sorted(self._unreached - unreached):
            if self._is_there(other, now):
                name, code = self._name(other), Code.NOT_REACHED
                tell(self.alarms.over(code, name, f"{name} is reached at its address", now=now))
        self._unreached = unreached

    def _is_news(self, what: Hashable, now: int) -> bool:
        """Tell whether something was not said for ten minutes; it is now."""
        if self._rarely.get(what, now) > now:
            return False
        self._rarely = {one: until for one, until in self._rarely.items() if until > now}
        self._rarely[what] = now + _SELDOM
        return True

    # ---- what is so now ----

    def wrong(self, *, now: int) -> list[tuple[str, Finding]]:
        """Return each thing that is wrong, with whom or what it is about.

        Those that are deaf are not among them: `of_deaf`.
        """
        self._note_standstill(now)
        quiet, name = self._hears_nobody(now), self._name
        found = list(self.lists.findings(now=now))
        found += (
            (name(other), self._of_silent(other, now))
            for other in self._silent(now)
            if other in self._state.votes.voters.voters  # who was taken out is not missed
            if self.refusals.of(other, now=now)
            or not (quiet or self._is_new(other, now) or self._speaks(other, now))
        )
        found += ((name(one), self._of_unreached(one)) for one in sorted(self._missing(now)))
        found += ((name(one.node), self._of_stranger(one)) for one in self.strangers.heard(now=now))
        found += self.doubles.findings(now=now)
        rest = self._rest(now)
        found += [] if rest is None else [("", self._of_rest(rest))]
        return [*found, *self._lack(now)]

    def _lack(self, now: int) -> Iterator[tuple[str, Finding]]:
        """Yield that nothing is served: that follows from all others, and comes last."""
        yield from self._majority.findings(listens=self._listens, now=now)
        yield from self._idle.findings(listens=self._listens, now=now)

    def _is_new(self, other: int, now: int) -> bool:
        """Tell whether a node was not heard yet, and need not be."""
        seen = self._seen.get(other)
        return seen is None or (not seen.former and now < seen.known + _PATIENCE)

    def _others(self) -> frozenset[int]:
        return self._state.votes.voters.known - {self._node.me}

    def _is_there(self, other: int, now: int) -> bool:
        peer = self._state.hearing.peers.all.get(other)
        if peer is None or not peer.incarnation:
            return False
        # One whose restart was declined is not borne, and is heard.
        listened = (peer.heard_at or self._began) + self._state.promise_length
        seen = self._seen.get(other)
        if seen is not None and seen.incarnation and seen.anew:
            listened = max(listened, seen.anew + self._state.promise_length)
        return max(peer.excused_until, listened) > now

    def _silent(self, now: int) -> list[int]:
        return [other for other in sorted(self._others()) if not self._is_there(other, now)]

    def _speaks(self, other: int, now: int) -> bool:
        """Tell whether a node that does not prove itself speaks: that it is deaf is said."""
        return other in contact.speaking(self._state, now)

    def _hears_nobody(self, now: int) -> bool:
        state = self._state
        # Where it was so before, it is so until somebody is heard.
        listens = 0 if state.me in self._deaf else self._listens
        listened = now >= max(state.hearing.indirect.started, listens) + state.promise_length
        heard = contact.speaking(state, now) or contact.unread(state, now)
        return listened and not (heard or contact.all_left(state))

    def _missing(self, now: int) -> set[int]:
        return {other for other in self.ways.missing(now=now) if self.addresses.get(other)}

    def _rest(self, now: int) -> Refused | None:
        return self.refusals.rest(self._silent(now), now=now)

    # ---- words ----

    def of_deaf(self, node: int, hears: int) -> Finding:
        """Return that a node, that hears so many, does not hear this one; or this one nobody."""
        who = f"{self._name(node)} is heard, but"
        if node != self._node.me and hears:
            return Finding.of(
                Code.DEAF,
                f"{who} does not hear this node",
                f"is UDP port {self.port} open from here to it, its address right in the file here,"
                " the key used here in its key file, and this node in its file?",
                cure="open the port, or mend the address, the key file or the file",
            )
        me = node == self._node.me
        also = _OR_ALONE if me else "Or is this node not in its file?"
        return Finding.of(
            Code.HEARS_NOBODY if me else Code.DEAF,
            f"{'this node' if me else who} hears nobody",
            f"is UDP port {self.port} open towards it, its address right in the files of the"
            f" others, and their key in its key file? {also}",
            cure="open the port, or mend the address, the key file or the files",
        )

    def _of_silent(self, other: int, now: int) -> Finding:
        peer = self._state.hearing.peers.all.get(other)
        how = "was never heard"
        if peer is not None and peer.incarnation:
            at, since = (
                (peer.heard_at, "") if peer.heard_at else (self._began, ", since the restart")
            )
            seen = self._seen.get(other)
            at = max(at, seen.anew if seen is not None else 0)
            how = f"is silent for {(now - at) / SECOND:.1f} s{since}"
        code, why, cure = self._cause_of_silence(other, peer, now)
        return Finding.of(code, f"{self._name(other)} {how}", why, cure=cure)

    def _cause_of_silence(self, other: int, peer: Peer | None, now: int) -> tuple[Code, str, str]:
        """Return the code, the cause and the cure."""
        refused = self.refusals.of(other, now=now)
        if refused is not None:
            reason, cure = reason_of(refused.fault)
            if refused.fault is Fault.VERSION and pair.is_of_two(self._state):
                reason += ", and of two hosts neither serves then"
            came = f"refused that came in its name, from {refused.source}"
            why = f"{_datagrams(refused)} {came} ({refused.fault.value}): {reason}"
            return Code.REFUSED, why, cure
        if other not in self._state.votes.voters.voters:
            return Code.STOPPED, "it was taken out of the file here", "nothing, if it is to go"
        if peer is not None and contact.left(peer):
            return Code.STOPPED, "it was stopped, or drained before", "start it when it is to serve"
        hearing, lately = self._state.hearing, now - self._state.promise_length // 2
        hearers = [
            self._name(one)
            for one in sorted(hearing.heard)
            if other in hearing.indirect.heard_by(one, since=lately)
        ]
        if hearers:
            why = (
                f"{', '.join(hearers)} can hear it: is UDP port {self.port} open from it to this"
                " host, and this node in its file, with the right address?"
            )
            return Code.SILENT, why, "open the port, or mend the file"
        why = f"does its daemon run, its network work, and UDP port {self.port} let it be heard?"
        return Code.SILENT, why, "see its daemon and its log, then the network and its firewall"

    def _of_unreached(self, other: int) -> Finding:
        return Finding.of(
            Code.NOT_REACHED,
            f"{self._name(other)} is not reached at {', '.join(self.addresses[other])}, its address"
            " in the file here, only by what is said to everybody on the interface; its messages"
            f" come from {self.doubles.sources.get(other, 'an unknown address')}",
            cure=f"mend the file and reload; or is UDP port {self.port} closed from here to it?",
        )

    def _of_stranger(self, one: Stranger) -> Finding:
        return Finding.of(
            Code.STRANGER,
            f"{self._name(one.node)} at {one.source} has a key of this cluster and is not in the"
            f" file here, {one.count} messages",
            cure="add its [[node]], on all hosts, or stop its daemon",
        )

    def _of_rest(self, rest: Refused) -> Finding:
        why, cure = reason_of(rest.fault)
        return Finding.of(
            Code.STRAY_DATAGRAMS,
            f"{_datagrams(rest)} refused lately, the last from {rest.source} ({rest.fault.value})",
            why,
            cure=cure,
        )


def _had(peer: Peer) -> list[int]:
    return list(buckets_of(peer.newest.held)) if peer.newest else []


def _datagrams(refused: Refused) -> str:
    return f"{amount(refused.count, 'datagram')} {were(refused.count)}"
