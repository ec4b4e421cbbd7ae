"""From a file to a daemon that serves: it waits for what may still come, and ends for all else."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from typing import Any

from clusterip.adapters import capabilities, clock, configfiles, control, signals, systemd
from clusterip.adapters.announcer import PacketAnnouncer
from clusterip.adapters.clock import boottime
from clusterip.adapters.datagrams import UdpDatagrams
from clusterip.adapters.dataplane import Plane
from clusterip.adapters.links import NetlinkLinks
from clusterip.adapters.linkwatch import LinkWatch
from clusterip.adapters.runfiles import Memory, RunFiles
from clusterip.adapters.signals import Signals
from clusterip.adapters.systemd import Watchdog
from clusterip.core.config import Config
from clusterip.core.config import Node as ConfigNode
from clusterip.core.config.keys import Keys
from clusterip.core.errors import AbsentError, ClusterIPError, SystemFaultError
from clusterip.core.messages import request
from clusterip.core.messages.answer import Changes
from clusterip.core.messages.message import digest_of_name
from clusterip.core.messages.request import Reload
from clusterip.core.packets.state import InterfaceState
from clusterip.runtime import reach
from clusterip.runtime.agent import Agent
from clusterip.runtime.announcing import Announcing
from clusterip.runtime.daemon import Daemon
from clusterip.runtime.served_interface import ServedInterface
from clusterip.runtime.startup import Options, make_node, own_node

_log = logging.getLogger("clusterip")


def serve(options: Options, hostname: str) -> None:
    """Run the daemon until it is told to stop.

    RefusedError and UsageError mean that it will not begin by itself, whatever time passes.
    """
    capabilities.require(() if options.witness else capabilities.SERVE)
    # A witness, too: what it noted in one time namespace, it may read in another.
    clock.refuse_offset()
    signals.hold()
    with contextlib.closing(Signals()) as came:
        while _serve(options, hostname, came):
            pass


def _serve(options: Options, hostname: str, came: Signals) -> bool:
    """Serve by the file as it is now; say whether to begin anew."""
    config = configfiles.load(options.file)
    me = own_node(config, options, hostname)
    keys = configfiles.load_keys(config.key_file)
    for advice in configfiles.key_advice(config.key_file):
        _log.warning("%s; better: %s", advice.sentence, advice.cure)
    memory = RunFiles(config.name)
    with memory.claimed():
        try:
            _share(options, config, me, keys, memory, came)
        except AbsentError as error:
            return asyncio.run(_wait(options, hostname, came, error, config.name))
    return False


async def _wait(
    options: Options, hostname: str, came: Signals, lack: AbsentError, cluster: str
) -> bool:
    """Wait for the interface that lacks, and say whether to begin anew; else it was to stop."""
    return await _Waiting(options, hostname, came, lack).over(cluster)


def _share(
    options: Options,
    config: Config,
    me: ConfigNode,
    keys: Keys,
    memory: Memory,
    came: Signals,
) -> None:
    """Take part until told to stop; AbsentError where the interface is not there, or no more."""
    with contextlib.ExitStack() as stack:
        vips = [str(vip.address) for vip in config.vips]
        datagrams = stack.enter_context(
            contextlib.closing(UdpDatagrams(config.port, me.interface, vips))
        )
        handed = memory.take_handover()
        served, state, plane, adopted = None, None, None, True
        if not me.witness:
            served = ServedInterface.open(_log.info)
            state, adopted = served.enter(config, me.interface, going_on=handed is not None)
            stack.callback(served.leave, state.index)
            if handed and not adopted:
                _log.error(
                    "starting without the hand-over: what the daemon before shared on %s is not"
                    " what the file says, or its pins are in another bpffs: see"
                    " docs/operations.md, In a network namespace",
                    me.interface,
                )
            plane = stack.enter_context(served.open_plane(state))
        for finding in reach.findings(config, me, NetlinkLinks()):
            if not finding.is_fault:  # those the daemon looks for as long as it runs
                _log.warning("%s; better: %s", finding.sentence, finding.cure)
        now = boottime()
        node = make_node(config, me, options, memory, handed if adopted else None, now=now)
        agent = Agent(
            node,
            cluster=digest_of_name(config.name),
            plane=plane,
            datagrams=datagrams,
            memory=memory,
            clock=boottime,
        )
        announcer = stack.enter_context(contextlib.closing(PacketAnnouncer()))
        announcing = Announcing(announcer, state, lambda: _is_over(state, plane))
        daemon = Daemon(options, me.name, agent, memory, datagrams, announcing)
        daemon.adopt(config, keys)
        # Only a node that took up its predecessor's memory has sent anything.
        daemon.resume(handed if node.sequence else None)
        asyncio.run(daemon.run(came, served, state))


def _is_over(state: InterfaceState | None, plane: Plane | None) -> bool:
    """Tell whether the kernel answers nothing of what this daemon shares any more."""
    groups = state.groups if state else ()
    return plane is not None and all(plane.deadline(one.index) <= boottime() for one in groups)


class _Waiting:
    """A daemon that waits for its interface, in the event loop that runs."""

    def __init__(self, options: Options, hostname: str, came: Signals, lack: AbsentError) -> None:
        self._options, self._hostname = options, hostname
        self._came, self._lack = came, lack
        self._again: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def over(self, cluster: str) -> bool:
        """Wait, and say whether to begin anew; else it was told to stop."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._caught)
        _log.warning("waiting: %s; %s", self._lack.message, self._lack.cure)
        loop.add_reader(self._came, self._signalled)
        with contextlib.closing(LinkWatch()) as watch:
            loop.add_reader(watch, self._look, watch)
            async with control.serving(cluster, self._answer):
                self._look(watch)
                # To who starts it it is there: incarnations must not wait for what may never come.
                systemd.notify("READY=1", f"STATUS=waiting: {self._lack.message}")
                pulse = asyncio.ensure_future(_pulse())
                try:
                    return await self._again
                finally:
                    pulse.cancel()
                    loop.remove_reader(watch)
                    loop.remove_reader(self._came)

    def _look(self, watch: LinkWatch) -> None:
        watch.drain()
        if watch.has(self._lack.interface) and not self._again.done():
            _log.info("%s is there", self._lack.interface)
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
                    _log.error("not reloaded: %s", error)

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

    async def _answer(self, raw: bytes, begin: control.Begin) -> Changes:
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
