"""Keeping the interface in our control while the daemon runs, whoever changes it.

Were our filter taken away, every packet would be answered here and by its owner: so it is put
back at once, and where that cannot be done nothing is served and the VIPs leave the interface.

Another interface that comes answers ARP for the VIPs until it is guarded. So that is done before
all else, and whoever may have been told wrong is told anew.

A link that goes is told of when a lease would have ended. No sooner: if it comes back until then
all is as it was, and nobody had to take anything over. No later: where messages go another way
than over this link, its loss then costs no more time than a death. It is no matter of safety.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import Final

from clusterip.adapters.linkwatch import LinkWatch
from clusterip.adapters.seconds import next_second
from clusterip.adapters.telling import tell
from clusterip.core.errors import AbsentError, ClusterIPError
from clusterip.core.events import AlarmRaised, ControlBack, ControlLost, PutBack
from clusterip.core.findings import Code, Finding
from clusterip.core.packets.state import InterfaceState
from clusterip.runtime import carrier
from clusterip.runtime.guarding import unguarded
from clusterip.runtime.served_interface import Mended, ServedInterface

_PAUSE_SECONDS: Final = 0.2
_QUIET_SECONDS: Final = 60.0


class Reconciler:
    """Watches one interface; `tell` is told whether it can serve, each time that may change.

    It is told why not, too: what keeps us from controlling it, empty where it is down.

    `back` is called when its link has come, after however short a time, and `exposed` when another
    interface may have told its MAC for a VIP. `grace` is for how long a link may be down that was
    up, in seconds.
    """

    def __init__(
        self,
        served: ServedInterface,
        state: InterfaceState,
        watch: LinkWatch,
        tell: Callable[[bool, str], None],
        *,
        back: Callable[[], None],
        exposed: Callable[[], None],
        grace: float,
    ) -> None:
        self.in_control = True
        self._fault = ""
        self._lost_at = 0.0
        """When control was lost, by the clock of the loop."""
        self._back = back
        self._exposed = exposed
        self._up = watch.running(state.index)
        self._grace = grace
        self._serves = False
        self._came_back = False
        self._going: asyncio.TimerHandle | None = None
        self._served = served
        self._state = state
        self._watch = watch
        self._tell = tell
        self._changed = asyncio.Event()
        self._another_came = asyncio.Event()
        self._unguarded: tuple[str, ...] = ()
        self._unpinned: tuple[Finding, ...] = ()
        self._told: dict[str, float] = {}

    def findings(self) -> tuple[Finding, ...]:
        """Return what is wrong with the interface itself now."""
        index = self._state.index
        up, running = self._watch.up(index), self._watch.running(index)
        was, name = self._state.name, self._watch.name(index)
        if not name:
            return ()  # the daemon is about to wait for it
        found = (*carrier.findings(name, up=up, running=running), *self._unpinned)
        return found if name == was else (*found, carrier.renamed(was, name))

    def look(self) -> None:
        """Take note that something may have changed."""
        down, came = self._watch.drain()
        if self._state.index in down:
            self._up = False
        if came:
            self._another_came.set()
        self._changed.set()
        self._say()

    def _say(self) -> None:
        index = self._state.index
        before, self._up = self._up, self._watch.running(index)
        up = self._up
        if up and not before:
            self._came_back = True
            self._back()
        may_come_back = self._serves and self.in_control and self._watch.exists(index)
        if up or not may_come_back:
            self._say_now(up=up)
        elif self._going is None:
            loop = asyncio.get_running_loop()
            self._going = loop.call_later(self._grace, partial(self._say_now, up=False))

    def _say_now(self, *, up: bool) -> None:
        if self._going is not None:
            self._going.cancel()
            self._going = None
        self._serves = up and self.in_control
        self._tell(self._serves, self._fault if up and not self.in_control else "")

    async def _is_quiet(self) -> bool:
        """Wait for a change; say whether none came in this second and none is to be seen.

        The kernel does not tell of some: the filter for MACs, the pins.
        """
        try:
            # wait_for of Python 3.11 may swallow that this is cancelled.
            async with asyncio.timeout_at(next_second()):
                await self._changed.wait()
        except TimeoutError:
            with contextlib.suppress(OSError):
                return self._served.lets_in(self._state)
        return False

    def _tell_of(self, mended: Mended) -> None:
        """Say what was put back, and which VIPs of others were taken off."""
        if self._is_news(mended.put_back):
            tell(PutBack(what=mended.put_back, where=self._state.name))
        if self._is_news(mended.taken_off):
            tell(PutBack(what=mended.taken_off, taken_off=True))

    def _is_news(self, words: str) -> bool:
        """Tell whether there are words, which were not said for a minute; they are now."""
        now = asyncio.get_running_loop().time()
        self._told = {one: until for one, until in self._told.items() if until > now}
        if not words or words in self._told:
            return False
        self._told[words] = now + _QUIET_SECONDS
        return True

    def _warn(self, names: tuple[str, ...]) -> None:
        """Say once of each other interface that it is not guarded."""
        for name in names:
            if name not in self._unguarded:
                tell(AlarmRaised(finding=unguarded(name, by_daemon=True), about=name))
        self._unguarded = names

    async def _guard(self) -> None:
        """Guard what is not guarded yet; what cannot be done is for the mending to say."""
        self._another_came.clear()
        with contextlib.suppress(ClusterIPError, OSError):
            guarded = await asyncio.to_thread(self._served.guard, self._state.index)
            if guarded.exposed:
                self._exposed()
            self._tell_of(Mended(guarded.put_back))

    async def _pin(self) -> None:
        """Pin anew what lost its pins. It is served meanwhile: what is shared is held open."""
        name = self._state.name
        if self._served.is_pinned(self._state.index):
            self._unpinned = ()
            return
        try:
            if await asyncio.to_thread(self._served.pin_again, self._state.index, name):
                self._tell_of(Mended("the pins in bpffs"))
            self._unpinned = ()
        except ClusterIPError as error:
            found = Finding.of(Code.NOT_PINNED, error.message, cure=error.cure)
            if self._is_news(error.message):
                tell(AlarmRaised(finding=found))
            self._unpinned = (found,)

    async def _pause(self) -> None:
        """Leave the processor to others for a while, unless another interface comes."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + _PAUSE_SECONDS
        while (left := ends - loop.time()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._another_came.wait()
                await self._guard()

    async def _mend(self) -> None:
        """Put back what is not there; where that cannot be, the interface is not in our control."""
        index = self._state.index
        try:
            self._tell_of(await asyncio.to_thread(self._served.mend, index))
            self._warn(await asyncio.to_thread(self._served.unguarded, index))
            if not self.in_control:
                seconds = round(asyncio.get_running_loop().time() - self._lost_at, 3)
                tell(ControlBack(interface=self._state.name, seconds=seconds))
            self.in_control = True
        except AbsentError:
            raise
        except (ClusterIPError, OSError) as error:
            if self.in_control:
                self._lost_at = asyncio.get_running_loop().time()
                tell(ControlLost(interface=self._state.name, cause=str(error)))
            self.in_control = False
            self._fault = str(error).partition("\n")[0]
            self._changed.set()
            self._say()
            with contextlib.suppress(ClusterIPError, OSError):
                await asyncio.to_thread(self._served.close, self._state)

    async def keep(self) -> None:
        """Put back what is taken away, for ever.

        AbsentError when the interface is gone, or to be taken anew: see `Site.mend`.
        """
        index = self._state.index
        while True:
            await self._pin()
            if await self._is_quiet():
                continue
            self._changed.clear()
            if not self._watch.exists(index):
                name = self._state.name
                raise AbsentError(name, f"{name} is gone", "bring it back")
            await self._guard()
            if self._came_back:
                self._came_back = False
                with contextlib.suppress(OSError):  # Linux does by itself, and is a second late
                    await asyncio.to_thread(self._served.ask_again, index)
            await self._mend()
            self._say()
            await self._pause()
