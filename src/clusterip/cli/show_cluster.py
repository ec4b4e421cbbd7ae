"""What `clusterip show` says of the daemons of this network namespace and of their clusters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from clusterip.adapters import control, runfiles
from clusterip.adapters.diag import DiagSockets
from clusterip.cli import output
from clusterip.core import connections
from clusterip.core.errors import SystemFaultError
from clusterip.core.messages.message import spans
from clusterip.runtime.host import InterfaceView

_PATIENCE_SECONDS: Final = 2.0


def seen(views: Sequence[InterfaceView]) -> list[dict[str, Any]]:
    """Return what each daemon here says, and the connections that each of its buckets has.

    A daemon that does not answer is there with `fault`, which is null for the others.
    """
    return [_seen(name, views) for name in runfiles.running()]


def _seen(name: str, views: Sequence[InterfaceView]) -> dict[str, Any]:
    fault: dict[str, Any] = {"cluster": name}
    try:
        told: dict[str, Any] = control.ask(name, {"verb": "show"}, patience=_PATIENCE_SECONDS)
    except SystemFaultError as error:
        return {**fault, "fault": error.message}
    counts: dict[int, int] = {}
    for view in views:
        if view.state.cluster == name:
            vips = frozenset(group.vip for group in view.state.groups)
            counts = connections.count(view.state, DiagSockets().tcp(vips))
    for drain in told["draining"]:
        drain["connections"] = counts.get(drain["bucket"], 0)
    return {**told, "fault": None, "connections": {str(k): n for k, n in sorted(counts.items())}}


def show(cluster: dict[str, Any]) -> None:
    """Print it."""
    name = (cluster["cluster"], output.STRONG)
    if cluster["fault"]:
        output.line("cluster ", name, ": ", (cluster["fault"], output.BAD))
        return
    output.line(
        "cluster ",
        name,
        ": node ",
        (cluster["node"], output.STRONG),
        f"{' (witness)' if cluster['witness'] else ''}, profile {cluster['profile']},"
        f" quorum {cluster['quorum']}, digest {cluster['digest']}",
    )
    for line in _troubles(cluster):
        output.line("  ", (line, output.BAD))
    _print_nodes(cluster)
    if not cluster["witness"]:
        open_now = sum(cluster["connections"].values())
        output.line(
            f"  held here: {spans(cluster['held'])}; lease {cluster['lease_seconds']:.2f} s;"
            f" {open_now} connections"
        )
    for drain in cluster["draining"]:
        output.line(
            f"  draining {drain['bucket']}: {drain['connections']} connections,"
            f" for {drain['seconds']:.0f} s"
        )
    for check in cluster["checks"]:
        words: dict[bool | None, output.Part] = {True: "good", False: ("bad", output.BAD)}
        word = words.get(check["good"], "not known yet")
        detail = f" ({check['detail']})" if check["detail"] else ""
        output.line(f"  check {check['name']}: ", word, detail)


_COUNTED: Final = (
    ("two_owners", "TWO OWNERS were seen {} times: see the log"),
    ("stood_still", "this machine stood still {} times: it was paused, saved or moved"),
    ("starved", "starved {} times: the daemon did not get the processor in time"),
)
"""Alarms that are told by how often there were any."""


def _troubles(cluster: dict[str, Any]) -> Iterator[str]:
    alarms = cluster["alarms"]
    for alarm, words in _COUNTED:
        if alarms.get(alarm):
            yield words.format(alarms[alarm])
    if not cluster["in_control"]:
        yield "the interface is not in our control: see the log"
    if cluster["without_source"]:
        yield "this host has no address but VIPs to send messages from: the others do not hear it"
    yield from _troubles_of_nodes(cluster)
    if cluster["alone"]:
        yield "serving alone: the other voter is not heard"
    if cluster["voters_waiting_for"]:
        yield f"the voters of the file are not in use yet: {cluster['voters_waiting_for']}"
    if cluster["cut_connections"]:
        yield f"{cluster['cut_connections']} connections were cut off by drains that took too long"


def _troubles_of_nodes(cluster: dict[str, Any]) -> Iterator[str]:
    for node in cluster["nodes"]:
        if not node["agrees"]:
            yield f"{node['name']} has another configuration: it does not serve with this node"
    for name, cause in cluster["deaf"].items():
        yield f"this node {cause}" if name == cluster["node"] else f"{name} is heard, but {cause}"


def _print_nodes(cluster: dict[str, Any]) -> None:
    output.table(
        ("  node", "state", "weight", "buckets", "held", "drains", "votes for"),
        [
            (
                f"{'* ' if node['me'] else '  '}{node['name']}",
                _state(node),
                str(node["weight"]),
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
