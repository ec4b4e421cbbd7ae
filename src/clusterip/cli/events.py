"""`clusterip events`: what happened to a daemon, and what happens."""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import sys
from typing import Final

from clusterip.adapters.statusclient import Follower
from clusterip.cli import output, statuses, tables
from clusterip.cli.output import HelpFormatter
from clusterip.core import journal
from clusterip.core.journal import Entry
from clusterip.core.messages.following import MOST_DIGITS, Following
from clusterip.runtime import choosing

_STYLES: Final = {"warning": output.WORTH_A_LOOK, "error": output.BAD}
_DESCRIPTION: Final = (
    "Print what happened to the daemon of this host: the last thousand events, over planned "
    "restarts. For root, and for members of the group that status_group in the file names."
)
_EXAMPLES: Final = """\
  clusterip events --last 20
  clusterip events --follow --json | jq .event

"""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "events",
        description=_DESCRIPTION,
        epilog=_EXAMPLES + statuses.told({statuses.REFUSED: "not for this user"}),
        formatter_class=HelpFormatter,
    )
    parser.add_argument(
        "cluster",
        nargs="?",
        metavar="CLUSTER",
        help="the cluster meant, where daemons of several run in this network namespace",
    )
    parser.add_argument(
        "-f", "--follow", action="store_true", help="go on with what happens, until it ends"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object for each, a line")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--since", metavar="N", type=_number, default=0, help="those after the one of that number"
    )
    which.add_argument("--last", metavar="N", type=_number, help="the last N")
    parser.set_defaults(run=run)


def _number(word: str) -> int:
    if not (word.isascii() and word.isdecimal()):
        raise argparse.ArgumentTypeError(f"{word!r} is not a number from 0 on")
    if len(word) > MOST_DIGITS:
        raise argparse.ArgumentTypeError(f"it has more than {MOST_DIGITS} digits")
    return int(word)


def run(arguments: argparse.Namespace) -> int:
    """Print them; return the exit status."""
    cluster = choosing.watched(arguments.cluster, "say which is meant: clusterip events {name}")
    following = Following(last=arguments.last, follow=arguments.follow, since=arguments.since)
    with contextlib.closing(Follower(cluster, following)) as entries:
        for one in entries:
            _print(one, as_json=arguments.json)
            if arguments.follow:
                # A pipe that is read line by line is to have each.
                output.flush(sys.stdout)
    if arguments.follow and not arguments.json:
        words = f"the daemon of cluster {cluster} ended, as it was told to"
        output.say("clusterip:", output.STRONG, words, "")
    return statuses.DONE


def _print(entry: Entry, *, as_json: bool) -> None:
    if as_json:
        print(journal.encode(entry).decode())
        return
    # In the time of this host, as logs have it.
    when = dt.datetime.fromtimestamp(entry.time).astimezone()
    told = f"{when:%Y-%m-%d %H:%M:%S}.{when.microsecond // 1000:03}  "
    style = _STYLES.get(entry.level)
    tables.sentence(told, (entry.text, style) if style else entry.text, indent=" " * len(told))
