"""What one node tells all others, as a value; `wire` says how it looks on the network.

Sets of buckets are masks: bit N - 1 stands for bucket N, 1..256. Node ids, incarnations and digests
are 1..2**64-1, sequences 1..2**62-1; 0 stands for none. An incarnation names one memory: a daemon
that starts without its predecessor's state has a new one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from clusterip.core.messages import echoes
from clusterip.core.messages.echoes import Echoes, Heard
from clusterip.core.messages.versions import SPOKEN, Versions

__all__ = ["Echoes", "Heard", "Message", "digest_of_config", "digest_of_name", "digest_of_voters"]


class Message(NamedTuple):
    """One message. It replaces all earlier ones of its sender.

    `config` is the digest of what must be equal to serve together, `voters` that of the voter set
    and `previous` that of the set before it, 0 once every voter has this one. `grace` is 0, or how
    long (ns) the sender may be silent in a planned restart: it asks the voters to keep their
    promises that long, and itself keeps its own grants that long. `want` are the buckets asked for
    or held, `held` those of them in use, `draining` those given away whose connections still live
    here. `flows` are pairs of a bucket draining, in ascending order, and the mask of its flow
    slots, 64 bits, that the sender still answers (`core.serving.flows`); none is without flow
    slots. `grants` are the sender's promises as a voter: pairs of node id and mask, of nodes in
    `heard` or the sender itself, no bucket twice. `clock` is what the sender's clock showed when it
    made the message, ns: it goes on while the sender sleeps, and stands still where its machine is
    made to (`core.lease.standstill`). `seen_draining` are the buckets that those who are known in
    `heard`, and may still answer packets, said there to be draining. It is said in `version`, of
    those that the sender speaks. `keys` is the mask of the ids of the keys that it has, 0 where it
    does not say. `ends` is whether it was told to stop, which release 0.1.0 does not say.
    """

    sender: int
    incarnation: int
    sequence: int
    config: int
    voters: int
    previous: int = 0
    weight: int = 1
    healthy: bool = True
    leaving: bool = False
    ready: bool = True
    grace: int = 0
    want: int = 0
    held: int = 0
    draining: int = 0
    heard: Echoes = echoes.NONE
    grants: tuple[tuple[int, int], ...] = ()
    flows: tuple[tuple[int, int], ...] = ()
    clock: int = 0
    seen_draining: int = 0
    version: int = SPOKEN.lowest
    speaks: Versions = SPOKEN
    keys: int = 0
    ends: bool = False

    @property
    def claims(self) -> bool:
        """Whether its sender serves or asks for anything, or has promised anything."""
        return bool(self.want | self.draining or self.grants)

    def heard_of(self, node: int, incarnation: int) -> int:
        """Return the newest sequence heard of that incarnation of `node`, 0 if none was."""
        return self.heard.heard_of(node, incarnation)

    def acknowledged(self, node: int, incarnation: int) -> int:
        """Return the newest sequence of that incarnation that is acknowledged, 0 if none is."""
        return self.heard.acknowledged(node, incarnation)

    def granted_to(self, node: int) -> int:
        """Return the mask of the buckets granted to `node`."""
        for grantee, buckets in self.grants:
            if grantee == node:
                return buckets
        return 0


def _digest(raw: bytes) -> int:
    # 0 stands for none, so the one digest in 2**64 that is 0 becomes 1.
    return int.from_bytes(hashlib.sha256(raw).digest()[:8]) or 1


def digest_of_name(name: str) -> int:
    """Return the id of the node or cluster called `name`."""
    return _digest(b"name\0" + name.encode())


def digest_of_voters(voters: Iterable[int]) -> int:
    """Return the digest of a set of voters."""
    return _digest(b"voters\0" + b"".join(node.to_bytes(8) for node in sorted(voters)))


def digest_of_config(text: str) -> int:
    """Return the digest of the hash parameters, written in one canonical way by the caller."""
    return _digest(b"config\0" + text.encode())
