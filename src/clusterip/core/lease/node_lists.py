"""Who goes by other voters than this node, and what is to be done about it, in words.

Files are changed host by host. As long as one host was forgotten the voters before stay in use
beside the new ones, and a host that is in the one list and not in the other is not dealt with
alike: that is said on both sides for as long as it is so. Messages have digests of the voters,
and of those before; which voters these are is found among those one apart from ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from clusterip.core.findings import Code, Finding
from clusterip.core.lease import contact
from clusterip.core.lease.node_state import State
from clusterip.core.lease.peers import Peer
from clusterip.core.messages.message import Message, digest_of_voters

_RELOAD = "`clusterip reload`"


class NodeLists:
    """What is heard of the voters of others; `name` gives the names of nodes."""

    def __init__(self, state: State, name: Callable[[int], str]) -> None:
        self._state, self._name = state, name

    def findings(self, *, now: int) -> Iterator[tuple[str, Finding]]:
        """Yield each node that was heard lately with other voters than ours, `now`, ns."""
        state = self._state
        heard = state.hearing.peers.lately(since=now - state.promise_length)
        for node, message in sorted(heard.items()):
            other_file = not contact.same(state, message)
            if message.voters != state.votes.voters.digest and not other_file:
                yield self._name(node), self._of(node, message)
        for node, peer in sorted(state.hearing.peers.all.items()):
            if node not in heard and (listed := self._without_us(node, peer, now)):
                yield self._name(node), self._of_removed(node, listed)

    def without(self, *, now: int) -> dict[int, str]:
        """Return of each voter that has not settled on our voters what it lacks, in words."""
        state, ours = self._state, self._state.votes.voters
        heard = state.hearing.peers.lately(since=now - state.promise_length)
        found = {}
        for node in sorted(ours.voters - {state.me}):
            if node not in heard:
                found[node] = f"{self._name(node)} is not heard"
            elif heard[node].voters != ours.digest:
                found[node] = f"{self._name(node)} runs with {self._voters_of(heard[node])}"
        return found

    def _without_us(self, node: int, peer: Peer, now: int) -> frozenset[int]:
        """Return the voters of a node that does not prove itself, where this one is none of them.

        It may not hear this node for that. What it says may be recorded: it is only to tell
        administrators where to look.
        """
        me, since = self._state.me, now - self._state.promise_length
        for one in peer.unproven.values():
            listed = self._found(one.voters, {node, *one.hears}) if one.spoke_at > since else None
            if listed and me not in listed:
                return listed
        return frozenset()

    def _of_removed(self, node: int, listed: frozenset[int]) -> Finding:
        return Finding.of(
            Code.VOTERS_DIFFER,
            f"{self._name(node)} runs with {self._words(listed)}, and this host is none of them",
            f"this host runs with {self._ours()}",
            cure="if this host was removed, stop its daemon; if not, put its [[node]] back into"
            f" the file of each host, and {_RELOAD} there",
        )

    def _of(self, node: int, message: Message) -> Finding:
        who, theirs, ours = self._name(node), self._voters_of(message), self._ours()
        voters = self._state.votes.voters
        listed = self._voters(message)
        if listed and self._state.me not in listed:
            return self._of_removed(node, listed)
        if node not in voters.voters:
            what = f"{who} runs with {theirs}, and is not in the node list of this host any more"
            cure = (
                "if it was removed, stop its daemon; if not, put its [[node]] back into the file"
                f" of each host, and {_RELOAD} there"
            )
        elif message.previous == voters.digest:
            what = f"{who} already runs with {theirs}"
            cure = f"{_RELOAD} here, with the same file as there"
        elif message.voters == voters.previous:
            what = f"{who} still runs with {theirs}"
            cure = f"{_RELOAD} there, with the same file"
        else:
            what = f"{who} runs with {theirs}"
            cure = f"the same file on both, and {_RELOAD} where it was changed"
        return Finding.of(Code.VOTERS_DIFFER, what, f"this host runs with {ours}", cure=cure)

    def _ours(self) -> str:
        return self._words(self._state.votes.voters.voters)

    def _voters_of(self, message: Message) -> str:
        listed = self._voters(message)
        return self._words(listed) if listed else "other voters, some of them not known here"

    def _words(self, voters: frozenset[int]) -> str:
        return f"the voters {', '.join(sorted(map(self._name, voters)))}"

    def _voters(self, message: Message) -> frozenset[int]:
        hears = (one.node for one in message.heard if one.known)
        return self._found(message.voters, {message.sender, *hears})

    def _found(self, digest: int, there: Iterable[int]) -> frozenset[int]:
        """Return the voters of that digest, none where they are not found; `there` may be some."""
        ours = self._state.votes.voters
        around = ours.known.union(there)
        near = [ours.voters, ours.before, around, frozenset(there)]
        near += [some ^ {node} for some in (ours.voters, ours.before) for node in around]
        return next((one for one in near if digest_of_voters(one) == digest), frozenset())
