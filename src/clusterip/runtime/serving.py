"""From a file to a daemon that serves: it waits for what may still come, and ends for all else."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from typing import Any

from clusterip.adapters import (
    capabilities,
    clock,
    configfiles,
    controlserver,
    pages,
    runfiles,
    signals,
    systemd,
)
from clusterip.adapters.announcer import Announcer, PacketAnnouncer
from clusterip.adapters.clock import boottime
from clusterip.adapters.kernel_maps import InterfaceMaps
from clusterip.adapters.links import NetlinkLinks
from clusterip.adapters.linkwatch import LinkWatch
from clusterip.adapters.memory import Memory, RunFiles
from clusterip.adapters.signals import Signals
from clusterip.adapters.systemd import Watchdog
from clusterip.adapters.telling import note, tell
from clusterip.core.config.key_file import Keys
from clusterip.core.config.model import Config
from clusterip.core.config.model import Node as ConfigNode
from clusterip.core.errors import AbsentError, ClusterIPError, SystemFaultError
from clusterip.core.events import AlarmRaised, ConfigRefused, Level, Restarted, Waiting
from clusterip.core.journal import Kept
from clusterip.core.messages import request
from clusterip.core.messages.answer import Changes
from clusterip.core.messages.feed import Not
from clusterip.core.messages.following import RESTART
from clusterip.core.messages.request import Reload
from clusterip.core.packets.state import InterfaceState
from clusterip.core.words import amount, were
from clusterip.runtime import reach
from clusterip.runtime.agent import Agent
from clusterip.runtime.announcing import Announcing
from clusterip.runtime.coordinators.exchange import Exchange, Given
from clusterip.runtime.coordinators.kinds import kind_of
from clusterip.runtime.daemon import Daemon
from clusterip.runtime.feeding import Feeding, tell_wrong
from clusterip.runtime.journaling import Journaling
from clusterip.runtime.naming import Names
from clusterip.runtime.served_interface import ServedInterface, Shared
from clusterip.runtime.startup import Options, own_node


def serve(options: Options, hostname: str, journaling: Journaling) -> None:
    """Run the daemon until it is told to stop.

    RefusedError and UsageError mean that it will not begin by itself, whatever time passes.
    """
    capabilities.require(() if options.witness else capabilities.SERVE)
    # A witness, too: what it noted in one time namespace, it may read in another.
    clock.refuse_offset()
    signals.hold()
    with contextlib.closing(Signals()) as came:
        while _serve(options, hostname, came, journaling):
            pass


def _serve(options: Options, hostname: str, came: Signals, journaling: Journaling) -> bool:
    """Serve by the file as it is now; say whether to begin anew."""
    config = configfiles.load(options.file)
    me = own_node(config, options, hostname)
    keys = configfiles.load_keys(config.key_file)
    memory = RunFiles(config.name)
    journaling.restore(kept := memory.take_journal())
    if lost := _lost(kept, handed=runfiles.is_handed_over(config.name)):
        note(lost, Level.WARNING)
    for advice in configfiles.key_advice(config.key_file):
        tell(AlarmRaised(finding=advice, advice=True))
    with memory.claimed():
        try:
            _share(options, config, me, keys, memory, came, journaling)
        except AbsentError as error:
            waiting = _wait(options, hostname, came, error, journaling, config, me.name)
            return asyncio.run(waiting)
    return False


def _lost(kept: Kept | None, *, handed: bool) -> str:
    """Return what to say of a journal that the daemon before did not leave whole, "" of others."""
    if kept is None:
        return (
            "the journal begins anew: the daemon before left none, as release 0.1.0 does, or as"
            " /run has no space"
            if handed
            else ""
        )
    if not kept.lost:
        return ""
    lost = f"{amount(kept.lost, 'event')} of the journal {were(kept.lost)} lost"
    return f"{lost}: /run had no space for all of it"


async def _wait(
    options: Options,
    hostname: str,
    came: Signals,
    lack: AbsentError,
    journaling: Journaling,
    config: Config,
    node: str,
) -> bool:
    """Wait for the interface that lacks, and say whether to begin anew; else it was to stop."""
    return await _Waiting(options, hostname, came, lack, journaling).over(config, node)


def _share(
    options: Options,
    config: Config,
    me: ConfigNode,
    keys: Keys,
    memory: Memory,
    came: Signals,
    journaling: Journaling,
) -> None:
    """Take part until told to stop; AbsentError where the interface is not there, or no more."""
    with contextlib.ExitStack() as stack:
        kind = kind_of(config)
        opened = stack.enter_context(kind.open(config, me))
        handed, shared, maps = memory.take_handover(), None, None
        if not me.witness:
            served = ServedInterface.open(note)
            state, adopted = served.enter(config, me.interface, going_on=handed is not None)
            stack.callback(served.leave, state.index)
            if handed and not adopted:
                why = (
                    "starting without the hand-over: what the daemon before shared on"
                    f" {me.interface} is not what the file says, or its pins are in another bpffs:"
                    f" see {pages.place('operations.md')}, In a network namespace"
                )
                tell(Restarted(cause=why, serious=True))
                handed = None
            shared, maps = Shared(served, state), stack.enter_context(served.open_maps(state))
        for finding in reach.findings(config, me, NetlinkLinks()):
            if not finding.is_fault:  # those the daemon looks for as long as it runs
                tell(AlarmRaised(finding=finding, advice=True))
        given = Given(config, me, keys, Names(config), memory, maps, handed, boottime, options)
        exchange = kind.begin(given, opened)
        announcer = stack.enter_context(contextlib.closing(PacketAnnouncer()))
        watch = stack.enter_context(contextlib.closing(LinkWatch()))
        asyncio.run(_run(given, exchange, shared, announcer, watch, journaling, came))


async def _run(
    given: Given,
    exchange: Exchange,
    shared: Shared | None,
    announcer: Announcer,
    watch: LinkWatch,
    journaling: Journaling,
    came: Signals,
) -> None:
    """Be a daemon with all that was opened for it, until it is told to stop."""
    maps, state, config = given.maps, shared.state if shared else None, given.config
    handed = given.handed if exchange.resumed else None
    agent = Agent(exchange, maps=maps, memory=given.memory, clock=given.clock, handed=handed)
    announcing = Announcing(
        announcer,
        state,
        count=config.announce_count,
        interval=config.announce_interval,
        is_over=lambda: _is_over(state, maps),
    )
    health = handed.health if handed else {}
    await Daemon(given, agent, shared, watch, announcing, journaling, health).run(came)


def _is_over(state: InterfaceState | None, maps: InterfaceMaps | None) -> bool:
    """Tell whether the kernel answers nothing of what this daemon shares any more."""
    groups = state.groups if state else ()
    return maps is not None and all(maps.deadline(one.index) <= boottime() for one in groups)


class _Waiting:
    """A daemon that waits for its interface, in the event loop that runs."""

    def __init__(
        self,
        options: Options,
        hostname: str,
        came: Signals,
        lack: AbsentError,
        journaling: Journaling,
    ) -> None:
        self._options, self._hostname = options, hostname
        self._came, self._lack, self._journaling = came, lack, journaling
        self._again: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def over(self, config: Config, node: str) -> bool:
        """Wait, and say whether to begin anew; else it was told to stop."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._caught)
        lack = self._lack
        tell(Waiting(interface=lack.interface, cause=lack.message, cure=lack.cure))
        loop.add_reader(self._came, self._signalled)
        with contextlib.closing(LinkWatch()) as watch:
            loop.add_reader(watch, self._look, watch)
            feeding = Feeding(config, node, self._journaling, self._instead)
            async with controlserver.serving(config.name, self._answer):
                self._look(watch)
                # To who starts it it is there: incarnations must not wait for what may never come.
                systemd.notify("READY=1", f"STATUS=waiting: {self._lack.message}")
                pulse = asyncio.ensure_future(_pulse())
                fed = asyncio.ensure_future(feeding.keep())
                telling = asyncio.ensure_future(tell_wrong(feeding))
                try:
                    again = await self._again
                    feeding.end(RESTART if again else "stop")
                    return again
                finally:
                    feeding.end("fault")
                    pulse.cancel()
                    fed.cancel()
                    telling.cancel()
                    loop.remove_reader(watch)
                    loop.remove_reader(self._came)

    def _instead(self) -> Not:
        return Not(message=f"the daemon waits: {self._lack.message}", cure=self._lack.cure)

    def _look(self, watch: LinkWatch) -> None:
        watch.drain()
        if watch.has(self._lack.interface) and not self._again.done():
            tell(Waiting(interface=self._lack.interface, over=True))
            self._again.set_result(True)

    def _signalled(self) -> None:
        for one in self._came.read():
            if self._again.done():
                return
            if one in (signal.SIGTERM, signal.SIGINT):
                systemd.notify("STOPPING=1")
                self._again.set_result(False)
            elif one in (signal.SIGHUP, signal.SIGUSR2):
                try:
                    self._reload()
                except ClusterIPError as error:
                    tell(ConfigRefused(cause=str(error)))

    def _reload(self) -> None:
        """Begin anew with the file as it is now; an error, and the wait goes on, if it is bad."""
        config = configfiles.load(self._options.file)
        own_node(config, self._options, self._hostname)
        configfiles.load_keys(config.key_file)
        if not self._again.done():
            self._again.set_result(True)

    def _caught(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception", RuntimeError(context["message"]))
        if not self._again.done():
            self._again.set_exception(error)

    async def _answer(self, raw: bytes, begin: controlserver.Begin) -> Changes:
        if isinstance(request.read(raw), Reload):
            begin()
            self._reload()
            waited_for = self._lack.interface
            return Changes([f"begins by the file as it is now: it waited for {waited_for}"])
        raise SystemFaultError(f"the daemon waits: {self._lack.message}", self._lack.cure)


async def _pulse() -> None:
    watchdog = Watchdog()
    while watchdog.every:
        watchdog.feed(now=time.monotonic())
        await asyncio.sleep(watchdog.every)
