"""Deliberate bugs of one of two hosts, which may go on alone."""

from __future__ import annotations

from typing import Final

from tests.sim.mutants.kind import Mutant

_PAIR: Final = "lease/pair.py"
_VERSIONS: Final = "messages/versions.py"

ONLY_PROVEN_GRACES = Mutant.of(
    "only proven graces",
    "the silence that an incarnation announced which is not proven is its death",
    (
        _PAIR,
        "max(one.spoke_at + state.promise_length, one.excused_until) > now",
        "one.spoke_at + state.promise_length > now",
    ),
)
EXCUSED_HEARS = Mutant.of(
    "excused hears",
    "who announced a grace hears this node, whatever it echoes",
    (
        "lease/contact.py",
        "return now + timing.lease if restarted else until",
        "return now + timing.lease if restarted or is_excused(state, peer, now) else until",
    ),
)
LONE_WITHOUT_END = Mutant.of(
    "lone without end",
    "who goes on alone beside one that hears it needs no word of that one again",
    (
        "lease/settling.py",
        "if (until := pair.alone_until(state, now)) is not None:",
        "if (until := None) is not None:",
    ),
)
AGE_UNBOUND = Mutant.of(
    "age unbound",
    "who goes on beside one that began lately does so for a lease, however old that one is by then",
    (_PAIR, "else _listens_until(state, one)", "else now + state.timing.lease"),
)
UNREAD_IS_SILENT = Mutant.of(
    "unread is silent",
    "whom this node cannot read is dead",
    ("lease/receiving.py", "    state.hearing.peers.hear_unread(", "    (lambda *_, **__: None)("),
)
KNOWN_UNREAD_IS_SILENT = Mutant.of(
    "known unread is silent",
    "whom this node cannot read any more is dead",
    (
        _PAIR,
        "return bool(peer.unread_at) and peer.unread_at + state.promise_length > now",
        "return False",
    ),
)
UNREAD_IS_NOT_ECHOED = Mutant.of(
    "unread is not echoed",
    "who says what this node cannot read is not told that it was heard",
    (
        "lease/peers.py",
        "                if one.spoke_at + self.promise_length > now\n",
        "                if one.spoke_at + self.promise_length > now and not one.unread\n",
    ),
)
CLAIMS_LEAD = Mutant.of(
    "claims lead",
    "what a recording says is spoken, though somebody who is heard cannot read that",
    (_VERSIONS, "found = max(found, lowest)", "pass"),
)
