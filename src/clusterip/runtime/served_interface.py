"""The interface that a daemon serves on: taking it over, keeping it whole, giving it back.

What lies there belongs to rules given by commands, or to one cluster, never to both. What an
earlier daemon of the same cluster left is taken over as it is, buckets and deadline included, if
it says the same as the configuration; else it is taken away first.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from clusterip.adapters import neighbours, origins, pages, refusals
from clusterip.adapters.configured import Configured
from clusterip.adapters.kernel_maps import InterfaceMaps, OtherVersionError
from clusterip.adapters.links import Link, as_ours
from clusterip.adapters.telling import note
from clusterip.core.config.model import Config
from clusterip.core.config.state import interface_state
from clusterip.core.errors import AbsentError, ClusterIPError, RefusedError, SystemFaultError
from clusterip.core.events import Level
from clusterip.core.findings import Finding
from clusterip.core.packets.state import InterfaceState
from clusterip.runtime import presence
from clusterip.runtime.change import Changer, Guarded
from clusterip.runtime.clearing import Clearing
from clusterip.runtime.guarding import Guarding
from clusterip.runtime.namespace import Namespace, refuse_unfit


class Mended(NamedTuple):
    """What was done to keep an interface whole, in words; empty where nothing was to be done.

    `taken_off` says which VIPs of others, and who likely put them there.
    """

    put_back: str = ""
    taken_off: str = ""


@dataclass(frozen=True)
class ServedInterface:
    """Brings what a configuration says to an interface of this network namespace."""

    netns: Namespace
    search: presence.Search = origins.find

    @classmethod
    def open(cls, notify: Callable[[str], None]) -> ServedInterface:
        """Return the site of this network namespace."""
        return cls(Namespace.open(notify, for_daemon=True))

    @property
    def _changer(self) -> Changer:
        return Changer(self.netns)

    def enter(
        self, config: Config, interface: str, *, going_on: bool = False
    ) -> tuple[InterfaceState, bool]:
        """Share the VIPs on `interface`; say whether what lay there was taken over as it is.

        RefusedError if something else is there, or a VIP is on an interface already; a planned
        restart is `going_on`, and has that taken off later. All buckets that are new are closed.
        From then on this site goes by what it holds open, whatever becomes of the pins.
        """
        with self.netns.lock():
            self.netns.maps.sweep()
            link = self.netns.link(interface)
            wanted = interface_state(config, link.index, link.name)
            self._clear_unreadable(wanted)
            states = list(self.netns.readable())
            for state in states:
                self._refuse_other(state, wanted)
            if not going_on:
                presence.refuse(self.findings(config, interface, states))
            present = None
            for state in states:
                if state.index == link.index and _same(state, wanted):
                    present = state
                elif state.cluster == wanted.cluster or _in_the_way(state, wanted):
                    self._remove(state.index)
            if present is not None and not self._goes_on(link, present):
                self._remove(link.index)
                present = None
            if present is None:
                if going_on and wanted.cluster not in {state.cluster for state in states}:
                    self._take_over_addresses(link, wanted)
                self._changer.bring(link, None, wanted)
            self.netns.maps.keep(link.index)
            return self.netns.state(link.index), present is not None

    def _take_over_addresses(self, link: Link, wanted: InterfaceState) -> None:
        """Take off the VIPs that the daemon before added: what it recorded is not to be seen."""
        vips = {group.vip for group in wanted.groups}
        for one in self.netns.links.configured():
            if one.index == link.index and one.address in vips and as_ours(one):
                self.netns.links.take_off(one)

    def obstacles(self, config: Config, interface: str) -> list[RefusedError]:
        """Return what `enter` would be refused for, beside the VIPs that are there already."""
        link = self.netns.link(interface)
        wanted = interface_state(config, link.index, link.name)
        refused = []
        for state in self.netns.readable():
            try:
                self._refuse_other(state, wanted)
            except RefusedError as error:
                refused.append(error)
        try:
            self.netns.hooks.refuse_foreign(link)
        except RefusedError as error:
            refused.append(error)
        return refused

    def refuse_successor(self, config: Config, interface: str, index: int) -> None:
        """Raise what would keep a successor from taking over what is shared on `index`.

        AbsentError where there is no `interface`: it would wait for that.
        """
        link = self.netns.link(interface)
        if link.index != index:
            raise RefusedError(
                f"{interface} is another interface than the one that this daemon shares",
                f"give that one the name {interface} back; or stop this daemon and start it",
            )
        for refused in self.obstacles(config, interface):
            raise refused
        self.pin_again(index, interface)
        if not self.netns.maps.is_found():
            raise RefusedError(
                f"a successor would not find what is shared on {interface}: its pins are in a bpffs"
                " that it does not look in, for the process that started this daemon has ended",
                f"stop this daemon and start it anew: {pages.entering()}",
            )
        try:
            self.netns.maps.try_renewing(index)
        except OtherVersionError as error:
            raise RefusedError(
                "the release that is installed now cannot go on with what this one has in the"
                f" kernel for {interface}",
                "install one that can; or `clusterip drain --wait`, stop this daemon and start it",
            ) from error

    def findings(
        self, config: Config, interface: str, states: Iterable[InterfaceState]
    ) -> tuple[Finding, ...]:
        """Return what of the VIPs is on this host without us, where `states` say what we did."""
        vips = {vip.address for vip in config.vips}
        ours = presence.added(states)
        return presence.findings(self.netns.links, vips, ours, interface, self.search)

    def open_maps(self, state: InterfaceState) -> contextlib.AbstractContextManager[InterfaceMaps]:
        """Open what the packets of the interface are decided by."""
        return self.netns.maps.open(state.index)

    def is_pinned(self, index: int) -> bool:
        """Tell whether the pins of what is shared are what they were; it waits for nothing."""
        return self.netns.maps.is_pinned(index)

    def pin_again(self, index: int, name: str) -> bool:
        """Pin what is shared on interface `name` if somebody took the pins away; say whether.

        SystemFaultError where that cannot be.
        """
        if self.is_pinned(index):
            return False
        try:
            with self.netns.lock():
                self.netns.maps.pin(index)
        except OSError as error:
            raise SystemFaultError(
                f"what is shared on {name} is not pinned, and cannot be: {error.strerror}",
                f"{refusals.cure(error)}; until then commands do not see it,"
                " and nobody takes it over",
            ) from error
        return True

    def mend(self, index: int) -> Mended:
        """Put back what somebody took away: filters, addresses, MACs; take off VIPs of others.

        RefusedError if VIPs cannot be shared there any more: it became a part of a bridge, say.
        AbsentError where nothing is shared any more: a command that did not see the daemon did it.
        """
        with self.netns.lock(), self.netns.maps.open(index) as maps:
            state, link = maps.rules(), self.netns.link_at(index)
            if not state.entries:
                raise AbsentError(
                    state.name,
                    f"what was shared on {state.name} was taken away by another command",
                    "this daemon takes the interface anew; use no `clusterip flush` beside it",
                )
            if link is None:
                raise ClusterIPError("the interface is gone", "start the daemon when it is back")
            refuse_unfit(link)
            missing = self._changer.missing(link, state)
            self._changer.bring(link, state, state)
            if missing:
                missing -= self._changer.missing(link, maps.rules())
            found = self._take_off(state, presence.added([maps.rules()]))
            taken_off = presence.described(self.netns.links, found, self.search) if found else ""
            return Mended(", ".join(sorted(missing)), taken_off)

    def _take_off(self, state: InterfaceState, ours: presence.Ours) -> tuple[Configured, ...]:
        """Take VIPs off all interfaces but where they are `ours`; returns what was there."""
        vips = {group.vip for group in state.groups}
        found = presence.strangers(self.netns.links, vips, ours, self.netns.name(state))
        for one in found:
            self.netns.links.take_off(one)
        return found

    def guard(self, index: int) -> Guarded:
        """Guard the other interfaces, and say what was without, however short.

        Nothing happens where all are. What cannot be is for `unguarded` to say.
        """
        with self.netns.lock(), self.netns.maps.open(index) as maps:
            link = self.netns.link_at(index)
            return self._changer.guard(link, maps) if link is not None else Guarded()

    def unguarded(self, index: int) -> tuple[str, ...]:
        """Return the other interfaces that may tell clients their own MAC for a VIP."""
        link = self.netns.link_at(index)
        return Guarding(self.netns, self.netns.links.all()).missing(link) if link else ()

    def lets_in(self, state: InterfaceState) -> bool:
        """Tell whether the interface lets frames to the cluster MACs in."""
        return {group.sharing.mac for group in state.groups} <= self.netns.links.macs(state.index)

    @staticmethod
    def ask_again(index: int) -> None:
        """Ask anew for the neighbours that were asked for while the link was gone."""
        neighbours.ask_again(index)

    def close(self, state: InterfaceState) -> None:
        """Take the VIPs off the interface, for nothing filters their packets any more."""
        with self.netns.lock():
            for address in state.taken.addresses:
                self.netns.links.remove_address(state.index, address)
            self._take_off(state, {})

    def leave(self, index: int) -> None:
        """Give the interface back as it was found; on an error, as far as that could be done."""
        with self.netns.lock():
            if index in self.netns.maps.indices():
                self._remove(index)

    def _clear_unreadable(self, wanted: InterfaceState) -> None:
        """Take away what another version left in the way of `wanted`, and cannot be read."""
        clearing, vips = Clearing(self.netns), {group.vip for group in wanted.groups}
        for index in clearing.unreadable():
            record = self.netns.maps.record(index)
            if record is not None and record.cluster != wanted.cluster:
                if index != wanted.index and not vips & record.vips:
                    continue
                if record.cluster and self.netns.running(record.cluster):
                    raise _shared_by_daemon(record.name, record.cluster)
            note(clearing.clear(index, vips), Level.WARNING)

    def _goes_on(self, link: Link, present: InterfaceState) -> bool:
        """Have what lies there be whole, in maps of this installation; tell if that can be."""
        try:
            self._changer.bring(link, present, present)
        except OtherVersionError:
            return False
        return self.netns.maps.fits(link.index)

    def _refuse_other(self, state: InterfaceState, wanted: InterfaceState) -> None:
        ours = state.cluster == wanted.cluster
        if ours or not state.entries or not _in_the_way(state, wanted):
            return
        if not state.cluster:
            raise RefusedError(
                f"{state.name} is shared by rules already",
                "`clusterip iptables -S` lists them, `clusterip flush` takes them away",
            )
        if self.netns.is_run(state):
            raise _shared_by_daemon(state.name, state.cluster)

    def _remove(self, index: int) -> None:
        state = self.netns.state(index)
        link = self.netns.link_at(index)
        if link is None:
            # The device is gone, and what was attached to it with it.
            self._changer.forget(state)
            return
        # What somebody added meanwhile would stay, and be answered by this host alone.
        self._take_off(state, presence.added([state]))
        self._changer.dismantle(link, state)


class Shared(NamedTuple):
    """An interface whose VIPs are shared: who serves it, and how it was when that began."""

    served: ServedInterface
    state: InterfaceState


def _in_the_way(state: InterfaceState, wanted: InterfaceState) -> bool:
    """Tell whether both are on one interface, or have a VIP in common."""
    vips = {group.vip for group in wanted.groups} & {group.vip for group in state.groups}
    return state.index == wanted.index or bool(vips)


def _same(state: InterfaceState, wanted: InterfaceState) -> bool:
    return (state.cluster, state.groups, state.entries) == (
        wanted.cluster,
        wanted.groups,
        wanted.entries,
    )


def _shared_by_daemon(name: str, cluster: str) -> RefusedError:
    return RefusedError(
        f"{name} is shared by the daemon of cluster {cluster}",
        "stop it first, or use another interface and other VIPs",
    )
