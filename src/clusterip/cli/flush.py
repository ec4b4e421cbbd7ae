"""`clusterip flush`: take everything away."""

from __future__ import annotations

import argparse

from clusterip.adapters import memory
from clusterip.adapters.kernel_maps import OtherVersionError
from clusterip.cli import output, statuses
from clusterip.cli.iptables import noting_addresses, say_warnings
from clusterip.cli.output import HelpFormatter
from clusterip.core.packets.state import Chain
from clusterip.core.words import amount
from clusterip.runtime.rule_table import RuleTable


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "flush",
        description="Remove all rules of this network namespace, with the filters, pins, MAC "
        "filter entries and addresses that came with them, whatever state an interrupted command "
        "left them in. VIP addresses that the administrator added stay, and from then on every "
        "host answers for them. What a daemon runs goes too; refused while the daemon is alive.",
        epilog=statuses.told(),
        formatter_class=HelpFormatter,
    )
    output.add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Flush; return the exit status."""
    table = RuleTable.open()
    before, nothing = Chain(), "nothing was shared in this network namespace"
    try:
        before = table.chain()
    except OtherVersionError:
        nothing = "took away what another release had left"
    with noting_addresses(table) as warnings:
        table.flush()
    memory.release_killed()
    interfaces = sorted(one.name for one in before.interfaces if one.groups)
    vips = sum(len(one.groups) for one in before.interfaces)
    rules = len(before.entries())
    output.done(
        arguments,
        f"took away {amount(rules, 'rule')} for {amount(vips, 'VIP')} on {', '.join(interfaces)}"
        if interfaces
        else nothing,
        rules=rules,
        vips=[str(group.vip) for one in before.interfaces for group in one.groups],
        interfaces=interfaces,
        warnings=warnings,
    )
    say_warnings(arguments, warnings)
    return 0
