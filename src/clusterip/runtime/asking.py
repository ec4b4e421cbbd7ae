"""Asking the daemon of this host for something, until it is done.

What is asked of a node goes by a message to it, which may be lost: it is asked again until the
node says in its own messages that it does so.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from clusterip.adapters import control
from clusterip.core.errors import ClusterIPError, RefusedError, SystemFaultError
from clusterip.core.messages.answer import Changes
from clusterip.core.messages.request import Drain, Reload, Restart, Show, Steering, Undrain, Weight
from clusterip.core.messages.request import verb as verb_of
from clusterip.core.status import Node, Status
from clusterip.core.words import amount, were

_POLL_SECONDS: Final = 0.1
_AGAIN_SECONDS: Final = 1.0
_OBEYED_SECONDS: Final = 5.0
_RESTART_SECONDS: Final = 30.0
_HEARD_SECONDS: Final = 0.5
"""A node that was heard so lately is not silent."""
_SILENT_SECONDS: Final = 6.0
"""How long a node is waited for that is not heard: longer than a planned restart may take."""
Able = Callable[[Node], bool]


class _NobodyElseError(RefusedError):
    """A drain that cannot end: nobody else serves."""


class Drained(msgspec.Struct, frozen=True):
    """How a drain ended that was waited for.

    `stopped` is whether the node ended before it was drained. `cut_connections` is how many were
    cut off at the end of their time meanwhile, None where only the node itself knows.
    """

    node: str
    waited_seconds: float
    stopped: bool = False
    cut_connections: int | None = None
    sentence: str = ""


def status(cluster: str) -> Status:
    """Return what the daemon says."""
    return control.ask(cluster, Show())


def reload(cluster: str) -> Changes:
    """Have the daemon go by its file as it is now; return what changed."""
    return control.ask(cluster, Reload())


def restart(cluster: str) -> Status:
    """Have the daemon hand over to the program that is installed; return what that one says.

    RefusedError, and nothing happened, where no majority agrees; SystemFaultError where the new
    one could not take over.
    """
    before = status(cluster)
    control.ask(cluster, Restart())
    ends = time.monotonic() + _RESTART_SECONDS
    while time.monotonic() < ends:
        time.sleep(_POLL_SECONDS)
        try:
            now = status(cluster)
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
        return now
    raise SystemFaultError("the new daemon does not answer", "see its log")


# ---- what a node is to do ----


def meant(seen: Status, asked: str | None) -> Node:
    """Return the node of that name, None for the daemon's own; RefusedError if it has none."""
    name = (seen.node if asked is None else asked).lower()
    for node in seen.nodes:
        if node.name.lower() == name:
            return node
    raise RefusedError(
        f"the daemon here knows no node {name!r}",
        f"it knows {', '.join(one.name for one in seen.nodes)}",
    )


def steer(cluster: str, request: Steering) -> Status:
    """Ask a node, until it says in its messages that it does so; return what says so."""
    ends = time.monotonic() + _OBEYED_SECONDS
    verb = verb_of(request)
    if request.node is not None:
        _await_restarted(cluster, request, ends)
    control.ask(cluster, request)
    with _asked(request.node, verb):
        while True:
            obeyed = _seen(cluster, request)
            if obeyed is None and time.monotonic() <= ends:
                _await_restarted(cluster, request, ends)
                control.ask(cluster, request)
                continue
            # It obeys within a second or not at all, and that it did is heard a little later.
            obeyed = obeyed or _seen(cluster, request)
            if obeyed is not None:
                return obeyed
            _refuse_gone(meant(status(cluster), request.node), request)
            raise RefusedError(
                f"{request.node or 'the daemon'} was asked, and does not say that it does so",
                f"ask again, or on its host: {_command(request)}; the log there says whether it was"
                " asked, and why it does not",
            )


def _await_restarted(cluster: str, request: Steering, ends: float) -> None:
    """Wait until the node is not in a planned restart; RefusedError where it will not answer."""
    while True:
        node = meant(status(cluster), request.node)
        # One that was told to stop drains all the same.
        if node.me or (node.alive and not node.stopping and not node.restarting):
            return
        if node.stopping or not node.restarting or time.monotonic() > ends:
            _refuse_gone(node, request)
            return
        time.sleep(_POLL_SECONDS)


