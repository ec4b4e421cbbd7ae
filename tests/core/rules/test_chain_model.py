"""Changes to the chain, all of them against a plain list."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition
from hypothesis.stateful import rule as step

from clusterip.core import limits
from clusterip.core.address import Address
from clusterip.core.packets.model import Rule, Sharing
from clusterip.core.packets.state import Chain, InterfaceState, XdpMode
from clusterip.core.rules import chain as chains
from tests.core.rules.makers import (
    DAEMONS,
    ETH0,
    ETH1,
    NAMES,
    OTHER,
    SHARED,
    VIP,
    listed,
    port,
    refused,
    slots_are_kept,
)

if TYPE_CHECKING:
    from collections.abc import Callable


SHARINGS = (SHARED, msgspec.structs.replace(SHARED, total=5))
RULES = st.builds(
    lambda vip, index, number, sharing, node: Rule(
        vip, NAMES[index], port(number), sharing, node if sharing else 0
    ),
    st.sampled_from([VIP, OTHER, IPv4Address("10.9.0.102")]),
    st.sampled_from([ETH0, ETH0, ETH1]),
    st.integers(80, 84),
    st.sampled_from([None, SHARED, SHARED, SHARINGS[1]]),
    st.sampled_from([1, 1, 1, 2]),
)


class AgainstAList(RuleBasedStateMachine):
    """The same changes to the chain and to a list of rules."""

    def __init__(self) -> None:
        super().__init__()
        # What a daemon runs is beside the list, and as it was after every change.
        self.chain = Chain((DAEMONS,))
        self.model: list[Rule] = []
        self.shared: dict[Address, tuple[str, Sharing]] = {}

    def allowed(self, rule: Rule) -> bool:
        if rule in self.model:
            return True
        if rule.vip not in self.shared:
            return rule.sharing is not None
        interface, sharing = self.shared[rule.vip]
        nodes = {one.local_node for one in self.model if one.vip == rule.vip and one.sharing}
        return rule.interface == interface and (
            rule.sharing is None
            or (rule.sharing == sharing and (not nodes or nodes == {rule.local_node}))
        )

    def add(self, rule: Rule, at: int, change: Callable[[], Chain]) -> None:
        if not self.allowed(rule):
            refused(change)
            return
        self.chain = change()
        if rule not in self.model:
            self.model.insert(at, rule)
            if rule.sharing is not None:
                self.shared[rule.vip] = (rule.interface, rule.sharing)

    def forget(self) -> None:
        left = {rule.vip for rule in self.model}
        self.shared = {vip: how for vip, how in self.shared.items() if vip in left}

    @step(rule=RULES)
    def append(self, rule: Rule) -> None:
        index = ETH0 if rule.interface == "eth0" else ETH1
        self.add(rule, len(self.model), lambda: chains.append(self.chain, rule, index))

    @step(rule=RULES, data=st.data())
    def insert(self, rule: Rule, data: st.DataObject) -> None:
        index = ETH0 if rule.interface == "eth0" else ETH1
        number = data.draw(st.integers(0, len(self.model) + 2))
        if not 1 <= number <= len(self.model) + 1:
            refused(lambda: chains.insert(self.chain, rule, index, number))
            return
        self.add(rule, number - 1, lambda: chains.insert(self.chain, rule, index, number))

    @step(rule=RULES)
    def delete(self, rule: Rule) -> None:
        if rule not in self.model:
            refused(lambda: chains.delete(self.chain, rule))
            return
        self.chain = chains.delete(self.chain, rule)
        self.model.remove(rule)
        self.forget()

    @precondition(lambda self: self.model)
    @step(data=st.data())
    def delete_number(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(1, len(self.model)))
        self.chain = chains.delete_number(self.chain, number)
        del self.model[number - 1]
        self.forget()

    @precondition(lambda self: len(self.model) > 4)
    @step()
    def flush(self) -> None:
        self.chain = chains.flush(self.chain)
        self.model.clear()
        self.forget()

    @precondition(lambda self: self.model)
    @step(xdp=st.sampled_from(XdpMode), index=st.sampled_from([ETH0, ETH1]))
    def set_xdp(self, xdp: XdpMode, index: int) -> None:
        self.chain = chains.with_xdp(self.chain, index, xdp)

    @invariant()
    def the_rules_are_the_list(self) -> None:
        assert listed(self.chain) == self.model
        assert slots_are_kept(self.chain)
        for number, rule in enumerate(self.model, start=1):
            assert chains.numbered(self.chain, number).rule == rule
            found = chains.find(self.chain, rule)
            assert found is not None
            assert found.rule == rule

    @invariant()
    def a_vip_is_shared_once_and_in_one_way(self) -> None:
        groups = [
            (group.vip, one.name, group.sharing)
            for one in self.chain.static().interfaces
            for group in one.groups
        ]
        assert sorted(groups, key=lambda one: one[0]) == sorted(
            ((vip, *how) for vip, how in self.shared.items()), key=lambda one: one[0]
        )

    @invariant()
    def each_interface_is_whole(self) -> None:
        for state in self.chain.static().interfaces:
            self.check_interface(state)
        assert self.chain.interface(DAEMONS.index) == DAEMONS

    def check_interface(self, state: InterfaceState) -> None:
        assert NAMES[state.index] == state.name
        assert {e.rule.interface for e in state.entries} <= {state.name}
        assert len({group.index for group in state.groups}) == len(state.groups)
        assert {group.vip for group in state.groups} == {e.rule.vip for e in state.entries}
        assert all(1 <= entry.slot < limits.RULES for entry in state.entries)


TestAgainstAList = AgainstAList.TestCase
TestAgainstAList.settings = settings(
    max_examples=settings().max_examples * 3 // 2, stateful_step_count=40, deadline=None
)
