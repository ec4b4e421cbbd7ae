"""`clusterip reload` and `clusterip restart`: the daemon goes by the new file, or program."""

from __future__ import annotations

import argparse
import time
from typing import Final

from clusterip.cli import daemons, output, statuses
from clusterip.cli.output import HelpFormatter
from clusterip.core.words import amount
from clusterip.runtime import asking, key_missing

_RELOAD: Final = """\
What can change in place does, and no packet is lost: keys, weights, checks, addresses, how to
stop. A node is added or removed by changing the file on every host and reloading each, one node
at a time. What every host must have at once is refused, and nothing is changed; see
the page configuration.md for each key. What is unwise since the change is a warning.

"""
_RESTART: Final = """\
For an upgrade: install it, then restart. The others are asked to bear with a silence of some
seconds, the kernel goes on serving meanwhile, and the new program takes up the buckets, the
votes and the drains of the old one.

"""
_UNABLE: Final = "the system cannot do it, or the new daemon could not take over"


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommands."""
    reload = commands.add_parser(
        "reload",
        description="Have the daemon of this host read its configuration and its keys again.",
        epilog=_RELOAD + statuses.told({statuses.WRONG: statuses.FILE}),
        formatter_class=HelpFormatter,
    )
    restart = commands.add_parser(
        "restart",
        description="Replace the daemon of this host by the program as it is installed now, "
        "losing no packet.",
        epilog=_RESTART + statuses.told({statuses.WRONG: statuses.FILE, statuses.UNABLE: _UNABLE}),
        formatter_class=HelpFormatter,
    )
    for parser, run in ((reload, _reload), (restart, _restart)):
        daemons.add_option(parser)
        output.add_json(parser)
        parser.set_defaults(run=run)


def _reload(arguments: argparse.Namespace) -> int:
    cluster = daemons.chosen(arguments)
    told = asking.reload(cluster)
    lacking = [one for _, one in key_missing.findings(asking.status(cluster))]
    warnings = [*told.warnings, *lacking]
    changed = amount(len(told.changes), "change") if told.changes else "nothing changed"
    output.done(
        arguments,
        f"the daemon of cluster {cluster} goes by its file now: {changed}",
        cluster=cluster,
        changes=told.changes,
        warnings=warnings,
    )
    if not arguments.json:
        for line in told.changes:
            output.line(f"  {line}")
        for one in warnings:
            output.say("clusterip: warning:", output.WARNING, one.sentence, one.cure)
    return 0


def _restart(arguments: argparse.Namespace) -> int:
    cluster = daemons.chosen(arguments)
    begun = time.monotonic()
    now = asking.restart(cluster)
    seconds = round(time.monotonic() - begun, 1)
    output.done(
        arguments,
        f"{now.node} of cluster {cluster} runs anew, with all that its daemon had ({seconds:g} s)",
        cluster=cluster,
        node=now.node,
        pid=now.pid,
        seconds=seconds,
    )
    return 0
