"""What `clusterip show` says of the daemons of this network namespace and of their clusters."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from clusterip.adapters import control, runfiles
from clusterip.adapters.clock import boottime
from clusterip.adapters.diag import DiagSockets
from clusterip.cli import output
from clusterip.core import connections
from clusterip.core.errors import SystemFaultError
from clusterip.core.findings import Code, Finding
from clusterip.core.lease.timing import SECOND
from clusterip.core.messages.message import spans
from clusterip.core.words import amount, were
from clusterip.runtime.alarms import COMPARE, DRAIN_FIRST, PROCESSOR
from clusterip.runtime.host import InterfaceView
from clusterip.runtime.reach import NO_SOURCE

_PATIENCE_SECONDS: Final = 2.0
_AGAIN_SECONDS: Final = 0.1
_LOG: Final = "see the log"


def seen(view: Callable[[], Sequence[InterfaceView]]) -> list[dict[str, Any]]:
    """Return what each daemon here says, and the connections that each of its buckets has.

    One that does not answer, or does not run any more, is there with `fault` and `cure`; `fault`
    is null for the others, which have `faults` and `warnings`. `view` looks at the interfaces:
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
) -> dict[str, Any]:
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
        return {"cluster": name, "fault": fault, "cure": error.cure}
    faults = [*_faults(said), *map(Finding.read, said["faults"])]
    return {**said, "fault": None, "faults": faults, "warnings": [*_past(said)]}


def _of(name: str, views: Sequence[InterfaceView]) -> list[InterfaceView]:
    return [view for view in views if view.state.cluster == name]


def _lease(views: Sequence[InterfaceView]) -> int:
    """Return when the lease ends, as the kernel has it; 0 if there was none."""
    return max((end for view in views for end in view.deadlines.values()), default=0)


def _seen(
    name: str, views: Sequence[InterfaceView], again: Callable[[], Sequence[InterfaceView]]
) -> dict[str, Any]:
    ours = _of(name, views)
    cluster = told(name, views, again)
    if cluster["fault"]:
        return cluster
    counts: dict[int, int] = {}
    for view in ours:
        vips = frozenset(group.vip for group in view.state.groups)
        counts = connections.count(view.state, DiagSockets().tcp(vips))
    for drain in cluster["draining"]:
        drain["connections"] = counts.get(drain["bucket"], 0)
    numbers = {str(bucket): count for bucket, count in sorted(counts.items())}
    return {**cluster, "connections": numbers}


def _asked(name: str, lease: int) -> dict[str, Any]:
    """Return what a daemon says; one that is about to be replaced has until its lease ends."""
    gives_up = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            told: dict[str, Any] = control.ask(name, {"verb": "show"}, patience=_PATIENCE_SECONDS)
        except SystemFaultError:
            coming = boottime() < lease or runfiles.is_handed_over(name)
            if not coming or time.monotonic() >= gives_up:
                raise
            time.sleep(_AGAIN_SECONDS)
        else:
            return told


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


def faults(cluster: dict[str, Any]) -> list[Finding]:
    """Return what is wrong with a daemon or its cluster now."""
    if cluster["fault"]:
        return [Finding.of(Code.NO_ANSWER, cluster["fault"], cure=cluster["cure"])]
    found: list[Finding] = cluster["faults"]
    return found


def show(cluster: dict[str, Any]) -> None:
    """Print it."""
    name = (cluster["cluster"], output.STRONG)
    if cluster["fault"]:
        output.line("cluster ", name, ": ", (cluster["fault"], output.BAD))
        output.below(cluster["cure"])
        return
    output.line(
        "cluster ",
        name,
        ": node ",
        (cluster["node"], output.STRONG),
        f"{' (witness)' if cluster['witness'] else ''}, profile {cluster['profile']},"
        f" quorum {cluster['quorum']}, digest {cluster['digest']}",
    )
    for found in (*cluster["warnings"], *cluster["faults"]):
        output.line("  ", (found.sentence, output.BAD))
        output.below(found.cure)
    if cluster.get("stopping_seconds") is not None:  # absent from a daemon before this program
        output.line("  ", (_stopping(cluster), output.WORTH_A_LOOK))
    if cluster.get("held_down_by"):
        slow = ", ".join(cluster["held_down_by"])
        spoken = f"messages are said in version {cluster['version']}: no newer one for {slow}"
        output.line("  ", (spoken, output.WORTH_A_LOOK))
    if cluster["grants_in_seconds"]:
        output.line(f"  starting: grants nothing for {cluster['grants_in_seconds']:.1f} s yet")
    _print_nodes(cluster)
    if not cluster["witness"]:
        open_now = sum(cluster["connections"].values())
        output.line(
            f"  held here: {spans(cluster['held'])}; lease {cluster['lease_seconds']:.2f} s;"
            f" {amount(open_now, 'connection')}"
        )
    if cluster["draining"]:
        output.line(f"  {_draining(cluster['draining'])}")
    for check in cluster["checks"]:
        words: dict[bool | None, output.Part] = {True: "good", False: ("bad", output.BAD)}
        word = words.get(check["good"], "not known yet")
        detail = f" ({check['detail']})" if check["detail"] else ""
        output.line(f"  check {check['name']}: ", word, detail)


