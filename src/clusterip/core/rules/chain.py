"""Changes to the chain: each takes the chain as it is and returns it as it shall be.

Rules that hold after every change:
- a VIP is shared on one interface, in one way;
- every rule belongs to a shared VIP, and a VIP without rules is shared no longer;
- a rule stands in the chain once: adding it again changes nothing, so that repeating an
  interrupted command completes it;
- interfaces that a daemon runs are as they were: only `clear` touches them, and numbers count
  without them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from clusterip.core import limits
from clusterip.core.errors import RefusedError
from clusterip.core.packets.model import Rule, Sharing
from clusterip.core.packets.state import (
    MORE_INTERFACES,
    Chain,
    Entry,
    Group,
    InterfaceState,
    XdpMode,
)

_GAP: Final = 1 << 20  # between the positions of neighbours, to leave room for insertions


def append(chain: Chain, rule: Rule, index: int) -> Chain:
    """Add `rule` at the end; `index` is the ifindex of its interface."""
    last = max((entry.position for entry in _unordered(chain)), default=-_GAP)
    return _add(chain, rule, index, last + _GAP)


def insert(chain: Chain, rule: Rule, index: int, number: int) -> Chain:
    """Add `rule` so that it becomes number `number`, 1..count+1; RefusedError beyond."""
    entries = chain.static().entries()
    if not 1 <= number <= len(entries) + 1:
        raise RefusedError(
            "Index of insertion too big.", f"give a number from 1 to {len(entries) + 1}"
        )
    if number > len(entries):
        return append(chain, rule, index)
    if number == 1:
        return _add(chain, rule, index, entries[0].position - _GAP)
    before, after = entries[number - 2].position, entries[number - 1].position
    if after - before < 2:
        spread = _spread(chain)
        return insert(spread, rule, index, number)
    return _add(chain, rule, index, (before + after) // 2)


def find(chain: Chain, rule: Rule) -> Entry | None:
    """Return the entry of the same rule, None if there is none.

    Who adds the address does not make another rule of it.
    """
    same = rule, msgspec.structs.replace(rule, manage_address=not rule.manage_address)
    # A thousand rules that are added look at each other half a million times.
    return next((one for one in _unordered(chain) if one.rule in same), None)


def _unordered(chain: Chain) -> Iterator[Entry]:
    """Yield all static rules."""
    for state in chain.interfaces:
        if not state.cluster:
            yield from state.entries


def delete(chain: Chain, rule: Rule) -> Chain:
    """Take `rule` out; RefusedError if it is not there."""
    for state in chain.interfaces:
        if state.name == rule.interface or state.group(rule.vip):
            _refuse_daemons(state)
    entry = find(chain, rule)
    if entry is None:
        raise RefusedError(
            "Bad rule (does a matching rule exist in that chain?).",
            "compare with `clusterip iptables -S`",
        )
    return _remove(chain, entry)


def delete_number(chain: Chain, number: int) -> Chain:
    """Take rule number `number`, 1..count, out."""
    return _remove(chain, numbered(chain, number))


def numbered(chain: Chain, number: int) -> Entry:
    """Return rule number `number`, 1..count; RefusedError beyond."""
    entries = chain.static().entries()
    if not entries and chain.entries():
        _refuse_daemons(next(one for one in chain.interfaces if one.cluster))
    if not 1 <= number <= len(entries):
        raise RefusedError(
            f"there is no rule number {number}: the chain has {len(entries)}",
            "see the numbers with `clusterip iptables -L --line-numbers`",
        )
    return entries[number - 1]


def flush(chain: Chain) -> Chain:
    """Take all static rules out; RefusedError where daemons run all that there is."""
    if chain.interfaces and not chain.static().interfaces:
        _refuse_daemons(chain.interfaces[0])
    return Chain(tuple(one if one.cluster else _emptied(one) for one in chain.interfaces))


def clear(chain: Chain) -> Chain:
    """Take everything out, what daemons run as well."""
    return Chain(tuple(map(_emptied, chain.interfaces)))


def _emptied(state: InterfaceState) -> InterfaceState:
    return msgspec.structs.replace(state, groups=(), entries=(), cluster="")


def with_xdp(chain: Chain, index: int, xdp: XdpMode) -> Chain:
    """Set the XDP mode of the interface with that ifindex, if rules are on it."""
    state = chain.interface(index)
    if state is None:
        return chain
    _refuse_daemons(state)
    return chain.with_interface(msgspec.structs.replace(state, xdp=xdp))


def _refuse_daemons(state: InterfaceState) -> None:
    if state.cluster:
        raise RefusedError(
            f"{state.name} is run by the daemon of cluster {state.cluster}",
            "its VIPs and services are in its file: change that on all hosts, stop all daemons, and"
            " start them",
        )


def _add(chain: Chain, rule: Rule, index: int, position: int) -> Chain:
    for one in chain.interfaces:
        if one.index == index or one.group(rule.vip):
            _refuse_daemons(one)
    there = find(chain, rule)
    if there is not None:
        return _managed(chain, there) if rule.manage_address else chain
    state = chain.interface(index) or InterfaceState(index, rule.interface)
    group = _group_for(chain, rule, state)
    used = {entry.slot for entry in state.entries}
    slot = next((slot for slot in range(1, limits.RULES) if slot not in used), None)
    if slot is None:
        raise RefusedError(
            f"{rule.interface} has {limits.RULES - 1} rules, more do not fit",
            "cover more with one rule (ranges of ports), or share some VIPs on another interface",
        )
    groups = state.groups if group in state.groups else (*state.groups, group)
    entries = (*state.entries, Entry(position, slot, rule))
    return chain.with_interface(msgspec.structs.replace(state, groups=groups, entries=entries))


def _home(chain: Chain, entry: Entry) -> InterfaceState:
    """Return the interface that an entry is on."""
    return next(one for one in chain.static().interfaces if entry in one.entries)


def _managed(chain: Chain, entry: Entry) -> Chain:
    """Have the address of a rule in place managed from now on."""
    state = _home(chain, entry)
    rule = msgspec.structs.replace(entry.rule, manage_address=True)
    after = msgspec.structs.replace(entry, rule=rule)
    entries = tuple(after if one == entry else one for one in state.entries)
    return chain.with_interface(msgspec.structs.replace(state, entries=entries))


def _group_for(chain: Chain, rule: Rule, state: InterfaceState) -> Group:
    """Return the group that the rule joins or founds."""
    found = chain.find(rule.vip)
    if found is None:
        return _new_group(rule, state)
    other, group = found
    if other.index != state.index:
        raise RefusedError(
            f"{rule.vip} is shared on {other.name} already",
            f"use -i {other.name}, or delete the rules there first",
        )
    if rule.sharing is None:
        return group
    differing = _differences(rule, rule.sharing, group.sharing, state)
    if differing:
        raise RefusedError(
            f"{rule.vip} is shared already, with other parameters: {', '.join(differing)}",
            "leave them out to join it (`-j CLUSTERIP` alone), or delete its rules first",
        )
    return group


def _new_group(rule: Rule, state: InterfaceState) -> Group:
    if rule.sharing is None:
        raise RefusedError(
            f"no config found for {rule.vip}, need 'new'",
            "give --new with --hashmode, --clustermac and --total-nodes",
        )
    used = {group.index for group in state.groups}
    free = next((index for index in range(limits.GROUPS) if index not in used), None)
    if free is None:
        raise RefusedError(
            f"{rule.interface} has {limits.GROUPS} VIPs, more do not fit",
            MORE_INTERFACES,
        )
    return Group(free, rule.vip, rule.sharing)


def _differences(rule: Rule, wanted: Sharing, shared: Sharing, state: InterfaceState) -> list[str]:
    """Return what a second `--new` asks for that differs from what is, in words."""
    pairs = [
        ("hashmode", wanted.mode.value, shared.mode.value),
        ("clustermac", str(wanted.mac), str(shared.mac)),
        ("total-nodes", wanted.total, shared.total),
        ("hash-init", wanted.hash_init, shared.hash_init),
    ]
    founders = (e.rule for e in state.entries if e.rule.vip == rule.vip and e.rule.sharing)
    founder = next(founders, None)
    if founder is not None:
        pairs.append(("local-node", rule.local_node, founder.local_node))
    return [f"{name} {asked} instead of {there}" for name, asked, there in pairs if asked != there]


def _remove(chain: Chain, entry: Entry) -> Chain:
    state = _home(chain, entry)
    entries = tuple(one for one in state.entries if one != entry)
    vips = {one.rule.vip for one in entries}
    groups = tuple(group for group in state.groups if group.vip in vips)
    return chain.with_interface(msgspec.structs.replace(state, groups=groups, entries=entries))


def _spread(chain: Chain) -> Chain:
    """Give all static rules positions with room between neighbours, in the order they have."""
    # By rule: an interrupted spread over two interfaces leaves positions that coincide.
    static = chain.static()
    positions = {entry.rule: at * _GAP for at, entry in enumerate(static.entries())}
    for state in static.interfaces:
        entries = tuple(
            msgspec.structs.replace(entry, position=positions[entry.rule])
            for entry in state.entries
        )
        chain = chain.with_interface(msgspec.structs.replace(state, entries=entries))
    return chain
