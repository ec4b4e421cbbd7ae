"""From rules to the tables that the packet path reads (struct ci_config of bpf/abi.h).

Services are found as pages of memory are: by protocol a table, by the high byte of the
destination port a page, by its low byte the first service of a chain. Conditions on the source
are tried along the chain. Finding a service costs the same for one rule and for a thousand.
"""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Address
from itertools import pairwise
from typing import Final, Generic, TypeVar

from clusterip.core import limits
from clusterip.core.address import Address, words
from clusterip.core.errors import RefusedError
from clusterip.core.packets.model import ALL_PORTS, Box, PortRange, ServiceAction, Treatment
from clusterip.core.packets.state import MORE_INTERFACES, Group, InterfaceState

_EMPTY: Final = array("H", bytes(512)).tobytes()
_Ruled = tuple[Box, int, Treatment]  # packets, their rule's counter slot, what becomes of them
_WORD32: Final = (1 << 32) - 1
_WORD64: Final = (1 << 64) - 1
_SEED_STEP: Final = 0x9E3779B1  # 2**32 / golden ratio, odd: its multiples scatter well
_SEEDS: Final = 10_000  # so many are tried; of 64 VIPs one in seven is good


@dataclass(frozen=True)
class Condition:
    """What a service asks of the source, its rule's counter slot, and what becomes of packets."""

    source: IPv4Network
    negated: bool
    ports: PortRange
    slot: int
    treatment: Treatment

    @property
    def unconditional(self) -> bool:
        """Whether every source satisfies it."""
        return not self.negated and self.source.prefixlen == 0 and self.ports == ALL_PORTS

    @property
    def plain(self) -> bool:
        """Whether the hash mode is all there is to know: of any source, shared by buckets."""
        return self.unconditional and self.treatment.action is ServiceAction.BALANCE


@dataclass(frozen=True)
class Service:
    """A condition and the service to try when it does not hold; 0 for none."""

    condition: Condition
    following: int


@dataclass(frozen=True)
class CompiledVip:
    """A VIP's group, and by IP protocol the index of its table."""

    group: Group
    tables: bytes


@dataclass(frozen=True)
class Tables:
    """The content of struct ci_config, without layout.

    `vip_slots` has the index into `vips` plus 1 for each slot, 0 for none. `tables` and `pages`
    are 512 bytes each: 256 native 16-bit numbers. Element 0 of tables and pages is empty, and
    `services[0]` stands for index 1.
    """

    vip_seed: int
    vip_slots: bytes
    vips: tuple[CompiledVip, ...]
    tables: tuple[bytes, ...]
    pages: tuple[bytes, ...]
    services: tuple[Service, ...]


def compile_tables(state: InterfaceState) -> Tables:
    """Compile the rules of one interface; raises RefusedError where a limit is exceeded."""
    builder = _Builder()
    vips = []
    for group in state.groups:
        boxes = [
            (box, entry.slot, group.treatment(entry.rule))
            for entry in sorted(state.entries, key=lambda entry: entry.position)
            if entry.rule.vip == group.vip
            for box in entry.rule.match.boxes()
        ]
        vips.append(CompiledVip(group, builder.vip(boxes)))
    seed, slots = _perfect_hash([vip.group.vip for vip in vips])
    return Tables(
        seed,
        slots,
        tuple(vips),
        tuple(builder.tables.values),
        tuple(builder.pages.values),
        tuple(builder.services.values),
    )


def slot_of(address: Address, seed: int) -> int:
    """Return the slot of an address under a seed (struct ci_config of bpf/abi.h)."""
    fold = words(address)[0]
    if isinstance(address, IPv6Address):
        fold = 1
        for half in (address.packed[:8], address.packed[8:]):
            fold = (fold + int.from_bytes(half, "little")) * seed & _WORD64
            fold ^= fold >> 32
    return (fold * seed & _WORD32) >> limits.VIP_SHIFT


