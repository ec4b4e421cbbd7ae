"""Whether the addresses of this host are still those of the file, looked at now and then."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from clusterip.adapters.clock import boottime
from clusterip.adapters.links import NetlinkLinks
from clusterip.adapters.telling import tell
from clusterip.core.alarms import Alarms
from clusterip.core.config.model import Config
from clusterip.core.findings import Finding
from clusterip.runtime import reach

_EVERY_SECONDS: Final = 5.0


class Addressing:
    """What is wrong with the addresses of node `name`; `config` gives the file in force."""

    def __init__(
        self,
        name: str,
        config: Callable[[], Config],
        alarms: Alarms,
    ) -> None:
        self.wrong: tuple[Finding, ...] = ()
        self._name, self._config, self._alarms = name, config, alarms

    async def watch(self) -> None:
        """Look, for ever."""
        while True:
            with contextlib.suppress(OSError):
                found = await asyncio.to_thread(self._find)
                for one in found:
                    if one not in self.wrong and not self._alarms.is_said(one, one.what):
                        tell(self._alarms.raised(one, one.what, now=boottime()))
                self.wrong = found
            await asyncio.sleep(_EVERY_SECONDS)

    def _find(self) -> tuple[Finding, ...]:
        config = self._config()
        me = config.node(self._name)
        found = reach.of_addresses(config, me, NetlinkLinks()) if me else ()
        return tuple(one for one in found if one.is_fault)
