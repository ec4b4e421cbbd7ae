"""`clusterip reload` and `clusterip restart`: the daemon goes by the new file, or program."""

from __future__ import annotations

import argparse
import time
from typing import Final

from clusterip.adapters import control
from clusterip.cli import daemons, output, statuses
from clusterip.cli.output import HelpFormatter
from clusterip.core.errors import RefusedError, SystemFaultError
from clusterip.core.messages.request import Reload, Restart, Show

_POLL_SECONDS: Final = 0.1
_RESTART_SECONDS: Final = 30.0
_RELOAD: Final = """\
What can change in place does, and no packet is lost: keys, weights, checks, addresses, how to
stop. A node is added or removed by changing the file on every host and reloading each, one node
at a time. What every host must have at once is refused, and nothing is changed; see
docs/configuration.md for each key. What is unwise since the change is a warning.

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
        help="have the daemon read its file again",
        description="Have the daemon of this host read its configuration and its keys again.",
        epilog=_RELOAD + statuses.told({statuses.WRONG: statuses.FILE}),
        formatter_class=HelpFormatter,
    )
    restart = commands.add_parser(
        "restart",
        help="replace the daemon by a new one, losing no packet",
        description="Replace the daemon of this host by the program as it is installed now, "
        "losing no packet.",
        epilog=_RESTART + statuses.told({statuses.WRONG: statuses.FILE, statuses.UNABLE: _UNABLE}),
        formatter_class=HelpFormatter,
    )
    for parser, run in ((reload, _reload), (restart, _restart)):
        daemons.add_option(parser)
        parser.set_defaults(run=run)


def _reload(arguments: argparse.Namespace) -> int:
    told = control.ask(daemons.chosen(arguments), Reload())
    for line in told.changes or ["nothing changed"]:
        print(line)
    for one in told.warnings:
        output.say("clusterip: warning:", output.WARNING, one.sentence, one.cure)
    return 0


def _restart(arguments: argparse.Namespace) -> int:
    cluster = daemons.chosen(arguments)
    before = control.ask(cluster, Show())
    control.ask(cluster, Restart())
    ends = time.monotonic() + _RESTART_SECONDS
    while time.monotonic() < ends:
        time.sleep(_POLL_SECONDS)
        try:
            now = control.ask(cluster, Show())
        except SystemFaultError:
            continue  # between the two
        if now.stopping_seconds is not None:
            raise RefusedError(
                "the node was told to stop meanwhile: there is no restart",
                "start it again when it has ended",
            )
        if now.refused_restarts > before.refused_restarts:
            raise RefusedError(
                "no majority agreed to a restart in time: the daemon stays as it is",
                "`clusterip show` says who is not heard, or has another configuration",
            )
        if now.started == before.started:
            continue
        if now.incarnation != before.incarnation:
            raise SystemFaultError(
                "a new daemon runs, but could not take over from the one before",
                "its log says why; the other nodes served meanwhile",
            )
        return 0
    raise SystemFaultError("the new daemon does not answer", "see its log")
