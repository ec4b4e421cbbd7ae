"""The other nodes, in words: who is silent, refused, deaf or not in the file, why, and the cure.

The log has each once when it begins, and when it is over; `clusterip show` has what is so now.
What comes from who has no key is only ever said of a node that is not heard anyway, once as long as
that lasts, and in one line for all the rest, which the log has once in ten minutes at most.

Silence counts only while this daemon ran: after it stood still, nobody was heard, whoever spoke.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Mapping
from typing import Final

from clusterip.core.buckets import buckets_of, counted
from clusterip.core.errors import ClusterIPError
from clusterip.core.findings import Code, Finding
from clusterip.core.lease import contact, pair
from clusterip.core.lease.node import Node
from clusterip.core.lease.peers import Peer
from clusterip.core.messages.envelope import Fault, claimed_sender
from clusterip.core.messages.message import Message
from clusterip.core.messages.refused import NOBODY, Refusals, Refused
from clusterip.core.messages.strangers import Stranger, Strangers
from clusterip.core.messages.ways import Ways
from clusterip.core.units import SECOND
from clusterip.core.words import amount, were
from clusterip.runtime.doubles import Doubles

_SELDOM: Final = 600 * SECOND
_LATELY: Final = 10 * SECOND
_PATIENCE: Final = 5 * SECOND
"""How long a node may take to be heard for the first time, ns."""
_DECLINED: Final = -1
"""Not said again for a while: no node has that id."""
_KEYS: Final = "give all hosts the key file of the majority"
_REASONS: Final = {
    Fault.KEY: ("their key is not in the key file here", _KEYS),
    Fault.MAC: ("their key is another one than that of this number here", _KEYS),
    Fault.CLUSTER: ("they are of a cluster of another name", "compare the files"),
    Fault.VERSION: ("they are of another version of clusterip", "install the same"),
}
"""Why datagrams are refused, and the cure."""
_OR_ALONE: Final = (
    "Is this node in their files? Or are they all down, or does another host run as this node?"
)
_NO_MESSAGE: Final = "they are no messages of a daemon", "see what else sends to this port"
_log = logging.getLogger("clusterip")


class _Seen:
    """What was said of a node: the incarnation heard, 0 for none; `since` when not, ns."""

    __slots__ = ("anew", "former", "incarnation", "known", "refused", "silent", "since")

    def __init__(self, incarnation: int = 0, *, known: int) -> None:
        self.incarnation = incarnation
        self.known = known
        """Since when it is in the file, ns, as far as that matters."""
        self.anew = 0
        """From when its silence counts, ns: this daemon stood still before."""
        self.former = 0
        self.since = 0
        self.silent = False
        """Whether it was said that it is silent."""
        self.refused = False
        """Whether it was said that it is silent, for it is refused."""


class Others:
    """What was said of the other nodes. `name` gives their names, `port` is the UDP port.

    `addresses` are where messages to nodes go, by id, as the file says.
    """

    def __init__(self, node: Node, name: Callable[[int], str], *, now: int) -> None:
        self.port = 0
        self.addresses: Mapping[int, tuple[str, ...]] = {}
        self.refusals = Refusals(_LATELY)
        self.strangers = Strangers(node.state.promise_length)
        self.doubles = Doubles(node, name)
        self.ways = Ways(late=node.state.timing.interval, patience=_PATIENCE)
        self._unreached: set[int] = set()
        self._node, self._name = node, name
        self._began = now
        self._next = 0
        self._ran = self._listens = now
        # After a planned restart they are there until shown otherwise: nobody needs to be told.
        self._seen = {
            other: _Seen(peer.incarnation, known=now)
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
            _log.error("no restart of %s is agreed to here: %s; %s", name, why.message, why.cure)

    # ---- the log ----

    def look(self, *, now: int) -> None:
        """Say what changed, if it is time to look."""
        self._note_standstill(now)
        if now < self._next:
            return
        self._next = now + self._node.state.timing.interval // 2
        others = self._others()
        self._seen = {other: seen for other, seen in self._seen.items() if other in others}
        for other in sorted(others):
            seen = self._seen.setdefault(other, _Seen(known=now))
            if self._is_there(other, now):
                self._look_at_heard(other, seen, now)
            else:
                self._look_at_silent(other, seen, now)
        self._look_at_deaf(now)
        self._look_at_ways(now)
        for one in self.strangers.heard(now=now):
            if self._is_news(one.node, now):
                _log.warning("%s", self._of_stranger(one).line)
        for what, found in self.doubles.findings(now=now):
            if self._is_news(what, now):
                _log.error("%s", found.line)
        rest = self._rest(now)
        if rest is not None and self._is_news(NOBODY, now):
            _log.warning("%s", self._of_rest(rest).line)

    def _note_standstill(self, now: int) -> None:
        """Count silence anew if this daemon did not run: its timer is due in every interval."""
        stood = now > self._ran + self._node.state.promise_length // 2
        self._ran = now
        if not stood:
            return
        self._listens = now
        for seen in self._seen.values():
            if seen.incarnation:
                seen.anew = now
            elif not seen.former and not seen.silent:
                seen.known = now

    def _look_at_heard(self, other: int, seen: _Seen, now: int) -> None:
        incarnation = self._node.state.hearing.peers.all[other].incarnation
        if seen.incarnation == incarnation:
            return
        name = self._name(other)
        if seen.incarnation:
            _log.info("%s was started anew", name)
        elif seen.former:
            anew = "" if seen.former == incarnation else ", started anew"
            _log.info("%s is back after %.1f s%s", name, (now - seen.since) / SECOND, anew)
        else:
            _log.info("%s is heard", name)
        self._seen[other] = _Seen(incarnation, known=seen.known)
        self.refusals.forget(other)

    def _look_at_silent(self, other: int, seen: _Seen, now: int) -> None:
        peer = self._node.state.hearing.peers.all.get(other)
        if seen.incarnation and peer is not None:
            seen.former, seen.incarnation = seen.incarnation, 0
            seen.since = max(peer.heard_at, seen.anew) or now
            seen.silent = True
            level = logging.INFO if _is_done(peer) else logging.WARNING
            _log.log(level, "%s", _with_end(self._of_silent(other, now).line, _had(peer)))
        elif not seen.silent and not seen.former and now >= seen.known + _PATIENCE:
            seen.silent = True
            if not self._speaks(other, now):
                _log.warning("%s", self._of_silent(other, now).line)
        elif not seen.silent or seen.refused or self.refusals.of(other, now=now) is None:
            return
        else:
            _log.warning("%s", self._of_silent(other, now).line)
        seen.refused = self.refusals.of(other, now=now) is not None

    def _look_at_deaf(self, now: int) -> None:
        deaf = self._node.state.hearing.deafness.deaf(now=now)
        for other in sorted(self._deaf - deaf):
            if self._is_there(other, now):
                _log.info("%s hears this node again", self._name(other))
        me = self._node.me
        if self._hears_nobody(now):
            deaf.add(me)
            if me not in self._deaf:
                _log.error("%s", self.of_deaf(me, 0).line)
        self._deaf = deaf

    def _look_at_ways(self, now: int) -> None:
        unreached = self._missing(now)
        for other in sorted(unreached - self._unreached):
            _log.error("%s", self._of_unreached(other).line)
        for other in sorted(self._unreached - unreached):
            if self._is_there(other, now):
                _log.info("%s is reached at its address", self._name(other))
        self._unreached = unreached

    def _is_news(self, what: Hashable, now: int) -> bool:
        """Tell whether something was not said for ten minutes; it is now."""
        if self._rarely.get(what, now) > now:
            return False
        self._rarely = {one: until for one, until in self._rarely.items() if until > now}
        self._rarely[what] = now + _SELDOM
        return True

    # ---- what is so now ----

    def findings(self, *, now: int) -> list[Finding]:
        """Return each thing that is wrong; those that are deaf are not among them: `of_deaf`."""
        self._note_standstill(now)
        quiet = self._hears_nobody(now)
        found = [
            self._of_silent(other, now)
            for other in self._silent(now)
            if self.refusals.of(other, now=now)
            or not (quiet or self._is_new(other, now) or self._speaks(other, now))
        ]
        found += map(self._of_unreached, sorted(self._missing(now)))
        found += map(self._of_stranger, self.strangers.heard(now=now))
        found += (one for _, one in self.doubles.findings(now=now))
        rest = self._rest(now)
        return found if rest is None else [*found, self._of_rest(rest)]

    def _is_new(self, other: int, now: int) -> bool:
        """Tell whether a node was not heard yet, and need not be."""
        seen = self._seen.get(other)
        return seen is None or (not seen.former and now < seen.known + _PATIENCE)

    def _others(self) -> frozenset[int]:
        return self._node.state.votes.voters.known - {self._node.me}

    def _is_there(self, other: int, now: int) -> bool:
        peer = self._node.state.hearing.peers.all.get(other)
        if peer is None or not peer.incarnation:
            return False
        # One whose restart was declined is not borne, and is heard.
        listened = (peer.heard_at or self._began) + self._node.state.promise_length
        seen = self._seen.get(other)
        if seen is not None and seen.incarnation and seen.anew:
            listened = max(listened, seen.anew + self._node.state.promise_length)
        return max(peer.excused_until, listened) > now

    def _silent(self, now: int) -> list[int]:
        return [other for other in sorted(self._others()) if not self._is_there(other, now)]

    def _speaks(self, other: int, now: int) -> bool:
        """Tell whether a node that does not prove itself speaks: that it is deaf is said."""
        return other in contact.speaking(self._node.state, now)

    def _hears_nobody(self, now: int) -> bool:
        node = self._node
        # Where it was so before, it is so until somebody is heard.
        listens = 0 if node.me in self._deaf else self._listens
        listened = (
            now >= max(node.state.hearing.indirect.started, listens) + node.state.promise_length
        )
        heard = contact.speaking(node.state, now) or contact.unread(node.state, now)
        return listened and bool(self._others()) and not heard

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
        peer = self._node.state.hearing.peers.all.get(other)
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
            reason, cure = _REASONS.get(refused.fault, _NO_MESSAGE)
            if refused.fault is Fault.VERSION and pair.is_of_two(self._node.state):
                reason += ", and of two hosts neither serves then"
            why = (
                f"{_datagrams(refused)} refused that came in its name, from {refused.source}"
                f" ({refused.fault.value}): {reason}"
            )
            return Code.REFUSED, why, cure
        if peer is not None and _is_done(peer):
            return Code.STOPPED, "it was stopped, or drained before", "start it when it is to serve"
        node = self._node
        lately = now - node.state.promise_length // 2
        hearers = [
            self._name(one)
            for one in sorted(node.state.hearing.heard)
            if other in node.state.hearing.indirect.heard_by(one, since=lately)
        ]
        if hearers:
            why = (
                f"{', '.join(hearers)} can hear it: is UDP port {self.port} open from it to this"
                " host, and the address of this host right in its file?"
            )
            return Code.SILENT, why, "open the port, or mend the address"
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
        why, cure = _REASONS.get(rest.fault, _NO_MESSAGE)
        return Finding.of(
            Code.STRAY_DATAGRAMS,
            f"{_datagrams(rest)} refused lately, the last from {rest.source} ({rest.fault.value})",
            why,
            cure=cure,
        )


def _is_done(peer: Peer) -> bool:
    """Tell whether a node said that it answers nothing any more, and wants to."""
    newest = peer.newest
    return newest is not None and newest.leaving and not newest.want | newest.draining


def _had(peer: Peer) -> str:
    held = list(buckets_of(peer.newest.held)) if peer.newest else []
    return f"It held {counted(held)}" if held else ""


def _with_end(sentence: str, another: str) -> str:
    """Return two sentences; the first may be a question, the second empty."""
    stop = "" if sentence.endswith("?") else "."
    return f"{sentence}{stop} {another}" if another else sentence


def _datagrams(refused: Refused) -> str:
    return f"{amount(refused.count, 'datagram')} {were(refused.count)}"
