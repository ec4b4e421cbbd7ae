"""What changed between two configurations, and what each change takes: for `clusterip reload`.

Files are changed host by host, so for a while neighbours run by different ones. Each change is
therefore classed by what happens in between:

- weights, checks and the like are each host's own affair: in place.
- Every node votes. The voter sets of neighbours may differ by one, for then any two majorities
  still share a voter. So one node at a time, and the next when every host has this one.
- What the hash depends on must be equal to serve together; so must the profile, since a voter
  waits by its own profile for the lease that the holder has by the holder's. And hosts with
  different names or ports do not hear each other. These take every host at once.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from enum import Enum
from typing import Final

import msgspec

from clusterip.core.address import order
from clusterip.core.config.digest import service_lines
from clusterip.core.config.model import (
    Check,
    CommandCheck,
    Config,
    HttpCheck,
    Node,
    Quorum,
    TcpCheck,
    Vip,
    voters,
)
from clusterip.core.config.values import span


class Effect(Enum):
    """What it takes for a change to come into force."""

    IN_PLACE = "in place"
    VOTER = "one node"
    RESTART = "restart"
    TOGETHER = "all hosts together"
    REFUSED = "refused"


class Difference(msgspec.Struct, frozen=True):
    """One change. `what` names it, `old` and `new` are empty where there was, or is, nothing.

    `why` says what it takes, or brings about, in a sentence for the administrator; empty where
    there is nothing to say.
    """

    effect: Effect
    what: str
    old: str
    new: str
    why: str = ""


_ONE_AT_A_TIME: Final = (
    "every node votes, majorities of sets that differ by more than one node may not meet, and two"
    " hosts could answer: change one node, on every host, then the next"
)
_NEXT_LATER: Final = "add or remove no other node before every host has this file"
_SPLIT: Final = "from now on, when the network between the two splits, both answer"
_RESTART: Final = "stop and start the daemon on that host; its buckets move to the others meanwhile"
_DEAF: Final = "hosts with the old one and with the new one do not hear each other"
_UNEQUAL: Final = "hosts with the old and with the new file never serve together"


def differences(old: Config, new: Config) -> tuple[Difference, ...]:
    """Return every change from `old` to `new`: the cluster's, VIPs', nodes', checks'."""
    return (
        *_cluster(old, new),
        *_vips(old, new),
        *_nodes(old, new),
        *_checks(old, new),
    )


def _cluster(old: Config, new: Config) -> Iterator[Difference]:
    table: tuple[tuple[str, str, str, Effect, str], ...] = (
        ("name", old.name, new.name, Effect.TOGETHER, _DEAF),
        ("port", str(old.port), str(new.port), Effect.TOGETHER, _DEAF),
        ("profile", old.profile.value, new.profile.value, Effect.TOGETHER, _UNEQUAL),
        ("buckets", str(old.buckets), str(new.buckets), Effect.TOGETHER, _UNEQUAL),
        ("hash_init", str(old.hash_init), str(new.hash_init), Effect.TOGETHER, _UNEQUAL),
        (
            "source_prefix6",
            str(old.source_prefix6),
            str(new.source_prefix6),
            *((Effect.TOGETHER, _UNEQUAL) if old.ipv6() or new.ipv6() else (Effect.IN_PLACE, "")),
        ),
        ("key_file", old.key_file, new.key_file, Effect.IN_PLACE, ""),
        ("quorum", old.quorum.value, new.quorum.value, Effect.IN_PLACE, _quorum(new)),
        ("stop", old.stop.value, new.stop.value, Effect.IN_PLACE, ""),
        (
            "status_group",
            old.status_group or "",
            new.status_group or "",
            Effect.IN_PLACE,
            "",
        ),
        (
            "drain_timeout",
            span(old.drain_timeout),
            span(new.drain_timeout),
            Effect.IN_PLACE,
            "",
        ),
        ("udp_watch", span(old.udp_watch), span(new.udp_watch), Effect.IN_PLACE, ""),
        ("udp_keep", span(old.udp_keep), span(new.udp_keep), Effect.IN_PLACE, ""),
        (
            "announce_count",
            str(old.announce_count),
            str(new.announce_count),
            Effect.IN_PLACE,
            "",
        ),
        (
            "announce_interval",
            span(old.announce_interval),
            span(new.announce_interval),
            Effect.IN_PLACE,
            "",
        ),
    )
    for what, before, after, effect, why in table:
        if before != after:
            yield Difference(effect, what, before, after, why)


def _quorum(new: Config) -> str:
    return _SPLIT if new.quorum is Quorum.ALIVE and len(voters(new)) == 2 else ""


def _vips(old: Config, new: Config) -> Iterator[Difference]:
    before = {vip.address: vip for vip in old.vips}
    after = {vip.address: vip for vip in new.vips}
    for address in sorted(before.keys() | after.keys(), key=order):
        one, other = _vip_text(before.get(address)), _vip_text(after.get(address))
        if one != other:
            yield Difference(Effect.TOGETHER, f"vip {address}", one, other, _UNEQUAL)


def _vip_text(vip: Vip | None) -> str:
    return "; ".join((f"mac {vip.mac}", *service_lines(vip))) if vip else ""


def _nodes(old: Config, new: Config) -> Iterator[Difference]:
    before = {node.name: node for node in old.nodes}
    after = {node.name: node for node in new.nodes}
    one = len(before.keys() ^ after.keys()) == 1
    vote = Effect.VOTER if one else Effect.REFUSED
    why = _NEXT_LATER if one else _ONE_AT_A_TIME
    for name in sorted(before.keys() | after.keys()):
        node, other = before.get(name), after.get(name)
        if node and other:
            yield from _fields(node, other)
        else:
            yield Difference(vote, f"node {name}", _role(node), _role(other), why)


def _role(node: Node | None) -> str:
    if node is None:
        return ""
    return "witness" if node.witness else "server"


def _fields(old: Node, new: Node) -> Iterator[Difference]:
    if old.witness is not new.witness:
        yield Difference(Effect.RESTART, f"node {old.name} role", _role(old), _role(new), _RESTART)
    elif old.weight != new.weight:
        yield Difference(
            Effect.IN_PLACE, f"node {old.name} weight", str(old.weight), str(new.weight)
        )
    if old.interface != new.interface:
        yield Difference(
            Effect.RESTART, f"node {old.name} interface", old.interface, new.interface, _RESTART
        )
    if old.addresses != new.addresses:
        texts = [", ".join(map(str, node.addresses)) for node in (old, new)]
        yield Difference(Effect.IN_PLACE, f"node {old.name} address", *texts)


def _checks(old: Config, new: Config) -> Iterator[Difference]:
    before = {check.name: check for check in old.checks}
    after = {check.name: check for check in new.checks}
    for name in sorted(before.keys() | after.keys()):
        check, other = before.get(name), after.get(name)
        if check and other:
            yield from _check_fields(check, other)
        else:
            state = ["there" if one else "" for one in (check, other)]
            yield Difference(Effect.IN_PLACE, f"check {name}", *state)


def _check_fields(old: Check, new: Check) -> Iterator[Difference]:
    one, other = _check_texts(old), _check_texts(new)
    for key in dict.fromkeys((*one, *other)):
        if one.get(key) != other.get(key):
            texts = one.get(key, ""), other.get(key, "")
            yield Difference(Effect.IN_PLACE, f"check {old.name} {key}", *texts)


def _check_texts(check: Check) -> dict[str, str]:
    """Return the keys of a check, as the file calls them, and their values."""
    texts = {
        "interval": span(check.interval),
        "timeout": span(check.timeout),
        "rise": str(check.rise),
        "fall": str(check.fall),
    }
    match check:
        case TcpCheck():
            own = {"type": "tcp", "address": str(check.address), "port": str(check.port)}
        case HttpCheck():
            statuses = (f"{low}-{high}" if low < high else str(low) for low, high in check.statuses)
            own = {
                "type": "http",
                "address": str(check.address),
                "port": str(check.port),
                "host": check.host,
                "path": check.path,
                "status": ", ".join(statuses),
                "body": check.body,
            }
        case CommandCheck():
            own = {"type": "command", "command": shlex.join(check.argv)}
        case _:
            own = {}
    return own | texts
