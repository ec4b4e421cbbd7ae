"""What `clusterip show --json` prints: daemons with their clusters, and interfaces with their VIPs.

One set of types from the daemon to whoever reads: the daemon's answer is a `Status`, the whole is a
`Document`, and the JSON schema that is shipped (docs/show.schema.json) is made from them. `FORMAT`
says what the keys mean: within one format keys are only added (docs/compatibility.md). A key that
is newer than the first release has a default, which stands for what an older daemon does not say;
keys of a newer one are ignored.

Times are s; buckets are counted from 1, and sets of them are lists, ascending; nodes are names.
What may be anything that a later release adds, a state say, is a string.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from clusterip.core.findings import Finding

FORMAT: Final = 1
"""What the keys mean. Another number is another meaning of a key that was there before."""
_SCHEMA: Final = "https://json-schema.org/draft/2020-12/schema"


def _is(description: str) -> msgspec.Meta:
    """Return what the schema is to say of a key."""
    return msgspec.Meta(description=description)


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A part of what is seen."""


# ---- a daemon and its cluster ----


class Drain(Part, frozen=True, kw_only=True):
    """A bucket that this node gave away, and of which it keeps the open connections."""

    bucket: int
    seconds: Annotated[float, _is("since it began, s")]
    connections: Annotated[int | None, _is("that are open yet; null before the first count")] = None


class Bucket(Part, frozen=True, kw_only=True):
    """A bucket that this node has or asks for."""

    bucket: int
    state: Annotated[str, _is("owned, taking, draining or asking")]
    since_seconds: Annotated[float, _is("since it is in that state, s; a planned restart counts")]
    came_from: Annotated[
        str | None,
        _is("the node that had it before; null if nobody had, or it is not known"),
    ] = msgspec.field(default=None, name="from")


class Check(Part, frozen=True, kw_only=True):
    """A health check of this host."""

    name: str
    good: Annotated[bool | None, _is("what it counts for; null before its first result")]
    in_a_row: Annotated[int, _is("how many results were like the newest, since one was not")]
    detail: Annotated[str, _is("the newest result, one line")]


class Node(Part, frozen=True, kw_only=True):
    """A node of the cluster, as this one hears it."""

    name: str
    me: Annotated[bool, _is("whether it is the one that says all this")]
    witness: Annotated[bool, _is("whether it only votes, by the file")] = False
    heard_seconds: Annotated[float | None, _is("since it was heard; null if never, or it is me")]
    alive: Annotated[bool, _is("whether it counts when buckets are shared out")]
    agrees: Annotated[bool, _is("false for one whose configuration is another one")]
    healthy: bool
    ready: Annotated[bool, _is("false for one that began lately: it takes nothing from others")]
    leaving: Annotated[bool, _is("whether it is to be drained")]
    stopping: Annotated[bool, _is("whether it was told to stop; 0.1.0 does not say it")] = False
    restarting: Annotated[bool, _is("whether it announced a planned restart")] = False
    weight: Annotated[int | None, _is("0..255; null where it is not known")]
    speaks: Annotated[
        tuple[int, int] | None,
        _is("lowest and highest version of messages; null where nothing was heard of late"),
    ] = None
    hears: Annotated[list[str], _is("whom it heard something new of lately")] = []
    held: Annotated[list[int], _is("the buckets it answers")] = []
    draining: Annotated[list[int], _is("those of which it only keeps the open connections")] = []
    votes: Annotated[dict[str, list[int]], _is("the buckets that it promised, by node")] = {}
    fair_share: Annotated[
        float, _is("how many buckets are its by weight; 0 for one that is not to have any now")
    ] = 0.0
    key: Annotated[int | None, _is("id of the key that it sends with; null if never heard")] = None
    keys: Annotated[
        list[int] | None, _is("ids of the keys that it has; null where it does not say")
    ] = None
    digest: Annotated[
        str | None, _is("16 hex digits, as that of this host; null where it is not known")
    ] = None