def _refuse_gone(node: Node, request: Steering) -> None:
    """Raise RefusedError where a node stops, restarts or is not there: what it does, and the cure.

    One that stops and is to drain does so.
    """
    if node.me or (node.stopping and node.alive and isinstance(request, Drain)):
        return
    name, again = node.name, f"ask again when it is back: {_command(request)} {node.name}"
    if node.stopping and node.alive:
        words = f"{name} is to stop, and drains first: it takes no other command"
        cure = f"wait until it has ended, and start its daemon again; then: {_command(request)}"
        if isinstance(request, Undrain):
            cure = "wait until it has ended, and start its daemon again: then it takes part"
    elif node.stopping:
        words = f"{name} was stopped: no daemon runs there"
        cure = f"start it there, `systemctl start clusterip`, and {again}"
        if not isinstance(request, Weight):
            cure = "it holds nothing, and takes part again when it is started there"
    elif node.restarting:
        words, cure = f"{name} is in a planned restart, and is not asked meanwhile", again
    elif not node.agrees:
        words = f"{name} has another configuration, and takes nothing from here"
        cure = f"compare the files with `clusterip check`; or ask there: {_command(request)}"
    elif not node.alive:
        heard = node.heard_seconds
        how = "was never heard" if heard is None else f"is silent for {heard:.1f} s"
        if heard is not None and heard < _HEARD_SECONDS:
            how = "does not hear this host"
        words = f"{name} {how}, so it cannot be asked from here"
        cure = f"`clusterip show` says why; mend that, or ask there: {_command(request)}"
    else:
        return
    raise RefusedError(words, cure)


def _command(request: Steering) -> str:
    value = f" {request.value}" if isinstance(request, Weight) else ""
    return f"clusterip {verb_of(request)}{value}"


def _seen(cluster: str, request: Steering) -> Status | None:
    """Return what says that the node does so, None if it is time to ask again."""
    again = time.monotonic() + _AGAIN_SECONDS
    while time.monotonic() < again:
        seen = status(cluster)
        if _obeys(meant(seen, request.node), request):
            return seen
        time.sleep(_POLL_SECONDS)
    return None


def _obeys(node: Node, request: Steering) -> bool:
    match request:
        case Drain():
            return node.leaving
        case Undrain():
            return not node.leaving
        case Weight(value=value):
            return node.weight == value


@contextlib.contextmanager
def _asked(node: str | None, verb: str) -> Iterator[None]:
    """Say of a daemon that cannot be asked any more within that it was asked that before."""
    try:
        yield
    except SystemFaultError as error:
        raise SystemFaultError(
            f"{node or 'this node'} was asked: {verb}; then {error.message}",
            "see with `clusterip show`, when the daemon answers, whether it is done",
        ) from error


# ---- the end of a drain ----


def drain(cluster: str, name: str | None) -> Status:
    """Drain a node; return what says that it does. RefusedError where nobody else is alive.

    Who is new or unhealthy takes over when it is not any more, and who is drained where all are.
    """
    see_others(status(cluster), name, lambda node: bool(node.alive and node.agrees))
    return steer(cluster, Drain(name))


def drain_and_wait(cluster: str, name: str | None) -> Drained:
    """Drain a node, and wait until nothing is left; RefusedError where nobody else takes over."""
    before = status(cluster)
    see_others(before, name)
    steer(cluster, Drain(name))
    return wait(cluster, name, before)


def wait(
    cluster: str,
    name: str | None,
    before: Status,
    look: Callable[[Node], None] = lambda _node: None,
) -> Drained:
    """Wait until a node that was told to drain has nothing left; `look` is shown how far it is.

    RefusedError if it cannot end; a drain that was not on `before` is taken back then.
    """
    try:
        with _asked(name, "drain"):
            return _wait(cluster, name, before, look)
    except _NobodyElseError as error:
        # A drain that was on before is not ours to end.
        if not meant(before, name).leaving:
            _take_back(cluster, name, error)
        raise


