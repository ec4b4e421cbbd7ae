"""How a daemon begins: which node it is, and what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass

from clusterip.adapters.telling import tell
from clusterip.core.config import advice, model, reading
from clusterip.core.config.model import Config
from clusterip.core.config.model import Node as ConfigNode
from clusterip.core.errors import UsageError
from clusterip.core.events import AlarmRaised, Started
from clusterip.core.packets.state import InterfaceState


@dataclass(frozen=True)
class Options:
    """What the command line says: the file, this host's node in it (None to find it), its role.

    `new_voters` says that no voter set but the file's is in use anywhere: every other daemon is
    stopped, or runs with just these voters.
    """

    file: str = reading.FILE
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


def introduce(config: Config, name: str, state: InterfaceState | None) -> None:
    """Log what this daemon is about to do, and what is unwise; `state` is None for a witness."""
    tell(
        Started(
            cluster=config.name,
            node=name,
            interface=state.name if state else None,
            voters=len(model.voters(config)),
            quorum=config.quorum.value,
            vips=[str(vip.address) for vip in config.vips],
        )
    )
    # What is unwise is for the hosts that serve to say.
    for found in advice.advised(config) if state else ():
        tell(AlarmRaised(finding=found, advice=True))
