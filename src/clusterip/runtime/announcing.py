"""Announcing the VIPs of a daemon: when it begins to serve, and when its link comes meanwhile.

All hosts that serve announce, for all tell the same MAC, and none can know that another one was
heard. Who serves nothing does not: others may serve at another MAC, by another file. The VIPs are
spread over the interval, so that 32 hosts with 64 VIPs are no flood: two small frames for each
VIP, host and interval.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from clusterip.adapters.announcer import Announcer
from clusterip.adapters.telling import note
from clusterip.core.config.model import Config
from clusterip.core.events import Level
from clusterip.core.packets.state import InterfaceState
from clusterip.core.units import SECOND


class Announcing:
    """Announces the VIPs of one interface, `count` times, each `interval` ns, when asked to.

    Without an interface, for a witness, it has nothing to announce. `is_over` says whether the
    kernel stopped to serve by itself.
    """

    def __init__(
        self,
        announcer: Announcer,
        state: InterfaceState | None,
        *,
        count: int,
        interval: int,
        is_over: Callable[[], bool] = lambda: False,
    ) -> None:
        self.count, self.interval = count, interval
        self._announcer = announcer
        self._is_over = is_over
        self._index = state.index if state else 0
        groups = state.groups if state else ()
        self._vips = tuple((group.vip, group.sharing.mac) for group in groups)
        self._left = 0
        self._asked = asyncio.Event()
        self._failed = False
        self._serving = False

    def adopt(self, config: Config) -> None:
        """Announce as often as the configuration says, from the next time on."""
        self.count, self.interval = config.announce_count, config.announce_interval

    def begin(self) -> None:
        """Announce from now on, `count` times; what is under way begins anew.

        While nothing is served only groups are reported: switches are to know who wants frames
        before there is anything to answer.
        """
        self._left = self.count if self._vips else 0
        self._failed = False
        self._asked.set()

    def look(self, *, serving: bool) -> None:
        """Announce if this host begins to serve, and no more when it ends.

        A link may be up long before the switch passes anything on. A host that serves was heard.
        """
        before, self._serving = self._serving, serving
        if serving and not before:
            self.begin()

    async def run(self) -> None:
        """Report groups now, for the VIPs have come; announce when asked to, for ever."""
        self.begin()
        while True:
            if not self._left:
                await self._asked.wait()
            self._asked.clear()
            await self._round()

    async def _round(self) -> None:
        """Announce each VIP once in the course of an interval, unless asked to begin anew."""
        if not self._left:
            return
        self._left -= 1
        for vip, mac in self._vips:
            try:
                if self._serving:
                    self._announcer.announce(self._index, vip, mac)
                else:
                    self._announcer.report(self._index, mac)
            except OSError as error:
                # Then our own filter discarded it, and `look` is told soon.
                if not self._failed and not self._is_over():
                    note(f"{vip} cannot be announced: {error}", Level.WARNING)
                    self._failed = True
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), self.interval / SECOND / len(self._vips))
                return
