"""What a voter promises: each bucket to one node at a time.

1. A bucket is given only while nobody else has it here.
2. It is taken back only when a newer message of the grantee lacks it (released), or when nothing
   was heard of the grantee for D, or for as long as any of its messages asked (expired).
3. Grants are to (node, incarnation). What an earlier incarnation was given stands until it expires.
4. A voter that lost its memory gives nothing until the longest promise in it is over.
5. The promise to a node outside of our reach (another configuration, too distant a voter set,
   deaf to us) is not renewed; what it was given stands all the same, until rule 2.
"""

from __future__ import annotations

from typing import Final

from clusterip.core.lease.timing import Timing

_NEVER: Final = 1 << 63
Grantee = tuple[int, int]
"""Node id and incarnation."""


class Promise:
    """What one grantee has: `buckets`, until `until` (ns); and the buckets it asked for."""

    __slots__ = ("buckets", "until", "wants")

    def __init__(self, until: int, buckets: int = 0, wants: int = 0) -> None:
        self.until = until
        self.buckets = buckets
        self.wants = wants


class Voter:
    """The promises of one voter. It grants nothing before `mute_until`, ns."""

    def __init__(self, timing: Timing, mute_until: int) -> None:
        self.timing = timing
        self.mute_until = mute_until
        self.promises: dict[Grantee, Promise] = {}
        self.taken = 0
        self.all_stand_until = 0
        """Before that, ns, no promise ends."""
        self.may_give = True
        """Whether somebody asked, or something came free, since it was seen what there is to give.

        Most messages only renew, and then there is nothing."""

    # The rules, each a small method.

    def length(self, grace: int) -> int:
        """Return how long a promise lasts after a message that asked for `grace`, ns."""
        return self.timing.promise(max(self.timing.lease, grace))

    def kept(self, promise: Promise, want: int) -> int:
        """Return what a grantee keeps once it asks for `want`: it released the rest."""
        return promise.buckets & want

    def free(self) -> int:
        """Return the mask of buckets that may be given."""
        return ~self.taken

    def muted(self, now: int) -> bool:
        """Return whether lost promises may still stand."""
        return now < self.mute_until

    # What happens.

    def hear(self, grantee: Grantee, want: int, grace: int, *, renews: bool, now: int) -> None:
        """Take in the newest message of `grantee`; `renews` is False for one out of our reach."""
        promise = self.promises.get(grantee)
        if promise is None:
            if not renews:
                return
            for other, earlier in self.promises.items():
                if other[0] == grantee[0]:
                    earlier.wants = 0
            promise = self.promises[grantee] = Promise(0)
        wants = want if renews else 0
        if wants != promise.wants:
            promise.wants = wants
            self.may_give = True
        kept = self.kept(promise, want)
        if kept != promise.buckets:
            self.taken &= ~(promise.buckets & ~kept)
            promise.buckets = kept
            self.may_give = True
        if renews:
            # The longest asked for counts: the kernel of a node that announced a restart may go
            # on for that grace whatever its successor says.
            promise.until = max(promise.until, now + self.length(grace))
            self.all_stand_until = min(self.all_stand_until, promise.until)

    def lend(self, grace: int, *, now: int) -> None:
        """Keep all promises for `grace` at least: our own restart, in which we cannot renew."""
        for promise in self.promises.values():
            promise.until = max(promise.until, now + self.length(grace))

    def expire(self, *, now: int) -> None:
        """Forget the promises that are over."""
        if now < self.all_stand_until:
            return
        over = [grantee for grantee, promise in self.promises.items() if promise.until <= now]
        for grantee in over:
            self.taken &= ~self.promises.pop(grantee).buckets
            self.may_give = True
        # Without any, the first that is given tells.
        self.all_stand_until = self.next_expiry() or _NEVER

    def give(self, *, now: int) -> bool:
        """Give free buckets to those who ask, first come first served; say whether any were."""
        if not self.may_give or self.muted(now):
            return False
        self.may_give = given = False
        for promise in self.promises.values():
            more = promise.wants & ~promise.buckets & self.free()
            if more:
                promise.buckets |= more
                self.taken |= more
                given = True
        return given

    def granted(self, grantee: Grantee) -> int:
        """Return the mask of what `grantee` has."""
        promise = self.promises.get(grantee)
        return promise.buckets if promise else 0

    def next_expiry(self) -> int | None:
        """Return when the first promise ends, ns; None when there is none."""
        return min((promise.until for promise in self.promises.values()), default=None)
