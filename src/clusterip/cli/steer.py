"""`clusterip drain`, `undrain` and `weight`: how much of the traffic a node takes."""

from __future__ import annotations

import argparse
from typing import Final

import msgspec

from clusterip.cli import daemons, output, statuses
from clusterip.core.messages.request import Drain, Undrain, Weight
from clusterip.core.status import Node, Status
from clusterip.core.words import amount
from clusterip.runtime import asking
from clusterip.runtime.asking import Drained

_EPILOG: Final = """\
A drain lasts until `clusterip undrain`, a stop of the daemon, or a boot of the host. A
`clusterip restart` keeps it.
New connections go to the other nodes as each bucket is given away; those that are open here go on
until they end, at most for the drain_timeout of the file.

"""
_WEIGHT: Final = """\
The weight lasts until the daemon of that node is stopped, or until a reload of the file brings
another weight. A `clusterip restart` keeps it. To keep it for good, write it into the file.

"""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommands."""
    drain = commands.add_parser(
        "drain",
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
        description="End a drain.",
        epilog=statuses.told(),
        formatter_class=output.HelpFormatter,
    )
    weight = commands.add_parser(
        "weight",
        description="Give this node, or NODE, a share in proportion to N.",
        epilog=_WEIGHT + statuses.told(),
        formatter_class=output.HelpFormatter,
    )
    weight.add_argument("value", metavar="N", type=_weight, help="0..255; with 0 others take all")
    for parser, run in ((drain, _drain), (undrain, _undrain), (weight, _change_weight)):
        parser.add_argument("node", metavar="NODE", nargs="?", help="default: this host's")
        daemons.add_option(parser)
        output.add_json(parser)
        parser.set_defaults(run=run)


def _weight(text: str) -> int:
    if not text.isdecimal() or not text.isascii() or int(text) > 255:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number 0..255")
    return int(text)


def _drain(arguments: argparse.Namespace) -> int:
    cluster, name = daemons.chosen(arguments), arguments.node
    if not arguments.wait:
        seen = asking.drain(cluster, name)
        node, timeout = asking.meant(seen, name), seen.drain_timeout_seconds
        most = "" if timeout is None else f"; {timeout:g} s at most"
        held, left = amount(len(node.held), "bucket"), len(node.draining)
        sentence = (
            f"{node.name} drains: {held} to give away yet, {left} with open connections{most}"
        )
        return _done(arguments, seen, sentence)
    before = asking.status(cluster)
    asking.see_others(before, name)
    asking.steer(cluster, Drain(name))
    try:
        drained = _wait(cluster, name, before)
    except KeyboardInterrupt:
        undrain = f"clusterip undrain {name or ''}".strip()
        output.line(f"clusterip: the drain goes on; `{undrain}` takes it back", err=True)
        raise
    told = msgspec.structs.asdict(drained)
    output.done(arguments, told.pop("sentence"), cluster=cluster, **told)
    return 0


def _undrain(arguments: argparse.Namespace) -> int:
    seen = asking.steer(daemons.chosen(arguments), Undrain(arguments.node))
    return _done(arguments, seen, f"{_name(seen, arguments)} takes part again")


def _change_weight(arguments: argparse.Namespace) -> int:
    value = arguments.value
    seen = asking.steer(daemons.chosen(arguments), Weight(node=arguments.node, value=value))
    name = _name(seen, arguments)
    return _done(
        arguments,
        seen,
        f"{name} has weight {value} until its daemon is stopped; to keep it, write it into the"
        " file",
    )


def _name(seen: Status, arguments: argparse.Namespace) -> str:
    return asking.meant(seen, arguments.node).name


def _done(arguments: argparse.Namespace, seen: Status, sentence: str) -> int:
    """Say what was done, and how the node is now."""
    node = asking.meant(seen, arguments.node)
    output.done(
        arguments,
        sentence,
        cluster=seen.cluster,
        node=node.name,
        leaving=node.leaving,
        weight=node.weight,
        held=node.held,
        draining=node.draining,
    )
    return 0


def _wait(cluster: str, name: str | None, before: Status) -> Drained:
    """Show how the drain goes on until nothing is left; RefusedError if it cannot end.

    `before` is what the daemon here said before the drain.
    """
    from rich.progress import (  # noqa: PLC0415 - only this one draws
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

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

        def look(node: Node) -> None:
            nonlocal most
            left = len(node.held) + len(node.draining)
            most = max(most, left)
            words = f"held {len(node.held)}, draining {len(node.draining)}"
            progress.update(bar, description=words, total=most, completed=most - left)

        return asking.wait(cluster, name, before, look)
