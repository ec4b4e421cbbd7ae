"""Deliberate bugs in what is promised, and in what a promise is taken for."""

from __future__ import annotations

from tests.sim.mutants.kind import Mutant

_VOTER = "lease/voter.py"
_VOTERS = "lease/voter_set.py"
_HOLDER = "lease/holder.py"

FROM_REPLY = Mutant.of(
    "from reply",
    "the lease is counted from when the grant arrives",
    (
        _HOLDER,
        "        said: int = 0,\n    ) -> None:",
        "        said: int = 0, now: int = 0\n    ) -> None:",
    ),
    (_HOLDER, "since = sent.at\n", "since = now or sent.at\n"),
    (
        "lease/receiving.py",
        "message: Message, *, counts",
        "message: Message, now: int, *, counts",
    ),
    ("lease/receiving.py", "(state, message, counts=not", "(state, message, now, counts=not"),
    ("lease/receiving.py", "said=message.sequence,", "said=message.sequence, now=now,"),
)
SHORT_PROMISE = Mutant.of(
    "short promise",
    "D is below L",
    (_VOTER, "self.timing.lease, grace))", "self.timing.lease, grace)) - self.timing.lease // 3"),
)
LATE_GRANT = Mutant.of(
    "late grant",
    "a grant counts whatever was released since the message it acknowledges",
    (_HOLDER, "granted & self.asked_by(sequence)", "granted & self.advertised"),
)
UNASKED = Mutant.of(
    "unasked",
    "a grant counts for what no message asked for",
    (_HOLDER, "granted & self.asked_by(sequence)", "granted"),
)
GIVES_EARLY = Mutant.of(
    "gives early",
    "a bucket is given to whoever asks, released or not",
    (_VOTER, "return ~self.taken", "return -1"),
    (
        _VOTER,
        "                given = True\n        return given",
        """\
                given = True
        last = None
        for promise in self.promises.values():
            if last:
                last.buckets &= ~promise.wants
            last = promise
        return given""",
    ),
)
NEVER_MUTE = Mutant.of(
    "never mute",
    "a voter that lost its memory grants at once",
    (_VOTER, "return now < self.mute_until", "return False"),
)
IGNORES_GRACE = Mutant.of(
    "ignores grace",
    "a voter does not wait longer for a planned restart",
    (_VOTER, "max(self.timing.lease, grace)", "self.timing.lease"),
)
ANY_SET = Mutant.of(
    "any set",
    "voter sets any distance apart work together",
    (_VOTERS, "return len(self.voters ^ following) == 1", "return True"),
    (_VOTERS, "following = frozenset(voters)", "return VoterSet(voters)"),
    (_VOTERS, "known = message.voters in {self.digest, self.previous}", "return True"),
)
ANY_INCARNATION = Mutant.of(
    "any incarnation",
    "a voter tells a node of what it promised to any of its incarnations",
    (
        "lease/speech.py",
        "return newest.get(grantee[0]) == grantee[1]",
        "return grantee[0] in newest",
    ),
)
