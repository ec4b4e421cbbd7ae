"""A service of a daemon's file in a few words, from the rule that it became."""

from __future__ import annotations

from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import ANY_PROTOCOL, Rule, ServiceAction
from clusterip.core.rules.protocols import NAMES


def named(rule: Rule) -> str:
    """Return which packets it is about: `tcp 80`, `udp 8000-8080`, `all`."""
    match = rule.match
    if match.protocol == ANY_PROTOCOL:
        return "all"
    words = [NAMES.get(match.protocol, str(match.protocol))]
    for ports in match.destination_ports:
        words += [f"{a}" if a == b else f"{a}-{b}" for a, b in ports.ranges]
    return " ".join(words)


def decided_by(rule: Rule, mode: HashMode) -> str:
    """Return what decides who answers: the hash mode, or what the service says."""
    match rule.action:
        case ServiceAction.SINGLE:
            return f"all to bucket {rule.bucket}"
        case ServiceAction.DROP:
            return "dropped"
        case _:
            return mode.value
