"""Bringing one interface from the rules it has to the rules it shall have.

What must hold at every moment, also when the process is killed between two steps:
- what is added to the interface is recorded before, and forgotten after it was taken back;
- the rules change in one step, the commit: packets see the old ones or the new ones;
- buckets and counters of new groups and rules are built where nothing in force looks;
- an address that is managed here is there only while rules filter its traffic, and while other
  interfaces are guarded.
So after an interruption the next change finds all that is left behind, and finishes or undoes it.
After an error all is as it was, the buckets included: one that was given away by hand must not
come back.

What goes is taken away as it lies there, in maps of whatever layout, and by their own programs.

A bucket table that a daemon runs starts closed, with no bucket and its deadline passed; only the
daemon opens it. What the table has stays as long as what is hashed into it stays as it is. If that
changes, neighbours that have not changed yet would read its buckets otherwise: it starts anew.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import msgspec

from clusterip.adapters.abi import NO_DEADLINE, BucketState
from clusterip.adapters.kernel_maps import InterfaceMaps
from clusterip.adapters.links import Link
from clusterip.core import limits
from clusterip.core.address import Address, order
from clusterip.core.config.mac import igmp_group
from clusterip.core.errors import ClusterIPError, RefusedError
from clusterip.core.packets.model import Mac, Match
from clusterip.core.packets.state import Entry, Group, InterfaceState, Taken, XdpMode, both
from clusterip.runtime.attaching import Attaching
from clusterip.runtime.guarding import Guarding
from clusterip.runtime.namespace import Namespace


@dataclass(frozen=True)
class Holding:
    """What this host holds of one VIP: the states of its buckets, and its deadline."""

    states: tuple[BucketState, ...]
    deadline: int


class Guarded(NamedTuple):
    """What was done to guard the other interfaces.

    `exposed` if one that is up had been without; `put_back` has in words what was there before,
    and had been taken away.
    """

    exposed: bool = False
    put_back: str = ""


Holdings = Mapping[Address, Holding]
_NOTHING: Final[Holdings] = {}
_CLOSED: Final = Holding((), deadline=0)


@dataclass(frozen=True)
class Changer:
    """Changes one interface; `netns` says where. For one change: it asks once what is there."""

    netns: Namespace
    spared: Callable[[InterfaceState], bool] = lambda _state: False
    """Tells whose programs and maps stay as they are: a daemon's that lives, and has them open."""

    @cached_property
    def _guarding(self) -> Guarding:
        return Guarding(self.netns, self.netns.links.all())

    @cached_property
    def _attaching(self) -> Attaching:
        return Attaching(self.netns, self._guarding, self.spared)

    def holdings(self, index: int) -> Holdings:
        """Return what is held of each VIP of an interface."""
        if index not in self.netns.maps.indices():
            return _NOTHING
        with self.netns.maps.open(index) as maps:
            return {group.vip: _held(maps, group) for group in maps.rules().groups}

    def bring(
        self,
        link: Link,
        old: InterfaceState | None,
        new: InterfaceState,
        holdings: Holdings = _NOTHING,
    ) -> None:
        """Make `new` the state of the interface, in place of `old` (None for a first rule).

        A VIP that is new starts with what `holdings` says, or else with the buckets of its rules;
        with none, and its deadline passed, if a daemon runs `new`. The places of tables and
        counters (`index`, `slot`) may come out different from what `new` says.
        On an error the interface is as before; the error goes on to the caller.
        """
        before = self.holdings(link.index)
        old = self._with_bequests(old)
        try:
            if new.entries:
                self._establish(link, old, _aside(old, new), holdings)
            elif old is not None:
                self.dismantle(link, old)
        except BaseException:
            # The error that stopped the change matters more than one of going back.
            with contextlib.suppress(ClusterIPError, OSError):
                self._go_back(link, old, before)
            raise

    def _with_bequests(self, old: InterfaceState | None) -> InterfaceState | None:
        """Return `old` with what a change of another interface left it meanwhile."""
        if old is None or old.index not in self.netns.maps.indices():
            return old
        taken = both(self.netns.state(old.index).taken, old.taken)
        return msgspec.structs.replace(old, taken=taken)

    def _go_back(self, link: Link, old: InterfaceState | None, before: Holdings) -> None:
        there = link.index in self.netns.maps.indices()
        if old is not None and old.entries and not there:
            self._establish(link, None, old, before)
        if not there:
            return
        present = self.netns.state(link.index)
        if old is None or not old.entries:
            self.dismantle(link, present)
            return
        # Perhaps it was one of these that failed; the rest can be as it was all the same.
        with contextlib.suppress(ClusterIPError, OSError):
            if not present.entries:
                # Another version's rules cannot be put in force again in its maps.
                self._attaching.renew(link, present, old)
        with self.netns.maps.open(link.index) as maps:
            old = msgspec.structs.replace(old, taken=both(present.taken, old.taken))
            with contextlib.suppress(ClusterIPError, OSError):
                self._attaching.attach(link, old, old.taken)
            self._guarding.put(link, old.taken)
            self._settle(link, maps, present, old, before)

    def _establish(
        self, link: Link, old: InterfaceState | None, new: InterfaceState, holdings: Holdings
    ) -> None:
        if old is None:
            old = InterfaceState(
                link.index,
                link.name,
                new.xdp,
                taken=self._to_take(link, new, Taken()),
                cluster=new.cluster,
            )
            self.netns.maps.create(old)
        else:
            old = self._attaching.renew(link, old, new)
        taking = both(old.taken, self._to_take(link, new, old.taken))
        with self.netns.maps.open(link.index) as maps:
            _commit_if_new(maps, msgspec.structs.replace(old, taken=taking))
            note = self._attaching.attach(link, new, taking)
            new = msgspec.structs.replace(new, taken=taking, xdp_note=note)
            self._settle(link, maps, old, new, holdings)

    def guard(self, link: Link, maps: InterfaceMaps) -> Guarded:
        """Guard the other interfaces before all else; see `Site.guard`."""
        without = set(self._guarding.missing(link))
        if not without:
            return Guarded()
        state = maps.rules()
        recorded = {guard.index for guard in state.taken.guards}
        taken = Taken(guards=self._guarding.to_take(link, state.taken))
        _commit_if_new(maps, msgspec.structs.replace(state, taken=both(state.taken, taken)))
        self._guarding.put(link, maps.rules().taken)
        # They may have come up since they were asked for.
        links = [one for one in self.netns.links.all() if one.name in without]
        lost = sorted(f"the guard of {one.name}" for one in links if one.index in recorded)
        return Guarded(any(one.up for one in links), ", ".join(lost))

    def renew(self, state: InterfaceState) -> None:
        """Have the maps be this installation's, and no programs of another run."""
        if self.netns.maps.lags(state.index) or not self.netns.maps.fits(state.index):
            for link in self.netns.links.all():
                if link.index == state.index:
                    self.bring(link, state, state)

    def _settle(
        self,
        link: Link,
        maps: InterfaceMaps,
        old: InterfaceState,
        new: InterfaceState,
        holdings: Holdings,
    ) -> None:
        """Put `new` in force and do what it needs; `new.taken` has all there is to give back."""
        macs, addresses = wanted(new)
        taking = new.taken
        _commit_if_new(maps, msgspec.structs.replace(old, taken=taking))
        for address in set(taking.addresses) - addresses:
            self.netns.links.remove_address(link.index, address)
        _prepare(maps, old, new, holdings)
        _commit_if_new(maps, new)
        for mac in (set(taking.macs) & macs) - self.netns.links.macs(link.index):
            self.netns.links.add_mac(link, mac)
        for address in (set(taking.addresses) & addresses) - self.netns.links.as_added(link.index):
            self.netns.links.add_address(link.index, address)
        for mac in set(taking.macs) - macs:
            self.netns.links.remove_mac(link, mac)
        guards = self._guarding.needed(link, taking)
        self._guarding.take(link.index, tuple(sorted({*taking.guards} - {*guards})))
        taken = msgspec.structs.replace(_needed(new), guards=guards)
        _commit_if_new(maps, msgspec.structs.replace(new, taken=taken))

    def _to_take(self, link: Link, new: InterfaceState, taken: Taken) -> Taken:
        """Return what the rules need and the interface does not have yet."""
        macs, addresses = wanted(new)
        return Taken(
            not self.netns.hooks.has_clsact(link),
            tuple(sorted(macs - self.netns.links.macs(link.index))),
            tuple(sorted(addresses - self.netns.links.addresses(link.index), key=order)),
            self._guarding.to_take(link, taken),
        )

    def missing(self, link: Link, state: InterfaceState) -> frozenset[str]:
        """Return what was brought to the interface and is not there any more, in words."""
        macs, addresses = wanted(state)
        lost = (set(state.taken.addresses) & addresses) - self.netns.links.as_added(link.index)
        found = {f"the address {address}" for address in lost}
        lost_macs = (set(state.taken.macs) & macs) - self.netns.links.macs(link.index)
        found |= {f"{mac} in the MAC filter" for mac in lost_macs}
        with self.netns.maps.programs(link.index) as programs:
            attached = self.netns.hooks.attached(link, programs)
        if not attached.tc:
            found.add("filters of tc")
        if state.xdp is not XdpMode.OFF and not state.xdp_note and not attached.xdp:
            found.add("the XDP program")
        return frozenset(found)

    def forget(self, state: InterfaceState) -> None:
        """Drop what belonged to an interface that is gone: for itself the kernel did the rest."""
        self._guarding.take(state.index, state.taken.guards)
        self.netns.maps.remove(state.index)

    def dismantle(self, link: Link, old: InterfaceState) -> None:
        """Take all away that `old` brought; on an error what is left stays recorded."""
        self._attaching.finish(link, old)
        for address in old.taken.addresses:
            self.netns.links.remove_address(link.index, address)
        with self.netns.maps.open(link.index) as maps:
            _commit_if_new(maps, msgspec.structs.replace(old, groups=(), entries=()))
        for mac in old.taken.macs:
            self.netns.links.remove_mac(link, mac)
        self._guarding.take(link.index, old.taken.guards)
        if old.taken.clsact:
            self._guarding.bequeath(link.index, link.index)
        with self.netns.maps.programs(link.index) as programs:
            self.netns.hooks.detach(link, programs, clsact=old.taken.clsact)
        self.netns.maps.remove(link.index)


