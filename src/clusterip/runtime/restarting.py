"""A planned restart: this program again, as it is installed by now, in the same process."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import msgspec

from clusterip.adapters import configfiles, refusals, scheduling, successor
from clusterip.adapters.memory import Memory
from clusterip.adapters.telling import tell as say
from clusterip.core.config.model import Config
from clusterip.core.config.reload import reloadable
from clusterip.core.errors import ClusterIPError, RefusedError, SystemFaultError
from clusterip.core.events import HandingOver, RestartRefused
from clusterip.runtime.agent import Agent
from clusterip.runtime.checking import Checking
from clusterip.runtime.served_interface import Shared
from clusterip.runtime.startup import Options, own_node


def refuse(
    options: Options,
    running: Config,
    name: str,
    others: Mapping[str, int],
    shared: Shared | None,
) -> None:
    """Raise what a successor of node `name` would end with or wait for, as this host is now.

    `others` are the digests of the files of the others, by name; `shared` is None for a witness.
    The program, files, the kernel and links are asked: it may take a second.
    """
    try:
        _try(options, running, name, others, shared)
    except ClusterIPError:
        raise
    except OSError as error:
        raise SystemFaultError(
            f"a successor could not start: {error}",
            f"{refusals.cure(error)}; this daemon goes on",
        ) from error
    except Exception as error:
        # Whoever serves must not end for what was only tried.
        raise SystemFaultError(
            f"whether a successor would start cannot be told: {error!r}",
            "please report it; this daemon goes on",
        ) from error


def _try(
    options: Options, running: Config, name: str, others: Mapping[str, int], shared: Shared | None
) -> None:
    successor.refuse_broken()
    config = configfiles.load(options.file)
    configfiles.load_keys(config.key_file)
    reloadable(running, config, name, others)
    me = own_node(config, options, socket.gethostname())
    if me.name != name:
        raise RefusedError(
            f"by its host name this host is {me.name} now, and {name} runs here",
            "give it its name back; or say which node it is with --node, and start it anew",
        )
    if shared is not None:
        shared.served.refuse_successor(config, me.interface, shared.state.index)


class Restarting:
    """The planned restart of a daemon; `tell` brings a verb to its node, `start` starts a task.

    `refuse` raises what a successor would end with; `leave` is called before this program ends,
    `stay` where it goes on all the same.
    """

    def __init__(
        self,
        agent: Agent,
        memory: Memory,
        checking: Checking,
        start: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        refuse: Callable[[Mapping[str, int]], None],
        tell: Callable[[Callable[..., object]], None],
        leave: Callable[[], None],
        stay: Callable[[], None],
    ) -> None:
        self._agent, self._memory, self._checking = agent, memory, checking
        self._start, self._refuse, self._tell = start, refuse, tell
        self._leave, self._stay = leave, stay
        self._task: asyncio.Task[None] | None = None
        self._trial: asyncio.Task[None] | None = None

    async def on_signal(self) -> None:
        """Begin, and say so where that must fail."""
        try:
            await self.begin(lambda: None)
        except ClusterIPError as error:
            say(RestartRefused(cause=str(error)))

    async def begin(self, begin: Callable[[], None]) -> None:
        """Begin to replace this program; an error, and no beginning, where that must fail."""
        self._agent.refuse_stopping()
        if not self._is_begun:
            await self._try()
        self._agent.refuse_stopping()
        begin()
        # Nothing is announced that could not be written then.
        self._memory.reserve()
        if not self._is_begun:
            self._task = self._start(self._prepare())

    @property
    def _is_begun(self) -> bool:
        task = self._task
        return task is not None and not (task.done() and not self._agent.coordinator.restarting)

    async def _try(self) -> None:
        """Raise what a successor would end with: one trial for all who ask meanwhile.

        None is under way when this program ends, which would leave what it began to nobody.
        """
        if self._trial is None or self._trial.done():
            self._trial = asyncio.create_task(
                asyncio.to_thread(self._refuse, self._agent.others_run_with())
            )
        await asyncio.shield(self._trial)

    async def _prepare(self) -> None:
        # What a check started must not outlive who waits for it.
        await self._checking.stop()
        self._tell(self._agent.coordinator.prepare_restart)

    def cancel(self) -> None:
        """Begin no more."""
        if self._task is not None:
            self._task.cancel()

    def look(self) -> None:
        """Go on where nobody agreed to it."""
        if self._task is not None and self._task.done() and not self._agent.coordinator.restarting:
            self._task = None
            self._checking.run()

    def replace(self) -> None:
        """Hand over to a successor.

        Signals that come meanwhile wait for the successor. Returns only if there is none: then the
        hand-over is taken back, and all goes on as before.
        """
        agent, memory = self._agent, self._memory
        health = self._checking.health.standing()
        try:
            memory.put_handover(msgspec.structs.replace(agent.hand_over(), health=health))
            say(HandingOver())
            self._leave()
            scheduling.lower_process()
            os.execvp(sys.orig_argv[0], sys.orig_argv)  # noqa: S606 - ourselves
        except SystemFaultError as error:
            agent.stay(str(error))
        except OSError as error:
            agent.stay(f"cannot start {sys.orig_argv[0]}: {error.strerror}")
        scheduling.raise_process()
        memory.take_handover()
        self._stay()
        self._tell(self._agent.coordinator.cancel_restart)
