"""What a node is told by the configuration file."""

from __future__ import annotations

from typing import NamedTuple

from clusterip.core.lease.timing import Timing
from clusterip.core.messages.versions import SPOKEN, Versions


class NodeConfig(NamedTuple):
    """What the configuration file says. `config` is the digest of the hash parameters.

    `voters` are the ids of all nodes, witnesses and this one included; `total` is 1..256
    buckets; `alive` lets the survivor of two go on alone; `weight` is 0 for a witness. `watch` and
    `keep` (ns) are how long a bucket is watched before it moves, 0 for not at all, and how long
    the flows seen then stay. `speaks` are the versions of messages that this program speaks.
    """

    me: int
    voters: frozenset[int]
    config: int
    total: int
    timing: Timing
    alive: bool = False
    weight: int = 1
    watch: int = 0
    keep: int = 0
    speaks: Versions = SPOKEN
