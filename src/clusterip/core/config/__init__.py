"""The configuration file /etc/clusterip.toml, the same on every host."""

from __future__ import annotations

from clusterip.core.config.advice import advice
from clusterip.core.config.changes import Difference, differences
from clusterip.core.config.declaring import Effect
from clusterip.core.config.digest import hash_digest, hash_text, voter_ids, voters_digest
from clusterip.core.config.faults import ConfigError, Fault
from clusterip.core.config.model import (
    CommandCheck,
    Config,
    HttpCheck,
    Node,
    Profile,
    Quorum,
    Service,
    Stop,
    TcpCheck,
    Vip,
    voters,
)
from clusterip.core.config.reading import FILE, decode, read

__all__ = [
    "FILE",
    "CommandCheck",
    "Config",
    "ConfigError",
    "Difference",
    "Effect",
    "Fault",
    "HttpCheck",
    "Node",
    "Profile",
    "Quorum",
    "Service",
    "Stop",
    "TcpCheck",
    "Vip",
    "advice",
    "decode",
    "differences",
    "hash_digest",
    "hash_text",
    "read",
    "voter_ids",
    "voters",
    "voters_digest",
]
