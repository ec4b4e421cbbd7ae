"""The daemon of one node: the event loop, the clock and the signals. Nothing else starts them.

Everything that decides is in core, everything that acts in `Agent`, `ServedInterface` and
`Reconciler`. This brings them what happens: datagrams, the timer, health, counts of connections,
commands, signals.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from clusterip.adapters import configfiles, controlserver, scheduling, statussocket, systemd
from clusterip.adapters.clock import boottime
from clusterip.adapters.datagrams import UdpDatagrams
from clusterip.adapters.diag import DiagSockets
from clusterip.adapters.linkwatch import LinkWatch
from clusterip.adapters.memory import Memory
from clusterip.adapters.signals import Signals
from clusterip.adapters.systemd import Watchdog
from clusterip.adapters.telling import note, tell
from clusterip.core import config as configs
from clusterip.core.config import Config, Effect, Quorum
from clusterip.core.config import keys as config_keys
from clusterip.core.config.keys import Keys
from clusterip.core.config.reload import Reloaded, reloadable, reloaded
from clusterip.core.errors import AbsentError, ClusterIPError, RefusedError, SystemFaultError
from clusterip.core.events import (
    AlarmRaised,
    ConfigChanged,
    ConfigRefused,
    HealthChanged,
    Level,
    LinkChanged,
    VotersChanged,
)
from clusterip.core.leftovers import Handed
from clusterip.core.messages.following import RESTART
from clusterip.core.messages.message import digest_of_name
from clusterip.core.packets.state import InterfaceState
from clusterip.core.serving.drains import Drains
from clusterip.core.serving.tenure import Tenure
from clusterip.core.status import Status
from clusterip.core.units import SECOND
from clusterip.runtime import restarting
from clusterip.runtime.addressing import Addressing
from clusterip.runtime.agent import Agent
from clusterip.runtime.announcing import Announcing
from clusterip.runtime.checking import Checking
from clusterip.runtime.draining import watch_drains
from clusterip.runtime.failing import Failing, end_soon
from clusterip.runtime.feeding import Feeding
from clusterip.runtime.journaling import Journaling
from clusterip.runtime.reconciler import Reconciler
from clusterip.runtime.reminding import remind_silent
from clusterip.runtime.report import Here, alarmed, report
from clusterip.runtime.requests import Requests
from clusterip.runtime.restarting import Restarting
from clusterip.runtime.served_interface import ServedInterface
from clusterip.runtime.startup import Options, introduce
from clusterip.runtime.stopping import Stopping

_HOUSEKEEPING_SECONDS: Final = 1.0


class Daemon:
    """What happens to node `name`, brought to the agent."""

    def __init__(
        self,
        options: Options,
        name: str,
        agent: Agent,
        memory: Memory,
        datagrams: UdpDatagrams,
        announcing: Announcing,
        journaling: Journaling,
    ) -> None:
        self._options = options
        self._name = name
        self._agent = agent
        self._memory = memory
        self._datagrams = datagrams
        self._announcing = announcing
        self._failing = Failing(agent.abandon)
        self._checking = Checking(self._set_health, self._failing.start)
        self._stopper = Stopping(agent, self._after)
        self._restarting = Restarting(
            agent,
            memory,
            self._checking,
            self._failing.start,
            lambda: restarting.refuse(options, self._config, name, self._shared),
            self._tell,
            self._leave,
            self._stay,
        )
        self._watchdog = Watchdog()
        self._waiting_for = ""
        """What the file's voter set waits for."""
        self._addressing = Addressing(name, lambda: self._config, agent.others.alarms)
        self._journaling = journaling
        self._feeding: Feeding | None = None
        self._started = boottime()
        self._shown = 0
        self._reconciler: Reconciler | None = None
        self._shared: tuple[ServedInterface, InterfaceState] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0

    # ---- configuration ----

    def adopt(self, config: Config, keys: Keys) -> None:
        """Go by `config` from now on, in all that can change in place."""
        self._config = config
        me = config.node(self._name)
        self._weight = me.weight if me else 0
        others = [node for node in config.nodes if node is not me]
        self._learn_names(config)
        self._agent.others.port = config.port
        self._agent.others.addresses = {
            digest_of_name(node.name): tuple(map(str, node.addresses)) for node in others
        }
        self._agent.others.ways.forget()
        self._agent.others.doubles.own = tuple(map(str, me.addresses)) if me else ()
        self._keys = keys
        self._agent.use_keys(keys)
        self._agent.coordinator.flows.watch = config.watch()
        self._agent.coordinator.flows.keep = config.udp_keep
        self._datagrams.aim(
            (str(address) for node in others for address in node.addresses),
            broadcast=bool(me and me.interface) and not all(node.addresses for node in others),
        )
        self._announcing.adopt(config)
        if self._feeding is not None:
            self._feeding.config = config
        self._checking.adopt(() if me and me.witness else config.checks)

    def _learn_names(self, config: Config) -> None:
        self._agent.names |= {digest_of_name(node.name): node.name for node in config.nodes}

    def resume(self, handed: Handed | None) -> None:
        """Take up what the daemon before handed over beside the node's own memory, if it did."""
        if handed is not None:
            self._agent.drains = Drains(dict(handed.draining_since))
            self._agent.tenure = Tenure(handed.had)
            self._checking.health.restore(handed.health)
            self._agent.weight = handed.weight
            if handed.weight is not None:
                self._agent.coordinator.own.weight = handed.weight
        self._agent.coordinator.own.healthy = self._checking.health.healthy

    # ---- running ----

    async def run(
        self, came: Signals, served: ServedInterface | None, state: InterfaceState | None
    ) -> None:
        """Serve until told to stop; `served` and `state` are None for a witness.

        What happens that nobody foresaw is raised, when all is closed and the others know.
        """
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._failing.caught)
        loop.set_default_executor(ThreadPoolExecutor(24, initializer=scheduling.raise_thread))
        told = scheduling.raise_process()
        if told:
            note(told, Level.WARNING)
        introduce(self._config, self._name, state)
        statussocket.forget_former()
        self._feeding = Feeding(self._config, self._name, self._journaling, self._show)
        requests = Requests(
            self._name,
            self._agent,
            lambda: self._config,
            self._after,
            self._show,
            self._reload,
            self._restarting.begin,
        )
        async with controlserver.serving(self._config.name, requests.answer):
            with contextlib.closing(LinkWatch()) as watch:
                if served is not None and state is not None:
                    self._shared = served, state
                    grace = self._agent.coordinator.pace.lease / SECOND
                    self._reconciler = Reconciler(
                        served,
                        state,
                        watch,
                        self._set_link,
                        back=self._link_back,
                        exposed=self._announcing.begin,
                        grace=grace,
                    )
                    self._reconciler.look()
                    loop.add_reader(watch, self._reconciler.look)
                    self._failing.start(self._reconciler.keep())
                    self._failing.start(
                        watch_drains(
                            state, self._agent, DiagSockets(), self._drain_timeout, self._tell
                        )
                    )
                self._failing.start(self._announcing.run())
                self._failing.start(self._keep_house())
                self._failing.start(self._addressing.watch())
                self._failing.start(self._feeding.keep())
                self._failing.start(remind_silent(self._agent))
                self._checking.run()
                loop.add_reader(self._datagrams, self._on_datagrams)
                self._after(self._agent.pump)
                # What came before is acted upon first now.
                loop.add_reader(came, self._on_signals, came)
                systemd.notify("READY=1", f"STATUS=node {self._name} of {self._config.name}")
                await self._failing.ended.wait()
                if self._failing.fault and not isinstance(self._failing.fault, AbsentError):
                    end_soon()
                for reader in (came, watch, self._datagrams):
                    loop.remove_reader(reader)
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
            if agent.may_go:
                self._restarting.replace()
        except RefusedError:
            raise
        except BaseException as error:
            # Here, for whoever asked for the work may know how to go on without it.
            self._failing.fail(error)
            raise
        when = agent.coordinator.next_timer()
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

    def _on_datagrams(self) -> None:
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
            await asyncio.sleep(_HOUSEKEEPING_SECONDS)
            self._memory.keep()
            if boottime() >= self._shown + SECOND:
                self._show()  # says which alarms are over
            node = self._agent.node
            self._waiting_for = ""
            self._restarting.look()
            if node.restarting or node.state.votes.voters.voters == configs.voter_ids(self._config):
                continue
            try:
                self._set_voters(self._config)
            except (RefusedError, SystemFaultError) as error:
                self._waiting_for = error.message

    def _set_voters(self, config: Config) -> None:
        voters = configs.voter_ids(config)
        self._agent.node.next_voters(voters, now=boottime())
        # Nothing is announced before it is written.
        self._memory.set_voters(frozenset(configs.voters(config)))
        self._tell(partial(self._agent.node.set_voters, voters=voters))
        tell(VotersChanged(voters=list(configs.voters(config))))

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
        changes = reloadable(old, new, self._name)
        self._learn_names(new)
        if any(one.effect is Effect.VOTER for one in changes):
            self._set_voters(new)
        before = self._weight
        told = reloaded(old, new, changes, config_keys.changes(self._keys, keys))
        self.adopt(new, keys)
        if self._weight != before:
            self._agent.weight = None
            self._tell(partial(self._agent.coordinator.set_weight, weight=self._weight))
        self._tell(partial(self._agent.node.set_quorum, alive=new.quorum is Quorum.ALIVE))
        self._checking.run()
        tell(ConfigChanged(changes=told.changes, told=str(told)))
        for one in told.warnings:
            tell(AlarmRaised(finding=one))
        return told

    def _show(self) -> Status:
        reconciler = self._reconciler
        here = Here(
            self._options.file,
            self._started,
            self._waiting_for,
            witness=reconciler is None,
            in_control=reconciler is None or reconciler.in_control,
            findings=(
                *(reconciler.findings() if reconciler else ()),
                *self._addressing.wrong,
                *(self._feeding.wrong if self._feeding else ()),
            ),
        )
        now = self._shown = boottime()
        said = report(self._config, self._agent, self._checking.health, here, now=now)
        return alarmed(said, self._agent, here, now=now)

    def _leave(self) -> None:
        self._journaling.leave(self._memory)
        if self._feeding is not None:
            self._feeding.end(RESTART, wait=False)

    def _stay(self) -> None:
        self._memory.take_journal()
        if self._feeding is not None:
            self._feeding.look()
