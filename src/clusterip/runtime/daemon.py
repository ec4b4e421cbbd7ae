"""The daemon of one node: the event loop, the clock and the signals. Nothing else starts them.

Everything that decides is in core, everything that acts in `Member`, `Site` and `Keeper`. This
brings them what happens: datagrams, the timer, health, counts of connections, commands, signals.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

from clusterip.adapters import configfiles, control, scheduling, systemd
from clusterip.adapters.datagrams import UdpDatagrams
from clusterip.adapters.diag import DiagSockets
from clusterip.adapters.linkwatch import LinkWatch
from clusterip.adapters.runfiles import Memory, RunFiles
from clusterip.core import config as configs
from clusterip.core.config import Config, Effect, Quorum, Stop
from clusterip.core.config.keys import Keys
from clusterip.core.config.reload import reloadable
from clusterip.core.errors import ClusterIPError, RefusedError, SystemFaultError
from clusterip.core.lease.drains import Drains
from clusterip.core.lease.node import Node
from clusterip.core.lease.timing import SECOND
from clusterip.core.messages.message import buckets_of, digest_of_name, spans
from clusterip.core.state import InterfaceState
from clusterip.runtime.checking import Checking
from clusterip.runtime.draining import watch_drains
from clusterip.runtime.keeper import Keeper
from clusterip.runtime.member import Member
from clusterip.runtime.report import report
from clusterip.runtime.requests import Requests
from clusterip.runtime.site import Site
from clusterip.runtime.startup import Options, introduce, make_node, own_node

_HOUSEKEEPING_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.125
"""From one look at whether a stop has drained to the next."""
_log = logging.getLogger("clusterip")


def serve(options: Options, hostname: str) -> None:
    """Run the daemon until it is told to stop."""
    if os.geteuid() != 0:
        raise SystemFaultError("this needs root", "run it as root: sudo clusterip ...")
    config = configfiles.load(options.file)
    me = own_node(config, options, hostname)
    keys = configfiles.load_keys(config.key_file)
    memory = RunFiles(config.name)
    with memory.claimed(), contextlib.ExitStack() as stack:
        datagrams = stack.enter_context(contextlib.closing(UdpDatagrams(config.port, me.interface)))
        site, state, plane, adopted = None, None, None, True
        if not me.witness:
            site = Site.open(_log.info)
            state, adopted = site.enter(config, me.interface)
            stack.callback(site.leave, state.index)
            plane = stack.enter_context(site.open_plane(state))
        handover = memory.take_handover() or {}
        now = time.monotonic_ns()
        node = make_node(config, me, options, memory, handover if adopted else {}, now=now)
        member = Member(
            node,
            cluster=digest_of_name(config.name),
            plane=plane,
            datagrams=datagrams,
            memory=memory,
            clock=time.monotonic_ns,
        )
        daemon = Daemon(options, me.name, member, memory, datagrams)
        daemon.adopt(config, keys)
        # Only a node that took up its predecessor's memory has sent anything.
        daemon.resume(handover if node.sequence else {})
        asyncio.run(daemon.run(site, state))


class Daemon:
    """What happens to node `name`, brought to the member."""

    def __init__(
        self, options: Options, name: str, member: Member, memory: Memory, datagrams: UdpDatagrams
    ) -> None:
        self._options = options
        self._name = name
        self._member = member
        self._memory = memory
        self._datagrams = datagrams
        self._checking = Checking(self._set_health)
        self._waiting_for = ""
        """What the file's voter set waits for."""
        self._started = time.monotonic_ns()
        self._keeper: Keeper | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0
        self._stopping = False
        self._restarting: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._ended = asyncio.Event()
        self._fault: BaseException | None = None

    # ---- configuration ----

    def adopt(self, config: Config, keys: Keys) -> None:
        """Go by `config` from now on, in all that can change in place."""
        self._config = config
        me = config.node(self._name)
        self._weight = me.weight if me else 0
        others = [node for node in config.nodes if node is not me]
        self._member.names |= {digest_of_name(node.name): node.name for node in config.nodes}
        self._member.use_keys(keys)
        self._member.node.flows.watch = config.watch()
        self._member.node.flows.keep = config.udp_keep
        self._datagrams.aim(
            (str(address) for node in others for address in node.addresses),
            broadcast=bool(me and me.interface) and not all(node.addresses for node in others),
        )
        self._checking.adopt(() if me and me.witness else config.checks)

    def resume(self, handover: dict[str, Any]) -> None:
        """Take up what the daemon before handed over beside the node's own memory."""
        since = handover.get("draining_since", {})
        self._member.drains = Drains({int(bucket): began for bucket, began in since.items()})
        self._checking.health.restore(handover.get("health", {}))
        self._member.weight = handover.get("weight")
        if self._member.weight is not None:
            self._member.node.weight = self._member.weight
        self._member.node.healthy = self._checking.health.healthy

    # ---- running ----

    async def run(self, site: Site | None, state: InterfaceState | None) -> None:
        """Serve until told to stop; `site` and `state` are None for a witness."""
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(24, initializer=scheduling.raise_thread))
        note = scheduling.raise_process()
        if note:
            _log.warning("%s", note)
        for number, action in (
            (signal.SIGTERM, self._on_stop),
            (signal.SIGINT, self._on_stop),
            (signal.SIGHUP, self._on_reload),
            (signal.SIGUSR2, self._on_restart),
        ):
            loop.add_signal_handler(number, action)
        introduce(self._config, self._name, state)
        requests = Requests(
            self._name,
            self._member,
            lambda: self._config,
            self._after,
            self._show,
            self._reload,
            self._begin_restart,
        )
        async with control.serving(self._config.name, requests.answer):
            with contextlib.closing(LinkWatch()) as watch:
                if site is not None and state is not None:
                    self._keeper = Keeper(site, state, watch, self._set_link)
                    self._keeper.look()
                    loop.add_reader(watch, self._keeper.look)
                    self._start(self._keeper.keep())
                    self._start(
                        watch_drains(
                            state, self._member, DiagSockets(), self._drain_timeout, self._tell
                        )
                    )
                self._start(self._keep_house())
                self._checking.run()
                loop.add_reader(self._datagrams, self._on_datagrams)
                self._after(self._member.pump)
                systemd.notify("READY=1")
                await self._ended.wait()
                loop.remove_reader(watch)
                for task in self._tasks:
                    task.cancel()
                await self._checking.stop()
        if self._fault is not None:
            raise self._fault

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fault = error
            self._ended.set()

    # ---- one place acts ----

    def _after(self, work: Callable[[], object]) -> None:
        """Do what was brought to the member, then what may follow, then arm the one timer."""
        member = self._member
        work()
        if member.may_go:
            self._replace()
        when = member.node.next_timer()
        # A timer that fires too early does no harm, and to move it costs more.
        if self._timer is None or when < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            wait = max(when - time.monotonic_ns(), 0) / SECOND
            self._timer = asyncio.get_running_loop().call_later(wait, self._on_timer)
            self._timer_at = when

    def _on_timer(self) -> None:
        self._timer = None
        self._after(self._member.timer)

    def _drain_timeout(self) -> int:
        return self._config.drain_timeout

    def _tell(self, verb: Callable[..., object]) -> None:
        """Call a verb of the node; it is given the time as `now`."""
        self._after(lambda: self._member.tell(verb))

    def _on_datagrams(self) -> None:
        self._after(self._member.receive)

    def _set_link(self, up: bool) -> None:
        if up != self._member.node.link:
            _log.warning("the interface is %s", "up" if up else "down: serving nothing")
            self._tell(partial(Node.set_link, up=up))

    def _set_health(self, healthy: bool, why: str) -> None:
        if healthy != self._member.node.healthy:
            _log.warning("%s%s", "healthy" if healthy else "UNHEALTHY", why)
            self._tell(partial(Node.set_health, healthy=healthy))

    # ---- now and then ----

    async def _keep_house(self) -> None:
        """Do again what had to wait: bring the voters of the file into use, run the checks."""
        while True:
            await asyncio.sleep(_HOUSEKEEPING_SECONDS)
            node = self._member.node
            self._waiting_for = ""
            if self._restarting is not None and self._restarting.done() and not node.term:
                # Nobody agreed to a restart: go on.
                self._restarting = None
                self._checking.run()
            if node.term or node.voters.voters == configs.voter_ids(self._config):
                continue
            try:
                self._set_voters(self._config)
            except RefusedError as error:
                self._waiting_for = error.message

    def _set_voters(self, config: Config) -> None:
        self._tell(partial(Node.set_voters, voters=configs.voter_ids(config)))
        self._memory.set_voters(frozenset(configs.voters(config)))

    # ---- ending ----

    def _on_stop(self) -> None:
        if self._stopping:
            self._hurry.set()
        else:
            self._stopping = True
            self._start(self._stop())

    async def _stop(self) -> None:
        systemd.notify("STOPPING=1")
        member, node = self._member, self._member.node
        self._tell(Node.cancel_restart)
        if self._config.stop is Stop.DRAIN and self._keeper is not None:
            _log.info("stopping: draining first; a second signal stops at once")
            self._tell(Node.drain)
            await self._drained_out()
        _log.info("stopping")
        last = node.sequence
        self._tell(Node.leave)
        while node.sequence == last:
            await asyncio.sleep(node.timing.gap / SECOND)
            self._after(member.pump)
        member.repeat()
        self._ended.set()

    async def _drained_out(self) -> None:
        """Wait until nothing is held here, or nobody is there to take it, or time is up."""
        node = self._member.node
        # The connections of a bucket have their time from when it was given away.
        ends = (
            time.monotonic_ns() + self._config.drain_timeout + 2 * node.lasting + node.flows.watch
        )
        while node.kernel.open | node.kernel.draining and not self._hurry.is_set():
            taking = any(one.weight and not one.leaving for one in node.living.values())
            if not (node.kernel.draining or taking):
                _log.warning("nobody is there to take the buckets")
                return
            if time.monotonic_ns() > ends:
                left = spans(buckets_of(node.kernel.open | node.kernel.draining))
                _log.warning("the drain took too long, buckets left: %s", left)
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), _LOOK_SECONDS)

    # ---- a planned restart ----

    def _on_restart(self) -> None:
        try:
            self._begin_restart()
        except ClusterIPError as error:
            _log.error("not restarting: %s", error)

    def _begin_restart(self) -> None:
        """Begin to replace this program; an error, and no beginning, if the file is at fault."""
        config = configfiles.load(self._options.file)
        configfiles.load_keys(config.key_file)
        reloadable(self._config, config, self._name)
        if self._restarting is None and not self._stopping:
            self._restarting = self._start(self._restart())

    async def _restart(self) -> None:
        # What a check started must not outlive who waits for it.
        await self._checking.stop()
        self._tell(Node.prepare_restart)

    def _replace(self) -> None:
        """Hand over to a successor: this program again, as it is installed by now."""
        self._memory.put_handover(
            {
                **self._member.hand_over(),
                "health": self._checking.health.standing(),
                "weight": self._member.weight,
            }
        )
        _log.info("handing over to a successor")
        sys.stderr.flush()
        scheduling.lower_process()
        try:
            os.execvp(sys.orig_argv[0], sys.orig_argv)  # noqa: S606 - ourselves
        except OSError as error:
            self._fault = SystemFaultError(f"cannot start {sys.orig_argv[0]}: {error.strerror}")
            self._ended.set()

    # ---- reload ----

    def _on_reload(self) -> None:
        try:
            self._reload()
        except ClusterIPError as error:
            _log.error("not reloaded: %s", error)

    def _reload(self) -> list[str]:
        """Go by the file as it is now; RefusedError, and nothing changed, if that cannot be."""
        old, new = self._config, configfiles.load(self._options.file)
        keys = configfiles.load_keys(new.key_file)
        changes = reloadable(old, new, self._name)
        if any(one.effect is Effect.VOTER for one in changes):
            self._set_voters(new)
        before = self._weight
        self.adopt(new, keys)
        if self._weight != before:
            self._member.weight = None
            self._tell(partial(Node.set_weight, weight=self._weight))
        self._tell(partial(Node.set_quorum, alive=new.quorum is Quorum.ALIVE))
        self._checking.run()
        told = [f"{one.what}: {one.old or 'none'} -> {one.new or 'none'}" for one in changes]
        _log.info("reloaded: %s", "; ".join(told) or "no change in the file; keys read again")
        return told

    def _show(self) -> dict[str, Any]:
        now = time.monotonic_ns()
        return {
            **report(self._config, self._member, self._checking.health, now=now),
            "file": self._options.file,
            "pid": os.getpid(),
            "started": self._started,
            "witness": self._keeper is None,
            "in_control": self._keeper is None or self._keeper.in_control,
            "voters_waiting_for": self._waiting_for,
        }
