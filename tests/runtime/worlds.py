"""A host in memory whose changes can be stopped at any step, by a kill or by an error."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec

from clusterip.adapters.abi import BucketState
from clusterip.adapters.hooks import FakeHooks, Hooks
from clusterip.adapters.kernel_maps import InterfaceMaps
from clusterip.adapters.links import FakeLinks, Link, Links
from clusterip.adapters.pinned_maps import FakePinnedMaps, MapsByInterface
from clusterip.core.address import Address
from clusterip.core.packets.model import Mac
from clusterip.core.packets.state import Chain, Guard, InterfaceState
from clusterip.runtime.change import Changer
from clusterip.runtime.namespace import Namespace
from clusterip.runtime.rule_table import RuleTable

ETH0, ETH1 = Link(2, "eth0"), Link(3, "eth1")
_CHANGING = {
    "create", "remove", "commit", "set_bucket", "set_deadline", "clear_group", "zero_rule",
    "zero_traffic", "attach", "detach", "guard", "unguard", "add_address", "remove_address",
    "add_mac", "remove_mac", "take_off", "renew", "level", "settle", "heed", "unheed", "clear",
}  # fmt: skip


class Killed(BaseException):
    """What a SIGKILL looks like from inside: nothing that comes after it is done."""


@dataclass
class Fault:
    """Stops at the changing call number `at`, counted from 0; -1 never stops.

    A kill (`error` None) stops before the call or, with `after`, behind it, and nothing is done
    from then on. An error is raised in place of the call, and whenever it is made again.
    """

    at: int = -1
    after: bool = False
    error: Exception | None = None
    calls: list[str] = field(default_factory=list)
    dead: bool = False
    failing: tuple[str, Any] | None = None

    def call(self, name: str, function: Callable[..., Any], *args: Any, **named: Any) -> Any:
        """Make one call of an adapter, or do not."""
        if self.dead:
            raise Killed
        if name not in _CHANGING:
            return function(*args, **named)
        number = len(self.calls)
        self.calls.append(name)
        if self.error is not None:
            if number == self.at:
                self.failing = (name, args)
            if self.failing == (name, args):
                raise self.error
        elif number == self.at and not self.after:
            self.dead = True
            raise Killed
        result = function(*args, **named)
        if number == self.at and self.error is None:
            self.dead = True
            raise Killed
        return result


class _Watched:
    """An adapter whose calls go through a fault."""

    def __init__(self, adapter: Any, fault: Fault) -> None:
        self._adapter = adapter
        self._fault = fault

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._adapter, name)
        if name == "open":
            return self._open
        return lambda *args, **named: self._fault.call(name, function, *args, **named)

    @contextlib.contextmanager
    def _open(self, index: int) -> Iterator[InterfaceMaps]:
        with self._fault.call("open", self._adapter.open, index) as maps:
            yield cast(InterfaceMaps, _Watched(maps, self._fault))


def behind(netns: Namespace, fault: Fault) -> Namespace:
    """Return the namespace with its adapters behind the fault."""
    return msgspec.structs.replace(
        netns,
        maps=cast(MapsByInterface, _Watched(netns.maps, fault)),
        hooks=cast(Hooks, _Watched(netns.hooks, fault)),
        links=cast(Links, _Watched(netns.links, fault)),
    )


def watched(table: RuleTable, fault: Fault) -> RuleTable:
    """Return the host with its adapters behind the fault."""
    return RuleTable(behind(table.netns, fault), table.notify)


@dataclass(frozen=True)
class Seen:
    """All that can be seen of a host from outside.

    `qdiscs` are to be given back; which of several records says so does not matter, and `states`
    do not say it.
    """

    states: dict[int, InterfaceState]
    qdiscs: frozenset[int]
    held: dict[Address, tuple[tuple[BucketState, ...], int]]
    clsact: frozenset[int]
    running: frozenset[int]
    guards: frozenset[tuple[int, int]]
    addresses: dict[int, frozenset[Address]]
    macs: dict[int, frozenset[Mac]]
    of_others: frozenset[int]
    """Where programs of another installation are pinned, or may run."""
    heeding: frozenset[int]


@dataclass
class World:
    """Two interfaces, and what the administrator gave them."""

    maps: FakePinnedMaps = field(default_factory=FakePinnedMaps)
    hooks: FakeHooks = field(default_factory=FakeHooks)
    links: FakeLinks = field(default_factory=lambda: FakeLinks([ETH0, ETH1]))
    notices: list[str] = field(default_factory=list)

    def copy(self) -> World:
        return copy.deepcopy(self)

    def netns(self, *alive: str, fault: Fault | None = None) -> Namespace:
        """Return the namespace, in which the daemons of the clusters `alive` live."""
        netns = Namespace(self.maps, self.hooks, self.links, running=lambda name: name in alive)
        return behind(netns, fault or Fault())

    def table(self, fault: Fault | None = None, *alive: str) -> RuleTable:
        return RuleTable(self.netns(*alive, fault=fault), self.notices.append)

    def changer(self, fault: Fault | None = None) -> Changer:
        return Changer(self.netns(fault=fault))

    def state(self, index: int = ETH0.index) -> InterfaceState | None:
        return self.chain().interface(index)

    def chain(self) -> Chain:
        return Chain(tuple(maps.rules() for _, maps in sorted(self.maps.by_index.items())))

    def seen(self) -> Seen:
        indices = [link.index for link in self.links.links]
        states = self.chain().interfaces
        return Seen(
            {state.index: _without_qdiscs(state) for state in states},
            frozenset(index for state in states for index in _qdiscs(state)),
            {
                group.vip: (maps.bucket_states(group.index), maps.deadline(group.index))
                for maps in self.maps.by_index.values()
                for group in maps.rules().groups
            },
            frozenset(self.hooks.clsact),
            frozenset(self.hooks.running),
            frozenset(self.hooks.guards),
            {index: self.links.addresses(index) for index in indices},
            {index: self.links.macs(index) for index in indices},
            frozenset(self.maps.outdated | self.maps.lagging),
            frozenset(self.hooks.heeding),
        )


def _qdiscs(state: InterfaceState) -> Iterator[int]:
    if state.taken.clsact:
        yield state.index
    yield from (guard.index for guard in state.taken.guards if guard.clsact)


def _without_qdiscs(state: InterfaceState) -> InterfaceState:
    guards = tuple(Guard(guard.index, clsact=False) for guard in state.taken.guards)
    taken = msgspec.structs.replace(state.taken, clsact=False, guards=guards)
    return msgspec.structs.replace(state, taken=taken)


def check_safe(world: World, own: Seen) -> None:
    """What must hold at every moment; `own` is what was there before the first change."""
    now = world.seen()
    for index in now.addresses:
        state = now.states.get(index, InterfaceState(index, ""))
        ruled = {group.vip for group in state.groups}
        addresses = now.addresses[index] - own.addresses[index]
        vips = {one for one in addresses if not one.is_multicast}
        assert vips <= ruled, "an address without rules: every host answers"
        assert not vips or index in now.running, "an address without filters"
        others = {(other, index) for other in now.addresses if other != index}
        assert not vips or others <= now.guards, "an address that other interfaces tell of"
        assert addresses <= set(state.taken.addresses), "an address that nobody will remove"
        assert now.macs[index] - own.macs[index] <= set(state.taken.macs), "a MAC left behind"
        assert index not in now.running or index in now.states, "filters left behind"
        assert now.addresses[index] >= own.addresses[index], "the administrator's address is gone"
        assert now.macs[index] >= own.macs[index], "the administrator's MAC is gone"
    assert now.clsact >= own.clsact, "the administrator's qdisc is gone"
    assert now.clsact - own.clsact <= now.qdiscs, "a qdisc left behind"
    recorded = {
        (guard.index, state.index) for state in now.states.values() for guard in state.taken.guards
    }
    assert now.guards <= recorded, "guards left behind"
    assert now.heeding <= now.of_others, "a listener left behind"