def _stopping(cluster: dict[str, Any]) -> str:
    left = f"{cluster['stopping_seconds']:.0f} s at the latest"
    return f"stopping, which is not taken back: ends in {left}; a second signal ends it at once"


def _draining(drains: Sequence[dict[str, Any]]) -> str:
    """Return the drains of this node as one line: how much is left, and when the first began."""
    buckets = spans(sorted(drain["bucket"] for drain in drains))
    left = sum(drain["connections"] for drain in drains)
    longest = max(drain["seconds"] for drain in drains)
    return f"draining {buckets}: {amount(left, 'connection')}, begun {longest:.0f} s ago"


def _past(cluster: dict[str, Any]) -> Iterator[Finding]:
    """Yield what went wrong since the start, and may be over."""
    alarms = cluster["alarms"]
    if count := alarms.get("two_owners"):
        owners = f"TWO OWNERS were seen {amount(count, 'time')}"
        yield Finding.of(Code.TWO_OWNERS, owners, cure=_LOG).as_warning()
    if count := alarms.get("stood_still"):
        yield Finding.of(
            Code.STOOD_STILL,
            f"this machine stood still {amount(count, 'time')}",
            "it was paused, saved or moved",
            cure=DRAIN_FIRST,
        )
    if count := alarms.get("starved"):
        yield Finding.of(
            Code.STARVED,
            f"starved {amount(count, 'time')}",
            "the daemon did not get the processor in time",
            cure=PROCESSOR,
        )
    if cut := cluster["cut_connections"]:
        yield Finding.of(
            Code.CONNECTIONS_CUT,
            f"{amount(cut, 'connection')} {were(cut)} cut off by drains that took too long",
            cure="raise drain_timeout, or shorten the timeouts of the server",
        )


def _faults(cluster: dict[str, Any]) -> Iterator[Finding]:
    """Yield what is wrong now."""
    if not cluster["in_control"]:
        words = "the interface is not in our control"
        yield Finding.of(Code.NOT_IN_CONTROL, words, cure=_LOG)
    if cluster["without_source"]:
        yield NO_SOURCE
    for node in cluster["nodes"]:
        if not node["agrees"]:
            yield Finding.of(
                Code.OTHER_CONFIGURATION,
                f"{node['name']} has another configuration",
                "it does not serve with this node",
                cure=COMPARE,
            )
    for name, told in cluster["deaf"].items():
        yield _deaf(name, told, own=name == cluster["node"])
    bad = [one["name"] for one in cluster["checks"] if one["good"] is False]
    if bad:
        yield Finding.of(
            Code.UNHEALTHY,
            "this host is unhealthy",
            ", ".join(bad),
            cure="mend what the check looks at; `clusterip show` has what it found",
        )
    if cluster["alone"]:
        yield Finding.of(
            Code.ALONE,
            "serving alone",
            "the other voter is not heard",
            cure="bring it back",
        )
    if cluster["voters_waiting_for"]:
        yield Finding.of(
            Code.VOTERS_NOT_IN_USE,
            "the voters of the file are not in use yet",
            cluster["voters_waiting_for"],
            cure="reload where a host was not heard with them, or mend what is named",
        )


def _deaf(name: str, told: object, *, own: bool) -> Finding:
    """Return what is told of a node that is deaf; an older program tells what follows its name."""
    code = Code.HEARS_NOBODY if own else Code.DEAF
    if isinstance(told, str):
        told = f"this node {told}" if own else f"{name} is heard, but {told}"
    return Finding.read(told, code)


def _print_nodes(cluster: dict[str, Any]) -> None:
    output.table(
        ("  node", "state", "weight", "buckets", "held", "drains", "votes for"),
        [
            (
                f"{'* ' if node['me'] else '  '}{node['name']}",
                ("deaf", output.BAD) if node["name"] in cluster["deaf"] else _state(node),
                "-" if node["weight"] is None else str(node["weight"]),
                str(len(node["held"])),
                spans(node["held"]),
                spans(node["draining"]),
                " ".join(f"{name}:{len(buckets)}" for name, buckets in node["votes"].items()),
            )
            for node in cluster["nodes"]
        ],
    )


def _state(node: dict[str, Any]) -> output.Part:
    if not node["agrees"]:
        return "other configuration", output.BAD
    if not node["alive"]:
        heard = node["heard_seconds"]
        return "never heard" if heard is None else f"silent for {heard:.1f} s", output.BAD
    words: list[output.Part] = [] if node["healthy"] else [("unhealthy", output.BAD)]
    if node["leaving"]:
        words.append(("leaving" if node["held"] else "drained", output.WORTH_A_LOOK))
    if not node["ready"]:
        words.append("new")
    return output.text(", ").join(map(output.text, words)) if words else "alive"
