"""Bringing one interface from the rules it has to the rules it shall have.

What must hold at every moment, also when the process is killed between two steps:
- what is added to the interface is recorded before, and forgotten after it was taken back;
- the rules change in one step, the commit: packets see the old ones or the new ones;
- an address that is managed here is there only while rules filter its traffic.
So after an interruption the next change finds all that is left behind, and finishes or undoes it.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from ipaddress import IPv4Address

import msgspec

from clusterip.adapters.abi import NO_DEADLINE, BucketState
from clusterip.adapters.dataplane import Plane
from clusterip.adapters.hooks import Hooks
from clusterip.adapters.links import Link, Links
from clusterip.adapters.planes import Planes
from clusterip.core.errors import ClusterIPError
from clusterip.core.model import Mac
from clusterip.core.state import InterfaceState, Taken


@dataclass(frozen=True)
class Changer:
    """Changes one interface; its adapters say where."""

    planes: Planes
    hooks: Hooks
    links: Links

    def bring(self, link: Link, old: InterfaceState | None, new: InterfaceState) -> None:
        """Make `new` the state of the interface, in place of `old` (None for a first rule).

        On an error the interface is as before; the error goes on to the caller.
        """
        if not new.entries:
            if old is not None:
                self._dismantle(link, old)
            return
        try:
            self._establish(link, old, new)
        except (ClusterIPError, OSError):
            # The error that stopped the change matters more than one of going back.
            with contextlib.suppress(ClusterIPError, OSError):
                self._go_back(link, old)
            raise

    def _go_back(self, link: Link, old: InterfaceState | None) -> None:
        if link.index not in self.planes.indices():
            return
        with self.planes.open(link.index) as plane:
            present = plane.state()
        if old is None:
            self._dismantle(link, present)
        else:
            self._establish(link, present, msgspec.structs.replace(old, taken=present.taken))

    def _establish(self, link: Link, old: InterfaceState | None, new: InterfaceState) -> None:
        if old is None:
            old = InterfaceState(link.index, link.name, new.xdp, taken=self._to_take(link, new))
            self.planes.create(old)
        macs, addresses = wanted(new)
        with self.planes.open(link.index) as plane:
            taking = _both(old.taken, self._to_take(link, new))
            _commit_if_new(plane, msgspec.structs.replace(old, taken=taking))
            with self.planes.programs(link.index) as programs:
                note = self.hooks.attach(link, programs, new.xdp)
            for address in set(taking.addresses) - addresses:
                self.links.remove_address(link.index, address)
            _prepare(plane, old, new)
            new = msgspec.structs.replace(new, taken=taking, xdp_note=note)
            _commit_if_new(plane, new)
            for gone in (group for group in old.groups if group not in new.groups):
                if gone.index not in {group.index for group in new.groups}:
                    plane.clear_group(gone.index)
            for mac in set(taking.macs) & macs:
                self.links.add_mac(link, mac)
            for address in set(taking.addresses) & addresses:
                self.links.add_address(link.index, address)
            for mac in set(taking.macs) - macs:
                self.links.remove_mac(link, mac)
            taken = Taken(
                taking.clsact,
                tuple(mac for mac in taking.macs if mac in macs),
                tuple(address for address in taking.addresses if address in addresses),
            )
            _commit_if_new(plane, msgspec.structs.replace(new, taken=taken))

    def _to_take(self, link: Link, new: InterfaceState) -> Taken:
        """Return what the rules need and the interface does not have yet."""
        macs, addresses = wanted(new)
        return Taken(
            not self.hooks.has_clsact(link),
            tuple(sorted(macs - self.links.macs(link.index))),
            tuple(sorted(addresses - self.links.addresses(link.index))),
        )

    def _dismantle(self, link: Link, old: InterfaceState) -> None:
        for address in old.taken.addresses:
            self.links.remove_address(link.index, address)
        with self.planes.open(link.index) as plane:
            _commit_if_new(plane, msgspec.structs.replace(old, groups=(), entries=()))
        for mac in old.taken.macs:
            self.links.remove_mac(link, mac)
        with self.planes.programs(link.index) as programs:
            self.hooks.detach(link, programs, clsact=old.taken.clsact)
        self.planes.remove(link.index)


def wanted(state: InterfaceState) -> tuple[frozenset[Mac], frozenset[IPv4Address]]:
    """Return what the rules need of the interface: MACs in its filter, managed addresses."""
    return (
        frozenset(group.sharing.mac for group in state.groups),
        frozenset(entry.rule.vip for entry in state.entries if entry.rule.manage_address),
    )


def _both(one: Taken, other: Taken) -> Taken:
    return Taken(
        one.clsact or other.clsact,
        tuple(sorted({*one.macs, *other.macs})),
        tuple(sorted({*one.addresses, *other.addresses})),
    )


def _commit_if_new(plane: Plane, state: InterfaceState) -> None:
    if plane.state() != state:
        plane.commit(state)


def _prepare(plane: Plane, old: InterfaceState, new: InterfaceState) -> None:
    """Set counters and buckets of what is new, before any packet can get there."""
    for entry in new.entries:
        if entry.slot not in {one.slot for one in old.entries}:
            plane.zero_rule(entry.slot)
    for group in new.groups:
        if group in old.groups:
            continue
        plane.clear_group(group.index)
        for entry in new.entries:
            rule = entry.rule
            if rule.vip == group.vip and rule.sharing is not None and rule.local_node:
                plane.set_bucket(group.index, rule.local_node, BucketState.OWNED)
                break
        plane.set_deadline(group.index, NO_DEADLINE)
