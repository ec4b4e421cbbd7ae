"""`clusterip bucket`: which buckets of a VIP this host holds; take one, give one up."""

from __future__ import annotations

import argparse
import os
from typing import Final

from clusterip.cli import output, statuses
from clusterip.cli.output import HelpFormatter
from clusterip.core.address import Address, address_of
from clusterip.core.errors import UsageError
from clusterip.core.rules import statefile
from clusterip.core.rules.statefile import BucketChangeError, Change
from clusterip.runtime.rule_table import RuleTable

_EXAMPLES: Final = """\
examples:
  clusterip bucket 10.9.0.100          # 1,2
  clusterip bucket 10.9.0.100 -2       # here first ...
  clusterip bucket 10.9.0.100 +2       # ... then on the host that takes it

A bucket must never be held by two hosts: give it up on one before another takes it.

"""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "bucket",
        description="Show the buckets of a VIP that this host holds; +N takes bucket N, "
        "-N gives it up.",
        usage="clusterip bucket VIP [+N|-N] [--json]",
        epilog=_EXAMPLES + statuses.told(),
        formatter_class=HelpFormatter,
    )
    parser.add_argument("vip", metavar="VIP", type=address)
    parser.add_argument("change", metavar="+N|-N", nargs="?", type=change)
    output.add_json(parser, "print what is held, as a JSON array")
    parser.set_defaults(run=run)


def address(text: str) -> Address:
    """Read a VIP; UsageError if it is not an IP address."""
    try:
        return address_of(text)
    except ValueError as error:
        raise UsageError(
            f"VIP {text} is not an IP address", "give it as 10.9.0.100 or 2001:db8::100"
        ) from error


def change(text: str) -> Change:
    """Read `+N` or `-N`; UsageError for anything else."""
    try:
        return statefile.parse(os.fsencode(text))
    except BucketChangeError as error:
        raise UsageError(error.message, error.cure) from error


def run(arguments: argparse.Namespace) -> int:
    """Change if asked, and show otherwise; return the exit status."""
    table = RuleTable.open()
    chain = table.chain()
    if chain.find(arguments.vip) is None:
        # A daemon may have it whose pins are not to be seen: then that is what is said.
        table.refuse_unseen(lambda: {state.cluster for state in chain.interfaces})
    if arguments.change is not None:
        table.change_bucket(arguments.vip, arguments.change)
    held = table.buckets(arguments.vip)
    listed = ",".join(map(str, held))
    if arguments.json:
        print(output.as_json(held))
    elif arguments.change is None:
        print(listed)
    else:
        verb = "took" if arguments.change.add else "gave up"
        bucket, now = arguments.change.bucket, listed or "none"
        print(f"{verb} bucket {bucket} of {arguments.vip}: held now {now}")
    return 0
