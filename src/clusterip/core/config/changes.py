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

from collections.abc import Iterator
from typing import Final

import msgspec

from clusterip.core.address import order
from clusterip.core.config import declared
from clusterip.core.config.declaring import IN_PLACE, ONE_NODE, UNEQUAL, Effect, Takes
from clusterip.core.config.digest import service_lines
from clusterip.core.config.model import Config, Node, Quorum, Vip, voters
from clusterip.core.config.table import Table

_TOO_MANY: Final = Takes(
    Effect.REFUSED,
    "every node votes, majorities of sets that differ by more than one node may not meet, and two"
    " hosts could answer: change one node, on every host, then the next",
)
_SPLIT: Final = "from now on, when the network between the two splits, both answer"


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


def differences(old: Config, new: Config) -> tuple[Difference, ...]:
    """Return every change from `old` to `new`: the cluster's, VIPs', nodes', checks'."""
    return (
        *_cluster(old, new),
        *_vips(old, new),
        *_nodes(old, new),
        *_checks(old, new),
    )


def of_keys(table: type[Table], old: object, new: object, where: str = "") -> dict[str, Difference]:
    """Return what changed between two values made of such a table, by key, the gravest first.

    `where` goes before the name of each key.
    """
    found = {}
    effects = list(Effect)
    for key in sorted(table.keys, key=lambda one: -effects.index(one.takes.effect)):
        one, other = key.told(old), key.told(new)
        if one != other:
            takes = key.takes if key.counts(old) or key.counts(new) else IN_PLACE
            found[key.name] = Difference(takes.effect, where + key.name, one, other, takes.why)
    return found


def _cluster(old: Config, new: Config) -> Iterator[Difference]:
    for key, found in of_keys(declared.Cluster, old, new).items():
        splits = key == "quorum" and new.quorum is Quorum.ALIVE and len(voters(new)) == 2
        yield msgspec.structs.replace(found, why=_SPLIT) if splits else found


def _vips(old: Config, new: Config) -> Iterator[Difference]:
    before = {vip.address: vip for vip in old.vips}
    after = {vip.address: vip for vip in new.vips}
    for address in sorted(before.keys() | after.keys(), key=order):
        one, other = _vip_text(before.get(address)), _vip_text(after.get(address))
        if one != other:
            yield Difference(UNEQUAL.effect, f"vip {address}", one, other, UNEQUAL.why)


def _vip_text(vip: Vip | None) -> str:
    return "; ".join((f"mac {vip.mac}", *service_lines(vip))) if vip else ""


def _nodes(old: Config, new: Config) -> Iterator[Difference]:
    before = {node.name: node for node in old.nodes}
    after = {node.name: node for node in new.nodes}
    one = len(before.keys() ^ after.keys()) == 1
    vote = ONE_NODE if one else _TOO_MANY
    for name in sorted(before.keys() | after.keys()):
        node, other = before.get(name), after.get(name)
        if node and other:
            yield from _node(node, other)
        else:
            yield Difference(vote.effect, f"node {name}", _role(node), _role(other), vote.why)


def _role(node: Node | None) -> str:
    if node is None:
        return ""
    return "witness" if node.witness else "server"


def _node(old: Node, new: Node) -> Iterator[Difference]:
    found = of_keys(declared.Node, old, new, f"node {old.name} ")
    role = found.get("witness")
    if role:
        # A witness has no weight, which goes without saying.
        found.pop("weight", None)
        what = f"node {old.name} role"
        found["witness"] = Difference(role.effect, what, _role(old), _role(new), role.why)
    yield from found.values()


def _checks(old: Config, new: Config) -> Iterator[Difference]:
    before = {check.name: check for check in old.checks}
    after = {check.name: check for check in new.checks}
    for name in sorted(before.keys() | after.keys()):
        check, other = before.get(name), after.get(name)
        if check and other:
            yield from of_keys(declared.Check, check, other, f"check {name} ").values()
        else:
            state = ["there" if one else "" for one in (check, other)]
            yield Difference(Effect.IN_PLACE, f"check {name}", *state)