class Alarms(Part, frozen=True, kw_only=True):
    """How often something happened since the daemon began."""

    two_owners: Annotated[int, _is("two nodes said that they hold a bucket")] = 0
    mismatch: Annotated[int, _is("another configuration was heard")] = 0
    starved: Annotated[int, _is("this daemon did not get the processor in time")] = 0
    stood_still: Annotated[int, _is("this machine was paused, saved or moved")] = 0
    deaf: Annotated[int, _is("a node showed that it does not hear this one")] = 0


class Raised(Part, frozen=True, kw_only=True):
    """Something that is wrong now, or was a moment ago."""

    finding: Finding
    about: Annotated[str, _is("the node or the place that it is about; empty where there is one")]
    since_seconds: Annotated[float, _is("since it was found first, s")]
    last_seconds: Annotated[float, _is("since it was found last, s")]
    count: Annotated[int, _is("how often, where it happens in a moment; else 1")]


class Rejected(Part, frozen=True, kw_only=True):
    """Messages of which nothing was taken in, since the daemon began; of all there are, some."""

    sender: Annotated[str | None, _is("who sent them, or seems to; null where it is not known")]
    source: Annotated[str, _is("the address that they came from")]
    reason: str
    count: int
    last_seconds: Annotated[float, _is("since the last of them")]


class Messages(Part, frozen=True, kw_only=True):
    """Messages between the nodes, since the daemon began."""

    sent: int
    bytes: Annotated[int, _is("length of the newest one sent")]
    received: Annotated[dict[str, int], _is("how many, by what became of them")] = {}


class Status(Part, frozen=True, kw_only=True, tag_field="daemon", tag="answers"):
    """A daemon that answers, and its cluster as it sees it."""

    format: Annotated[int, _is("of what this daemon says: see docs/compatibility.md")] = FORMAT
    cluster: str
    node: Annotated[str, _is("the name of this daemon's node")]
    incarnation: Annotated[
        str, _is("16 hex digits; another one where a daemon began without memory")
    ] = msgspec.field(name="boot")
    profile: str
    quorum: str
    total: Annotated[int, _is("how many buckets there are, 1..256")]
    announce_count: int
    announce_seconds: Annotated[float, _is("between two announcements")]
    digest: Annotated[str, _is("16 hex digits, the same on hosts that can serve together")]
    vips: list[str]
    owned: Annotated[list[int], _is("the buckets that this node answers")]
    taking: Annotated[
        list[int], _is("those whose older connections may still be with the node before")
    ]
    held: Annotated[list[int], _is("owned and taking")]
    asking: Annotated[list[int], _is("those it asks the voters for")]
    draining: list[Drain]
    buckets: Annotated[list[Bucket], _is("that this node has or asks for, ascending")] = []
    cut_connections: Annotated[int, _is("given up by drains that took too long, so far")]
    drain_timeout_seconds: Annotated[
        float | None, _is("how long a drain may take; null where it is not known")
    ] = None
    lease_seconds: Annotated[
        float, _is("how long the kernel here goes on by itself; 0 if it answers nothing")
    ]
    grants_in_seconds: Annotated[float, _is("until this node votes, after its start; else 0")]
    leaving: Annotated[bool, _is("whether this node is to be drained")]
    restarting: Annotated[bool, _is("whether it is about to be replaced by a new program")]
    stopping_seconds: Annotated[
        float | None, _is("until it ends at the latest; null where it was not told to stop")
    ] = None
    refused_restarts: Annotated[int, _is("planned restarts that nothing came of, so far")]
    without_source: Annotated[bool, _is("whether no address is there to send messages from")]
    alone: Annotated[bool, _is("whether one of two hosts serves without the other")]
    voters: list[str]
    voters_changing: Annotated[bool, _is("whether not every node has the new voters yet")]
    voters_waiting_for: Annotated[
        str, _is("what keeps the voters of the file from being used; else empty")
    ] = ""
    version: Annotated[int, _is("in which version messages are said")] = 1
    held_down_by: Annotated[
        list[str], _is("the nodes that keep this one from the highest that it could speak")
    ] = []
    healthy: bool
    checks: list[Check]
    nodes: Annotated[list[Node], _is("by name")]
    deaf: Annotated[
        dict[str, Finding], _is("nodes that do not hear this one, by name; itself if it hears none")
    ]
    fault: Annotated[None, _is("always null: see the others, which have one")] = None
    faults: Annotated[list[Finding], _is("what is wrong now")]
    warnings: Annotated[list[Finding], _is("what went wrong since its start, and may be over")] = []
    alarms: Alarms
    raised: Annotated[list[Raised], _is("what is wrong, the oldest first; 256 at most")] = []
    messages: Messages
    rejected: Annotated[list[Rejected], _is("the latest first; 64 at most")] = []
    connections: Annotated[
        dict[int, int], _is("open TCP connections by bucket, of those that have any")
    ] = {}
    program: Annotated[str, _is("the release of the daemon; 0.1.0 does not say it")] = "0.1.0"
    file: str = ""
    pid: int = 0
    started: Annotated[int, _is("when, in ns since the host was booted")] = 0
    witness: Annotated[bool, _is("whether it only votes")] = False
    in_control: Annotated[bool, _is("whether its interface is as it is to be")] = True


