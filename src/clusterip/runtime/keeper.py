"""Keeping the interface in our control while the daemon runs, whoever changes it.

Were our filter taken away, every packet would be answered here and by its owner: so it is put
back at once, and where that cannot be done nothing is served and the VIPs leave the interface.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final

from clusterip.adapters.linkwatch import LinkWatch
from clusterip.core.errors import AbsentError, ClusterIPError
from clusterip.core.state import InterfaceState
from clusterip.runtime.site import Site

_PAUSE_SECONDS: Final = 0.2
_AT_LEAST_SECONDS: Final = 10.0
"""How often to look at what the kernel does not tell of."""
_log = logging.getLogger("clusterip")


class Keeper:
    """Watches one interface; `tell` is told whether it can serve, each time that may change."""

    def __init__(
        self, site: Site, state: InterfaceState, watch: LinkWatch, tell: Callable[[bool], None]
    ) -> None:
        self.in_control = True
        self._site = site
        self._state = state
        self._watch = watch
        self._tell = tell
        self._changed = asyncio.Event()

    def look(self) -> None:
        """Take note that something may have changed."""
        self._watch.drain()
        self._changed.set()
        self._say()

    def _say(self) -> None:
        self._tell(self._watch.running(self._state.index) and self.in_control)

    async def keep(self) -> None:
        """Put back what is taken away, for ever; AbsentError when the interface is gone."""
        index = self._state.index
        while True:
            try:
                await asyncio.wait_for(self._changed.wait(), _AT_LEAST_SECONDS)
            except TimeoutError:
                # The kernel tells nobody of changes of the filter for MACs.
                if self._site.lets_in(self._state):
                    continue
            self._changed.clear()
            if not self._watch.exists(index):
                name = self._state.name
                raise AbsentError(name, f"{name} is gone", "bring it back")
            try:
                await asyncio.to_thread(self._site.mend, index)
                self.in_control = True
            except (ClusterIPError, OSError) as error:
                if self.in_control:
                    _log.error("%s is not in our control any more: %s", self._state.name, error)
                self.in_control = False
                self._changed.set()
                self._say()
                with contextlib.suppress(ClusterIPError, OSError):
                    await asyncio.to_thread(self._site.close, self._state)
            self._say()
            await asyncio.sleep(_PAUSE_SECONDS)
