"""What `clusterip show` says of the daemons of this network namespace and of their clusters."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from clusterip import __version__
from clusterip.adapters import control, runfiles, statuspath
from clusterip.adapters.clock import boottime
from clusterip.adapters.diag import DiagSockets
from clusterip.cli import output, tables
from clusterip.core import status
from clusterip.core.buckets import spans
from clusterip.core.errors import SystemFaultError
from clusterip.core.findings import Code, Finding
from clusterip.core.messages.request import Show
from clusterip.core.packets import connections
from clusterip.core.status import Cluster, Silent, Status
from clusterip.core.units import SECOND
from clusterip.core.words import amount, lasting, were
from clusterip.runtime import unseen
from clusterip.runtime.faults import DRAIN_FIRST, LOG, PROCESSOR, of_status
from clusterip.runtime.rule_table import InterfaceView

_PATIENCE_SECONDS: Final = 2.0
_AGAIN_SECONDS: Final = 0.1
_LONGEST_VOTES: Final = 32
"""Above that many characters the votes of a node are only counted."""
_FOLLOWING: Final = (Code.DEAF, Code.HEARS_NOBODY, Code.NO_MAJORITY, Code.SERVES_NOTHING)
"""What follows from others, in the order in which it is told after them."""
_CAUSES: Final = frozenset(
    (
        *(Code.NO_CARRIER, Code.INTERFACE_DOWN, Code.INTERFACE_GONE, Code.NOT_IN_CONTROL),
        *(Code.NO_SOURCE, Code.ADDRESS_NOT_HERE, Code.DOUBLE, Code.REFUSED),
        *(Code.STRAY_DATAGRAMS, Code.VOTERS_DIFFER, Code.OTHER_CONFIGURATION),
    )
)
"""Why this host hears nobody, where one of them is found."""
_FOLLOWS: Final = "that follows from what is said before"
_MEND: Final = "mend that first"
_SILENCE: Final = (Code.SILENT, Code.STOPPED, Code.REFUSED)


def seen(view: Callable[[], Sequence[InterfaceView]]) -> list[Cluster]:
    """Return what each daemon here says, and the connections that each of its buckets has.

    One that does not answer, or does not run any more, is silent. `view` looks at the interfaces:
    before the daemons are asked, and once more for what it means that one did not answer, which
    takes seconds to say.
    """
    views = view()
    left = {view.state.cluster for view in views if view.state.cluster}
    # In this order: one that starts in between is among those that run.
    names = left.union(runfiles.killed()).union(runfiles.running())
    return [_seen(name, views, view) for name in sorted(names)]


def told(
    name: str,
    views: Sequence[InterfaceView] = (),
    again: Callable[[], Sequence[InterfaceView]] = tuple,
) -> Cluster:
    """Return what the daemon of a cluster says, or its `fault` and the `cure`.

    What it says is with `faults` and `warnings`, as findings. `views` are of interfaces, its own
    among them, and `again` looks anew: what a fault means for their packets is said, too.
    """
    lease = _lease(_of(name, views))
    try:
        said = _asked(name, lease)
    except SystemFaultError as error:
        consequence = _consequence(_of(name, again()), lease)
        fault = "; ".join(filter(None, (error.message, consequence)))
        return Silent(cluster=name, fault=fault, cure=error.cure)
    return _found(said)


def told_to_all() -> list[Cluster]:
    """Return what each daemon says on its status socket, which is not for root alone."""
    from clusterip.adapters import statusclient  # noqa: PLC0415 - root asks otherwise

    clusters: list[Cluster] = []
    for name in statuspath.clusters():
        try:
            clusters.append(_found(statusclient.status(name)))
        except SystemFaultError as error:
            clusters.append(Silent(cluster=name, fault=error.message, cure=error.cure))
    return clusters


def _found(said: Status) -> Status:
    faults = [*(one for _, one in of_status(said)), *said.faults]
    return msgspec.structs.replace(said, faults=_in_order(faults), warnings=list(_past(said)))


def _in_order(faults: list[Finding]) -> list[Finding]:
    """Return them with what is to be mended first, and after it what follows from that.

    Where a cause is found on this host, that it hears nobody needs no other, nor further cures.
    """
    if any(one.code in _CAUSES for one in faults):
        faults = [
            msgspec.structs.replace(one, why=_FOLLOWS, cure=_MEND)
            if one.code == Code.HEARS_NOBODY
            else one
            for one in faults
        ]
    return sorted(faults, key=lambda one: one.code in _FOLLOWING and 1 + _FOLLOWING.index(one.code))


def _of(name: str, views: Sequence[InterfaceView]) -> list[InterfaceView]:
    return [view for view in views if view.state.cluster == name]


def _lease(views: Sequence[InterfaceView]) -> int:
    """Return when the lease ends, as the kernel has it; 0 if there was none."""
    return max((end for view in views for end in view.deadlines.values()), default=0)


def _seen(
    name: str, views: Sequence[InterfaceView], again: Callable[[], Sequence[InterfaceView]]
) -> Cluster:
    ours = _of(name, views)
    cluster = told(name, views, again)
    if isinstance(cluster, Silent):
        return cluster
    if not ours and not _of(name, again()) and (fault := unseen.fault(cluster)):
        cluster.faults.append(fault)
    counts: dict[int, int] = {}
    for view in ours:
        vips = frozenset(group.vip for group in view.state.groups)
        counts = connections.count(view.state, DiagSockets().tcp(vips))
    return msgspec.structs.replace(
        cluster,
        draining=[
            msgspec.structs.replace(drain, connections=counts.get(drain.bucket, 0))
            for drain in cluster.draining
        ],
        connections=dict(sorted(counts.items())),
    )


def _asked(name: str, lease: int) -> Status:
    """Return what a daemon says; one that is about to be replaced has until its lease ends."""
    gives_up = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return control.ask(name, Show(), patience=_PATIENCE_SECONDS)
        except SystemFaultError:
            coming = boottime() < lease or runfiles.is_handed_over(name)
            if not coming or time.monotonic() >= gives_up:
                raise
            time.sleep(_AGAIN_SECONDS)


def _consequence(views: Sequence[InterfaceView], before: int) -> str:
    """Return what it means for packets that the daemon of `views` does not answer.

    The lease ended at `before` when the daemon was asked: where it is renewed meanwhile the daemon
    does all else.
    """
    if not views or not all(view.present and view.attached.tc for view in views):
        return ""
    lease = _lease(views)
    if lease > before:
        return "this host serves all the same: its lease is renewed"
    left = (lease - boottime()) / SECOND
    if left > 0:
        return f"its lease ends in {left:.1f} s, and from then on this host answers nothing"
    since = f", since its lease ended {-left:.0f} s ago" if lease else ""
    return f"this host answers nothing{since}"


def faults(cluster: Cluster) -> list[Finding]:
    """Return what is wrong with a daemon or its cluster now."""
    if isinstance(cluster, Silent):
        return [Finding.of(Code.NO_ANSWER, cluster.fault, cure=cluster.cure)]
    return cluster.faults


def show(cluster: Cluster, *, verbose: bool = False) -> None:
    """Print it; with `verbose` whom each node votes for, however many they are."""
    name = (cluster.cluster, output.STRONG)
    if isinstance(cluster, Silent):
        tables.sentence("cluster ", name, ": ", (cluster.fault, output.BAD))
        output.below(cluster.cure)
        return
    tables.wrapped(
        "cluster ",
        name,
        ": node ",
        (cluster.node, output.STRONG),
        f"{' (witness)' if cluster.witness else ''}, profile {cluster.profile},"
        f" quorum {cluster.quorum}",
    )
    since = {(one.finding.code, one.finding.what): one.since_seconds for one in cluster.raised}
    for found in (*cluster.warnings, *cluster.faults):
        seconds = since.get((found.code, found.what))
        # Of a node that is silent it is said for how long.
        when = "" if seconds is None or found.code in _SILENCE else f", for {lasting(seconds)}"
        if when and found.sentence.endswith("?"):
            when = f" It has been so for {lasting(seconds or 0)}"
        tables.sentence("  ", (f"{found.sentence}{when}", output.BAD))
        output.below(found.cure)
    for line in _worth_a_look(cluster):
        tables.sentence("  ", (line, output.WORTH_A_LOOK))
    if cluster.grants_in_seconds:
        output.line(f"  starting: grants nothing for {cluster.grants_in_seconds:.1f} s yet")
    _print_nodes(cluster, verbose=verbose)
    if cluster.witness:
        output.line("  only votes, and holds nothing")
    else:
        # Who holds nothing needs none: that of the kernel is for what drains.
        lease = f" lease {cluster.lease_seconds:.2f} s;" if cluster.held else ""
        open_now = sum(cluster.connections.values())
        tables.wrapped(
            f"  held here: {spans(cluster.held)};{lease} {amount(open_now, 'connection')}"
        )
    if cluster.draining:
        tables.wrapped(f"  {_draining(cluster.draining)}")
    for check in cluster.checks:
        words: dict[bool | None, output.Part] = {True: "good", False: ("bad", output.BAD)}
        word = words.get(check.good, "not known yet")
        detail = f" ({check.detail})" if check.detail else ""
        output.line(f"  check {check.name}: ", word, detail)
    output.line(
        f"  {amount(cluster.total, 'bucket')}; digest {cluster.digest}; program {cluster.program}"
    )


def _worth_a_look(cluster: Status) -> Iterator[str]:
    """Yield what is no fault, and yet not as it mostly is."""
    if cluster.stopping_seconds is not None:
        yield (
            f"stopping: ends in {cluster.stopping_seconds:.0f} s at the latest, and cannot be"
            " called off; a second signal ends it at once"
        )
    if cluster.program != __version__:
        yield (
            f"the daemon is release {cluster.program}, and this command {__version__}:"
            " `clusterip restart` replaces the daemon, and loses no packet"
        )
    if cluster.held_down_by:
        slow = ", ".join(cluster.held_down_by)
        yield f"messages are said in version {cluster.version}: no newer one for {slow}"


def _draining(drains: Sequence[status.Drain]) -> str:
    """Return the drains of this node as one line: how much is left, and when the first began."""
    buckets = spans(sorted(drain.bucket for drain in drains))
    left = sum(drain.connections or 0 for drain in drains)
    longest = max(drain.seconds for drain in drains)
    return f"draining {buckets}: {amount(left, 'connection')}, begun {longest:.0f} s ago"


def _past(cluster: Status) -> Iterator[Finding]:
    """Yield what went wrong since the start, and may be over."""
    alarms = cluster.alarms
    if count := alarms.two_owners:
        owners = f"TWO OWNERS were seen {amount(count, 'time')}"
        yield Finding.of(Code.TWO_OWNERS, owners, cure=LOG).as_warning()
    if count := alarms.stood_still:
        yield Finding.of(
            Code.STOOD_STILL,
            f"this machine stood still {amount(count, 'time')}",
            "it was paused, saved or moved",
            cure=DRAIN_FIRST,
        )
    if count := alarms.starved:
        yield Finding.of(
            Code.STARVED,
            f"starved {amount(count, 'time')}",
            "the daemon did not get the processor in time",
            cure=PROCESSOR,
        )
    if cut := cluster.cut_connections:
        yield Finding.of(
            Code.CONNECTIONS_CUT,
            f"{amount(cut, 'connection')} {were(cut)} cut off by drains that took too long",
            cure="raise drain_timeout, or shorten the timeouts of the server",
        )


def _print_nodes(cluster: Status, *, verbose: bool) -> None:
    votes = {node.name: _votes(node) for node in cluster.nodes}
    if not verbose and any(len(one) > _LONGEST_VOTES for one in votes.values()):
        votes = {node.name: _votes_in_all(node) for node in cluster.nodes}
    tables.table(
        ("  node", "state", "weight", "buckets", "held", "drains", "votes for"),
        [
            (
                f"{'* ' if node.me else '  '}{node.name}",
                ("deaf", output.BAD) if node.name in cluster.deaf else _state(node),
                "-" if node.weight is None else str(node.weight),
                str(len(node.held)),
                spans(node.held),
                spans(node.draining),
                votes[node.name],
            )
            for node in cluster.nodes
        ],
    )


def _votes(node: status.Node) -> str:
    return " ".join(f"{name}:{len(buckets)}" for name, buckets in node.votes.items())


def _votes_in_all(node: status.Node) -> str:
    """Return how many buckets it promised, and to how many nodes."""
    count = sum(map(len, node.votes.values()))
    return f"{amount(len(node.votes), 'node')}: {count}" if count else ""


def _state(node: status.Node) -> output.Part:
    if not node.agrees:
        return "other configuration", output.BAD
    if not node.alive:
        heard = node.heard_seconds
        return "never heard" if heard is None else f"silent for {heard:.1f} s", output.BAD
    words: list[output.Part] = [] if node.healthy else [("unhealthy", output.BAD)]
    if node.leaving:
        goes_on = node.held or node.draining
        words.append(("leaving" if goes_on else "drained", output.WORTH_A_LOOK))
    if not node.ready:
        words.append("new")
    if not words:
        return "witness" if node.witness else "alive"
    return output.text(", ").join(map(output.text, words))
