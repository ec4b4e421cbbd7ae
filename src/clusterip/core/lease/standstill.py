"""Whether this machine stood still, as the clocks of the others tell.

A virtual machine that is paused, saved or moved keeps its clocks where they were. Its leases look
good when it goes on, and others have its buckets by then. No clock of its own tells; theirs do:

1. A message says what its sender's clock showed (C). Read here at A, C - A is at most by how much
   that clock is ahead of ours, its *lead*, for the message took some time. The most that was seen
   lately is what we go by.
2. The leads of two clocks that run hardly change. So a message with more than the lead shows that
   our clock stood still for the difference, or that all lately were late: then we are wrong to
   the safe side.
3. What was noticed shortens the leases that were counted from messages sent before (holder). It
   shortens no promise that we gave: those are only ever too long.
4. What one peer showed, others show too: each tells only what is new since it was heard last.
5. A new incarnation of a peer is a witness too. Its machine runs on: then its clock has the lead
   that it had. Or it was started since: then what its clock shows went by since the old incarnation
   was heard.
6. A peer whose own clock stood still shows less than its lead, until that is forgotten: when it
   was heard for one to two `window`s after. One that is heard again after a long silence is judged
   by what it showed before, for its first messages may have waited on the way.

Of messages that came together the oldest are read first, and acknowledge what was sent before.
So of all of them the clocks are heeded before anything else is believed.
"""

from __future__ import annotations

from typing import NamedTuple


class Lead(NamedTuple):
    """By how much (ns) the clock of an incarnation is ahead of ours.

    `newest` is the most that was seen since `since`, ns, `before` in the window before that.
    `noticed` is how long we knew to have stood still in all when it was heard last.
    """

    incarnation: int
    newest: int
    before: int
    since: int
    noticed: int = 0

    @property
    def ahead(self) -> int:
        """The most that was seen lately."""
        return max(self.newest, self.before)


class Standstill:
    """What the clocks of the others have told. Less than `noise` says nothing; all in ns."""

    def __init__(self, noise: int, window: int) -> None:
        self.noise = noise
        self.window = window
        self.leads: dict[int, Lead] = {}
        """By node."""
        self.noticed = 0
        """How long we stood still in all."""

    def heed(self, node: int, incarnation: int, clock: int, *, now: int) -> int:
        """Take in what the clock of `node` showed; return for how long we newly stood still, ns."""
        ahead = clock - now
        known = self.leads.get(node)
        if known is None or known.incarnation != incarnation:
            self.leads[node] = Lead(incarnation, ahead, ahead, now, self.noticed)
            return 0
        stood = self._newly(ahead - known.ahead, known)
        newest, before, since = max(ahead, known.newest), known.before, known.since
        if now - since >= self.window:
            newest, before, since = ahead, known.newest, now
        self.leads[node] = Lead(incarnation, newest, before, since, self.noticed)
        return stood

    def succeed(self, node: int, incarnation: int, clock: int, *, heard_at: int, now: int) -> int:
        """Take in the clock of a new incarnation of `node`; the former spoke last at `heard_at`.

        Return for how long we newly stood still, ns, at least.
        """
        ahead = clock - now
        known = self.leads.get(node)
        stood = 0
        if known is not None:
            gone_on = ahead - known.ahead
            if clock < heard_at + known.ahead:
                # Its machine was started since: what its clock shows went by.
                gone_on = clock - (now - heard_at)
            stood = self._newly(gone_on, known)
        self.leads[node] = Lead(incarnation, ahead, ahead, now, self.noticed)
        return stood

    def _newly(self, gone_on: int, known: Lead) -> int:
        """Note that another clock went on by so much more than ours; return what of it is new."""
        stood = gone_on - (self.noticed - known.noticed)
        if stood <= self.noise:
            return 0
        self.noticed += stood
        return stood
