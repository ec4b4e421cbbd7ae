"""What a node makes of what it knows, after any input: what to serve, ask for and give up.

`Serving` is the part of a node that no message enters or leaves; `core.lease.node` composes it with
them and holds the safety argument.
"""

from __future__ import annotations

from collections.abc import Iterable

from clusterip.core.buckets import buckets_of, mask_of
from clusterip.core.lease.holder import CONTACT, DRAINS
from clusterip.core.lease.others import Others
from clusterip.core.lease.voter import Grantee
from clusterip.core.lease.voter_set import VoterSet
from clusterip.core.messages.message import Message
from clusterip.core.messages.wire import flow_slots_that_fit
from clusterip.core.serving.actions import (
    Alarm,
    AlarmKind,
    BucketState,
    Note,
    ReadFlowSlots,
    RestartReady,
    RestartRefused,
)
from clusterip.core.serving.assignment import view_of
from clusterip.core.serving.flows import Told

_NEWCOMERS = 4
"""How many hosts may be added while buckets drain, and messages still fit in one frame."""


class Serving(Others):
    """A node that acts on what it knows."""

    # ---- after any input ----

    def _settle(self, now: int) -> None:
        self._wake(now)
        self.voter.expire(now=now)
        self._give(now)
        self.heard = self.peers.heard(now=now)
        self.living = self.peers.living(now=now)
        if self.grace and now >= self.grace_ends:
            # Our note covers no grace announced later.
            self.kernel.actions.append(RestartRefused(self.grace))
            self._set_grace(0, now)
        if self.voters.before and self.voters.settled(self.heard, self.me):
            there = self._there(now)
            self.voters = VoterSet(self.voters.voters)
            self.peers.keep(self.voters.known, there, until=now + 2 * self.promise_length)
            self.changed = True
        self._note_lone(now)
        sure = self.kernel.is_shut and self.holder.sure(self.quorums(now))
        if sure:
            self.holder.believe()
        ends = self.holder.ends(self.quorums(now), self.bound(now))
        self.contact_until = max((end for end, buckets in ends if buckets & CONTACT), default=0)
        self._lapse(ends, now)
        self._stop_keeping(now)
        if not self._may_serve(now):
            self.intent = 0
            if self.kernel.open | self.kernel.draining:
                self.kernel.put(self.kernel.open | self.kernel.draining, BucketState.NONE)
        else:
            self._intend(now)
            if sure:
                # Others may have had any of them meanwhile: what is ours is taken as if anew, for
                # they may drain it, and what drained here is over.
                self.kernel.put(self.kernel.open | self.kernel.draining, BucketState.NONE)
            self._use(ends, now)
        if sure:
            self.kernel.unshut()
        self.changed |= self.advertised != self._saying(now)

    def _intend(self, now: int) -> None:
        """Make a plan, where it is known who is there, and ask for what is ours by it."""
        if now < self.plan_from:
            return
        views = {node: view_of(message) for node, message in self.living.items()}
        views[self.me] = self._view(now)
        self.assignment.update(views)
        if self.grace:
            return
        # Without a majority what is given away ends here, and nobody can be granted it.
        if self.contact_until >= now + self.timing.interval:
            self._pass_on(now)
        self.intent = self.kernel.open
        # Who cannot hear what it is granted would only keep it from others.
        if self.in_contact(now) and not self._barred(now):
            asked = self.assignment.mine | self._orphans(now)
            self.intent |= asked & ~self.backoff.yielded(
                asked & ~self.kernel.open, self._contested, now=now
            )

    def _contested(self) -> int:
        """Return the mask of buckets that some voter grants to another, and nobody holds.

        Who lives and holds one gives it up when it is ready to.
        """
        held = 0
        for message in self.heard.values():
            held |= message.held
        return self._granted_to_others() & ~held

    def _orphans(self, now: int) -> int:
        """Return the mask of buckets that this node asks for because nobody does."""
        if not self.assignment.able:
            return 0
        asked = self.assignment.mine | self.kernel.open
        for message in self.heard.values():
            asked |= message.want
        return self.orphans.look(((1 << self.config.total) - 1) & ~asked, now=now)

    def _granted_to_others(self) -> int:
        """Return the mask of what some voter grants to another that asks for it, as far as we hear.

        Who has just given something up does not: it was heard by us before those who vote for it.
        """
        mask = self.voter.taken & ~self.voter.granted((self.me, self.incarnation))
        for message in self.heard.values():
            for node, buckets in message.grants:
                if node != self.me:
                    asker = self.heard.get(node)
                    mask |= buckets & asker.want if asker else buckets
        return mask

    def _passed_on(self, now: int) -> int:
        """Return the mask of buckets whose desired owner lives, asks for them and hears us."""
        mask = 0
        for node, message in self.living.items():
            # Who is about to restart may be silent before it has it.
            asks = message.want & self.kernel.open and not message.grace
            if asks and self.sent_lately(message.heard_of(self.me, self.incarnation), now):
                mask |= message.want & self.assignment.of.get(node, 0)
        return mask & self.kernel.open

    def _give(self, now: int) -> None:
        """Grant what is free to those who ask."""
        if not self._barred(now):
            self.changed |= self.voter.give(now=now)

    def _lapse(self, ends: list[tuple[int, int]], now: int) -> None:
        """Clear what is not ours any more, and what would hold the others back."""
        kernel = self.kernel
        good = 0
        best = 0
        for end, buckets in ends:
            if buckets & kernel.open and not best:
                best = end
            lags = end < now + self.timing.interval and end + self.timing.interval < best
            if end > now and not (lags and buckets & kernel.open):
                good |= buckets
        lost = kernel.open & ~good
        if lost:
            if lost == kernel.open:
                self._newcomer(now)
            kernel.put(lost, BucketState.NONE)
        if kernel.draining and not good & DRAINS:
            kernel.put(kernel.draining, BucketState.NONE)

    def _stop_keeping(self, now: int) -> None:
        """Leave flows and connections to others when their time is over."""
        kernel, flows = self.kernel, self.flows
        flows.keep_only(0 if self.grace else kernel.open)
        for bucket in flows.over(kernel.draining, now=now):
            kernel.set_flow_slots(bucket, 0)
        if self.grace and kernel.watching:
            kernel.put(kernel.watching, BucketState.OWNED)

    def _use(self, ends: list[tuple[int, int]], now: int) -> None:
        """Move the deadline, then open what became ours."""
        kernel = self.kernel
        # A lease about to end is not worth opening, and would end those of the others.
        fresh = 0
        for end, buckets in ends:
            if end >= now + self.timing.interval:
                fresh |= buckets
        opening = self.intent & fresh & ~kernel.open
        if now < self.plan_from:
            opening = 0  # we would not know of a living peer that drains, or holds it
        serving = kernel.open | opening
        needed = (serving | (DRAINS if kernel.draining else 0)) or CONTACT
        deadline = self._deadline([end for end, buckets in ends if buckets & needed])
        if deadline != kernel.deadline and (serving | kernel.draining):
            kernel.limit(deadline)
        self._open(opening, now)
        self._await_grace(deadline, now)

    def _deadline(self, ends: list[int]) -> int:
        """Return the deadline for all together whose leases end then; as it is if none is known."""
        return min(ends, default=self.kernel.deadline)

    def _open(self, opening: int, now: int) -> None:
        """Open what became ours, and leave alone what others may still answer of it."""
        kernel = self.kernel
        if not kernel.taking | opening:
            return
        left = self._left(opening, now)
        others = mask_of(left)
        if kernel.taking & ~others:
            kernel.put(kernel.taking & ~others, BucketState.OWNED)
        for bucket in buckets_of(kernel.taking):
            kernel.set_flow_slots(bucket, left[bucket])
        if opening:
            self.incumbent = True
            if opening & others:
                kernel.put(opening & others, BucketState.TAKING, left)
            if opening & ~others:
                kernel.put(opening & ~others, BucketState.OWNED)

    def _left(self, opening: int, now: int) -> dict[int, int]:
        """Return the flow slots to leave alone, by bucket: of those to be, or remain, in TAKING."""
        all_heard = self.lingering(now)
        rest = list(all_heard)
        until, draining, outrun = now, 0, False
        for node, peer in self._there(now).items():
            heard = [peer.newest] if peer.newest else []
            all_heard += heard
            if self.outrun(node, peer, now):
                outrun = True
                # In its restart it drains on, and says so to nobody.
                told_until = 0 if self._is_excused(peer, now) else self.told_until(node, now)
                until = min(until, told_until)
                draining |= self.indirect.relayed(node, peer.newest)
            else:
                rest += heard
        told = Told(until, draining, rest) if outrun else None
        return self.inherited.look(self.kernel.taking, opening, all_heard, told, now=now)

    def _await_grace(self, deadline: int, now: int) -> None:
        """Say when the kernel may go on alone for the grace that was announced."""
        if self.kernel.is_shut:
            return
        known = self._grace_is_known(now) and self._other_knows_of_grace(now)
        allowed = deadline - self.grace >= self.grace_sent_at and known
        if self.announced and not self.answered and allowed:
            self.answered = True
            self.kernel.actions.append(RestartReady(deadline))

    def _set_grace(self, grace: int, now: int) -> None:
        """Announce a grace, or no more; the note that covers it ends with `term_ends`."""
        self.grace = grace
        self.grace_sequence = self.sequence + 1
        # If enough decline, it goes on with the leases of before.
        self.grace_ends = now + self.timing.lease - 2 * self.timing.interval
        if self.serves_alone(now):
            # It says so for longer, and needs nobody's lease.
            self.grace_ends += self.promise_length
        self.announced = False
        self.answered = False

    def _newcomer(self, now: int) -> None:
        self.ready_at = now + self.timing.settle

    def heed(self, messages: Iterable[Message], *, now: int) -> None:
        """Take in what the senders' clocks showed: of all that came together, before the rest.

        What was heard before is nothing to go by, whoever says it again: it shows an old clock.
        """
        known = self.peers.all
        news = [
            message
            for message in messages
            if (peer := known.get(message.sender)) is not None
            and message.incarnation == peer.incarnation
            and message.sequence > peer.sequence
        ]
        self._heed(news, 0, now)

    def _heed(self, messages: Iterable[Message], stood: int, now: int) -> None:
        """Take in the clocks of messages that are new; that we stood still is known of `stood`."""
        heeded = set()
        for message in messages:
            sender = message.sender
            stood += self.standstill.heed(sender, message.incarnation, message.clock, now=now)
            heeded.add(sender)
        if stood:
            self._stood_still(stood, now)
        # After the kernel's deadline is cut: a greater lead alone would show it to be later.
        for sender in sorted(heeded):
            lead = self.standstill.leads[sender]
            self.kernel.follow(sender, lead.incarnation, lead.ahead, slack=self.timing.standstill)

    def _stood_still(self, stood: int, now: int) -> None:
        """Shorten the leases from before our clock stood still for `stood`, ns.

        It may be only the beginning of what we learn: the messages that came together are the
        oldest of those that wait. So nothing is answered until a majority has heard a message of
        now: what it says comes after all that waits.
        """
        self.holder.cut(stood)
        self._listen_for_grace(now, since=now - stood)
        if stood > self.timing.standstill:
            self.holder.doubt()
            self.kernel.shut()
            self.changed = True
        if stood > self.timing.lease // 4:
            self.kernel.actions.append(Alarm(AlarmKind.STOOD_STILL, 0, stood))
        self._settle(now)

    def _wake(self, now: int) -> None:
        """Notice that we did not run: nobody was silent then, it was us who did not listen."""
        late = now - self.armed
        if late > self.timing.lease // 4:
            self.armed = now  # said once
            self.kernel.actions.append(Alarm(AlarmKind.STARVED, 0, late))
        if now - self.last_input > 2 * self.timing.interval:
            self._listen(now, since=self.last_input)
        self.last_input = now

    def _listen(self, now: int, *, since: int) -> None:
        """Begin to listen anew: what was said after `since`, ns, may never come."""
        self.plan_from = max(self.plan_from, now + 3 * self.timing.interval)
        self.listening_since = max(self.listening_since, now)
        self._listen_for_grace(now, since=since)

    def _listen_for_grace(self, now: int, *, since: int) -> None:
        """Await a grace where one may have been announced since `since`, ns."""
        if self._missed_grace(since, now):
            self.await_grace(now)

    def _note(self, until: int, about: int = 0) -> None:
        self.kernel.actions.append(Note(until, about))

    def _pass_on(self, now: int) -> None:
        """Watch what is to go, and let go what was watched for long enough."""
        kernel, flows = self.kernel, self.flows
        going = self._passed_on(now)
        flows.keep_only(going)
        if kernel.watching & ~going:
            kernel.put(kernel.watching & ~going, BucketState.OWNED)
        # What is being taken goes at once: its flows are not all ours to keep.
        ready = flows.settled(going) | going & kernel.taking if flows.watch else going
        if ready:
            room = flow_slots_that_fit(self.config.total, len(self.peers.all) + _NEWCOMERS)
            kernel.put(ready, BucketState.DRAINING, flows.give(ready, room, now=now))
        if flows.watch and (new := flows.begin(going & kernel.owned, now=now)):
            kernel.put(new, BucketState.WATCHING)
        if over := flows.seen_enough(now=now):
            # First nothing more is noted, then it is read.
            kernel.put(mask_of(over), BucketState.OWNED)
            kernel.actions.append(ReadFlowSlots(over))

    # ---- what it may tell ----

    def _is_this(self, grantee: Grantee, newest: dict[int, int]) -> bool:
        """Return whether that incarnation is in `newest`: of others nothing may be counted."""
        return newest.get(grantee[0]) == grantee[1]

    def _within_reach(self, node: int) -> bool:
        """Return whether our promise to `node` is one it may count: it is being renewed."""
        return node == self.me or node in self.living
