"""`clusterip show`: what is shared here, who answers, what was counted."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Final

from clusterip.adapters import runfiles, statuspath
from clusterip.adapters.abi import BucketState, Reason
from clusterip.cli import output, show_cluster, statuses, tables
from clusterip.core import status
from clusterip.core.address import order
from clusterip.core.buckets import spans
from clusterip.core.findings import Code, Finding
from clusterip.core.packets.model import ServiceAction
from clusterip.core.packets.state import Entry, Group
from clusterip.core.rules import services
from clusterip.core.status import Cluster, Document, Interface
from clusterip.core.words import amount
from clusterip.runtime import interfaces
from clusterip.runtime.guarding import unguarded
from clusterip.runtime.rule_table import InterfaceView, RuleTable

_WORDS: Final = {
    Reason.ACCEPT_OWNED: "accepted: the bucket is held here",
    Reason.ACCEPT_TAKING: "accepted: the bucket is being taken",
    Reason.ACCEPT_DRAINING: "accepted: the bucket drains, the connection is here",
    Reason.ACCEPT_FRAGMENT: "accepted: later fragment, reassembly decides",
    Reason.DROP_NOT_OWNED: "discarded: another host answers",
    Reason.DROP_NO_RULE: "discarded: no rule covers it",
    Reason.DROP_TAKING: "discarded: may belong to the previous holder",
    Reason.DROP_DRAINING: "discarded: the bucket drains, the new holder answers",
    Reason.DROP_EXPIRED: "discarded: the lease has run out",
    Reason.DROP_MALFORMED: "discarded: malformed",
    Reason.ARP_REWRITTEN: "ARP and NDP sent with the cluster MAC",
    Reason.DROP_FRAGMENT: "discarded: later fragment, the first was",
    Reason.DROP_SERVICE: "discarded: a service says so",
    Reason.DROP_ARP: "ARP and NDP discarded: could not be rewritten",
    Reason.DROP_ELSEWHERE: "discarded at another interface, which had it too",
    Reason.DROP_ARP_ELSEWHERE: "ARP and NDP of another interface for a VIP discarded",
}
_ONLY_ROOT: Final = "only root sees more: interfaces, VIPs, rules, packets, open connections"
FAULTY: Final = 1
"""The exit status where something is wrong."""
_STATUSES: Final = {
    statuses.DONE: "all is well",
    FAULTY: 'something is wrong now: a fault in red, with its cure, "fault" and "faults" in JSON',
    statuses.UNABLE: "it cannot be looked at",
}


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "show",
        description="Show what is shared in this network namespace: what its daemon knows of the "
        "cluster, VIPs and their buckets, rules, what the hooks are attached to, and what happened "
        "to the packets.",
        epilog=statuses.told(_STATUSES),
        formatter_class=output.HelpFormatter,
    )
    output.add_json(parser)
    parser.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="what a daemon runs as rules, too, and whom each node votes for",
    )
    parser.add_argument(
        "--schema",
        action="store_true",
        help="print the JSON schema of that object, and look at nothing",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show; return the exit status."""
    if arguments.schema:
        print(output.as_json(status.schema(), indent=2))
        return statuses.DONE
    if os.geteuid() and statuspath.clusters():
        return _told_to_all(in_json=arguments.json, verbose=arguments.verbose)
    table = RuleTable.open()
    clusters = show_cluster.seen(table.view)
    # After the daemons had their time to answer: a lease is shorter.
    views = table.view()
    wrong = any(map(show_cluster.faults, clusters)) or any(any(_faults(view)) for view in views)
    # The status is told, too, to who reads no further.
    with contextlib.suppress(BrokenPipeError):
        _say(clusters, views, in_json=arguments.json, verbose=arguments.verbose)
    return FAULTY if wrong else 0


def _told_to_all(*, in_json: bool, verbose: bool) -> int:
    """Show what daemons tell to others than root, too."""
    clusters = show_cluster.told_to_all()
    with contextlib.suppress(BrokenPipeError):
        _say(clusters, (), in_json=in_json, verbose=verbose)
        if not in_json:
            output.line((_ONLY_ROOT, output.WORTH_A_LOOK))
    return FAULTY if any(map(show_cluster.faults, clusters)) else 0


def _say(
    clusters: Sequence[Cluster], views: Sequence[InterfaceView], *, in_json: bool, verbose: bool
) -> None:
    if in_json:
        document = Document(clusters=list(clusters), interfaces=[_seen(view) for view in views])
        print(output.as_json(document, indent=2))
    elif not (views or clusters):
        print("nothing is shared in this network namespace")
    else:
        for cluster in clusters:
            show_cluster.show(cluster, verbose=verbose)
        for view in views:
            _print(view, verbose=verbose)


