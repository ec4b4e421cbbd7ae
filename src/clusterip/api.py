"""A typed client of the daemon of this host: status, events, drains, weights, where a flow goes.

`Client` waits for each answer, `AsyncClient` has the same methods for an event loop. Both work in
the network namespace that they are called in. Looking needs what the status socket asks for: root,
or the group that `status_group` in the file names; changing needs root. What cannot be is raised as
one of the errors below, each with a `message` and a `cure`. docs/api.md has examples.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Final, Self

from clusterip.adapters import statusclient, statusstream
from clusterip.adapters.statusclient import Follower
from clusterip.adapters.statusstream import AsyncFollower
from clusterip.core import given
from clusterip.core.address import Address
from clusterip.core.errors import ClusterIPError, RefusedError, SystemFaultError, UsageError
from clusterip.core.findings import Finding
from clusterip.core.journal import Entry
from clusterip.core.messages.answer import Changes
from clusterip.core.messages.following import Following
from clusterip.core.messages.request import MOST_WEIGHT, Steering, Undrain, Weight
from clusterip.core.packets.lookup import Packet
from clusterip.core.rules import values as rule_values
from clusterip.core.rules.whereabouts import Whereabouts
from clusterip.core.status import Node, Status
from clusterip.runtime import asking, choosing, whereabouts
from clusterip.runtime.asking import Drained
from clusterip.runtime.whereabouts import Finder

__all__ = [
    "AsyncClient",
    "AsyncEvents",
    "Changes",
    "Client",
    "ClusterIPError",
    "Drained",
    "Entry",
    "Events",
    "Finding",
    "Node",
    "RefusedError",
    "Status",
    "SystemFaultError",
    "UsageError",
    "Whereabouts",
]


_NAME_IT: Final = 'name the one that is meant: Client("{name}")'
_MOST_PORT: Final = 0xFFFF
_MOST_PROTOCOL: Final = 0xFF


class Client:
    """The daemon of `cluster` on this host; without a name, the only one there is."""

    def __init__(self, cluster: str | None = None) -> None:
        self._cluster = _cluster(cluster)

    def status(self) -> Status:
        """Return what the daemon knows of itself and its cluster, as it was a second ago at most.

        It is the same that `clusterip show --json` has in `clusters`.
        """
        return statusclient.status(choosing.watched(self._cluster, _NAME_IT))

    def events(
        self, position: str = "", *, last: int | None = None, follow: bool = False
    ) -> Events:
        """Return what happened to the daemon, oldest first; with `follow` also what will.

        It begins after `position`, which `Events` tells, "" for all that the journal has; `last` is
        how many of the newest are wanted at most. It goes on over planned restarts, and ends when
        the daemon was told to stop; SystemFaultError if it ended otherwise. Nothing is asked before
        the first event is wanted, or its context entered: what happens from then on is told.
        """
        following = _following(position, last, follow=follow)
        return Events(choosing.watched(self._cluster, _NAME_IT), following)

    def drain(self, node: str | None = None) -> Node:
        """Have a node, this host's by default, give all its buckets to the others.

        Returns when the node says that it does, with how it is then; RefusedError if it does not,
        or where no other node is there to take them.
        """
        _node(node)
        seen = asking.drain(choosing.chosen(self._cluster, _NAME_IT), node)
        return asking.meant(seen, node)

    def drain_and_wait(self, node: str | None = None) -> Drained:
        """Drain a node, and return when it has no bucket and no connection left.

        RefusedError, and nothing changed, where no other node takes over; if that turns out later,
        the drain is taken back.
        """
        _node(node)
        return asking.drain_and_wait(choosing.chosen(self._cluster, _NAME_IT), node)

    def undrain(self, node: str | None = None) -> Node:
        """Let a drained node take part again."""
        return self._steer(Undrain(node))

    def weight(self, value: int, node: str | None = None) -> Node:
        """Give a node a share in proportion to `value`, 0..255, until its daemon starts anew."""
        given.whole(value, "a weight", MOST_WEIGHT)
        return self._steer(Weight(node=node, value=value))

    def which(
        self,
        vip: str | Address,
        source: str | Address,
        *,
        source_port: int = 0,
        destination_port: int = 0,
        protocol: str | int = "tcp",
    ) -> Whereabouts:
        """Return where a flow goes: its bucket, the node that answers, what is of it here.

        RefusedError if the VIP is not shared here, or not by the cluster. Ports are 0..65535 in
        host order.
        """
        addresses = (given.address(vip), given.address(source))
        source_at = given.whole(source_port, "a port", _MOST_PORT)
        destination_at = given.whole(destination_port, "a port", _MOST_PORT)
        number = (
            rule_values.protocol(protocol)
            if isinstance(protocol, str)
            else given.whole(protocol, "a protocol", _MOST_PROTOCOL)
        )
        packet = Packet(*addresses, source_at, destination_at, number)
        finder = Finder(packet.vip, whereabouts.on_this_host)
        found = finder.find_all(packet)
        whereabouts.refuse_other(finder.here(), packet.vip, self._cluster)
        return found

    def reload(self) -> Changes:
        """Have the daemon go by its file and its keys as they are now; return what changed."""
        return asking.reload(choosing.chosen(self._cluster, _NAME_IT))

    def restart(self) -> Status:
        """Replace the daemon by the program as it is installed now, losing no packet."""
        return asking.restart(choosing.chosen(self._cluster, _NAME_IT))

    def _steer(self, request: Steering) -> Node:
        _node(request.node)
        return asking.meant(
            asking.steer(choosing.chosen(self._cluster, _NAME_IT), request), request.node
        )


class Events(Iterator[Entry]):
    """What happened to a daemon, one after the other. To be closed, or used as a context.

    The context begins with the connection: what happens within it is told, as far as is asked for.
    Without one it begins with the first event that is wanted.
    """

    def __init__(self, cluster: str, following: Following) -> None:
        self._following = following
        self._entries = Follower(cluster, following)

    @property
    def position(self) -> str:
        """Where it is in the journal: `Client.events` goes on from there, whenever."""
        return self._following.position

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Entry:
        return next(self._entries)

    def __enter__(self) -> Self:
        self._entries.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection: nothing more comes, neither to a thread that waits for it."""
        self._entries.close()