def _take_back(cluster: str, name: str | None, why: RefusedError) -> None:
    """End the drain that was begun; SystemFaultError if that cannot be."""
    try:
        steer(cluster, Undrain(name))
    except ClusterIPError as error:
        node = name or "this node"
        raise SystemFaultError(
            f"{why.message}, and {node} is still to be drained: {error.message}",
            f"clusterip undrain, on the host of {node}; else it drains when another node can serve",
        ) from error


def _wait(cluster: str, name: str | None, before: Status, look: Callable[[Node], None]) -> Drained:
    since, silent_since = time.monotonic(), 0.0
    while True:
        seen = status(cluster)
        node = meant(seen, name)
        waited = time.monotonic() - since
        if not (node.me or node.alive):
            if node.stopping:
                return Drained(node.name, waited, stopped=True, sentence=f"{node.name} stopped")
            # It may be this host that hears nobody: what is open there goes on.
            silent_since = silent_since or time.monotonic()
            if time.monotonic() - silent_since > _SILENT_SECONDS:
                raise RefusedError(
                    f"{node.name} is not heard any more, and was not drained when it was: whether"
                    " its connections have ended is not known here",
                    f"`clusterip show` says why; look there, or ask again when it is back:"
                    f" clusterip drain --wait {node.name}",
                )
            time.sleep(_POLL_SECONDS)
            continue
        silent_since = 0.0
        if not node.leaving:
            raise RefusedError("the drain was called off", "somebody gave `clusterip undrain`")
        look(node)
        if not (node.held or node.draining):
            said = f"{node.name} is drained{_cut(before, seen, node, waited)}"
            return Drained(
                node.name, waited, cut_connections=_count(before, seen, node), sentence=said
            )
        # One that falls ill meanwhile takes them all the same.
        if node.held:
            _refuse_nobody(seen, node, _takes)
        time.sleep(_POLL_SECONDS)


def _count(before: Status, seen: Status, node: Node) -> int | None:
    """Return how many connections were cut off since `before`, None where it is not known here."""
    if not node.me:
        return None
    # A daemon that is restarted counts anew.
    so_far = before.cut_connections if before.started == seen.started else 0
    return seen.cut_connections - so_far


def _cut(before: Status, seen: Status, node: Node, waited: float) -> str:
    """Return what to add of connections that did not end in time; "" if none are known of."""
    if seen.drain_timeout_seconds is None:
        return ""  # a daemon from before this program
    timeout = f"{seen.drain_timeout_seconds:g} s"
    began_before = meant(before, node.name).leaving
    if not node.me:
        # Only the daemon there counts them.
        if waited >= seen.drain_timeout_seconds:
            return f"; what was open after {timeout} was cut off: `clusterip show` there counts it"
        if not began_before:
            return ""
        # Since when it drains nobody says.
        words = f"`clusterip show` there counts what was cut off after {timeout}"
        return f", and was to be before; {words}"
    cut = _count(before, seen, node)
    words = f"; {amount(cut, 'connection')} {were(cut)} cut off after {timeout}" if cut else ""
    if began_before and before.cut_connections:
        earlier = before.cut_connections
        words += f"; {amount(earlier, 'connection')} {were(earlier)} cut off before this wait"
    return words


def see_others(seen: Status, name: str | None, able: Able | None = None) -> None:
    """Raise RefusedError where no other node is fit to serve; one that is drained needs none.

    One that holds nothing may have lost it for want of a majority, and would stay drained.
    """
    node = meant(seen, name)
    if node.held or not node.leaving:
        _refuse_nobody(seen, node, able or _fit)


def _refuse_nobody(seen: Status, node: Node, able: Able) -> None:
    others = (one for one in seen.nodes if one.name != node.name)
    if not any(map(able, others)):
        raise _NobodyElseError(
            f"no other node takes the buckets of {node.name}",
            "`clusterip show` says how they are; one must be alive, healthy, and not new",
        )


def _fit(node: Node) -> bool:
    """Tell whether a node can be left to serve."""
    return bool(_takes(node) and node.ready and node.healthy)


def _takes(node: Node) -> bool:
    """Tell whether a node takes buckets where no other is fitter; see core.serving.planner."""
    return bool(node.alive and node.agrees and node.weight and not node.leaving)
