"""Deliberate bugs in what a node does with its buckets, and when."""

from __future__ import annotations

from tests.sim.mutants.kind import Mutant

_SERVING = "lease/serving.py"
_NODE = "lease/node.py"
_OTHERS = "lease/others.py"

DRAINS_ON = Mutant.of(
    "drains on",
    "a drain goes on without contact to a majority",
    (_SERVING, "if kernel.draining and not good & DRAINS:", "if 0:"),
    (
        _NODE,
        "        self.armed = when\n        return when",
        "        self.armed = when\n        return max(when, self.last_input + 1_000_000)",
    ),
)
BINDS_UNKNOWN = Mutant.of(
    "binds unknown",
    "a voter that restarts counts for its grace, whoever knows of that",
    (
        _OTHERS,
        "        if not (self.kernel.draining and bindings):\n            return {}\n",
        "        return {voter: until for voter, (until, _) in bindings.items()}\n",
    ),
)
LATEST_LEASE = Mutant.of(
    "latest lease",
    "the deadline is that of the lease that ends last",
    (
        _SERVING,
        "min(ends, default=self.kernel.deadline)",
        "max(ends, default=self.kernel.deadline)",
    ),
)
SAYS_FIRST = Mutant.of(
    "says first",
    "a message says that a bucket is released before the kernel has closed it",
    (
        _SERVING,
        "        self.changed |= self.advertised != self._saying(now)\n",
        """\
        self.changed |= self.advertised != self._saying(now)
        self.kernel.early = True
""",
    ),
    (
        _NODE,
        "        return self.kernel.actions.popleft() if self.kernel.actions else None\n",
        """\
        early, self.kernel.early = getattr(self.kernel, "early", False), False
        return self.kernel.actions.popleft() if self.kernel.actions and not early else None
""",
    ),
    (
        _NODE,
        "        if self.gone or self.kernel.actions or now < self._send_at():\n",
        """\
        if self.gone or now < self._send_at():
            self.kernel.early = False
""",
    ),
)
PLANS_AT_ONCE = Mutant.of(
    "plans at once",
    "a plan is made before it is known who is there",
    (
        _SERVING,
        "        self._wake(now)\n",
        "        self.plan_from = 0\n        self._wake(now)\n",
    ),
)
GRACE_UNKNOWN = Mutant.of(
    "grace unknown",
    "a restart does not wait for those who would take its silence for death",
    (
        _OTHERS,
        "return not (self.grace and self.kernel.draining) or all(",
        "return True or all(",
    ),
)
