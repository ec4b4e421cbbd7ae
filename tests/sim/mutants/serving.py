"""Deliberate bugs in what a node does with its buckets, and when."""

from __future__ import annotations

from tests.sim.mutants.kind import Mutant

_SETTLING = "lease/settling.py"
_NODE = "lease/node.py"
_OTHERS = "lease/others.py"

DRAINS_ON = Mutant.of(
    "drains on",
    "a drain goes on without contact to a majority",
    (_SETTLING, "if kernel.draining and not good & DRAINS:", "if 0:"),
    (
        _NODE,
        "        return when\n",
        "        return max(when, state.attention.last_input + 1_000_000)\n",
    ),
)
BINDS_UNKNOWN = Mutant.of(
    "binds unknown",
    "a voter that restarts counts for its grace, whoever knows of that",
    (
        _OTHERS,
        "    if not (state.kernel.draining and bindings):\n        return {}\n",
        "    return {voter: until for voter, (until, _) in bindings.items()}\n",
    ),
)
LATEST_LEASE = Mutant.of(
    "latest lease",
    "the deadline is that of the lease that ends last",
    (
        _SETTLING,
        "deadline = min(",
        "deadline = max(",
    ),
)
SAYS_FIRST = Mutant.of(
    "says first",
    "a message says that a bucket is released before the kernel has closed it",
    (
        _SETTLING,
        "    state.voice.changed |= state.voice.advertised != speech.saying(state, now)\n",
        """\
    state.voice.changed |= state.voice.advertised != speech.saying(state, now)
    state.kernel.early = True
""",
    ),
    (
        _NODE,
        "        return actions.popleft() if actions else None\n",
        """\
        early, self.kernel.early = getattr(self.kernel, "early", False), False
        return actions.popleft() if actions and not early else None
""",
    ),
    (
        _NODE,
        "        if voice.gone or kernel.actions or now < speech.send_at(state):\n",
        """\
        if voice.gone or now < speech.send_at(state):
            kernel.early = False
""",
    ),
)
PLANS_AT_ONCE = Mutant.of(
    "plans at once",
    "a plan is made before it is known who is there",
    (
        _SETTLING,
        "    listening.wake(state, now)",
        "    state.attention.plan_from = 0\n    listening.wake(state, now)",
    ),
)
GRACE_UNKNOWN = Mutant.of(
    "grace unknown",
    "a restart does not wait for those who would take its silence for death",
    (
        _OTHERS,
        "return not (state.grace.asked and state.kernel.draining) or all(",
        "return True or all(",
    ),
)
