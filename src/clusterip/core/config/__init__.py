"""The configuration file /etc/clusterip.toml, the same on every host.

What is offered here is loaded when it is first asked for: commands need little of it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from clusterip.core.config.advice import advised
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
    "advised",
    "decode",
    "differences",
    "hash_digest",
    "hash_text",
    "read",
    "voter_ids",
    "voters",
    "voters_digest",
]

_PARTS: Final = {
    "advice": ("advised",),
    "changes": (
        "Difference",
        "differences",
    ),
    "declaring": ("Effect",),
    "digest": (
        "hash_digest",
        "hash_text",
        "voter_ids",
        "voters_digest",
    ),
    "faults": (
        "ConfigError",
        "Fault",
    ),
    "model": (
        "CommandCheck",
        "Config",
        "HttpCheck",
        "Node",
        "Profile",
        "Quorum",
        "Service",
        "Stop",
        "TcpCheck",
        "Vip",
        "voters",
    ),
    "reading": (
        "FILE",
        "decode",
        "read",
    ),
}
"""Modules, and what of them is offered here."""


def __getattr__(name: str) -> object:
    """Load the module that has it."""
    for module, names in _PARTS.items():
        if name in names:
            found: object = getattr(importlib.import_module(f"{__name__}.{module}"), name)
            globals()[name] = found
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