class AsyncClient:
    """What `Client` is, for an event loop: its methods are coroutines.

    What changes something is done in a thread, and goes on there when the coroutine is cancelled.
    """

    def __init__(self, cluster: str | None = None) -> None:
        self._cluster = _cluster(cluster)
        self._plain = Client(cluster)

    async def status(self) -> Status:
        """Return what the daemon knows of itself and its cluster."""
        return await statusstream.status(choosing.watched(self._cluster, _NAME_IT))

    def events(
        self, position: str = "", *, last: int | None = None, follow: bool = False
    ) -> AsyncEvents:
        """Return what happened to the daemon, oldest first; with `follow` also what will."""
        following = _following(position, last, follow=follow)
        return AsyncEvents(choosing.watched(self._cluster, _NAME_IT), following)

    async def drain(self, node: str | None = None) -> Node:
        """Have a node, this host's by default, give all its buckets to the others."""
        return await asyncio.to_thread(self._plain.drain, node)

    async def drain_and_wait(self, node: str | None = None) -> Drained:
        """Drain a node, and return when it has no bucket and no connection left."""
        return await asyncio.to_thread(self._plain.drain_and_wait, node)

    async def undrain(self, node: str | None = None) -> Node:
        """Let a drained node take part again."""
        return await asyncio.to_thread(self._plain.undrain, node)

    async def weight(self, value: int, node: str | None = None) -> Node:
        """Give a node a share in proportion to `value`, 0..255, until its daemon starts anew."""
        return await asyncio.to_thread(self._plain.weight, value, node)

    async def which(
        self,
        vip: str | Address,
        source: str | Address,
        *,
        source_port: int = 0,
        destination_port: int = 0,
        protocol: str | int = "tcp",
    ) -> Whereabouts:
        """Return where a flow goes: its bucket, the node that answers, what is of it here."""

        def find() -> Whereabouts:
            return self._plain.which(
                vip,
                source,
                source_port=source_port,
                destination_port=destination_port,
                protocol=protocol,
            )

        return await asyncio.to_thread(find)

    async def reload(self) -> Changes:
        """Have the daemon go by its file and its keys as they are now; return what changed."""
        return await asyncio.to_thread(self._plain.reload)

    async def restart(self) -> Status:
        """Replace the daemon by the program as it is installed now, losing no packet."""
        return await asyncio.to_thread(self._plain.restart)


class AsyncEvents(AsyncIterator[Entry]):
    """What `Events` is, for an event loop."""

    def __init__(self, cluster: str, following: Following) -> None:
        self._following = following
        self._entries = AsyncFollower(cluster, following)

    @property
    def position(self) -> str:
        """Where it is in the journal: `AsyncClient.events` goes on from there, whenever."""
        return self._following.position

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Entry:
        return await anext(self._entries)

    async def __aenter__(self) -> Self:
        await self._entries.begin()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the connection: nothing more comes, neither to a task that waits for it."""
        self._entries.close()


def _cluster(name: str | None) -> str | None:
    return None if name is None else given.text(name, "the name of a cluster")


def _node(name: str | None) -> None:
    if name is not None:
        given.text(name, "the name of a node")


def _following(position: str, last: int | None, *, follow: bool) -> Following:
    given.text(position, "a position in a journal")
    if last is not None:
        given.whole(last, "a number of events")
    return Following(position, last, follow=bool(follow))
