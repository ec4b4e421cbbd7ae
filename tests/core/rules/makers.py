"""Rules to make chains of, and what is asked of a chain."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import pytest

from clusterip.core.errors import RefusedError
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import Mac, Match, Ports, Rule, Sharing
from clusterip.core.packets.state import Chain, Entry, Group, InterfaceState
from clusterip.core.rules import chain as chains

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

VIP, OTHER = IPv4Address("10.9.0.100"), IPv4Address("10.9.0.101")
SHARED = Sharing(HashMode.SOURCEIP, Mac("01005e000020"), 4, 7)
ETH0, ETH1 = 2, 3
NAMES = {ETH0: "eth0", ETH1: "eth1"}


def port(number: int) -> Match:
    return Match(6, destination_ports=(Ports("tcp", ((number, number),)),))


def new(vip: IPv4Address = VIP, number: int = 80, node: int = 1, name: str = "eth0") -> Rule:
    return Rule(vip, name, port(number), SHARED, node)


def join(vip: IPv4Address = VIP, number: int = 443, name: str = "eth0") -> Rule:
    return Rule(vip, name, port(number))


def of(rules: Iterable[Rule]) -> Chain:
    """Append rules, each to its interface."""
    chain = Chain()
    for rule in rules:
        chain = chains.append(
            chain, rule, {name: index for index, name in NAMES.items()}[rule.interface]
        )
    return chain


def listed(chain: Chain) -> list[Rule]:
    return [entry.rule for entry in chain.static().entries()]


TAKEN = IPv4Address("10.9.0.200")
DAEMONS = InterfaceState(
    4,
    "eth2",
    groups=(Group(0, TAKEN, SHARED),),
    entries=(Entry(0, 1, Rule(TAKEN, "eth2", sharing=SHARED, manage_address=True)),),
    cluster="web",
)
"""An interface that a daemon runs."""


def refused(change: Callable[[], Chain]) -> str:
    with pytest.raises(RefusedError) as error:
        change()
    assert error.value.cure or "do not fit" in error.value.message
    return error.value.message


def slots_are_kept(chain: Chain) -> bool:
    """Tell whether each counter belongs to one rule and positions are ascending."""
    chain = chain.static()
    positions = [entry.position for entry in chain.entries()]
    return positions == sorted(set(positions)) and all(
        len({entry.slot for entry in one.entries}) == len(one.entries) for one in chain.interfaces
    )
