"""What is reached of one network namespace: its interfaces, and what is pinned for them in bpffs.

Rules given by commands (`rule_table`) and daemons (`served_interface`) change the same things
through it, each under the machine's one lock. Reading takes no lock: rules are swapped as a whole,
and what is read may be gone a moment later.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec

from clusterip.adapters import bpffs, runfiles
from clusterip.adapters.hooks import Hooks, KernelHooks
from clusterip.adapters.kernel_maps import OtherVersionError
from clusterip.adapters.links import Link, Links, NetlinkLinks
from clusterip.adapters.pinned_maps import MapsByInterface, PinnedMaps
from clusterip.core.errors import AbsentError, RefusedError
from clusterip.core.packets.state import InterfaceState


class Namespace(msgspec.Struct, frozen=True):
    """One network namespace.

    `lock` is for each change. `running` tells whether the daemon of the cluster of that name is
    alive in it.
    """

    maps: MapsByInterface
    hooks: Hooks
    links: Links
    lock: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext
    running: Callable[[str], bool] = lambda _cluster: False

    @classmethod
    def open(cls, notify: Callable[[str], None], *, for_daemon: bool = False) -> Namespace:
        """Return that of this process; `notify` is told where the lock has to be waited for.

        A daemon keeps its netlink sockets, and goes on where the lock is refused to everybody.
        SystemFaultError where the machine has no bpffs, and can mount none.
        """
        return cls(
            PinnedMaps(bpffs.namespace_folder()),
            KernelHooks(),
            NetlinkLinks(lasting=for_daemon),
            lambda: bpffs.locked(notify, in_any_case=for_daemon),
            runfiles.is_running,
        )

    @classmethod
    def to_look_at(cls) -> Namespace:
        """Return that of this process, in which nothing may be changed; bpffs is not mounted."""
        folder = bpffs.existing_folder() or Path("/nonexistent")
        return cls(PinnedMaps(folder), KernelHooks(), NetlinkLinks(), running=runfiles.is_running)

    def states(self) -> Iterator[InterfaceState]:
        """Yield what is shared on each interface; OtherVersionError for another version's."""
        for index in self.maps.indices():
            # It may go between the listing and the look.
            with contextlib.suppress(FileNotFoundError):
                yield self.state(index)

    def readable(self) -> Iterator[InterfaceState]:
        """Yield the same, but for what another version left."""
        for index in self.maps.indices():
            with contextlib.suppress(OtherVersionError, FileNotFoundError):
                yield self.state(index)

    def state(self, index: int) -> InterfaceState:
        """Return what is shared on the interface; FileNotFoundError if nothing is."""
        with self.maps.open(index) as maps:
            return maps.rules()

    def is_run(self, state: InterfaceState) -> bool:
        """Tell whether a daemon that is alive here runs it."""
        return bool(state.cluster) and self.running(state.cluster)

    def by_index(self) -> dict[int, Link]:
        """Return the interfaces by ifindex."""
        return {link.index: link for link in self.links.all()}

    def link(self, name: str) -> Link:
        """Return the interface of that name; see `find_link`."""
        return find_link(self.links, name)

    def link_at(self, index: int) -> Link | None:
        """Return the interface with that ifindex, None if it is gone."""
        return self.by_index().get(index)

    def name(self, state: InterfaceState) -> str:
        """Return what its interface is called now: it may have been renamed."""
        link = self.link_at(state.index)
        return link.name if link else state.name


def find_link(links: Links, name: str) -> Link:
    """Return the interface of that name; RefusedError if a VIP cannot be shared on it.

    That is AbsentError if it is not there.
    """
    link = next((one for one in links.all() if one.name == name), None)
    if link is None:
        there = ", ".join(one.name for one in links.all() if one.ethernet) or "none"
        raise AbsentError(
            name,
            f"there is no interface {name} in this network namespace",
            f"Ethernet interfaces here: {there}",
        )
    refuse_unfit(link)
    return link


def refuse_unfit(link: Link) -> None:
    """Raise RefusedError if a VIP cannot be shared on the interface."""
    name = link.name
    if not link.ethernet:
        raise RefusedError(
            f"{name} is not an Ethernet interface", "a VIP is shared by its Ethernet address"
        )
    if link.master:
        raise RefusedError(
            f"{name} is a part of {link.master}, which takes its frames",
            f"use {link.master}, and give the addresses to it",
        )
    if link.kind in ("macvtap", "ipvtap"):
        raise RefusedError(
            f"the frames of {name} ({link.kind}) are for a virtual machine",
            "share the VIP inside of it",
        )
    if link.parent:
        # The stack answers for a VIP on any interface, and nothing filters on the parent.
        raise RefusedError(
            f"{link.parent} is in this network namespace and gets each frame of {name}"
            f" ({link.kind}) too: this host would answer what others do",
            f"use {link.parent}, or move {name} to a network namespace of its own",
        )
