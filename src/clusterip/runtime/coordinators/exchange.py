"""What passes between a coordinator and those it speaks with, as an agent sees it.

An agent drives a coordinator by `core.serving.coordinator` alone. How that one is spoken with,
over which sockets and in which form, with whose memory it begins, and what is known of the others
in words, is its exchange's: a module here for each kind that needs one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

from clusterip.adapters.kernel_maps import InterfaceMaps
from clusterip.adapters.memory import Memory
from clusterip.core.alarms import Alarms
from clusterip.core.config.key_file import Keys
from clusterip.core.config.model import Config
from clusterip.core.config.model import Node as ConfigNode
from clusterip.core.errors import ClusterIPError, RefusedError
from clusterip.core.findings import Code, Finding
from clusterip.core.leftovers import Handed
from clusterip.core.messages.command import Verb
from clusterip.core.messages.traffic import Traffic
from clusterip.core.serving.coordinator import Coordinator
from clusterip.core.serving.other import Other
from clusterip.runtime.naming import Names
from clusterip.runtime.startup import Options


class Readable(Protocol):
    """What an event loop can wait for."""

    def fileno(self) -> int:
        """Return its file descriptor."""


class Given(NamedTuple):
    """What a daemon gives to a coordinator and its exchange when they begin.

    `maps` is None for a witness; `handed` is what a predecessor left, None for nothing; `clock`
    is CLOCK_BOOTTIME, ns.
    """

    config: Config
    me: ConfigNode
    keys: Keys
    names: Names
    memory: Memory
    maps: InterfaceMaps | None
    handed: Handed | None
    clock: Callable[[], int]
    options: Options


class Order(NamedTuple):
    """What another node asks of this one; `by` is its id."""

    verb: Verb
    value: int
    by: int


class Exchange:
    """That of a coordinator which hears nobody and says nothing; others do more.

    `now`, where it is an argument, is CLOCK_BOOTTIME in ns.
    """

    def __init__(self, coordinator: Coordinator[Any, Any], names: Names) -> None:
        self.coordinator = coordinator
        self.names = names
        self.resumed = False
        """Whether the coordinator took up what its predecessor handed over."""
        self.raised = Alarms()
        """What is wrong here: the alarms that are raised."""
        self.traffic = Traffic()
        self.waiting_for = ""
        """What keeps a part of the file from being used, "" for nothing."""

    # ---- what comes ----

    @property
    def readers(self) -> tuple[Readable, ...]:
        """What is to be waited for: `receive` is called when there is something to be read."""
        return ()

    def receive(self) -> Iterator[Order | Other | None]:
        """Bring what came to the coordinator; whoever iterates acts upon it after each step.

        Yields orders of other nodes, which are to be obeyed or refused; what others have, where
        they said so; and None where something else was taken in.
        """
        return iter(())

    # ---- what goes ----

    def speak(self, *, last: bool = False) -> bool:  # noqa: ARG002
        """Say what the coordinator has to say; returns whether there was anything.

        `last` is for the end of a node in which something failed: nothing else is done then.
        """
        return False

    def repeat(self) -> None:
        """Say the last message again: after it nobody will."""

    def ask(self, target: int, verb: Verb, value: int = 0) -> None:  # noqa: ARG002
        """Ask another node to do something; RefusedError if it is not there."""
        raise RefusedError(f"{self.names(target)} cannot be asked from here", "ask it there")

    # ---- now and then ----

    def look(self, *, now: int) -> None:
        """Say what changed with the others, after each input."""

    @property
    def remind_at(self) -> int | None:
        """When `remind` is to be called, ns; None for never, as it is now."""
        return None

    def remind(self, *, now: int) -> None:
        """Say the last message again to those who may need it."""

    def adopt(self, config: Config, keys: Keys) -> None:
        """Go by that from now on; RefusedError, and nothing changed, where it cannot be."""

    def catch_up(self) -> bool:
        """Do again what had to wait, called each second; returns whether anything was done."""
        return False

    def declined(self, node: int, why: ClusterIPError, *, now: int) -> None:
        """Note that the restart of a node is not agreed to, for that cannot be recorded."""

    # ---- words ----

    def wrong(self, *, now: int) -> list[tuple[str, Finding]]:  # noqa: ARG002
        """Return each thing that is wrong with the others, with whom or what it is about."""
        return []

    def of_deaf(self, node: int, hears: int) -> Finding:  # noqa: ARG002
        """Return that a node, which hears so many, does not hear this one; or this one nobody."""
        words = f"{self.names(node)} does not hear this node"
        return Finding.of(Code.DEAF, words, cure="see its log")
