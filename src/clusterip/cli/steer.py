"""`clusterip drain`, `undrain` and `weight`: how much of the traffic a node takes."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any, Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from clusterip.cli import daemons, output, statuses
from clusterip.core.errors import RefusedError

_POLL_SECONDS: Final = 0.1
_AGAIN_SECONDS: Final = 1.0
_OBEYED_SECONDS: Final = 5.0
_EPILOG: Final = """\
It lasts until `clusterip undrain`, a stop, or a boot of the host; a `clusterip restart` keeps it.
New connections go to the other nodes as each bucket is given away; those that are open here go on
until they end, at most for the drain_timeout of the file.

"""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommands."""
    drain = commands.add_parser(
        "drain",
        help="give all buckets of a node to the others, breaking no connection",
        description="Give all buckets of this node, or of NODE, to the others, breaking no "
        "connection.",
        epilog=_EPILOG + statuses.told(),
        formatter_class=output.HelpFormatter,
    )
    drain.add_argument(
        "--wait", action="store_true", help="return when no bucket and no connection is left"
    )
    undrain = commands.add_parser(
        "undrain",
        help="let a drained node take part again",
        description="End a drain.",
        epilog=statuses.told(),
        formatter_class=output.HelpFormatter,
    )
    weight = commands.add_parser(
        "weight",
        help="change a node's share",
        description="Give this node, or NODE, a share in proportion to N, until its daemon starts "
        "anew or the weight in the file is changed; write it into the file to keep it.",
        epilog=statuses.told(),
        formatter_class=output.HelpFormatter,
    )
    weight.add_argument("value", metavar="N", type=_weight, help="0..255; 0 serves nothing")
    for parser, run in ((drain, _drain), (undrain, _undrain), (weight, _change_weight)):
        parser.add_argument("node", metavar="NODE", nargs="?", help="default: this host's")
        daemons.add_option(parser)
        parser.set_defaults(run=run)


def _weight(text: str) -> int:
    if not text.isdecimal() or not text.isascii() or int(text) > 255:
        raise argparse.ArgumentTypeError(f"{text!a} is not a number 0..255")
    return int(text)


def _drain(arguments: argparse.Namespace) -> int:
    _ask(arguments, "drain", lambda node: bool(node["leaving"]))
    if arguments.wait:
        _wait(arguments)
    return 0


def _undrain(arguments: argparse.Namespace) -> int:
    _ask(arguments, "undrain", lambda node: not node["leaving"])
    return 0


def _change_weight(arguments: argparse.Namespace) -> int:
    value = arguments.value
    _ask(arguments, "weight", lambda node: bool(node["weight"] == value), value=value)
    return 0


def _ask(
    arguments: argparse.Namespace,
    verb: str,
    done: Callable[[dict[str, Any]], bool],
    **values: int,
) -> None:
    """Ask the node, until it says in its messages that it does so."""
    ends = time.monotonic() + _OBEYED_SECONDS
    while True:
        daemons.ask(arguments, verb, node=arguments.node, **values)
        again = time.monotonic() + _AGAIN_SECONDS
        while time.monotonic() < again:
            if done(_node(arguments)):
                return
            time.sleep(_POLL_SECONDS)
        if time.monotonic() > ends:
            raise RefusedError(
                f"{arguments.node or 'the daemon'} was asked, and does not say that it does so",
                f"ask again, or on that host: clusterip {verb}",
            )


def _node(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what the daemon here knows of the node meant."""
    seen: dict[str, Any] = daemons.ask(arguments, "show")
    name = (seen["node"] if arguments.node is None else arguments.node).lower()
    for node in seen["nodes"]:
        if node["name"].lower() == name:
            return dict(node)
    raise RefusedError(f"the daemon here knows no node {name!a}", "`clusterip show` has its nodes")


def _wait(arguments: argparse.Namespace) -> None:
    """Show how the drain goes on until nothing is left; RefusedError if it cannot end."""
    console = output.console()
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    ) as progress:
        bar = progress.add_task("buckets", total=None)
        most = 0
        while True:
            node = _node(arguments)
            if not node["me"] and not node["alive"]:
                print(f"{node['name']} stopped")
                return
            if not node["leaving"]:
                raise RefusedError("the drain was called off", "somebody gave `clusterip undrain`")
            left = len(node["held"]) + len(node["draining"])
            most = max(most, left)
            words = f"held {len(node['held'])}, draining {len(node['draining'])}"
            progress.update(bar, description=words, total=most, completed=most - left)
            if not left:
                print(f"{node['name']} is drained")
                return
            if _nobody_else(arguments, node["name"]):
                raise RefusedError(
                    f"no other node takes the buckets of {node['name']}",
                    "`clusterip show` says how they are",
                )
            time.sleep(_POLL_SECONDS)


def _nobody_else(arguments: argparse.Namespace, name: str) -> bool:
    nodes = daemons.ask(arguments, "show")["nodes"]
    (mine,) = (one for one in nodes if one["name"] == name)
    others = (one for one in nodes if one["name"] != name)
    able = any(
        one["alive"] and one["agrees"] and one["weight"] and not one["leaving"] for one in others
    )
    return bool(mine["held"]) and not able
