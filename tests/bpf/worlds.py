"""Rules, bucket states and deadlines for Hypothesis."""

from __future__ import annotations

import random
from ipaddress import IPv4Address, IPv6Address

from hypothesis import strategies as st
from msgspec.structs import replace

from clusterip.adapters.abi import NO_DEADLINE, BucketState
from clusterip.core.address import Address
from clusterip.core.errors import RefusedError
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import ANY_SOURCE, Mac, Match, Rule, ServiceAction, Sharing
from clusterip.core.packets.state import Chain, InterfaceState
from clusterip.core.rules import chain as chains
from tests.bpf.reference import World
from tests.core.rules.strategies import matches

INDEX = 7
ACTIONS = [*3 * [ServiceAction.BALANCE], *2 * [ServiceAction.SINGLE], ServiceAction.DROP]
sharings = st.builds(
    Sharing,
    st.sampled_from(HashMode),
    st.integers(0, 255).map(lambda last: Mac(f"01005e0000{last:02x}")),
    st.integers(1, 256),
    st.integers(0, 2**32 - 1),
    st.integers(1, 128),
)
ipv4 = st.integers(1, 2**32 - 1).map(IPv4Address)
ipv6 = st.integers(1, 2**128 - 1).map(IPv6Address)
any_address: st.SearchStrategy[Address] = st.one_of(ipv4, ipv6)
# Every kind of rule, and often the one that covers all, so that much reaches the hash.
some_matches = st.one_of(st.just(Match()), matches(lists=1))


@st.composite
def rule_sets(
    draw: st.DrawFn, addresses: st.SearchStrategy[Address] = any_address
) -> InterfaceState:
    """Draw the rules of one interface, as the chain takes them."""
    chain = Chain()
    for vip in draw(st.lists(addresses, min_size=1, max_size=5, unique=True)):
        sharing = draw(sharings)
        for match in draw(st.lists(some_matches, min_size=1, max_size=4)):
            rule = Rule(vip, "eth0", match, sharing)
            if isinstance(vip, IPv6Address):  # such rules have no condition on the source
                plain = replace(match, source=ANY_SOURCE, source_negated=False)
                rule = replace(rule, match=plain)
            try:
                chain = chains.append(chain, rule, INDEX)
            except RefusedError as error:
                raise AssertionError("nothing here exceeds a limit") from error
    state = chain.interface(INDEX)
    assert state is not None
    return draw(run_by_daemon(state)) if draw(st.booleans()) else state


@st.composite
def run_by_daemon(draw: st.DrawFn, rules: InterfaceState) -> InterfaceState:
    """Give all VIPs one bucket table, and each rule an action, bucket and hash mode of its own."""
    sharing = draw(sharings)
    mac = st.builds(lambda one: one.mac, sharings)
    groups = [
        replace(one, index=0, sharing=replace(sharing, mac=draw(mac))) for one in rules.groups
    ]
    # From the rules: drawn one by one, or from a seed, few of the modes and actions would come up.
    rnd = random.Random(repr((rules.groups, sharing)))
    entries = []
    for one in rules.entries:
        action = rnd.choice(ACTIONS)
        bucket = rnd.randint(1, sharing.total) if action is ServiceAction.SINGLE else 0
        own = replace(sharing, mode=rnd.choice(list(HashMode)))
        rule = replace(one.rule, sharing=own, action=action, bucket=bucket)
        entries.append(replace(one, rule=rule))
    return replace(rules, groups=tuple(groups), entries=tuple(entries), cluster="web")


@st.composite
def worlds(draw: st.DrawFn, addresses: st.SearchStrategy[Address] = any_address) -> World:
    """Draw rules, who owns what, and leases that have run out long ago or never will."""
    rules = draw(rule_sets(addresses))
    # Half of the worlds own every bucket, or too little would be accepted. The others draw states
    # from a seed: Hypothesis would often make a list of 256 that is nearly all the same.
    states = st.integers(0, 2**32).map(
        lambda seed: random.Random(seed).choices(list(BucketState), k=256)
    )
    deadline = st.sampled_from((NO_DEADLINE, NO_DEADLINE, 0, 1, NO_DEADLINE - 1))
    tables = sorted({group.index for group in rules.groups})
    chance = random.Random(draw(st.integers(0, 2**32)))
    return World(
        rules,
        {table: draw(st.one_of(st.just([BucketState.OWNED] * 256), states)) for table in tables},
        {table: draw(deadline) for table in tables},
        # Long after 0 and 1 ns, long before the last: what the clock says does not matter.
        now=lambda: 1 << 40,
        flow_slots={(table, at): chance.getrandbits(64) for table in tables for at in range(256)},
    )