def wanted(state: InterfaceState) -> tuple[frozenset[Mac], frozenset[Address]]:
    """Return what the rules need of the interface: MACs in its filter, and addresses.

    Addresses are the managed VIPs, and the groups by which switches learn where the MACs go.
    """
    macs = frozenset(group.sharing.mac for group in state.groups)
    managed = [entry.rule.vip for entry in state.entries if entry.rule.manage_address]
    igmp_groups = [one for mac in macs if (one := igmp_group(mac))]
    return macs, frozenset((*managed, *igmp_groups))


def unfinished(state: InterfaceState) -> bool:
    """Tell whether an interrupted change left something on the interface to give back."""
    return not state.entries or state.taken != _needed(state) or state != state.without_idle()


def _needed(state: InterfaceState) -> Taken:
    """Return what of the things taken the rules need."""
    macs, addresses = wanted(state)
    return Taken(
        state.taken.clsact,
        tuple(mac for mac in state.taken.macs if mac in macs),
        tuple(address for address in state.taken.addresses if address in addresses),
        state.taken.guards,
    )


def _commit_if_new(maps: InterfaceMaps, state: InterfaceState) -> None:
    if maps.rules() != state:
        maps.commit(state)


def _aside(old: InterfaceState | None, new: InterfaceState) -> InterfaceState:
    """Give new groups and rules places that nothing old has, for the old ones are in force."""
    if old is None:
        return new
    used = {group.index for group in (*old.groups, *new.groups)}
    moved = {
        index: _free(used, range(limits.GROUPS), link_name=new.name)
        for index in _tables(new)
        if index in _tables(old) and not _in_force(old, new, index)
    }
    groups = (
        msgspec.structs.replace(group, index=moved.get(group.index, group.index))
        for group in new.groups
    )
    entries = list(new.entries)
    by_slot = {entry.slot: _counted(entry) for entry in old.entries}
    used = {entry.slot for entry in (*old.entries, *new.entries)}
    for at, entry in enumerate(entries):
        if by_slot.get(entry.slot, _counted(entry)) != _counted(entry):
            slot = _free(used, range(1, limits.RULES), link_name=new.name)
            entries[at] = msgspec.structs.replace(entry, slot=slot)
    return msgspec.structs.replace(new, groups=tuple(groups), entries=tuple(entries))


