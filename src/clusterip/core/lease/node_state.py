"""The state of a node of the lease protocol: values in groups, and parts that each know one thing.

Nothing is decided here. What follows from it is said by functions over the state: `contact`,
`pair`, `others`, `asking`, `speech`, `listening`, `restarting`; `receiving` and `settling` change
it. The state is whole from its beginning: `begin` makes it for a new memory, `succession` for one
that was handed over.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from clusterip.core.lease.backoff import Backoff
from clusterip.core.lease.deafness import Deafness
from clusterip.core.lease.holder import Holder
from clusterip.core.lease.indirect import Indirect
from clusterip.core.lease.namesake import Namesake
from clusterip.core.lease.node_config import NodeConfig
from clusterip.core.lease.orphans import Orphans
from clusterip.core.lease.peers import Peers
from clusterip.core.lease.standstill import Standstill
from clusterip.core.lease.timing import Timing
from clusterip.core.lease.voter import Voter
from clusterip.core.lease.voter_set import VoterSet
from clusterip.core.messages import echoes
from clusterip.core.messages.echoes import Echoed
from clusterip.core.messages.message import Message
from clusterip.core.messages.versions import Spoken
from clusterip.core.serving.assignment import Assignment, View
from clusterip.core.serving.coordinator import Own
from clusterip.core.serving.flows import Flows, InheritedFlows
from clusterip.core.serving.kernel import Kernel


@dataclass(slots=True)
class Voice:
    """What this node said, and when; times are ns."""

    incarnation: int
    spoken: Spoken
    last_sent: int
    answered_at: int
    """When an unknown incarnation was last given something to echo."""
    sequence: int = 0
    keys: int = 0
    """The mask of the ids of the keys that this node has."""
    changed: bool = True
    """Whether there is something to say at once."""
    advertised: tuple[object, ...] = ()
    """What of that the newest message said."""
    echoed: Echoed = echoes.NONE.of
    """Whom the newest message echoes."""
    gone: bool = False
    """Whether nothing is said any more."""
    farewell: bool = False
    """Whether the others were told that this node stops."""


@dataclass(slots=True)
class Grace:
    """Of a planned restart; times are ns. What we heard before ours counts for all of its grace."""

    asked: int = 0
    """How long the grace is, 0 where no restart is meant."""
    announced: bool = False
    answered: bool = False
    """Whether RestartReady was given."""
    sent_at: int = 0
    sequence: int = 0
    """Of the first message that says it."""
    ends: int = 0
    """When the restart is called off."""
    lent_until: int = 0
    """Until when the grace binds us, whatever became of it."""
    resumed: tuple[int, int] = (0, 0)
    """The sequence that a predecessor ended with, and until when none may have a newer one."""


@dataclass(slots=True)
class Attention:
    """Since when this node runs and listens without a break, ns."""

    since: int
    last_input: int
    armed: int
    """When the timer was to go off."""
    plan_from: int
    """Before this a plan would not know who else is there."""
    ready_at: int
    link_lost: int = 0
    calm_until: int = 0
    """Before that, ns, nothing follows from a message that only renews (`calm`); 0: it may."""


@dataclass(slots=True)
class Votes:
    """Who votes, what is promised here, and what was promised to us."""

    voters: VoterSet
    voter: Voter
    holder: Holder = field(default_factory=Holder)
    contact_until: int = 0
    """Until when, ns, a majority of the voters is known to hear us, and is heard."""


@dataclass(slots=True)
class Hearing:
    """The others, as they were heard."""

    peers: Peers
    indirect: Indirect
    namesake: Namesake
    standstill: Standstill
    deafness: Deafness
    heard: dict[int, Message] = field(default_factory=dict)
    """The newest message of each peer that lives and can serve with us."""
    living: dict[int, Message] = field(default_factory=dict)
    """Those of them that hear us: the others are as good as dead to us, and we to them."""
    disagreeing: set[int] = field(default_factory=set)
    """Peers whose newest message says that they cannot serve with us."""


@dataclass(slots=True)
class Plan:
    """What this node asks for, and why."""

    assignment: Assignment
    orphans: Orphans
    backoff: Backoff
    turn: int = -1
    """Of which turn of the peers the next three are (`Living.turns`)."""
    views: dict[int, View] = field(default_factory=dict)
    """What the plan knows of those who live, this node among them."""
    living_ask: int = 0
    """Mask of what those ask for who live and hear us."""
    heard_ask: int = 0
    """Mask of what those ask for who live."""
    intent: int = 0
    """Mask of the buckets asked for."""
    incumbent: bool = False
    """Whether this node serves, or did, since it came."""
    lone: bool = False
    """Whether we serve without the other of two: `pair.note_lone`."""


@dataclass(slots=True)
class State:
    """The state of a node. `promise_length` is D, ns; `myself` is its id and incarnation."""

    config: NodeConfig
    me: int
    myself: tuple[int, int]
    timing: Timing
    promise_length: int
    own: Own
    voice: Voice
    grace: Grace
    attention: Attention
    votes: Votes
    hearing: Hearing
    plan: Plan
    kernel: Kernel
    flows: Flows
    inherited: InheritedFlows


def begin(config: NodeConfig, *, incarnation: int, mute: int, now: int) -> State:
    """Return the state of a node that knows nothing yet; `mute` is as in `Node`."""
    me, timing = config.me, config.timing
    promise_length, awaited = timing.promise(timing.lease), 2 * timing.interval
    rank = sum(node < me for node in config.voters)

    def peers() -> Peers:
        return Peers(me, incarnation, promise_length, awaited)

    return State(
        config=config,
        me=me,
        myself=(me, incarnation),
        timing=timing,
        promise_length=promise_length,
        own=Own(weight=config.weight),
        voice=Voice(
            incarnation,
            Spoken(config.speaks, promise_length),
            last_sent=now - timing.interval,
            answered_at=now - timing.interval,
        ),
        grace=Grace(),
        attention=Attention(
            since=now,
            last_input=now,
            armed=now,
            plan_from=now + promise_length,
            ready_at=now + timing.settle,
        ),
        votes=Votes(VoterSet(config.voters), Voter(timing, now + max(promise_length, mute))),
        hearing=Hearing(
            peers(),
            Indirect(now),
            Namesake(me, peers()),
            Standstill(timing.noise, promise_length),
            Deafness(promise_length),
        ),
        plan=Plan(
            Assignment(me, config.total),
            Orphans(2 * timing.interval + rank * 4 * timing.gap),
            Backoff(3 * timing.interval, 2 * timing.interval * (1 + rank)),
        ),
        kernel=Kernel(),
        flows=Flows(config.watch, config.keep),
        inherited=InheritedFlows(promise_length),
    )
