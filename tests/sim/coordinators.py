"""The coordinators that a simulated host may have, and how it comes by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from clusterip.core.lease.handover import HandOver
from clusterip.core.lease.node import Node, NodeConfig
from clusterip.core.serving.static import Static

if TYPE_CHECKING:
    from clusterip.core.messages.message import Message
    from clusterip.core.serving.coordinator import Coordinator


class Make(Protocol):
    """Makes the coordinator of a host; `handover` is what a predecessor left, None: nothing."""

    def __call__(
        self, config: NodeConfig, *, incarnation: int, mute: int, handover: bytes | None, now: int
    ) -> Coordinator[Message, Message]: ...


def peers(kind: type[Node] = Node) -> Make:
    """Return what makes nodes of that kind."""

    def make(
        config: NodeConfig, *, incarnation: int, mute: int, handover: bytes | None, now: int
    ) -> Node:
        old = HandOver.decode(handover) if handover else None
        return kind(config, incarnation=incarnation, mute=mute, handover=old, now=now)

    return make


PEERS = peers()


def by_rules(config: NodeConfig, *, handover: bytes | None, **_: int) -> Static:
    """Return a coordinator by rules that give each bucket to one of the hosts, in turn."""
    names = sorted(config.voters)
    mine = sum(
        1 << bucket for bucket in range(config.total) if names[bucket % len(names)] == config.me
    )
    return Static(config.me, config.total, mine, memory=handover or b"")
