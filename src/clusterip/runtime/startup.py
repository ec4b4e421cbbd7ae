"""How a daemon begins: which node it is, and with whose memory.

A start without hand-over remembers nothing, so it must not vote before the longest promise that
its predecessor may have given is over: the note says when that is.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from clusterip.adapters.memory import Memory
from clusterip.adapters.telling import tell
from clusterip.core import config as configs
from clusterip.core.config import Config, Quorum
from clusterip.core.config import Node as ConfigNode
from clusterip.core.errors import RefusedError, SystemFaultError, UsageError
from clusterip.core.events import AlarmRaised, Restarted, Started
from clusterip.core.lease.handover import HandOver
from clusterip.core.lease.node import Node, NodeConfig
from clusterip.core.lease.timing import PROFILES
from clusterip.core.leftovers import Handed
from clusterip.core.messages.message import digest_of_name
from clusterip.core.packets.state import InterfaceState


@dataclass(frozen=True)
class Options:
    """What the command line says: the file, this host's node in it (None to find it), its role.

    `new_voters` says that no voter set but the file's is in use anywhere: every other daemon is
    stopped, or runs with just these voters.
    """

    file: str = configs.FILE
    node: str | None = None
    witness: bool = False
    new_voters: bool = False


def own_node(config: Config, options: Options, hostname: str) -> ConfigNode:
    """Return this host's node; UsageError if there is none, or it has the other role."""
    name = hostname if options.node is None else options.node
    me = named_node(config, options.file, name)
    if me.witness is not options.witness:
        role, verb = ("a witness", "witness") if me.witness else ("no witness", "run")
        raise UsageError(f"node {me.name} is {role} in {options.file}", f"clusterip {verb}")
    return me


def named_node(config: Config, file: str, name: str) -> ConfigNode:
    """Return the node of that name, or of its first label; UsageError if there is none."""
    me = config.node(name) or config.node(name.partition(".")[0])
    if me is None:
        there = ", ".join(node.name for node in config.nodes)
        raise UsageError(
            f"{file} has no node {name!r}",
            f"it has {there}; say which this host is with --node, or add it to the file",
        )
    return me


def make_node(
    config: Config,
    me: ConfigNode,
    options: Options,
    memory: Memory,
    handed: Handed | None,
    *,
    now: int,
) -> Node:
    """Make the node of the protocol: with its predecessor's memory where that was handed over.

    RefusedError if the voters are not those that this host last ran with.
    """
    names = frozenset(configs.voters(config))
    node_config = NodeConfig(
        digest_of_name(me.name),
        configs.voter_ids(config),
        configs.hash_digest(config),
        config.buckets,
        PROFILES[config.profile.value],
        config.quorum is Quorum.ALIVE,
        me.weight,
    )
    handover = _handover(handed, node_config)
    if handover is not None:
        tell(Restarted())
        return Node(node_config, handover=handover, now=now)
    if not options.new_voters:
        refuse_voters(config, options.file, memory.voters())
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
    names = frozenset(configs.voters(config))
    if last is not None and len(last ^ names) > 1:
        raise RefusedError(
            f"the voters of {file} ({', '.join(sorted(names))}) differ by more than one"
            f" from those that this host last ran with ({', '.join(sorted(last))})",
            "where all other hosts run with just these voters already, as `clusterip show` says"
            " there, start this one once with --new-voters; else change one at a time, on every"
            " host, or stop the daemons of all hosts and start each with --new-voters",
        )


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


def introduce(config: Config, name: str, state: InterfaceState | None) -> None:
    """Log what this daemon is about to do, and what is unwise; `state` is None for a witness."""
    tell(
        Started(
            cluster=config.name,
            node=name,
            interface=state.name if state else None,
            voters=len(configs.voters(config)),
            quorum=config.quorum.value,
            vips=[str(vip.address) for vip in config.vips],
        )
    )
    # What is unwise is for the hosts that serve to say.
    for advice in configs.advised(config) if state else ():
        tell(AlarmRaised(finding=advice, advice=True))
