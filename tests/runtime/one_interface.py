"""The rules of one interface, and how they are brought there."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address

import msgspec

from clusterip.adapters.abi import BucketState
from clusterip.core.address import Address
from clusterip.core.packets.model import Mac, Rule, Sharing
from clusterip.core.packets.state import Chain, Group, InterfaceState
from tests.runtime.worlds import ETH0, Fault, World

VIPS = [IPv4Address(f"10.9.0.{last}") for last in (100, 101, 102)]
MACS = [Mac(digits) for digits in ("01005e000020", "01005e7f0021")]
GROUP = IPv4Address("239.127.0.33")  # by which switches learn the second; the first is flooded
NONE, OWNED = BucketState.NONE, BucketState.OWNED
CLOSED = ((NONE,) * 256, 0)


def run_by_daemon(
    state: InterfaceState, sharing: Sharing, macs: Mapping[Address, Mac]
) -> InterfaceState:
    """Return the same VIPs and services as a daemon has them: one bucket table for all."""
    shared = {vip: msgspec.structs.replace(sharing, mac=mac) for vip, mac in macs.items()}
    entries = [
        msgspec.structs.replace(
            one,
            rule=Rule(
                one.rule.vip, "eth0", one.rule.match, shared[one.rule.vip], manage_address=True
            ),
        )
        for one in state.entries
    ]
    groups = tuple(Group(0, one.vip, shared[one.vip]) for one in state.groups)
    return msgspec.structs.replace(state, groups=groups, entries=tuple(entries), cluster="web")


def interface(chain: Chain) -> InterfaceState:
    return chain.interface(ETH0.index) or InterfaceState(ETH0.index, "eth0")


def settled(new: InterfaceState, present: InterfaceState | None) -> InterfaceState:
    """Return `new` as a change of the present state: what is recorded there stays recorded."""
    return new if present is None else msgspec.structs.replace(new, taken=present.taken)


def bring(world: World, new: InterfaceState, fault: Fault | None = None) -> None:
    present = world.state()
    world.changer(fault).bring(ETH0, present, settled(new, present))


def give_away(world: World) -> None:
    """Move a bucket of each VIP by hand, so that what is held is not what the rules say."""
    state = world.state()
    tables = {group.index: group.sharing.total for group in state.groups} if state else {}
    for index, total in tables.items():
        maps = world.maps.by_index[ETH0.index]
        for bucket, held in enumerate(maps.bucket_states(index)[:total], start=1):
            maps.set_bucket(index, bucket, NONE if held is OWNED else OWNED)
        if state and state.cluster:
            maps.set_deadline(index, 12345)
