"""Where a flow goes: how old what is told may be, and which connections are looked at."""

from __future__ import annotations

from ipaddress import IPv4Address

import msgspec
import pytest

from clusterip.adapters.abi import BucketState
from clusterip.adapters.diag import FakeSockets
from clusterip.adapters.statefs import FakeBuckets
from clusterip.core.address import Address
from clusterip.core.errors import RefusedError
from clusterip.core.packets.connections import Connection
from clusterip.core.packets.lookup import Packet
from clusterip.core.packets.model import UDP, Rule
from clusterip.core.packets.state import Chain, Entry
from clusterip.core.rules.whereabouts import Here
from clusterip.runtime import whereabouts
from clusterip.runtime.whereabouts import Finder, from_rules

VIP = IPv4Address("10.9.0.100")
FLOW = Packet(VIP, IPv4Address("192.0.2.7"), 1000, 80)
CONNECTION = Connection(VIP, 80, IPv4Address("192.0.2.7"), 1000)


class Rules(FakeBuckets):
    """A host that shares one VIP by one rule, and holds all of its 4 buckets."""

    def __init__(self) -> None:
        super().__init__({VIP: {1, 2, 3, 4}})
        self.looks = 0

    def chain(self) -> Chain:
        (state,) = super().chain().interfaces
        entry = Entry(1, 1, Rule(VIP, "eth0", sharing=state.groups[0].sharing))
        return Chain((msgspec.structs.replace(state, entries=(entry,)),))

    def states(self, vip: Address) -> tuple[BucketState, ...]:
        self.looks += 1
        return tuple(
            BucketState.OWNED if one in self.owned[vip] else BucketState.DRAINING
            for one in range(1, 5)
        )


def look(rules: Rules) -> Finder:
    def at(vip: Address) -> Here:
        return from_rules(rules, vip)

    return Finder(VIP, at, FakeSockets([CONNECTION]))


def test_many_packets_are_one_look() -> None:
    rules = Rules()
    finder = look(rules)
    assert {finder.find(FLOW).state for _ in range(100)} == {"owned"}
    assert rules.looks == 1


def test_what_is_old_is_looked_at_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whereabouts, "_FRESH_SECONDS", 0.0)
    rules = Rules()
    finder = look(rules)
    assert finder.find(FLOW).held is True
    rules.owned[VIP].clear()
    found = finder.find(FLOW)
    assert (found.held, found.state) == (False, "draining")


def test_the_connection() -> None:
    finder = look(Rules())
    assert finder.find(FLOW).connection is None
    assert finder.find_all(FLOW).connection is True
    for change in ({"source_port": 1001}, {"destination_port": 81}):
        assert finder.find_all(msgspec.structs.replace(FLOW, **change)).connection is False
    for change in ({"source_port": 0}, {"destination_port": 0}, {"protocol": UDP}):
        assert finder.find_all(msgspec.structs.replace(FLOW, **change)).connection is None


def test_what_is_not_shared() -> None:
    other = IPv4Address("10.9.0.9")
    with pytest.raises(RefusedError):
        Finder(other, lambda vip: from_rules(Rules(), vip)).find(FLOW)


def test_another_cluster_than_the_one_asked_does_not_answer() -> None:
    by_hand = look(Rules()).here()
    (state,) = by_hand.chain.interfaces
    of_web = msgspec.structs.replace(
        by_hand, chain=Chain((msgspec.structs.replace(state, cluster="web"),))
    )
    for here, cluster in ((by_hand, None), (of_web, None), (of_web, "web")):
        whereabouts.refuse_other(here, VIP, cluster)
    with pytest.raises(RefusedError, match="shared here by cluster web, and not by cluster solo"):
        whereabouts.refuse_other(of_web, VIP, "solo")
    with pytest.raises(RefusedError, match="shared here by rules, and not by cluster solo"):
        whereabouts.refuse_other(by_hand, VIP, "solo")
