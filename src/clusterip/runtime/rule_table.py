"""This host's share of the VIPs, in the network namespace the process is in.

Reading takes no lock: rules are swapped as a whole. Every change takes the machine's one lock,
mends what an interrupted change left, and then does its work. Interfaces that a daemon runs are
shown and mended like others; what they shall be, and their buckets, are the daemon's to say.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

import msgspec

from clusterip.adapters import capabilities
from clusterip.adapters.abi import BucketState
from clusterip.adapters.clock import boottime
from clusterip.adapters.hooks import Attached
from clusterip.adapters.kernel_maps import Count
from clusterip.adapters.links import Link
from clusterip.core.address import Address, order
from clusterip.core.errors import ClusterIPError, RefusedError
from clusterip.core.findings import Finding
from clusterip.core.packets.model import Rule
from clusterip.core.packets.state import Chain, Group, InterfaceState, XdpMode
from clusterip.core.rules import chain as chains
from clusterip.core.rules import statefile
from clusterip.core.rules.statefile import Change
from clusterip.runtime import carrier, lacking
from clusterip.runtime.guarding import Guarding
from clusterip.runtime.namespace import Namespace

# What changes something is loaded where that begins: most commands only read.
if TYPE_CHECKING:
    from clusterip.runtime.change import Changer

HELD = (BucketState.OWNED, BucketState.TAKING)
"""The states in which a bucket is this host's to answer."""


class InterfaceView(msgspec.Struct, frozen=True):
    """What is to be seen of one interface at one moment.

    `name` is what it is called now; `unguarded` are other interfaces that should be guarded;
    `present` is False where it is gone, and only what is pinned is left; `lacking` is what
    this host's addresses lack for its rules; `wrong` is what keeps it from carrying anything.
    """

    name: str
    state: InterfaceState
    attached: Attached
    unruled: Count
    rules: dict[int, Count]
    groups: dict[int, tuple[BucketState, ...]]
    deadlines: dict[int, int]
    traffic: dict[int, tuple[tuple[int, int], ...]]
    unguarded: tuple[str, ...] = ()
    present: bool = True
    lacking: tuple[Finding, ...] = ()
    wrong: tuple[Finding, ...] = ()


def not_shared(vip: Address, known: Collection[Address]) -> RefusedError:
    """Return what is to be said of a VIP that is none of those that are known here."""
    some = f"VIPs of this host: {', '.join(map(str, known))}"
    none = "no VIP is: start the daemon, or add rules with `clusterip iptables -A`"
    return RefusedError(f"{vip} is not shared here", some if known else none)


