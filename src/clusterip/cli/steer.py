"""`clusterip drain`, `undrain` and `weight`: how much of the traffic a node takes."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from clusterip.cli import daemons, output, statuses
from clusterip.core.errors import ClusterIPError, RefusedError, SystemFaultError
from clusterip.core.messages.request import Drain, Steering, Undrain, Weight
from clusterip.core.messages.request import verb as verb_of
from clusterip.core.status import Node, Status
from clusterip.core.words import amount, were

_POLL_SECONDS: Final = 0.1
_AGAIN_SECONDS: Final = 1.0
_OBEYED_SECONDS: Final = 5.0
_EPILOG: Final = """\
It lasts until `clusterip undrain`, a stop, or a boot of the host; a `clusterip restart` keeps it.
New connections go to the other nodes as each bucket is given away; those that are open here go on
until they end, at most for the drain_timeout of the file.

"""


class _NobodyElseError(RefusedError):
    """A drain that cannot end: nobody else serves."""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommands."""
    drain = commands.add_parser(
        "drain",
        help="give a node's buckets to the others, breaking no connection",
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
    weight.add_argument("value", metavar="N", type=_weight, help="0..255; with 0 others take all")
    for parser, run in ((drain, _drain), (undrain, _undrain), (weight, _change_weight)):
        parser.add_argument("node", metavar="NODE", nargs="?", help="default: this host's")
        daemons.add_option(parser)
        parser.set_defaults(run=run)


def _weight(text: str) -> int:
    if not text.isdecimal() or not text.isascii() or int(text) > 255:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number 0..255")
    return int(text)


def _drain(arguments: argparse.Namespace) -> int:
    if not arguments.wait:
        _begin(arguments)
        return 0
    before = daemons.show(arguments)
    _see_others(before, arguments.node, _fit)
    _begin(arguments)
    try:
        with _asked(arguments, "drain"):
            _wait(arguments, before)
    except KeyboardInterrupt:
        undrain = f"clusterip undrain {arguments.node or ''}".strip()
        output.line(f"clusterip: the drain goes on; `{undrain}` takes it back", err=True)
        raise
    except _NobodyElseError as error:
        # A drain that was on before is not ours to end.
        if not _meant(before, arguments.node).leaving:
            _take_back(arguments, error)
        raise
    return 0


def _begin(arguments: argparse.Namespace) -> None:
    _ask(arguments, Drain(arguments.node), lambda node: node.leaving)


def _take_back(arguments: argparse.Namespace, why: RefusedError) -> None:
    """End the drain that was begun; SystemFaultError if that cannot be."""
    try:
        _undrain(arguments)
    except ClusterIPError as error:
        name = arguments.node or "this node"
        raise SystemFaultError(
            f"{why.message}, and {name} is still to be drained: {error.message}",
            f"clusterip undrain, on the host of {name}; else it drains when another node can serve",
        ) from error


def _undrain(arguments: argparse.Namespace) -> int:
    _ask(arguments, Undrain(arguments.node), lambda node: not node.leaving)
    return 0


def _change_weight(arguments: argparse.Namespace) -> int:
    value = arguments.value
    asked = Weight(node=arguments.node, value=value)
    _ask(arguments, asked, lambda node: node.weight == value)
    return 0


def _ask(arguments: argparse.Namespace, request: Steering, done: Callable[[Node], bool]) -> None:
    """Ask the node, until it says in its messages that it does so."""
    ends = time.monotonic() + _OBEYED_SECONDS
    daemons.ask(arguments, request)
    verb = verb_of(request)
    with _asked(arguments, verb):
        while not _seen(arguments, done):
            if time.monotonic() <= ends:
                daemons.ask(arguments, request)
                continue
            # It obeys within a second or not at all, and that it did is heard a little later.
            if _seen(arguments, done):
                return
            there = f"{verb} {request.value}" if isinstance(request, Weight) else verb
            raise RefusedError(
                f"{arguments.node or 'the daemon'} was asked, and does not say that it does so",
                "see `clusterip show` on that host: one that is stopping or restarting does not;"
                f" else ask again, or there: clusterip {there}",
            )


def _seen(arguments: argparse.Namespace, done: Callable[[Node], bool]) -> bool:
    """Tell whether the node says that it is `done` before it is time to ask again."""
    again = time.monotonic() + _AGAIN_SECONDS
    while time.monotonic() < again:
        if done(_node(arguments)):
            return True
        time.sleep(_POLL_SECONDS)
    return False


@contextlib.contextmanager
def _asked(arguments: argparse.Namespace, verb: str) -> Iterator[None]:
    """Say of a daemon that cannot be asked any more within that it was asked that before."""
    try:
        yield
    except SystemFaultError as error:
        raise SystemFaultError(
            f"{arguments.node or 'this node'} was asked: {verb}; then {error.message}",
            "see with `clusterip show`, when the daemon answers, whether it is done",
        ) from error


def _node(arguments: argparse.Namespace) -> Node:
    """Return what the daemon here knows of the node meant."""
    return _meant(daemons.show(arguments), arguments.node)


def _meant(seen: Status, asked: str | None) -> Node:
    name = (seen.node if asked is None else asked).lower()
    for node in seen.nodes:
        if node.name.lower() == name:
            return node
    raise RefusedError(f"the daemon here knows no node {name!r}", "`clusterip show` has its nodes")


def _wait(arguments: argparse.Namespace, before: Status) -> None:
    """Show how the drain goes on until nothing is left; RefusedError if it cannot end.

    `before` is what the daemon here said before the drain.
    """
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
        most, since = 0, time.monotonic()
        while True:
            seen = daemons.show(arguments)
            node = _meant(seen, arguments.node)
            if not node.me and not node.alive:
                print(f"{node.name} stopped")
                return
            if not node.leaving:
                raise RefusedError("the drain was called off", "somebody gave `clusterip undrain`")
            left = len(node.held) + len(node.draining)
            most = max(most, left)
            words = f"held {len(node.held)}, draining {len(node.draining)}"
            progress.update(bar, description=words, total=most, completed=most - left)
            if not left:
                waited = time.monotonic() - since
                print(f"{node.name} is drained{_cut(before, seen, node, waited)}")
                return
            # One that falls ill meanwhile takes them all the same.
            _see_others(seen, arguments.node, _takes)
            time.sleep(_POLL_SECONDS)


def _cut(before: Status, seen: Status, node: Node, waited: float) -> str:
    """Return what to add of connections that did not end in time; "" if none are known of."""
    if seen.drain_timeout_seconds is None:
        return ""  # a daemon from before this program
    timeout = f"{seen.drain_timeout_seconds:g} s"
    began_before = _meant(before, node.name).leaving
    if not node.me:
        # Only the daemon there counts them.
        words = f"what was open after {timeout} was cut off: `clusterip show` there counts it"
        if waited >= seen.drain_timeout_seconds:
            return f"; {words}"
        # Since when it drains nobody says.
        return f"; it drained before, and {words}" if began_before else ""
    # A daemon that is restarted counts anew.
    so_far = before.cut_connections if before.started == seen.started else 0
    cut = seen.cut_connections - so_far
    words = f"; {amount(cut, 'connection')} {were(cut)} cut off after {timeout}" if cut else ""
    if began_before and before.cut_connections:
        earlier = before.cut_connections
        words += f"; {amount(earlier, 'connection')} {were(earlier)} cut off before this wait"
    return words


def _fit(node: Node) -> bool:
    """Tell whether a node can be left to serve."""
    return bool(_takes(node) and node.ready and node.healthy)


def _takes(node: Node) -> bool:
    """Tell whether a node takes buckets where no other is fitter; see core.serving.planner."""
    return bool(node.alive and node.agrees and node.weight and not node.leaving)


def _see_others(seen: Status, asked: str | None, able: Callable[[Node], bool]) -> None:
    """Raise if the node meant holds buckets and no other node is `able`."""
    meant = _meant(seen, asked)
    others = (one for one in seen.nodes if one.name != meant.name)
    if meant.held and not any(map(able, others)):
        raise _NobodyElseError(
            f"no other node takes the buckets of {meant.name}",
            "`clusterip show` says how they are; one must be alive, healthy, and not new",
        )
