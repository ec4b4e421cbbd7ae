"""What may be asked of a daemon through its control socket, and who answers it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from clusterip.adapters.controlserver import Begin
from clusterip.adapters.telling import tell
from clusterip.core.config.model import Config
from clusterip.core.config.reload import Reloaded
from clusterip.core.errors import ClusterIPError, RefusedError
from clusterip.core.events import Commanded, CommandRefused
from clusterip.core.findings import Finding
from clusterip.core.messages import request
from clusterip.core.messages.answer import Answer, Changes, Done
from clusterip.core.messages.command import Verb, worded
from clusterip.core.messages.message import digest_of_name
from clusterip.core.messages.request import Drain, Reload, Restart, Show, Undrain, Weight
from clusterip.core.status import Status
from clusterip.runtime.agent import Agent

_PATIENCE_SECONDS: Final = 2.0


@dataclass(frozen=True)
class Requests:
    """Answers requests to node `name`.

    `config` gives the configuration in force, `after` does some work and what follows from it.
    """

    name: str
    agent: Agent
    config: Callable[[], Config]
    after: Callable[[Callable[[], object]], None]
    show: Callable[[], Status]
    reload: Callable[[], Reloaded]
    restart: Callable[[Begin], Awaitable[None]]
    lacks: Callable[[], Sequence[Finding]] = tuple
    """Returns what this host lacks for the file: called in a thread, for it may take its time."""

    async def answer(self, raw: bytes, begin: Begin) -> Answer:
        """Do what is asked; RefusedError or UsageError, and nothing done, if it cannot be.

        `begin` is called before anything is changed; what it raises is raised here.
        """
        match request.read(raw):
            case Show():
                return self.show()
            case Reload():
                with self._asked(begin, "reload"):
                    told = self.reload()
                return Changes(told.changes, [*told.warnings, *await self._lacking()])
            case Restart():
                await self.restart(partial(self._begin, begin, "restart"))
            case Drain(node):
                self._steer(begin, Verb.DRAIN, node)
            case Undrain(node):
                self._steer(begin, Verb.UNDRAIN, node)
            case Weight(node=node, value=value):
                self._steer(begin, Verb.WEIGHT, node, value)
        return Done()

    async def _lacking(self) -> Sequence[Finding]:
        # What is asked may be on another host, which need not answer.
        with contextlib.suppress(OSError, RuntimeError, TimeoutError):
            return await asyncio.wait_for(asyncio.to_thread(self.lacks), _PATIENCE_SECONDS)
        return ()

    def _steer(self, begin: Begin, verb: Verb, node: str | None, value: int = 0) -> None:
        config, name = self.config(), self.name if node is None else node
        target = config.node(name)
        if target is None:
            there = ", ".join(node.name for node in config.nodes)
            raise RefusedError(f"there is no node {name!r}", f"the cluster has {there}")
        if target.witness:
            raise RefusedError(f"{name} is a witness: it holds nothing", "name another node")
        if self.agent.coordinator.restarting:
            raise RefusedError("the daemon is being restarted", "try again in a few seconds")
        here = target.name == self.name
        with self._asked(begin, worded(verb, value), "" if here else target.name):
            if not here:
                self.agent.exchange.ask(digest_of_name(target.name), verb, value)
            else:
                self.after(lambda: self.agent.do(verb, value))

    @classmethod
    @contextlib.contextmanager
    def _asked(cls, begin: Begin, what: str, other: str = "") -> Iterator[None]:
        """Log what is asked, and that it is refused, if it is."""
        cls._begin(begin, what, other)
        try:
            yield
        except ClusterIPError as error:
            tell(CommandRefused(what=what, cause=error.message))
            raise

    @staticmethod
    def _begin(begin: Begin, what: str, other: str = "") -> None:
        begin()
        tell(Commanded(what=what, node=other or None))