class RuleTable(msgspec.Struct, frozen=True):
    """Reads and changes the rules and buckets of a network namespace.

    `require` raises SystemFaultError where this process could not make a change of the rules.
    """

    netns: Namespace
    notify: Callable[[str], None]
    require: Callable[[], None] = lambda: None
    refuse_unseen: Callable[[Callable[[], Collection[str]]], None] = lambda _seen: None
    """Raises RefusedError where a daemon runs that is not among the clusters of what is pinned."""

    @classmethod
    def open(cls) -> RuleTable:
        """Return the host of this network namespace.

        SystemFaultError without root, what it must be able to do, or bpffs.
        """
        capabilities.require(capabilities.LOOK)
        return cls(
            Namespace.open(_tell),
            _tell,
            lambda: capabilities.require(capabilities.CHANGE),
            _refuse_unseen,
        )

    def chain(self) -> Chain:
        """Return the rules in force."""
        return Chain(tuple(self.netns.states()))

    def edit(self, change: Callable[[Chain], Chain]) -> Chain:
        """Change the rules; returns them as they are now.

        Interfaces are changed one after the other, each in one step or not at all; where one is
        refused, those before it are changed back. RefusedError where a daemon shares what cannot
        be seen.
        """
        from clusterip.runtime.change import unfinished  # noqa: PLC0415

        self.require()
        self.refuse_unseen(lambda: {state.cluster for state in self.netns.states()})
        with self.netns.lock():
            links = self.netns.by_index()
            self._forget_gone(links)
            changer = self._changer()
            for state in filter(unfinished, self.chain().interfaces):
                # What cannot be mended can be taken away. If it is not, it is said of that below.
                with contextlib.suppress(ClusterIPError, OSError):
                    changer.bring(links[state.index], state, state.without_idle())
            old = self.chain()
            new = change(old)
            holdings = {state.index: changer.holdings(state.index) for state in old.interfaces}
            done: list[int] = []
            try:
                for state in new.interfaces:
                    changer.bring(links[state.index], old.interface(state.index), state)
                    done.append(state.index)
            except BaseException:
                for index in reversed(done):
                    present = self.chain().interface(index)
                    before = old.interface(index) or InterfaceState(index, links[index].name)
                    # The error that stopped the change matters more than one of going back.
                    with contextlib.suppress(ClusterIPError, OSError):
                        changer.bring(links[index], present, before, holdings.get(index, {}))
                raise
            return self.chain()

    def _changer(self) -> Changer:
        from clusterip.runtime.change import Changer  # noqa: PLC0415

        return Changer(self.netns, self.netns.is_run)

    def _forget_gone(self, links: dict[int, Link]) -> None:
        """Drop what belonged to interfaces that exist no longer: the kernel did the rest."""
        self.netns.maps.sweep()
        for state in self.netns.states():
            if state.index not in links:
                self.notify(f"{state.name} is gone, and its {len(state.entries)} rules with it")
                self._changer().forget(state)

    def add(self, rules: tuple[Rule, ...], number: int | None, xdp: XdpMode | None) -> Chain:
        """Add rules at the end, or so that the first becomes number `number` (1..count+1)."""

        def change(chain: Chain) -> Chain:
            for offset, rule in enumerate(rules):
                index = self.netns.link(rule.interface).index
                if number is None:
                    chain = chains.append(chain, rule, index)
                else:
                    chain = chains.insert(chain, rule, index, number + offset)
                if xdp is not None:
                    chain = chains.with_xdp(chain, index, xdp)
            return chain

        return self.edit(change)

    def flush(self) -> Chain:
        """Take everything away and all that it brought, that of other versions too.

        RefusedError while a daemon is alive: it would serve what is not there.
        """
        self.require()
        from clusterip.runtime.clearing import Clearing  # noqa: PLC0415

        clearing = Clearing(self.netns)
        self.refuse_unseen(lambda: {state.cluster for state in clearing.records()})
        with self.netns.lock():
            for record in clearing.records():
                self._refuse_alive(record.cluster)
            for index in clearing.unreadable():
                self.notify(clearing.clear(index))
        return self.edit(self._cleared)

    def _cleared(self, chain: Chain) -> Chain:
        for state in chain.interfaces:
            self._refuse_alive(state.cluster)
        return chains.clear(chain)

    def _refuse_alive(self, cluster: str) -> None:
        if cluster and self.netns.running(cluster):
            raise RefusedError(
                f"the daemon of cluster {cluster} runs",
                "stop it first: `systemctl stop clusterip`, or end `clusterip run`",
            )

    def vips(self) -> tuple[Address, ...]:
        """Return the VIPs shared here by rules, whose buckets are moved by hand."""
        return _vips(self.chain().static())

    def buckets(self, vip: Address) -> tuple[int, ...]:
        """Return the buckets of `vip` that this host answers, ascending: none without a lease."""
        state, group = self._find(vip)
        with self.netns.maps.open(state.index) as maps:
            states, deadline = maps.bucket_states(group.index), maps.deadline(group.index)
        return held(states, group) if deadline > boottime() else ()

    def is_over(self, state: InterfaceState, group: Group) -> bool:
        """Return whether the lease of a group is over: nothing is answered, whatever is held."""
        try:
            with self.netns.maps.open(state.index) as maps:
                return maps.deadline(group.index) <= boottime()
        except FileNotFoundError:  # its daemon was stopped, or its rules deleted
            return True

    def change_bucket(self, vip: Address, change: Change) -> None:
        """Take or give up a bucket; BucketChangeError if it does not exist or does not change.

        RefusedError where a daemon gives the buckets out.
        """
        with self.netns.lock():
            state, group = self._find(vip)
            if state.cluster:
                raise RefusedError(
                    f"buckets of {vip} are given out by the daemon of cluster {state.cluster}",
                    "use `clusterip drain` or `clusterip weight`",
                )
            self._changer().renew(state)
            with self.netns.maps.open(state.index) as maps:
                owned = frozenset(held(maps.bucket_states(group.index), group))
                statefile.check(change, owned, group.sharing.total)
                after = BucketState.OWNED if change.add else BucketState.NONE
                maps.set_bucket(group.index, change.bucket, after)

    def _find(self, vip: Address) -> tuple[InterfaceState, Group]:
        chain = self.chain()
        found = chain.find(vip)
        if found is None:
            raise not_shared(vip, _vips(chain))
        return found

    def lacking(
        self, state: InterfaceState, vips: Collection[Address] | None = None
    ) -> tuple[Finding, ...]:
        """Return what this host's addresses lack for the rules of `state`, for those `vips` if any.

        What a daemon runs is for the daemon to mend.
        """
        shared = {group.vip for group in state.groups if vips is None or group.vip in vips}
        if state.cluster or not shared:
            return ()
        from clusterip.runtime import presence  # noqa: PLC0415

        there = {one.address for one in self.netns.links.configured()}
        name = self.netns.name(state)
        # The old target took them, so it is no more than a warning here.
        useless = (one.as_warning() for one in presence.no_hosts(self.netns.links, shared, name))
        return (*useless, *lacking.findings(shared, _vips(self.chain()), there, name))

    def answering_alone(self, vips: Collection[Address]) -> tuple[Finding, ...]:
        """Return which of these VIPs, once shared by rules, this host has without any now."""
        links = self.netns.by_index()
        gone = set(vips) - set(_vips(self.chain()))
        return tuple(
            lacking.alone(one, links[one.index].name)
            for one in self.netns.links.configured()
            if one.address in gone and one.index in links
        )

    def view(self) -> tuple[InterfaceView, ...]:
        """Return what is to be seen of all interfaces."""
        links = self.netns.by_index()
        guarding = Guarding(self.netns, tuple(links.values()))
        views = []
        for state in self.netns.states():
            # Without the lock it may go between the two looks.
            with contextlib.suppress(FileNotFoundError):
                views.append(self._view(state, links.get(state.index), guarding))
        return tuple(views)

    def _view(self, state: InterfaceState, link: Link | None, guarding: Guarding) -> InterfaceView:
        attached, unguarded = Attached(tc=False, xdp=False), tuple[str, ...]()
        if link is not None:
            unguarded = guarding.missing(link)
            with self.netns.maps.programs(state.index) as programs:
                attached = self.netns.hooks.attached(link, programs)
        with self.netns.maps.open(state.index) as maps:
            return InterfaceView(
                state.name if link is None else link.name,
                state,
                attached,
                maps.count(0),
                {entry.slot: maps.count(entry.slot) for entry in state.entries},
                {group.index: maps.bucket_states(group.index) for group in state.groups},
                {group.index: maps.deadline(group.index) for group in state.groups},
                {group.index: maps.traffic(group.index) for group in state.groups},
                unguarded,
                link is not None,
                self.lacking(state) if link else (),
                carrier.findings(link.name, up=link.up, running=link.running) if link else (),
            )

    def zero(self, number: int | None = None) -> None:
        """Set the counters to zero: of all static rules, or of rule `number` (1..count)."""
        with self.netns.lock():
            chain = self.chain().static()
            chosen = None if number is None else chains.numbered(chain, number)
            for state in chain.interfaces:
                with self.netns.maps.open(state.index) as maps:
                    for entry in state.entries:
                        if chosen in (None, entry):
                            maps.zero_rule(entry.slot)
                    if chosen is None:
                        maps.zero_rule(0)
                        for group in state.groups:
                            maps.zero_traffic(group.index)


def _vips(chain: Chain) -> tuple[Address, ...]:
    vips = (group.vip for one in chain.interfaces for group in one.groups)
    return tuple(sorted(vips, key=order))


def held(states: tuple[BucketState, ...], group: Group) -> tuple[int, ...]:
    """Return the buckets, ascending from 1, that are this host's to answer."""
    numbered = enumerate(states[: group.sharing.total], start=1)
    return tuple(bucket for bucket, state in numbered if state in HELD)


def _refuse_unseen(seen: Callable[[], Collection[str]]) -> None:
    from clusterip.runtime import unseen  # noqa: PLC0415

    unseen.refuse(seen)


def _tell(message: str) -> None:
    with contextlib.suppress(OSError):  # nobody reading it must not stop a change half-way
        print(message, file=sys.stderr)  # noqa: T201 - a notice beside the output
