"""A cluster in one process: hosts, a network that may do anything, and the rule they must keep.

The rule (tests/sim/rule.py) is checked whenever a kernel changes, which is as good as after every
event: between two changes kernels only ever close, by their deadlines.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from random import Random

from clusterip.core.buckets import buckets_of
from clusterip.core.errors import RefusedError
from clusterip.core.lease.node import NodeConfig
from clusterip.core.lease.timing import Timing
from clusterip.core.messages.message import Message
from clusterip.core.serving.actions import (
    Alarm,
    AlarmKind,
    BucketState,
    Note,
    ReadFlowSlots,
    RestartReady,
    RestartRefused,
    SetBack,
    SetBucket,
    SetDeadline,
    SetFlowSlots,
    SetLead,
)
from tests.sim import rule
from tests.sim.coordinators import PEERS, Make
from tests.sim.host import Decider, Host

MS = 1_000_000
SECOND = 1000 * MS


class Weather:
    """How the network treats messages: probabilities, and pairs (from, to) that are cut."""

    def __init__(self) -> None:
        self.loss = 0.0
        self.late = 0.0
        self.twice = 0.0
        self.latest = 1500 * MS
        self.cut: set[tuple[int, int]] = set()
        self.lag: dict[int, int] = {}
        """By receiver: what every message to it takes longer, ns."""


class World:
    """`hosts` by id. `step` functions are put on the one queue by `at`.

    Where it is `strict` a split network excuses nobody.
    """

    strict = False

    def __init__(
        self,
        random: Random,
        timing: Timing,
        total: int,
        *,
        alive: bool = False,
        make: Make = PEERS,
        codec: Callable[[Message], Message] | None = None,
    ) -> None:
        self.random = random
        self.timing = timing
        self.total = total
        self.alive = alive
        self.make = make
        self.codec = codec
        self.now = 0
        self.hosts: dict[int, Host] = {}
        self.weather = Weather()
        self.queue: list[tuple[int, int, Callable[..., None], tuple[object, ...]]] = []
        self.count = 0
        self.handled = 0
        self.incarnations = 0
        self.missing: dict[tuple[int, int], int] = {}
        self.parted: dict[tuple[int, int], int] = {}
        self.promise = timing.promise(timing.lease)
        self.lately = 2 * (self.promise + 2 * timing.interval)
        """For how long (ns) two windows of `Standstill` are heard, with a message lost in each."""
        self.watch = random.choice((0, timing.interval, 5 * timing.interval))
        self.two_owner_alarms = 0
        self.stumble = 0.0
        self.lost_handovers = 0.15
        self.recorded: deque[Message] | None = None
        self.log: list[str] | None = None

    # ---- the queue ----

    def at(self, when: int, step: Callable[..., None], *arguments: object) -> None:
        self.count += 1
        heapq.heappush(self.queue, (when, self.count, step, arguments))

    def run(self, until: int) -> None:
        queue = self.queue
        while queue and queue[0][0] <= until:
            self.now, _, step, arguments = heapq.heappop(queue)
            self.handled += 1
            step(*arguments)
        self.now = until

    def say(self, text: str) -> None:
        if self.log is not None:
            self.log.append(f"{self.now / SECOND:9.4f} {text}")

    # ---- hosts ----

    def add(self, voters: frozenset[int], name: int, *, ppm: int | None = None) -> Host:
        random = self.random
        ppm = random.randint(-1000, 1000) if ppm is None else ppm
        host = Host(name, ppm, random.randrange(1, 10**6) * MS, voters)
        self.hosts[name] = host
        return host

    def start(self, host: Host) -> None:
        """Start the daemon, with the hand-over if there is one."""
        if host.node is not None or host.removed or host.frozen_at is not None:
            return
        local = host.local(self.now)
        self.incarnations += 1
        handover, host.handover = host.handover, None
        host.restarting = False
        mute = max(self.promise, host.note - local)
        if host.rebooted:  # the note is gone too
            mute = self.timing.promise(self.timing.restart)
            host.rebooted = False
        config = NodeConfig(
            host.id, host.voters, host.config, self.total, self.timing,
            self.alive and len(host.voters) == 2, 0 if host.witness else host.weight,
            self.watch, 2 * SECOND,
        )  # fmt: skip
        self.say(
            f"start {host.id} incarnation {self.incarnations} {'again' if handover else 'cold'}"
        )
        host.node = self.make(
            config, incarnation=self.incarnations, mute=mute, handover=handover, now=local
        )
        if not handover:
            host.leaving = False
        host.node.set_health(host.healthy, now=local)
        host.node.set_link(host.link, now=local)
        host.wake = 0
        self.pump(host)

    def crash(self, host: Host) -> None:
        self.say(f"crash {host.id}")
        host.thaw(self.now)
        host.node = None
        host.paused = False
        host.restarting = host.may_go = False
        host.inbox.clear()

    def reboot(self, host: Host) -> None:
        self.crash(host)
        host.open = host.taking = host.draining = host.note = 0
        host.handover = None
        host.rebooted = True

    def pause(self, host: Host) -> None:
        if host.node is not None:
            self.say(f"pause {host.id}")
            host.paused = True

    def resume(self, host: Host) -> None:
        if not host.paused or host.frozen_at is not None:
            return
        self.say(f"resume {host.id}")
        host.paused = False
        inbox, host.inbox = host.inbox, []
        self.tell(host, lambda node, now: node.set_link(host.link, now=now))
        if self.random.random() < 0.5:
            self.tick(host)
        came = [message for message, _ in inbox]
        if host.peer is not None and not host.paused:
            host.peer.heed(came, now=host.local(self.now))
            self.pump(host)
        for message, _ in inbox:
            self.receive(host, message)
        self.tick(host)

    def freeze(self, host: Host) -> None:
        """Make the machine stand still: its clock, its kernel, its daemon."""
        if host.node is not None and not host.paused:
            self.say(f"freeze {host.id}")
            host.paused = True
            host.frozen_at = self.now

    def thaw(self, host: Host) -> None:
        """Let the machine go on: its kernel first sees the frames that wait for it, in order."""
        if host.frozen_at is None:
            return
        self.say(f"thaw {host.id} after {(self.now - host.frozen_at) / SECOND:.4f} s")
        host.thaw(self.now)
        for message, sent in host.inbox:
            host.beat(message, self.now)
            host.show(message, sent, self.hosts[message.sender], self.lately, self.now)
        if host.node is not None:
            host.wake = 0
            self.arm(host, host.node)
        rule.check(self, host)
        self.resume(host)

    def tell(self, host: Host, verb: Callable[[Decider, int], None]) -> None:
        """Call a verb of the host's node, if there is one that runs."""
        if host.node is not None and not host.paused:
            verb(host.node, host.local(self.now))
            self.pump(host)

    # ---- a runtime ----

    def pump(self, host: Host) -> None:
        """Drain events, act, send, re-arm the timer; a pause may strike anywhere between."""
        while host.node is not None and not host.paused:
            node = host.node
            event = node.next_action()
            if event is not None:
                self.act(host, event)
                if self.stumble and self.random.random() < self.stumble and host.node:
                    self.pause(host)
                    lasting = int(self.random.random() * 3 * self.promise)
                    self.at(self.now + lasting, self.resume, host)
                continue
            if host.may_go:
                self.replace(host)
                return
            message = node.message_to_send(now=host.local(self.now))
            if message is not None:
                self.send(host, message)
                continue
            if node.kernel.actions:
                continue
            self.arm(host, node)
            return

    def act(self, host: Host, event: object) -> None:
        if isinstance(event, SetBucket | SetFlowSlots | SetDeadline | SetLead):
            self.act_on_kernel(host, event)
        elif isinstance(event, ReadFlowSlots):
            flow_slots = {one: self.noted() for one in event.buckets}
            host.flow_slots |= flow_slots
            if host.node is not None:
                host.node.note_flows(flow_slots, now=host.local(self.now))
        elif isinstance(event, Note):
            host.note = max(host.note, event.until)
        elif isinstance(event, SetBack):
            self.crash(host)
            self.at(self.now + 100 * MS, self.start, host)
        elif isinstance(event, RestartReady):
            host.may_go = True
        elif isinstance(event, RestartRefused):
            host.restarting = False
        elif isinstance(event, Alarm):
            host.alarms += 1
            self.two_owner_alarms += event.kind is AlarmKind.TWO_OWNERS

    def noted(self) -> int:
        """Return the flow slots that a kernel noted of a bucket that it watched."""
        return self.random.choice((0, self.random.getrandbits(64)))

    def act_on_kernel(
        self, host: Host, event: SetBucket | SetFlowSlots | SetDeadline | SetLead
    ) -> None:
        if self.log is not None and not isinstance(event, SetDeadline | SetLead):
            self.say(f"kernel {host.id} {event}")
        host.apply(event, self.now)
        # To close a bucket can do no harm; and in alive mode it is what the first does that
        # hears the other again.
        if not (isinstance(event, SetBucket) and event.state is BucketState.NONE):
            rule.check(self, host)
        if isinstance(event, SetBucket) and event.state is BucketState.DRAINING:
            lasting = self.random.randrange(10 * MS, 2 * SECOND)
            self.at(self.now + lasting, self.drained, host, event.bucket)

    def drained(self, host: Host, bucket: int) -> None:
        if host.node is not None and not host.paused:
            if bucket in host.node.flows.kept:
                self.at(self.now + 100 * MS, self.drained, host, bucket)
                return
            host.node.drained([bucket], now=host.local(self.now))
            self.pump(host)

    def replace(self, host: Host) -> None:
        """Hand over to a successor, and end."""
        if host.node is None:
            return
        host.handover = host.node.hand_over()
        host.node = None
        host.restarting = host.may_go = False
        for bucket in buckets_of(host.draining):
            takers = [one.id for one in self.hosts.values() if one.open >> bucket - 1 & 1]
            host.witnessed[bucket] = takers[0] if takers else 0
        self.say(f"handover {host.id}")
        self.succeed(host)

    def succeed(self, host: Host) -> None:
        """Start a successor later, maybe without what was handed over."""
        dice = self.random.random()
        if dice < self.lost_handovers:
            host.handover = None
        lasting = self.random.randrange(5 * MS, 400 * MS) if dice < 0.8 else 2 * SECOND
        self.at(self.now + lasting, self.start, host)

    def arm(self, host: Host, node: Decider) -> None:
        when = max(host.when(node.next_timer()), self.now + 1)
        if not host.wake or when < host.wake:
            host.wake = when
            self.at(when, self.wake, host, when)

    def wake(self, host: Host, when: int) -> None:
        if host.wake == when:
            host.wake = 0
            self.tick(host)

    def tick(self, host: Host) -> None:
        if host.node is not None and not host.paused:
            local = host.local(self.now)
            if host.node.next_timer() <= local:
                host.node.handle_timer(now=local)
            self.pump(host)

    def send(self, host: Host, message: Message) -> None:
        if not host.link:
            for name in self.hosts:
                self.missing.setdefault((host.id, name), self.now)
            return
        random = self.random.random
        weather = self.weather
        if self.codec:
            message = self.codec(message)
        if self.recorded is not None:
            self.recorded.append(message)
        for other in self.hosts.values():
            if other is host:
                continue
            pair = (host.id, other.id)
            if pair in weather.cut or (weather.loss and random() < weather.loss):
                self.missing.setdefault(pair, self.now)
                continue
            for _ in range(2 if weather.twice and random() < weather.twice else 1):
                delay = 100_000 + int(random() * 900_000) + weather.lag.get(other.id, 0)
                prompt = True
                if weather.late and random() < weather.late:
                    delay += int(random() * weather.latest)
                    self.missing.setdefault(pair, self.now)
                    prompt = False
                self.at(self.now + delay, self.deliver, other, message, prompt, self.now)

    def deliver(self, host: Host, message: Message, prompt: bool, sent: int = 0) -> None:
        if host.node is None:
            return
        if not host.link:
            self.missing.setdefault((message.sender, host.id), self.now)
            return
        if prompt:
            self.missing.pop((message.sender, host.id), None)
        if host.paused:
            if len(host.inbox) < 200:
                host.inbox.append((message, sent))
            if host.frozen_at is None:
                host.beat(message, self.now)
            return
        host.beat(message, self.now)
        host.show(message, sent, self.hosts[message.sender], self.lately, self.now)
        if host.shown >= 0:
            rule.check(self, host)
        self.receive(host, message)

    def receive(self, host: Host, message: Message) -> None:
        if host.node is not None and not host.paused:
            host.node.receive(message, now=host.local(self.now))
            self.pump(host)

    # ---- the file ----

    def set_voters(self, host: Host, voters: frozenset[int]) -> bool:
        """Change the host's file and reload; say whether its node has it and forgot the last."""
        host.voters = voters
        peer = host.peer
        if peer is None or host.paused or host.restarting:
            return False
        known = peer.state.votes.voters
        if known.voters == voters:
            return not known.before
        try:
            peer.set_voters(voters, now=host.local(self.now))
        except RefusedError:
            return False
        self.pump(host)
        return False