def _tables(state: InterfaceState) -> tuple[int, ...]:
    """Return the places of the bucket tables, each once, in the order of their groups."""
    return tuple(dict.fromkeys(group.index for group in state.groups))


def _meaning(state: InterfaceState, index: int) -> Hashable:
    """Return what the buckets of a table stand for; if it changes, they are given out anew."""
    groups = [group for group in state.groups if group.index == index]
    shared = frozenset((group.vip, group.sharing) for group in groups)
    if not state.cluster:
        return shared
    vips = {group.vip for group in groups}
    rules = [one.rule for one in sorted(state.entries, key=lambda entry: entry.position)]
    led = tuple(
        (one.vip, one.match, one.sharing, one.action, one.bucket)
        for one in rules
        if one.vip in vips
    )
    return state.cluster, shared, led


def _in_force(old: InterfaceState, new: InterfaceState, index: int) -> bool:
    """Tell whether the table at `index` is the same in both."""
    return index in _tables(old) and _meaning(old, index) == _meaning(new, index)


def _counted(entry: Entry) -> tuple[Address, Match]:
    """Return what makes the rule's counters its own."""
    return entry.rule.vip, entry.rule.match


def _free(used: set[int], places: range, *, link_name: str) -> int:
    place = next((one for one in places if one not in used), None)
    if place is None:
        raise RefusedError(
            f"{link_name} is full, so nothing can be exchanged in one step",
            "delete first, then add",
        )
    used.add(place)
    return place


