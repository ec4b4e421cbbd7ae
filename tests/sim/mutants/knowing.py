"""Deliberate bugs in what nodes know of one another, and make of it."""

from __future__ import annotations

from tests.sim.mutants.kind import Mutant

_PEERS = "lease/peers.py"
_INDIRECT = "lease/indirect.py"
_CONTACT = "lease/contact.py"
_OTHERS = "lease/others.py"
_FLOWS = "serving/flows.py"

OLD_INCARNATIONS = Mutant.of(
    "old incarnations",
    "an incarnation that never echoed us counts, and is new though the one before spoke since",
    (
        _PEERS,
        """\
        if self.proves(message, incarnation.challenge) and self.replaces(
            message, incarnation, heard_at, now=now
        ):
""",
        "        if True:\n",
    ),
)
FORGETS_BINDINGS = Mutant.of(
    "forgets bindings",
    "what a voter heard before its restart counts no longer than what others did",
    (
        _PEERS,
        """\
        if message.grace:
            peer.bound_until = max(peer.bound_until, excused_until)
""",
        "        peer.bound_until = 0\n",
    ),
)
LONE_LISTENER = Mutant.of(
    "lone listener",
    "who is not heard here is taken for dead, whatever others hear",
    (_INDIRECT, "statement = words.acknowledged(node) if words else None", "return 0"),
)
TAKES_UNTOLD = Mutant.of(
    "takes untold",
    "of a bucket that another held when last heard, everything is answered, whatever others heard",
    (_INDIRECT, "        if newest is None:\n            return True\n", "        return False\n"),
    (_FLOWS, "if one.held & bit:", "if one.held & 0:"),
)
TAKES_ALL = Mutant.of(
    "takes all",
    "nothing is left alone but what has a socket",
    (
        _FLOWS,
        "flow_slots_of(bucket)\n        return flow_slots",
        "flow_slots_of(bucket)\n        return flow_slots and 0",
    ),
)
NEVER_STOOD_STILL = Mutant.of(
    "never stood still",
    "what the others' clocks show is nothing to the leases",
    (
        "lease/standstill.py",
        "since, self.noticed)\n        return stood",
        "since)\n        return 0",
    ),
)
KERNEL_UNTOLD = Mutant.of(
    "kernel untold",
    "the kernel does not know the others' clocks: it waits for the daemon",
    ("serving/kernel.py", "self.actions.append(SetLead(node, incarnation, ahead, slack))", "pass"),
)
BELIEVES_OLDEST = Mutant.of(
    "believes oldest",
    "messages that came together are believed one by one",
    (
        "lease/heeding.py",
        "    known = state.hearing.peers.all\n",
        """\
    messages = list(messages)
    if len(messages) > 1:
        return
    known = state.hearing.peers.all
""",
    ),
)
BELIEVES_THE_REST = Mutant.of(
    "believes the rest",
    "only what was noticed of a standstill is taken off: what waits behind it still renews",
    (
        "lease/holder.py",
        """\
        self.doubted_until = max(self.sent, default=self.doubted_until)
        self.doubted = frozenset(self.contact)
""",
        "        self.doubted = frozenset()\n",
    ),
)
NOTHING_TOLD = Mutant.of(
    "nothing told",
    "what a node drains that is not heard here, nobody tells",
    (_INDIRECT, "best: dict[int, tuple[int, int]] = {}", "return 0"),
)
TELLS_OF_ANYBODY = Mutant.of(
    "tells of anybody",
    "what one of another configuration tells of drains counts",
    (_INDIRECT, "message.seen_draining if same else None", "message.seen_draining"),
)
TOLD_AT_ONCE = Mutant.of(
    "told at once",
    "what others tell counts, however old it may be",
    (_FLOWS, "blind + self.promise_length <= told.until", "True"),
)
KNOWS_ALL_AGAIN = Mutant.of(
    "knows all again",
    "after a planned restart what was being taken is not looked after",
    (_FLOWS, "self._blind = dict.fromkeys(buckets_of(taking), now)", "self._blind = {}"),
)
NOT_ASKED_FOR = Mutant.of(
    "not asked for",
    "who asked for a bucket when last heard has not had it since",
    (_FLOWS, "        if not asked:\n", "        if True:\n"),
)
FORGETS_FORMER = Mutant.of(
    "forgets former",
    "who was removed is forgotten at once",
    (_PEERS, "return [message for message, _ in self._former]", "return []"),
)
FORGETS_TOLD = Mutant.of(
    "forgets told",
    "who was removed is forgotten in time, though others still hear it",
    (_PEERS, "if until > now or message.sender in told", "if until > now"),
)
NAMES_NOBODY_REMOVED = Mutant.of(
    "names nobody removed",
    "who was removed is not told of, though it may answer packets yet",
    (_PEERS, "return (*owed, *removed.values())", "return tuple(owed)"),
)
HEEDS_NO_NAMESAKE = Mutant.of(
    "heeds no namesake",
    "that another daemon runs as this node is nothing to it",
    (
        "lease/receiving.py",
        "    state.hearing.namesake.barred_until = until\n",
        "    return\n",
    ),
)
ANY_CONFIG = Mutant.of(
    "any config",
    "hash parameters need not be equal",
    (
        _CONTACT,
        "return same(state, message) and state.votes",
        "return state.votes",
    ),
)
KNOWS_NO_STRANGER = Mutant.of(
    "knows no stranger",
    "who is not in this node's set of voters has nothing that comes to it",
    (
        _OTHERS,
        "return {node for node in unlisted if _is_told_of(state, node, now)}",
        "return set()",
    ),
)
TOLD_IN_RESTART = Mutant.of(
    "told in restart",
    "what others tell counts of one in a planned restart, too; and what one does that had one",
    (
        _CONTACT,
        "return peer.excused_until > max(now, peer.heard_at + state.promise_length)",
        "return False",
    ),
    (
        _OTHERS,
        "    if voter == state.me:\n        return state.grace.lent_until\n",
        "    return 0\n",
    ),
)
ONE_GRACE = Mutant.of(
    "one grace",
    "a grace counts from the first message alone that says it",
    (_OTHERS, "grace = peer.newest.grace if peer.newest else 0", "grace = 0"),
)
