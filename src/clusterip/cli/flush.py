"""`clusterip flush`: take everything away."""

from __future__ import annotations

import argparse

from clusterip.adapters import runfiles
from clusterip.cli import statuses
from clusterip.cli.iptables import warning_of_addresses
from clusterip.cli.output import HelpFormatter
from clusterip.runtime.rule_table import RuleTable


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "flush",
        help="take away all rules and all that they brought",
        description="Remove all rules of this network namespace, with the filters, pins, MAC "
        "filter entries and addresses that came with them, whatever state an interrupted command "
        "left them in. VIP addresses that the administrator added stay, and from then on every "
        "host answers for them. What a daemon runs goes too; refused while the daemon is alive.",
        epilog=statuses.told(),
        formatter_class=HelpFormatter,
    )
    parser.set_defaults(run=run)


def run(_arguments: argparse.Namespace) -> int:
    """Flush; return the exit status."""
    table = RuleTable.open()
    with warning_of_addresses(table):
        table.flush()
    runfiles.release_killed()
    return 0