def _prepare(
    maps: InterfaceMaps, old: InterfaceState, new: InterfaceState, holdings: Holdings
) -> None:
    """Set counters and buckets of what is new, before any packet can get there."""
    for entry in new.entries:
        if entry.slot not in {one.slot for one in old.entries} and entry.rule.vip not in holdings:
            maps.zero_rule(entry.slot)
    for index in _tables(new):
        if _in_force(old, new, index):
            continue
        group = next(one for one in new.groups if one.index == index)
        known = holdings.get(group.vip)
        if known and known == _held(maps, group):
            continue
        held = known or (_CLOSED if new.cluster else _by_rules(group.vip, new))
        maps.clear_group(index)
        for bucket, state in enumerate(held.states, start=1):
            if state is not BucketState.NONE:
                maps.set_bucket(index, bucket, state)
        maps.set_deadline(index, held.deadline)


def _held(maps: InterfaceMaps, group: Group) -> Holding:
    return Holding(maps.bucket_states(group.index), maps.deadline(group.index))


def _by_rules(vip: Address, new: InterfaceState) -> Holding:
    """Return what the rules give this host of a VIP to begin with."""
    nodes = (one.rule.local_node for one in new.entries if one.rule.vip == vip and one.rule.sharing)
    node = next(nodes, 0)
    states = [
        BucketState.OWNED if bucket == node else BucketState.NONE for bucket in range(1, node + 1)
    ]
    return Holding(tuple(states), NO_DEADLINE)