def _perfect_hash(addresses: Sequence[Address]) -> tuple[int, bytes]:
    """Find a seed under which no two addresses share a slot; a few tries in the mean.

    RefusedError where there are more VIPs than there is room for, or none is found.
    """
    if len(addresses) > limits.VIPS:
        raise RefusedError(f"more than {limits.VIPS} VIPs on one interface", MORE_INTERFACES)
    seed = _SEED_STEP
    for _ in range(_SEEDS):
        if len({slot_of(address, seed) for address in addresses}) == len(addresses):
            break
        seed = (seed + 2 * _SEED_STEP) & _WORD32
    else:
        raise RefusedError("no hash tells these VIPs apart", MORE_INTERFACES)
    slots = bytearray(limits.VIP_SLOTS)
    for index, address in enumerate(addresses):
        slots[slot_of(address, seed)] = index + 1
    return seed, bytes(slots)


_Item = TypeVar("_Item", bound=Hashable)


@dataclass
class _Pool(Generic[_Item]):
    """Distinct items, each known by its index."""

    what: str
    limit: int
    values: list[_Item] = field(default_factory=list)
    indices: dict[_Item, int] = field(default_factory=dict)

    def index(self, item: _Item) -> int:
        if item not in self.indices:
            if len(self.values) >= self.limit:
                raise RefusedError(
                    f"the rules of this interface need more than {self.limit} {self.what}",
                    "use fewer distinct ports, or put port ranges together",
                )
            self.indices[item] = len(self.values)
            self.values.append(item)
        return self.indices[item]


class _Builder:
    """Collects the tables of all VIPs, sharing what is equal."""

    def __init__(self) -> None:
        self.tables: _Pool[bytes] = _Pool("port tables", limits.TABLES)
        self.pages: _Pool[bytes] = _Pool("pages of ports", limits.PAGES)
        # Index 0 stands for "no service" and has no element here.
        self.services: _Pool[Service] = _Pool("services", limits.SERVICES - 1)
        self.tables.index(_EMPTY)
        self.pages.index(_EMPTY)

    def vip(self, boxes: Sequence[_Ruled]) -> bytes:
        """Return the table index of each of the 256 IP protocols."""
        covering: list[list[int]] = [[] for _ in range(256)]
        for at, (box, _, _) in enumerate(boxes):
            for protocol in range(256) if box.protocols is None else box.protocols:
                covering[protocol].append(at)
        by_boxes: dict[tuple[int, ...], int] = {}
        tables = bytearray()
        for those in map(tuple, covering):
            if those not in by_boxes:
                by_boxes[those] = self._table([boxes[at] for at in those])
            tables.append(by_boxes[those])
        return bytes(tables)

    def _table(self, boxes: Sequence[_Ruled]) -> int:
        """Return the index of the table of one protocol, whose boxes are in order of rules."""
        edges = {0, ALL_PORTS[1] + 1}
        for box, _, _ in boxes:
            edges |= {box.destination_ports[0], box.destination_ports[1] + 1}
        services = array("H", bytes(2 << 16))
        for start, end in pairwise(sorted(edges)):
            chain = [
                Condition(box.source, box.source_negated, box.source_ports, slot, treatment)
                for box, slot, treatment in boxes
                if box.destination_ports[0] <= start <= box.destination_ports[1]
            ]
            services[start:end] = array("H", [self._chain(chain)]) * (end - start)
        content = services.tobytes()
        pages = [self.pages.index(content[at : at + 512]) for at in range(0, len(content), 512)]
        return self.tables.index(array("H", pages).tobytes())

    def _chain(self, conditions: Sequence[Condition]) -> int:
        """Return the first service of a chain of these conditions, 0 for an empty one."""
        needed: list[Condition] = []
        for condition in conditions:
            if condition not in needed:
                needed.append(condition)
            if condition.unconditional:
                break
        if len(needed) > limits.CHAIN:
            raise RefusedError(
                f"more than {limits.CHAIN} conditions on the source for one destination port",
                "use fewer -s and --sport rules for the same port",
            )
        following = 0
        for condition in reversed(needed):
            following = self.services.index(Service(condition, following)) + 1
        return following
