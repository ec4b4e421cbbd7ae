"""Which coordinators there are: the one table that names them.

A further one is a module of the core that decides (`core.serving.coordinator`), a module here that
speaks for it (`exchange`), a line of this table, and what a file asks for it with (`kind_of`).
Nothing else of the runtime knows any of them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final, NamedTuple

from clusterip.core.config.model import Config
from clusterip.core.config.model import Node as ConfigNode
from clusterip.runtime.coordinators import peer
from clusterip.runtime.coordinators.exchange import Exchange, Given


class Kind(NamedTuple):
    """How one comes to be.

    `open` opens what its node speaks through, before anything is changed on this host; errors are
    those of `adapters`. `begin` makes it, its exchange and all, with what was opened: RefusedError
    where it must not begin.
    """

    open: Callable[[Config, ConfigNode], AbstractContextManager[Any]]
    begin: Callable[[Given, Any], Exchange]


KINDS: Final = {"peer": Kind(peer.open_sockets, peer.Peers)}


def kind_of(_config: Config) -> Kind:
    """Return the one that a file asks for: of peers, as long as no file can ask for another."""
    return KINDS["peer"]