class Silent(Part, frozen=True, kw_only=True, tag_field="daemon", tag="silent"):
    """A daemon that does not answer, or does not run any more and left its VIPs."""

    cluster: str
    fault: Annotated[str, _is("why, and what that means for packets")]
    cure: str


Cluster = Status | Silent


# ---- interfaces ----


class Xdp(Part, frozen=True, kw_only=True):
    """The accelerator of an interface."""

    mode: Annotated[str, _is("what is asked for: auto, off or require")]
    attached: bool
    note: Annotated[str, _is("why it is not used although it may be; else empty")]


class Traffic(Part, frozen=True, kw_only=True):
    """A bucket of a VIP, and what came for it."""

    bucket: int
    state: Annotated[str, _is("none, owned, taking or draining")]
    packets: int
    bytes: int


class Vip(Part, frozen=True, kw_only=True):
    """A VIP of an interface."""

    vip: str
    hashmode: str
    clustermac: str
    total_nodes: Annotated[int, _is("how many buckets there are, 1..256")]
    hash_init: int
    held: Annotated[list[int], _is("the buckets that are answered here now")]
    lease_seconds: Annotated[
        float | None, _is("until this host answers nothing; null where no lease is needed")
    ]
    buckets: list[Traffic]


class Rule(Part, frozen=True, kw_only=True):
    """A rule, and what became of its packets, by verdict."""

    rule: Annotated[str, _is("as `clusterip iptables -S` prints it")]
    action: str
    bucket: Annotated[int | None, _is("the one bucket of all its packets; null where hashed")]
    packets: int
    bytes: int
    verdicts: dict[str, int]


class Interface(Part, frozen=True, kw_only=True):
    """An interface with VIPs, and what became of their packets, by verdict."""

    interface: Annotated[str, _is("its name")]
    ifindex: int
    cluster: Annotated[str | None, _is("the cluster whose daemon runs it; null for rules")]
    tc: Annotated[bool, _is("whether the filters are attached")]
    xdp: Xdp
    faults: Annotated[list[Finding], _is("what is wrong now")]
    warnings: Annotated[list[Finding], _is("what is unwise")]
    vips: list[Vip]
    rules: list[Rule]
    verdicts: dict[str, int]


# ---- the whole ----


class Document(Part, frozen=True, kw_only=True):
    """All that is shared in this network namespace."""

    format: Annotated[int, _is("of this document: see docs/compatibility.md")] = FORMAT
    clusters: list[Cluster]
    interfaces: list[Interface]


def schema() -> dict[str, Any]:
    """Return the JSON schema of a document."""
    title = f"clusterip show --json, format {FORMAT}"
    return {"$schema": _SCHEMA, "title": title, **msgspec.json.schema(Document)}


# Made with the module, for the reason that `core.packets.state` gives.
DECODER: Final = msgspec.json.Decoder(Document)
