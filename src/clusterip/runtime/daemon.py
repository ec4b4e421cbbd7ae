"""The daemon of one node: the event loop, the clock and the signals. Nothing else starts them.

Everything that decides is in core, everything that acts in `Agent`, `ServedInterface` and
`Reconciler`. This brings them what happens: datagrams, the timer, health, counts of connections,
commands, signals.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from clusterip.adapters import configfiles, controlserver, scheduling, systemd
from clusterip.adapters.clock import boottime
from clusterip.adapters.diag import DiagSockets
from clusterip.adapters.linkwatch import LinkWatch
from clusterip.adapters.seconds import until_next_second
from clusterip.adapters.signals import Signals
from clusterip.adapters.statussocket import group_id
from clusterip.adapters.systemd import Watchdog
from clusterip.adapters.telling import note, tell
from clusterip.core.config import key_file
from clusterip.core.config.model import Config
from clusterip.core.config.reload import Reloaded, reloadable, reloaded
from clusterip.core.errors import AbsentError, ClusterIPError, RefusedError
from clusterip.core.events import (
    AlarmRaised,
    ConfigChanged,
    ConfigRefused,
    HealthChanged,
    Level,
    LinkChanged,
)
from clusterip.core.findings import Finding
from clusterip.core.health import AnyCheck
from clusterip.core.messages.following import RESTART
from clusterip.core.report import Here
from clusterip.core.status import Status
from clusterip.core.units import SECOND
from clusterip.runtime import restarting
from clusterip.runtime.addressing import Addressing
from clusterip.runtime.agent import Agent
from clusterip.runtime.announcing import Announcing
from clusterip.runtime.checking import Checking
from clusterip.runtime.coordinators.exchange import Given
from clusterip.runtime.draining import watch_drains
from clusterip.runtime.failing import Failing, end_soon
from clusterip.runtime.feeding import Feeding, of_group
from clusterip.runtime.journaling import Journaling
from clusterip.runtime.reconciler import Reconciler
from clusterip.runtime.report import alarmed
from clusterip.runtime.requests import Requests
from clusterip.runtime.restarting import Restarting
from clusterip.runtime.served_interface import Shared
from clusterip.runtime.startup import introduce
from clusterip.runtime.stopping import Stopping


class Daemon:
    """What happens to node `given.me`, brought to the agent. It is made in the loop it runs in.

    `shared` is None for a witness. `health` is what a predecessor left of it.
    """

    def __init__(
        self,
        given: Given,
        agent: Agent,
        shared: Shared | None,
        watch: LinkWatch,
        announcing: Announcing,
        journaling: Journaling,
        health: dict[str, Any],
    ) -> None:
        self._options = given.options
        self._config, self._keys, self._memory = given.config, given.keys, given.memory
        self._name = name = given.me.name
        self._weight = given.me.weight
        self._agent = agent
        self._shared = shared
        self._watch = watch
        self._announcing = announcing
        self._failing = Failing(agent.abandon)
        self._checking = Checking(
            self._set_health, self._failing.start, _checks(given.config, name), health
        )
        agent.coordinator.own.healthy = self._checking.health.healthy
        self._keep_flows()
        self._drains = asyncio.Event()
        self._stopper = Stopping(agent, self._after)
        self._restarting = Restarting(
            agent,
            given.memory,
            self._checking,
            self._failing.start,
            lambda others: restarting.refuse(given.options, self._config, name, others, shared),
            self._tell,
            self._leave,
            self._stay,
        )
        self._watchdog = Watchdog()
        self._addressing = Addressing(name, lambda: self._config, agent.exchange.raised)
        self._journaling = journaling
        self._feeding = Feeding(given.config, name, journaling, self._show)
        self._reconciler = self._keeps(shared) if shared is not None else None
        self._started = boottime()
        self._shown = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0

    def _keeps(self, shared: Shared) -> Reconciler:
        """Return what keeps the interface in our control."""
        return Reconciler(
            shared.served,
            shared.state,
            self._watch,
            self._set_link,
            back=self._link_back,
            exposed=self._announcing.begin,
            grace=self._agent.coordinator.pace.lease / SECOND,
        )

    def _keep_flows(self) -> None:
        flows = self._agent.coordinator.flows
        flows.watch, flows.keep = self._config.watch(), self._config.udp_keep

    # ---- running ----

    async def run(self, came: Signals) -> None:
        """Serve until told to stop.

        What happens that nobody foresaw is raised, when all is closed and the others know.
        """
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._failing.caught)
        loop.set_default_executor(ThreadPoolExecutor(24, initializer=scheduling.raise_thread))
        told = scheduling.raise_process()
        if told:
            note(told, Level.WARNING)
        introduce(self._config, self._name, self._shared.state if self._shared else None)
        requests = Requests(
            self._name,
            self._agent,
            lambda: self._config,
            self._after,
            self._show,
            self._reload,
            self._restarting.begin,
            self._lacking,
        )
        async with controlserver.serving(self._config.name, requests.answer):
            if self._shared is not None and self._reconciler is not None:
                self._reconciler.look()
                loop.add_reader(self._watch, self._reconciler.look)
                self._failing.start(self._reconciler.keep())
                self._failing.start(
                    watch_drains(
                        self._shared.state,
                        self._agent,
                        DiagSockets(),
                        self._drains,
                        self._drain_timeout,
                        self._tell,
                    )
                )
            self._failing.start(self._announcing.run())
            self._failing.start(self._keep_house())
            self._failing.start(self._addressing.watch())
            self._failing.start(self._feeding.keep())
            self._checking.run()
            readers = self._agent.exchange.readers
            for reader in readers:
                loop.add_reader(reader, self._on_heard)
            self._after(self._agent.pump)
            # What came before is acted upon first now.
            loop.add_reader(came, self._on_signals, came)
            systemd.notify("READY=1", f"STATUS=node {self._name} of {self._config.name}")
            await self._failing.ended.wait()
            if self._failing.fault and not isinstance(self._failing.fault, AbsentError):
                end_soon()
            for reader in readers:
                loop.remove_reader(reader)
            for other in (came, self._watch):
                loop.remove_reader(other)
            self._failing.cancel()
            await self._checking.stop()
            self._journaling.end()
            self._feeding.end("stop" if self._failing.fault is None else "fault")
        if self._failing.fault is not None:
            raise self._failing.fault

    # ---- one place acts ----

    def _after(self, work: Callable[[], object]) -> None:
        """Do what was brought to the agent, then what may follow, then arm the one timer."""
        if self._failing.fault is not None:
            return
        agent = self._agent
        try:
            work()
            kernel = agent.coordinator.kernel
            self._announcing.look(serving=bool(kernel.open) and not kernel.is_shut)
            if agent.drains.since:
                self._drains.set()
            if agent.may_go:
                self._restarting.replace()
        except RefusedError:
            raise
        except BaseException as error:
            # Here, for whoever asked for the work may know how to go on without it.
            self._failing.fail(error)
            raise
        when, remind_at = agent.coordinator.next_timer(), agent.exchange.remind_at
        if remind_at is not None:
            when = min(when, remind_at)
        # A timer that fires too early does no harm, and to move it costs more.
        if self._timer is None or when < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            wait = max(when - boottime(), 0) / SECOND
            self._timer = asyncio.get_running_loop().call_later(wait, self._on_timer)
            self._timer_at = when

    def _on_timer(self) -> None:
        self._timer = None
        self._after(self._agent.timer)
        self._watchdog.feed(now=time.monotonic())

    def _drain_timeout(self) -> int:
        return self._config.drain_timeout

    def _tell(self, verb: Callable[..., object]) -> None:
        """Call a verb of the node; it is given the time as `now`."""
        self._after(lambda: self._agent.tell(verb))

    def _on_heard(self) -> None:
        self._after(self._agent.receive)

    def _set_link(self, up: bool, fault: str) -> None:
        if up != self._agent.coordinator.own.link:
            tell(LinkChanged(up=up, cause="" if up else fault))
            self._tell(partial(self._agent.coordinator.set_link, up=up))

    def _link_back(self) -> None:
        self._announcing.begin()
        self._tell(self._agent.coordinator.speak)

    def _set_health(self, healthy: bool, why: str) -> None:
        if healthy != self._agent.coordinator.own.healthy:
            tell(HealthChanged(healthy=healthy, cause=why))
            self._tell(partial(self._agent.coordinator.set_health, healthy=healthy))

    def _on_signals(self, came: Signals) -> None:
        for one in came.read():
            if one in (signal.SIGTERM, signal.SIGINT):
                self._on_stop()
            elif one is signal.SIGHUP:
                self._on_reload()
            elif one is signal.SIGUSR2:
                self._failing.start(self._restarting.on_signal())
            else:
                note(f"{one.name} has no meaning here", Level.WARNING)

    # ---- now and then ----

    async def _keep_house(self) -> None:
        """Do again what had to wait: use the voters of the file, run the checks; keep /run."""
        while True:
            await until_next_second()
            self._memory.keep()
            if boottime() >= self._shown + SECOND // 2:  # not by somebody else in this second
                self._show()  # says which alarms are over
            self._restarting.look()
            if self._agent.exchange.catch_up():
                self._after(self._agent.pump)

    # ---- ending ----

    def _on_stop(self) -> None:
        if self._agent.ends_by is not None:
            self._stopper.hurry()
        else:
            self._stopper.begin(self._config, serves=self._reconciler is not None)
            # At once: a successor would not know that it is to stop.
            self._restarting.cancel()
            self._tell(self._agent.coordinator.cancel_restart)
            self._failing.start(self._stop())

    async def _stop(self) -> None:
        await self._stopper.stop()
        self._failing.ended.set()

    # ---- reload ----

    def _on_reload(self) -> None:
        try:
            self._reload()
        except ClusterIPError as error:
            tell(ConfigRefused(cause=str(error)))

    def _reload(self) -> Reloaded:
        """Go by the file as it is now; RefusedError, and nothing changed, if that cannot be."""
        old, new = self._config, configfiles.load(self._options.file)
        keys = configfiles.load_keys(new.key_file)
        changes = reloadable(old, new, self._name, self._agent.others_run_with())
        me = new.node(self._name)
        told = reloaded(old, new, changes, key_file.changes(self._keys, keys))
        self._agent.name.learn(new)
        self._agent.exchange.adopt(new, keys)
        self._config, self._keys = new, keys
        self._keep_flows()
        self._announcing.adopt(new)
        self._feeding.config = new
        self._checking.adopt(_checks(new, self._name))
        weight = me.weight if me else 0
        if weight != self._weight:
            self._weight, self._agent.weight = weight, None
            self._tell(partial(self._agent.coordinator.set_weight, weight=weight))
        self._after(self._agent.pump)
        self._checking.run()
        tell(ConfigChanged(changes=told.changes, told=str(told)))
        for one in told.warnings:
            tell(AlarmRaised(finding=one))
        return told

    def _lacking(self) -> tuple[Finding, ...]:
        """Return what is wrong with the group of the file; it may take its time."""
        config = self._config
        return of_group(config, group_id(config.status_group))

    def _show(self) -> Status:
        reconciler = self._reconciler
        here = Here(
            self._options.file,
            self._started,
            witness=reconciler is None,
            in_control=reconciler is None or reconciler.in_control,
            findings=(
                *(reconciler.findings() if reconciler else ()),
                *self._addressing.wrong,
                *self._feeding.wrong,
            ),
        )
        now = self._shown = boottime()
        return alarmed(self._config, self._agent, self._checking.health, here, now=now)

    def _leave(self) -> None:
        self._journaling.leave(self._memory)
        self._feeding.end(RESTART, wait=False)

    def _stay(self) -> None:
        self._memory.take_journal()
        self._feeding.look()


def _checks(config: Config, name: str) -> Sequence[AnyCheck]:
    """Return what node `name` is to check: a witness nothing."""
    me = config.node(name)
    return () if me and me.witness else config.checks
