"""The steps of a user who changes the rules of a host."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address

from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import Mac, Match, Rule, Sharing
from clusterip.core.packets.state import Chain, XdpMode
from clusterip.core.rules import chain as chains
from clusterip.core.rules.statefile import Change
from clusterip.runtime.rule_table import RuleTable
from tests.runtime.worlds import Fault, World

VIP, SECOND, THIRD = (IPv4Address(f"10.9.0.{last}") for last in (100, 101, 102))
MAC, OTHER_MAC = Mac("01005e000020"), Mac("01005e000021")
SHARED = Sharing(HashMode.SOURCEIP, MAC, 4)
OTHERWISE = Sharing(HashMode.SOURCEIP_SOURCEPORT, OTHER_MAC, 3, 7)
WEB, PING = Match(6), Match(1)

FIRST = Rule(VIP, "eth0", WEB, SHARED, 1)
JOINED = Rule(VIP, "eth0", PING)
MANAGED = Rule(VIP, "eth0", PING, manage_address=True)
TWO = Rule(SECOND, "eth0", Match(), OTHERWISE, 2, manage_address=True)
ON_ETH1 = Rule(THIRD, "eth1", Match(), SHARED, 3, manage_address=True)

Step = Callable[[RuleTable], object]


def add(*rules: Rule, number: int | None = None, xdp: XdpMode | None = None) -> Step:
    return lambda table: table.add(rules, number, xdp)


def delete(*rules: Rule) -> Step:
    def change(chain: Chain) -> Chain:
        for rule in rules:
            chain = chains.delete(chain, rule)
        return chain

    return lambda table: table.edit(change)


def without(*rules: Rule) -> Step:
    """Delete those that are there, as no command does: each has rules of one interface."""

    def change(chain: Chain) -> Chain:
        for rule in rules:
            chain = chain if chains.find(chain, rule) is None else chains.delete(chain, rule)
        return chain

    return lambda table: table.edit(change)


def exchange(old: Rule, new: Rule, index: int = 2) -> Step:
    return lambda table: table.edit(
        lambda chain: chains.append(chains.delete(chain, old), new, index)
    )


def by_hand(vip: IPv4Address, *changes: Change) -> Step:
    """Move buckets, so that what is held is not what the rules say."""

    def step(table: RuleTable) -> None:
        for one in changes:
            table.change_bucket(vip, one)

    return step


MOVED = by_hand(VIP, Change(add=False, bucket=1), Change(add=True, bucket=4))
SETUP = (add(FIRST), MOVED)


def prepared(world: World, steps: tuple[Step, ...]) -> World:
    for step in steps:
        step(world.table())
    return world


def zeroed(world: World, number: int | None) -> list[str]:
    fault = Fault()
    world.table(fault).zero(number)
    return fault.calls
