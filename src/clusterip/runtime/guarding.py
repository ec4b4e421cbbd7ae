"""Guarding the other interfaces of the namespace of a shared one, see bpf/guard.h.

Linux answers ARP for a VIP on any interface, with that one's MAC. Were one of them on the segment,
all clients could come to this host, unfiltered. Which are on it nobody can tell, so all are
guarded that can have an answer sent: those with Ethernet and routes in common with the shared one.

They may go at any moment, as those of containers do, and what was on them goes with them: that is
no fault of the shared one, which must not stop to serve for it.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from typing import Final

import msgspec

from clusterip.adapters.kernel_maps import OtherVersionError
from clusterip.adapters.links import Link
from clusterip.core.errors import ClusterIPError, RefusedError
from clusterip.core.findings import Code, Finding
from clusterip.core.packets.state import Guard, InterfaceState, Taken
from clusterip.runtime.namespace import Namespace

_NOWHERE: Final = frozenset({"dummy", "ifb", "nlmon"})
"""Kinds that no segment is behind."""


def unguarded(name: str, *, by_daemon: bool) -> Finding:
    """Return what is wrong with an interface that is not guarded, and should be."""
    again = "" if by_daemon else ", or add a rule again if it came after the rules"
    return Finding.of(
        Code.NOT_GUARDED,
        f"{name} is not guarded",
        "on the segment of the VIPs it draws all clients to this host",
        cure=f"see tc qdisc show dev {name} for what is in the way{again}",
    )


@contextlib.contextmanager
def unless_it_goes() -> Iterator[None]:
    """Leave the rest of the body out where its interface turns out to be gone."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise


class Guarding(msgspec.Struct, frozen=True):
    """Puts the guards of shared interfaces in place, and takes them away.

    `links` are the interfaces that there are.
    """

    netns: Namespace
    links: tuple[Link, ...]

    def others(self, link: Link) -> tuple[Link, ...]:
        """Return the interfaces to be guarded for `link`. A port is its bridge's or bond's."""
        return tuple(
            one
            for one in self.links
            if one.index != link.index
            and one.ethernet
            and not one.master
            and one.vrf == link.vrf
            and one.kind not in _NOWHERE
        )

    def to_take(self, link: Link, taken: Taken) -> tuple[Guard, ...]:
        """Return what is to be recorded before `put`, beyond what is recorded in `taken`."""
        known = {guard.index for guard in taken.guards}
        found = []
        for one in self.others(link):
            # Where another qdisc is in the way nothing will be added.
            with contextlib.suppress(RefusedError), unless_it_goes():
                if one.index not in known:
                    found.append(Guard(one.index, not self.netns.hooks.has_clsact(one)))
        return tuple(found)

    def put(self, link: Link, taken: Taken) -> None:
        """Have all run that are recorded; what cannot be is for `missing` to say."""
        recorded = {guard.index for guard in taken.guards}
        with self.netns.maps.programs(link.index) as programs:
            for one in self.others(link):
                if one.index not in recorded:
                    continue
                with contextlib.suppress(ClusterIPError, OSError):
                    if not self.netns.hooks.guarded(one, programs, link.index):
                        self.netns.hooks.guard(one, programs, link.index)

    def missing(self, link: Link) -> tuple[str, ...]:
        """Return the names of the interfaces that should be guarded and are not."""
        found = []
        with self.netns.maps.programs(link.index) as programs:
            for one in self.others(link):
                with unless_it_goes():
                    if not self.netns.hooks.guarded(one, programs, link.index):
                        found.append(one.name)
        return tuple(found)

    def needed(self, link: Link, taken: Taken) -> tuple[Guard, ...]:
        """Return what of the record is still to be."""
        others = {one.index for one in self.others(link)}
        return tuple(guard for guard in taken.guards if guard.index in others)

    def take(self, shared: int, guards: tuple[Guard, ...]) -> None:
        """Take guards of the interface with ifindex `shared` away."""
        there = {one.index: one for one in self.links}
        with self.netns.maps.programs(shared) as programs:
            for guard in guards:
                if guard.index in there:
                    if guard.clsact:
                        self.bequeath(shared, guard.index)
                    link = there[guard.index]
                    with unless_it_goes():
                        self.netns.hooks.unguard(link, programs, shared, clsact=guard.clsact)

    def bequeath(self, shared: int, at: int) -> None:
        """Let whoever else of ours uses the qdisc of interface `at` have it to give back."""
        for index in self.netns.maps.indices():
            with contextlib.ExitStack() as stack:
                try:
                    maps = stack.enter_context(self.netns.maps.open(index))
                    state = maps.rules()
                except (OtherVersionError, OSError):
                    continue  # who cannot be told cannot give it back either
                if index != shared and state != (heir := _heir(state, at)):
                    maps.commit(heir)


def _heir(state: InterfaceState, at: int) -> InterfaceState:
    taken = msgspec.structs.replace(
        state.taken,
        clsact=state.taken.clsact or state.index == at,
        guards=tuple(Guard(one.index, one.clsact or one.index == at) for one in state.taken.guards),
    )
    return msgspec.structs.replace(state, taken=taken)
