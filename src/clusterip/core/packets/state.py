"""What one network namespace has been told: its rules, interface by interface.

An `InterfaceState` is stored beside the compiled rules in the same map value (struct ci_config
in bpf/abi.h), so that what is shown and what the kernel enforces change in one step.
The `Chain` is the view over all interfaces: rules in the order in which they are listed.
"""

from __future__ import annotations

import zlib
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address
from typing import Any, Final

import msgspec

from clusterip.core.address import Address, order
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import Mac, Rule, Sharing, Stored, Treatment

MORE_INTERFACES: Final = "share the others on another interface"
"""The cure where an interface has as many VIPs as it can hold."""


class XdpMode(Enum):
    """Whether the XDP accelerator is used: where it can be, never, or else it is an error."""

    AUTO = "auto"
    OFF = "off"
    REQUIRE = "require"


class Group(Stored, frozen=True):
    """A VIP and its bucket table. `index` is the table's place in the groups map, 0..63.

    Groups of one index have the table in common: its buckets, its deadline, and the traffic
    counted by bucket. Their totals and hash inits are equal. Commands give each VIP a table of
    its own, a daemon one to all its VIPs.
    """

    index: int
    vip: Address
    sharing: Sharing

    def mode(self, rule: Rule) -> HashMode:
        """Return how packets that `rule`, one of this VIP's, covers are hashed."""
        return self.sharing.mode if rule.sharing is None else rule.sharing.mode

    def treatment(self, rule: Rule) -> Treatment:
        """Return what becomes of packets that `rule`, one of this VIP's, covers."""
        return Treatment(rule.action, self.mode(rule), rule.bucket)


class Entry(Stored, frozen=True):
    """A rule in place. `position` orders the rules of all interfaces; `slot` is its counter."""

    position: int
    slot: int
    rule: Rule


class Guard(Stored, frozen=True, order=True):
    """Another interface of the namespace, by its ifindex, that our guards run on.

    `clsact` says whether the qdisc there is ours to give back.
    """

    index: int
    clsact: bool


class Taken(Stored, frozen=True):
    """What this tool added to the interface, and for it to others, and must give back.

    Each is recorded before it is added and forgotten after it is gone, so that whatever an
    interruption leaves behind is known. What was there before is not ours and not listed.
    """

    clsact: bool = False
    macs: tuple[Mac, ...] = ()
    addresses: tuple[Address, ...] = ()
    guards: tuple[Guard, ...] = ()


def both(one: Taken, other: Taken) -> Taken:
    """Return what is recorded in either."""
    qdiscs: dict[int, bool] = {}
    for guard in (*one.guards, *other.guards):
        # Each interface once; its qdisc is ours to give back if any of them says so.
        qdiscs[guard.index] = guard.clsact or qdiscs.get(guard.index, False)
    return Taken(
        one.clsact or other.clsact,
        tuple(sorted({*one.macs, *other.macs})),
        tuple(sorted({*one.addresses, *other.addresses}, key=order)),
        tuple(Guard(index, clsact) for index, clsact in sorted(qdiscs.items())),
    )


class InterfaceState(Stored, frozen=True):
    """All that is known of one interface. `index` is its ifindex, `name` its name when attached.

    `xdp_note` says why the accelerator is not used although `xdp` allows it; empty otherwise.
    `cluster` is the name of the cluster whose daemon runs the interface: its VIPs are those of
    the configuration file, its buckets held by leases. Empty where the rules are static, added
    by commands.
    """

    index: int
    name: str
    xdp: XdpMode = XdpMode.AUTO
    xdp_note: str = ""
    groups: tuple[Group, ...] = ()
    entries: tuple[Entry, ...] = ()
    taken: Taken = Taken()
    cluster: str = ""

    def without_idle(self) -> InterfaceState:
        """Return it without groups that no rule of a command has any more."""
        ruled = {entry.rule.vip for entry in self.entries}
        groups = tuple(group for group in self.groups if group.vip in ruled or self.cluster)
        return msgspec.structs.replace(self, groups=groups)

    def group(self, vip: Address) -> Group | None:
        """Return the group of `vip`, None if it is not shared here."""
        return next((group for group in self.groups if group.vip == vip), None)


class _Vip(msgspec.Struct, frozen=True):
    vip: Address


class Record(msgspec.Struct, frozen=True):
    """What is read of the document of any version, to take away what it brought.

    Names and meanings are those of `InterfaceState`; what else it says is left alone.
    """

    name: str = ""
    cluster: str = ""
    taken: Taken = Taken()
    groups: tuple[_Vip, ...] = ()

    @property
    def vips(self) -> frozenset[Address]:
        """The VIPs that were shared."""
        return frozenset(group.vip for group in self.groups)


class Chain(msgspec.Struct, frozen=True):
    """The INPUT chain of a network namespace."""

    interfaces: tuple[InterfaceState, ...] = ()

    def static(self) -> Chain:
        """Return the part that commands list, number and change: without what daemons run."""
        return Chain(tuple(one for one in self.interfaces if not one.cluster))

    def entries(self) -> tuple[Entry, ...]:
        """Return all rules in order; across interfaces it means something for static ones only."""
        every = (entry for interface in self.interfaces for entry in interface.entries)
        return tuple(sorted(every, key=lambda entry: entry.position))

    def find(self, vip: Address) -> tuple[InterfaceState, Group] | None:
        """Return where `vip` is shared, None if it is not."""
        for interface in self.interfaces:
            group = interface.group(vip)
            if group is not None:
                return interface, group
        return None

    def interface(self, index: int) -> InterfaceState | None:
        """Return the state of the interface with that ifindex."""
        return next((one for one in self.interfaces if one.index == index), None)

    def with_interface(self, state: InterfaceState) -> Chain:
        """Return the chain with that interface's state put in or replaced."""
        others = (one for one in self.interfaces if one.index != state.index)
        return Chain(tuple(sorted((*others, state), key=lambda one: one.index)))


def encode(state: InterfaceState) -> bytes:
    """Serialize for the document field of struct ci_config."""
    return zlib.compress(msgspec.json.encode(state, enc_hook=_encode_other))


def decode(document: bytes) -> InterfaceState:
    """Read what `encode` wrote; raises msgspec.DecodeError or zlib.error on anything else."""
    return _DECODER.decode(zlib.decompress(document))


def decode_record(document: bytes) -> Record | None:
    """Read what `encode` of any version wrote, as far as it is known; None for anything else."""
    try:
        return _RECORD.decode(zlib.decompress(document))
    except (msgspec.DecodeError, zlib.error):
        return None


def _encode_other(value: Any) -> Any:
    if isinstance(value, (IPv4Address, IPv6Address, IPv4Network)):
        return str(value)
    raise TypeError(f"cannot store a {type(value).__name__}")


def _decode_other(kind: type, value: Any) -> Any:
    if kind is IPv4Network:
        return IPv4Network(value)
    if issubclass(IPv4Address, kind):
        return ip_address(value)
    raise TypeError(f"cannot read a {kind.__name__}")


# Made with the module, by one thread. msgspec learns a type where it first meets it, and a thread
# that meets it meanwhile reads what is half learnt: a segmentation fault.
_DECODER: Final = msgspec.json.Decoder(InterfaceState, dec_hook=_decode_other)
_RECORD: Final = msgspec.json.Decoder(Record, dec_hook=_decode_other)
