"""With whose memory a node of the peers begins.

A start without hand-over remembers nothing, so it must not vote before the longest promise that
its predecessor may have given is over: the note says when that is.
"""

from __future__ import annotations

import secrets

from clusterip.adapters.telling import tell
from clusterip.core.config import digest, model
from clusterip.core.config.model import Config, Quorum
from clusterip.core.errors import RefusedError, SystemFaultError
from clusterip.core.events import Restarted
from clusterip.core.lease.handover import HandOver
from clusterip.core.lease.node import Node, NodeConfig
from clusterip.core.lease.timing import PROFILES
from clusterip.core.leftovers import Handed
from clusterip.core.messages.message import digest_of_name
from clusterip.runtime.coordinators.exchange import Given


def make_node(given: Given) -> Node:
    """Make the node of the protocol: with its predecessor's memory where that was handed over.

    RefusedError if the voters are not those that this host last ran with.
    """
    config, me, memory, now = given.config, given.me, given.memory, given.clock()
    names = frozenset(model.voters(config))
    node_config = NodeConfig(
        digest_of_name(me.name),
        digest.voter_ids(config),
        digest.hash_digest(config),
        config.buckets,
        PROFILES[config.profile.value],
        config.quorum is Quorum.ALIVE,
        me.weight,
    )
    handover = _handover(given.handed, node_config)
    if handover is not None:
        tell(Restarted())
        return Node(node_config, handover=handover, now=now)
    if not given.options.new_voters:
        refuse_voters(config, given.options.file, memory.voters())
    memory.set_voters(names)
    timing = node_config.timing
    note = memory.note()
    # Without a note a promise for a planned restart may have been lost.
    mute = timing.promise(timing.restart) if note is None else max(0, note - now)
    memory.set_note(now + max(mute, timing.promise(timing.lease)))
    return Node(node_config, incarnation=secrets.randbits(63) + 1, mute=mute, now=now)


def refuse_voters(config: Config, file: str, last: frozenset[str] | None) -> None:
    """Raise RefusedError if the voters are not about those that this host last ran with.

    Two sets in use at once must not be further apart. Which are in use elsewhere nobody can tell
    here, and what this host last ran with is the best guess: so this is for the administrator to
    say, by `--new-voters`. Where all others run with the voters of the file it is safe for this
    host alone, whatever it ran with: then no other set is in use, and this is the start of a new
    host, which has no note of voters at all. What it promised in the older set binds it for as
    long as ever: the other note, of until when, holds whatever the voters are (`make_node`).
    """
    names = frozenset(model.voters(config))
    if last is not None and len(last ^ names) > 1:
        raise RefusedError(
            f"the voters of {file} ({', '.join(sorted(names))}) differ by more than one"
            f" from those that this host last ran with ({', '.join(sorted(last))}):"
            f" {_came_and_went(last, names)}",
            "where all other hosts run with just these voters already, as `clusterip show` says"
            " there, start this one once with --new-voters; else change one at a time, on every"
            " host, or stop the daemons of all hosts and start each with --new-voters",
        )


def _came_and_went(last: frozenset[str], names: frozenset[str]) -> str:
    """Return the difference of two sets in words."""
    sides = (("new", names - last), ("gone", last - names))
    words = [f"{word} {', '.join(sorted(which))}" for word, which in sides if which]
    swapped = ["one in the place of another counts as two"] if len(words) > 1 else []
    return "; ".join([*words, *swapped])


def _handover(handed: Handed | None, config: NodeConfig) -> HandOver | None:
    if handed is None:
        return None
    try:
        handover = HandOver.decode(bytes(handed.node))
    except SystemFaultError as error:
        tell(Restarted(cause=error.message))
        return None
    if (handover.node, handover.config) != (config.me, config.config):
        tell(Restarted(cause="the configuration is another one: starting without the hand-over"))
        return None
    return handover
