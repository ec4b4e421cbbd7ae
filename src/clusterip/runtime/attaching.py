"""Having what is pinned run on an interface, and after an upgrade what is installed by now.

The order is that of `adapters.takeover`, which argues it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import msgspec

from clusterip.adapters.links import Link
from clusterip.adapters.takeover import NoRoomError
from clusterip.core.packets.state import InterfaceState, Taken
from clusterip.runtime.guarding import Guarding
from clusterip.runtime.namespace import Namespace


@dataclass(frozen=True)
class Attaching:
    """Attaches the programs of one interface, and its guards.

    `spared` tells of what interfaces programs and maps stay as they are, whatever is installed.
    """

    netns: Namespace
    guarding: Guarding
    spared: Callable[[InterfaceState], bool]

    def renew(self, link: Link, old: InterfaceState, new: InterfaceState) -> InterfaceState:
        """After an upgrade, pin the programs of this installation; `attach` is to follow.

        Returns what is in force then: `old`, or of rules that are too many here those that `new`
        has, if it has no others. What is not to change may stay the other version's.
        """
        self.finish(link, old)
        if self.spared(old):
            return old
        try:
            self.netns.maps.renew(link.index)
        except NoRoomError:
            if _ruled(new) == _ruled(old):
                return old
            if new.cluster or not _ruled(new) < _ruled(old):
                raise
            # A VIP goes with its address: until then its packets have no rule, and are dropped.
            old = msgspec.structs.replace(new, groups=old.groups, taken=old.taken)
            self.netns.maps.renew(link.index, old)
        return old

    def finish(self, link: Link, old: InterfaceState) -> None:
        """Have what is pinned run alone, where an upgrade was interrupted."""
        if self.netns.maps.lags(link.index):
            self.attach(link, old, old.taken)

    def attach(self, link: Link, state: InterfaceState, taken: Taken) -> str:
        """Have what is pinned run, and the guards that are recorded in `taken`.

        Returns why XDP is not used, as `Hooks.attach` does.
        """
        lags = self.netns.maps.lags(link.index)
        with self.netns.maps.programs(link.index) as programs:
            if lags:
                self.netns.hooks.heed(link, programs)
                self.netns.maps.level(link.index)
            note = self.netns.hooks.attach(link, programs, state.xdp)
            self.guarding.put(link, taken)
        if lags:
            self.netns.hooks.unheed(link)
            self.netns.maps.settle(link.index)
        return note


def _ruled(state: InterfaceState) -> set[Hashable]:
    """Return what packets are ruled by, with its places."""
    return {state.cluster, *state.groups, *((entry.slot, entry.rule) for entry in state.entries)}
