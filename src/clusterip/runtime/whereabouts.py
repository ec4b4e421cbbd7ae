"""Finding out where a flow goes: from the pins, the daemon and the sockets of this host.

Who may not look at the pins, or does not see them, gets it from the daemon and its file.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgspec

from clusterip.adapters import configfiles, control, runfiles, statusclient, statuspath
from clusterip.adapters.abi import BucketState
from clusterip.adapters.diag import DiagSockets, Sockets
from clusterip.core.address import Address, address_of
from clusterip.core.config import digest
from clusterip.core.config.state import interface_state
from clusterip.core.errors import ClusterIPError, RefusedError, SystemFaultError
from clusterip.core.messages.request import Show
from clusterip.core.packets.connections import Connection
from clusterip.core.packets.lookup import Packet
from clusterip.core.packets.model import TCP
from clusterip.core.packets.state import Chain
from clusterip.core.rules import whereabouts
from clusterip.core.rules.whereabouts import Here, Whereabouts
from clusterip.core.status import Status
from clusterip.runtime.rule_table import RuleTable

_PATIENCE_SECONDS: Final = 2.0
_FRESH_SECONDS: Final = 1.0
"""How long what was seen of this host is good for the next packet."""


class Rules(Protocol):
    """What is asked of the rules of this host; `RuleTable` is the real one."""

    def chain(self) -> Chain:
        """Return the rules as they are now."""

    def buckets(self, vip: Address) -> tuple[int, ...]:
        """Return the buckets of `vip` answered here; RefusedError if it is not shared here."""

    def states(self, vip: Address) -> tuple[BucketState, ...]:
        """Return how each of them is, from bucket 1 on."""


@dataclass
class Finder:
    """Says of flows to one VIP where they go.

    `look` is how this host has the buckets of the VIP.
    """

    vip: Address
    look: Callable[[Address], Here]
    sockets: Sockets = field(default_factory=DiagSockets)
    _here: Here | None = None
    _stale: float = 0.0

    def here(self) -> Here:
        """Return how this host has the VIP's buckets, as it was a second ago at most."""
        if self._here is None or time.monotonic() >= self._stale:
            self._here = self.look(self.vip)
            self._stale = time.monotonic() + _FRESH_SECONDS
        return self._here

    def find(self, packet: Packet) -> Whereabouts:
        """Return where a packet goes."""
        return whereabouts.by_rules(packet, self.here())

    def find_all(self, packet: Packet) -> Whereabouts:
        """Return where a flow goes, and whether it has a connection here."""
        found = self.find(packet)
        if packet.protocol != TCP or not (packet.source_port and packet.destination_port):
            return found
        wanted = Connection(packet.vip, packet.destination_port, packet.source, packet.source_port)
        there = wanted in self.sockets.tcp(frozenset({packet.vip}))
        return msgspec.structs.replace(found, connection=there)


@dataclass(frozen=True)
class _Pinned:
    """The rules of this host, as they are pinned."""

    table: RuleTable

    def chain(self) -> Chain:
        return self.table.chain()

    def buckets(self, vip: Address) -> tuple[int, ...]:
        return self.table.buckets(vip)

    def states(self, vip: Address) -> tuple[BucketState, ...]:
        found = self.table.chain().find(vip)
        if found is None:
            raise RefusedError(f"{vip} is not shared here any more", "see `clusterip show`")
        state, group = found
        with self.table.netns.maps.open(state.index) as maps:
            return maps.bucket_states(group.index)[: group.sharing.total]


def from_rules(rules: Rules, vip: Address) -> Here:
    """Return how the rules have the buckets of a VIP, and what its daemon says, if there is one."""
    held = frozenset(rules.buckets(vip))
    chain = rules.chain()
    found = chain.find(vip)
    cluster = found[0].cluster if found else ""
    states = tuple(state.name.lower() for state in rules.states(vip))
    return Here(chain, states, held, _asked(cluster) if cluster else None)


def on_this_host(vip: Address) -> Here:
    """Return how this host has the buckets of a VIP; RefusedError if it is not shared here.

    By the pins; else by what a daemon tells that shares it, and by its file.
    """
    try:
        return from_rules(_Pinned(RuleTable.open()), vip)
    except ClusterIPError as error:
        for said in _told():
            if vip in map(address_of, said.vips):
                return _from_file(said, error)
        raise


def refuse_other(here: Here, vip: Address, cluster: str | None) -> None:
    """Raise RefusedError where a VIP is not shared by that cluster, None for any, but by another.

    So it is where rules by hand share it.
    """
    found = here.chain.find(vip)
    sharing = found[0].cluster if found else cluster
    if cluster is not None and sharing != cluster:
        by = f"by cluster {sharing}" if sharing else "by rules"
        raise RefusedError(
            f"{vip} is shared here {by}, and not by cluster {cluster}",
            "name that cluster, or none",
        )


def _asked(cluster: str) -> Status | None:
    """Return what a daemon says, None if it does not answer."""
    try:
        return control.ask(cluster, Show(), patience=_PATIENCE_SECONDS)
    except SystemFaultError:
        return None


def _told() -> Iterator[Status]:
    """Yield what the daemons here say to whoever asks, and to root."""
    names = set(statuspath.clusters())
    with contextlib.suppress(OSError):  # not for every user
        names.update(runfiles.running())
    for cluster in sorted(names):
        try:
            yield statusclient.status(cluster, patience=_PATIENCE_SECONDS)
        except ClusterIPError:
            if said := _asked_as_root(cluster):
                yield said


def _asked_as_root(cluster: str) -> Status | None:
    try:
        return _asked(cluster)
    except OSError:
        return None  # not for this user


def _from_file(said: Status, why: ClusterIPError) -> Here:
    """Return what a daemon and its file say; `why` is what kept the pins from being looked at."""
    try:
        found = configfiles.load(said.file)
    except ClusterIPError as error:
        raise SystemFaultError(
            f"{why.message}; and {error.message}", f"{why.cure}; or let the file be read"
        ) from error
    if f"{digest.hash_digest(found):016x}" != said.digest:
        raise RefusedError(
            f"{why.message}; and the daemon goes by another file than {said.file} is now",
            f"{why.cure}; or `clusterip reload`",
        )
    states = dict.fromkeys(range(1, said.total + 1), "none")
    for word, some in (
        ("owned", said.owned),
        ("taking", said.taking),
        ("draining", [one.bucket for one in said.draining]),
    ):
        states.update(dict.fromkeys(some, word))
    held = frozenset(said.held if said.lease_seconds > 0 else ())
    name = next((one.interface for one in found.nodes if one.name == said.node), "") or "eth0"
    chain = Chain((interface_state(found, 1, name),))
    return Here(chain, tuple(states.values()), held, said)
