"""`clusterip announce`: tell clients and routers the cluster MACs, at once."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Iterable
from typing import Final

import msgspec

from clusterip.adapters import capabilities, control, runfiles
from clusterip.adapters.announcer import Announcer, PacketAnnouncer
from clusterip.cli import output, statuses
from clusterip.cli.output import HelpFormatter
from clusterip.core import announcement
from clusterip.core.address import Address, address_of, order
from clusterip.core.errors import ClusterIPError, RefusedError, SystemFaultError
from clusterip.core.messages.request import Show
from clusterip.core.packets.state import Group, InterfaceState
from clusterip.core.units import SECOND
from clusterip.core.words import amount
from clusterip.runtime.rule_table import RuleTable, not_shared

_PATIENCE_SECONDS: Final = 2.0
_EPILOG: Final = """\
For clients and routers that had the VIP at another MAC, after a change of what shared it before:
they send there until their entry expires, for hours on some. One host that serves is enough; one
that does not is refused, for those who do may have another MAC. A daemon announces by itself when
it begins to serve, and when its link comes while it does; rules do not.

By ARP (IPv4) and unsolicited neighbour advertisement (IPv6). Nobody makes an entry because of it,
and static entries stay. The number and the interval are those of the file for VIPs of a daemon.

"""


class Announced(msgspec.Struct, frozen=True):
    """What is announced: where, of what rules, and how often."""

    state: InterfaceState
    interface: str
    group: Group
    count: int
    interval: float


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "announce",
        description="Announce VIPs, all that are shared here by default, with their cluster MACs.",
        epilog=_EPILOG
        + statuses.told({statuses.REFUSED: "the VIP is not shared here, or not served"}),
        formatter_class=HelpFormatter,
    )
    parser.add_argument("vips", metavar="VIP", nargs="*", type=_address, help="default: all")
    output.add_json(parser)
    parser.set_defaults(run=run)


def _address(text: str) -> Address:
    try:
        return address_of(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an IP address") from None


def run(arguments: argparse.Namespace) -> int:
    """Announce; return the exit status."""
    capabilities.require(capabilities.ANNOUNCE)
    table = RuleTable.open()
    chosen = _chosen(table, frozenset(arguments.vips))
    with contextlib.closing(PacketAnnouncer()) as announcer:
        send(announcer, chosen, table)
    if arguments.json:
        print(output.as_json({"announced": [_as_json(one) for one in chosen]}, indent=2))
    else:
        for one in chosen:
            print(
                f"announced {one.group.vip} at {one.group.sharing.mac} on {one.interface},"
                f" {amount(one.count, 'time')}, {one.interval:g} s apart"
            )
    return 0


def _chosen(table: RuleTable, vips: frozenset[Address]) -> list[Announced]:
    names = {link.index: link.name for link in table.netns.links.all()}
    shared = [
        (state, group)
        for state in table.chain().interfaces
        if state.index in names
        for group in state.groups
    ]
    if not shared and (witnesses := [name for name in runfiles.running() if _only_votes(name)]):
        raise RefusedError(
            f"the daemon of cluster {witnesses[0]} here is a witness, which has no VIP to announce",
            "announce on a host that holds buckets: `clusterip show`",
        )
    there = {group.vip for _, group in shared}
    for vip in sorted(vips - there, key=order):
        raise not_shared(vip, sorted(there, key=order))
    if not shared:
        raise RefusedError(
            "nothing is shared in this network namespace",
            "start the daemon (systemctl start clusterip) or add rules (clusterip iptables -A),"
            " in the network namespace of the VIPs",
        )
    meant = [(state, group) for state, group in shared if not vips or group.vip in vips]
    idle = [group.vip for state, group in meant if table.is_over(state, group)]
    if idle and (vips or len(idle) == len(meant)):
        raise _idle(idle)
    chosen = [
        Announced(state, names[state.index], group, *_often(table, state.cluster))
        for state, group in meant
        if group.vip not in idle
    ]
    return sorted(chosen, key=lambda one: order(one.group.vip))


def _only_votes(cluster: str) -> bool:
    """Whether the daemon of a cluster says that it is a witness."""
    with contextlib.suppress(ClusterIPError):
        return control.ask(cluster, Show(), patience=_PATIENCE_SECONDS).witness
    return False


def _idle(vips: Iterable[Address]) -> RefusedError:
    """Return what is to be said where VIPs are not served."""
    return RefusedError(
        f"{', '.join(map(str, sorted(vips, key=order)))}: this host answers nothing now, and"
        " those who do may have another MAC",
        "announce on a host that holds buckets: `clusterip show`",
    )


def _often(table: RuleTable, cluster: str) -> tuple[int, float]:
    """Return how often VIPs are announced, and seconds between: as their daemon says, if any."""
    if cluster and table.netns.running(cluster):
        with contextlib.suppress(ClusterIPError):
            told = control.ask(cluster, Show(), patience=_PATIENCE_SECONDS)
            # Who gives the command wants it done, whatever the daemon does by itself.
            return max(1, told.announce_count), told.announce_seconds
    return announcement.COUNT, announcement.INTERVAL / SECOND


def send(announcer: Announcer, chosen: list[Announced], table: RuleTable) -> None:
    """Announce each as often as it says; SystemFaultError if it cannot be sent.

    RefusedError if `host` stops to answer meanwhile: others may from now on, at another MAC.
    """
    for number in range(max(one.count for one in chosen)):
        if number:
            time.sleep(max(one.interval for one in chosen))
        for one in chosen:
            if number < one.count:
                _send(announcer, one, table)


def _send(announcer: Announcer, one: Announced, table: RuleTable) -> None:
    if table.is_over(one.state, one.group):
        raise _idle([one.group.vip])
    try:
        announcer.announce(one.state.index, one.group.vip, one.group.sharing.mac)
    except OSError as error:
        # Our own filter discards what leaves when the lease is over.
        if table.is_over(one.state, one.group):
            raise _idle([one.group.vip]) from error
        raise SystemFaultError(
            f"{one.group.vip} cannot be announced on {one.interface}: {error.strerror}",
            f"ip link show dev {one.interface} says how the interface is",
        ) from error


def _as_json(one: Announced) -> dict[str, object]:
    return {
        "vip": str(one.group.vip),
        "clustermac": one.group.sharing.mac.upper,
        "interface": one.interface,
        "count": one.count,
        "interval_seconds": one.interval,
    }