def _in_state(view: InterfaceView, group: Group, state: BucketState) -> list[int]:
    states = view.groups[group.index][: group.sharing.total]
    return [bucket for bucket, one in enumerate(states, start=1) if one is state]


def _faults(view: InterfaceView) -> Iterator[Finding]:
    by_daemon = bool(view.state.cluster)
    if not view.present:
        yield Finding.of(
            Code.INTERFACE_GONE,
            f"{view.name} is gone, and nothing is answered through it",
            cure="bring it back: the daemon waits for it"
            if by_daemon
            else "`clusterip flush` forgets it",
        )
    elif not view.attached.tc:
        cure = "restarting the daemon" if by_daemon else "adding a rule again"
        yield Finding.of(
            Code.NOT_FILTERED,
            "the tc filters are not attached",
            "nothing is filtered, every host answers",
            cure=f"{cure} mends it",
        )
    if not by_daemon:  # else its daemon says so
        yield from view.wrong
    for name in view.unguarded:
        yield unguarded(name, by_daemon=by_daemon)


def _seen(view: InterfaceView) -> Interface:
    return interfaces.seen(view, list(_faults(view)))


def _packets(view: InterfaceView, entry: Entry) -> int:
    return sum(view.rules[entry.slot].packets.values())


def _print(view: InterfaceView, *, verbose: bool) -> None:
    state = view.state
    xdp = "on" if view.attached.xdp else "off"
    tc = "on" if view.attached.tc else ("OFF", output.BAD)
    verb = "run" if state.cluster in runfiles.running() else "left"
    cluster = f", {verb} by the daemon of cluster {state.cluster}" if state.cluster else ""
    output.line((view.name, output.STRONG), ": tc ", tc, f", xdp {xdp}{cluster}")
    if state.xdp_note:
        output.line(f"  xdp: {state.xdp_note}")
    for one in (*_faults(view), *view.lacking):
        word, style = ("fault", output.BAD) if one.is_fault else ("warning", output.WARNING)
        output.line((f"  {word}:", style), f" {one.sentence}")
        output.below(one.cure)
    if state.cluster and not verbose:
        _print_shared(view)
    else:
        _print_vips(view)
        for entry in state.entries:
            packets = amount(_packets(view, entry), "packet")
            output.line(f"  {interfaces.rule(view, entry)}  ({packets})")
    for reason, count in interfaces.totals(view).items():
        if count:
            output.line(f"  {count:>12}  {_WORDS[reason]}")


def _print_shared(view: InterfaceView) -> None:
    """Print what a daemon runs: its VIPs and services, whose rules follow from its file."""
    groups = _groups(view)
    tables.table(
        ("  VIP", "held", "cluster MAC", "lease"),
        [
            (
                f"  {group.vip}",
                _held_words(view, group),
                str(group.sharing.mac),
                _lease_words(view, group),
            )
            for group in groups
        ],
    )
    by_vip = {group.vip: group for group in groups}
    tables.table(
        ("  service", "decided by", "packets"),
        [
            (
                f"  {entry.rule.vip} {services.named(entry.rule)}",
                services.decided_by(entry.rule, by_vip[entry.rule.vip].mode(entry.rule)),
                str(_packets(view, entry)),
            )
            for entry in view.state.entries
        ],
    )


def _groups(view: InterfaceView) -> list[Group]:
    return sorted(view.state.groups, key=lambda group: order(group.vip))


def _lease_words(view: InterfaceView, group: Group) -> str:
    lease = interfaces.lease(view.deadlines[group.index])
    return "not needed" if lease is None else f"{lease:.1f} s"


def _print_vips(view: InterfaceView) -> None:
    rows = []
    for group in _groups(view):
        sharing = group.sharing
        rows.append(
            (
                f"  {group.vip}",
                _held_words(view, group),
                str(sharing.total),
                _modes(view, group),
                str(sharing.hash_init),
                str(sharing.mac),
                _lease_words(view, group),
            )
        )
    tables.table(("  VIP", "held", "of", "hash", "init", "cluster MAC", "lease"), rows)


def _modes(view: InterfaceView, group: Group) -> str:
    """Return how a VIP's packets are dealt with, in the order of its rules."""
    rules = (one.rule for one in view.state.entries if one.rule.vip == group.vip)
    words = (
        group.mode(rule).value if rule.action is ServiceAction.BALANCE else rule.action.value
        for rule in rules
    )
    return ", ".join(dict.fromkeys(words))


def _held_words(view: InterfaceView, group: Group) -> str:
    parts = [spans(_in_state(view, group, BucketState.OWNED))]
    for state in (BucketState.TAKING, BucketState.DRAINING):
        some = _in_state(view, group, state)
        if some:
            parts.append(f"{state.name.lower()} {spans(some)}")
    words = "; ".join(parts)
    over = interfaces.lease(view.deadlines[group.index]) == 0 and words != "none"
    return f"none (was: {words})" if over else words
