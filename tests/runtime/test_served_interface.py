"""A daemon's interface: taken over, kept, mended, and given back."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address

import pytest
from msgspec.structs import replace

from clusterip.adapters.abi import BucketState
from clusterip.adapters.kernel_maps import FakeMaps, OtherVersionError
from clusterip.adapters.links import Link
from clusterip.core.config.model import Config
from clusterip.core.config.state import GROUP, interface_state
from clusterip.core.errors import ClusterIPError, RefusedError
from clusterip.core.rules import grammar as rules
from tests.core.config.texts import config_with
from tests.runtime.served import (
    CHANGED,
    ELSEWHERE,
    MAIL,
    RULE,
    VIP,
    WEB,
    closed,
    entered,
    served,
    with_rule,
)
from tests.runtime.worlds import ETH0, ETH1, World


def test_where_nothing_is() -> None:
    world = World()
    state, adopted = served(world).enter(WEB, "eth0")
    assert not adopted
    assert state == world.state()
    assert (state.groups, state.entries) == (
        interface_state(WEB, ETH0.index, "eth0").groups,
        interface_state(WEB, ETH0.index, "eth0").entries,
    )
    assert state.cluster == "web"
    assert closed(world)
    assert world.links.addresses(ETH0.index) == {VIP}
    assert world.links.macs(ETH0.index) == {WEB.vips[0].mac}
    assert world.hooks.running == {ETH0.index}


def test_what_an_earlier_daemon_left_goes_on() -> None:
    world = entered(serving=True)
    before = world.seen()
    state, adopted = served(world).enter(WEB, "eth0")
    assert adopted
    assert world.seen() == before
    assert state == world.state()


def test_what_of_it_somebody_took_away_is_put_back() -> None:
    world = entered(serving=True)
    before = world.seen()
    world.hooks.running.clear()
    world.links.remove_address(ETH0.index, VIP)
    world.links.remove_mac(ETH0, WEB.vips[0].mac)
    _, adopted = served(world).enter(WEB, "eth0")
    assert adopted
    assert world.seen() == before


@pytest.mark.parametrize(
    "config",
    [
        CHANGED,
        config_with(cluster="buckets = 8"),
        config_with(vip='service = [{ protocol = "all", hashmode = "sourceip" }]'),
        config_with(rest='[[vip]]\naddress = "10.9.0.7"'),
    ],
)
def test_what_an_earlier_configuration_left_goes_first(config: Config) -> None:
    world, fresh = entered(serving=True), World()
    _, adopted = served(world).enter(config, "eth0")
    assert not adopted
    assert closed(world)
    served(fresh).enter(config, "eth0")
    assert world.seen() == fresh.seen()


def test_what_does_not_concern_the_kernel_changes_nothing() -> None:
    world = entered(serving=True)
    before = world.seen()
    weight = config_with(node="weight = 7", cluster='stop = "drain"')
    assert served(world).enter(weight, "eth0")[1]
    assert world.seen() == before


def test_on_another_interface() -> None:
    world = entered(serving=True)
    state, adopted = served(world).enter(WEB, "eth1")
    assert (state.index, adopted) == (ETH1.index, False)
    assert world.state() is None
    assert world.hooks.running == {ETH1.index}
    assert world.links.addresses(ETH0.index) == frozenset()


@pytest.mark.parametrize(
    ("world", "name"),
    [
        (with_rule(), "eth0"),
        (with_rule("eth1", str(VIP)), "eth1"),
    ],
    ids=["on the interface", "of the VIP"],
)
def test_rules_given_by_commands_stay(world: World, name: str) -> None:
    before = world.seen()
    with pytest.raises(RefusedError, match=f"{name} is shared by rules already") as refused:
        served(world).enter(WEB, "eth0")
    assert "clusterip flush" in refused.value.cure
    assert world.seen() == before


def test_rules_of_other_vips_elsewhere_are_no_trouble() -> None:
    world = with_rule("eth1")
    before = world.state(ETH1.index)
    served(world).enter(WEB, "eth0")
    assert world.state(ETH1.index) == before


def test_a_refusal_comes_before_any_change() -> None:
    world = entered(serving=True)
    words = RULE.format(vip="10.9.0.9", interface="eth1").split()
    world.table().add(rules.parse(words).rules, None, None)
    before = world.seen()
    with pytest.raises(RefusedError, match="eth1 is shared by rules already"):
        served(world).enter(WEB, "eth1")
    assert world.seen() == before


@pytest.mark.parametrize("name", ["eth9", "lo"])
def test_an_interface_that_cannot_be(name: str) -> None:
    world = entered(serving=True)
    world.links.links.append(Link(1, "lo", ethernet=False))
    before = world.seen()
    with pytest.raises(RefusedError, match=name):
        served(world).enter(WEB, name)
    assert world.seen() == before


@pytest.mark.parametrize(
    ("other", "interface"), [(MAIL, "eth0"), (ELSEWHERE, "eth0"), (MAIL, "eth1")]
)
def test_another_cluster(other: Config, interface: str) -> None:
    world, fresh = entered(other, serving=True), World()
    before = world.seen()
    with pytest.raises(RefusedError, match="eth0 is shared by the daemon of cluster mail"):
        served(world, "mail").enter(WEB, interface)
    assert world.seen() == before
    # Its daemon died: what it left is in the way of nobody.
    _, adopted = served(world).enter(WEB, interface)
    assert not adopted
    served(fresh).enter(WEB, interface)
    assert world.seen() == fresh.seen()


def test_another_cluster_beside() -> None:
    world = entered(ELSEWHERE, serving=True)
    before = world.state()
    served(world, "mail").enter(WEB, "eth1")
    assert world.state() == before
    served(world, "mail").leave(ETH1.index)
    assert world.state() == before


def test_an_interface_that_went() -> None:
    world = entered(serving=True)
    world.links.links.remove(ETH0)
    world.links.links.append(Link(9, "eth0"))
    state, adopted = served(world).enter(WEB, "eth0")
    assert (state.index, adopted) == (9, False)
    assert world.maps.indices() == (9,)


def test_what_another_version_left_is_replaced() -> None:
    class Unreadable(FakeMaps):
        def rules(self) -> None:  # type: ignore[override]
            raise OtherVersionError

    world = entered(serving=True)
    world.maps.by_index[ETH0.index] = Unreadable(world.maps.by_index[ETH0.index].in_force)
    _, adopted = served(world).enter(WEB, "eth0")
    assert not adopted
    assert closed(world)


def test_it_is_given_back_as_it_was_found() -> None:
    for prepare in (lambda world: None, own_things):
        world = World()
        prepare(world)
        before = world.seen()
        state, _ = served(world).enter(WEB, "eth0")
        served(world).leave(state.index)
        assert world.seen() == before
        served(world).leave(state.index)


def own_things(world: World) -> None:
    """Have the administrator give the VIP's MAC and a qdisc."""
    world.links.add_mac(ETH0, WEB.vips[0].mac)
    world.hooks.clsact.add(ETH0.index)


def test_the_buckets_are_reached() -> None:
    world = entered()
    one = served(world)
    state = world.state()
    assert state is not None
    with one.open_maps(state) as maps:
        maps.set_bucket(GROUP, 1, BucketState.OWNED)
    assert world.maps.by_index[ETH0.index].bucket_states(GROUP)[0] is BucketState.OWNED


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda world: world.hooks.running.clear(), "filters of tc, the XDP program"),
        (lambda world: world.links.remove_address(ETH0.index, VIP), f"the address {VIP}"),
        (
            lambda world: world.links.remove_mac(ETH0, WEB.vips[0].mac),
            f"{WEB.vips[0].mac} in the MAC filter",
        ),
        (
            lambda world: world.links.otherwise.update({ETH0.index: {VIP}}),
            f"the address {VIP}",
        ),
        (lambda world: None, ""),
    ],
    ids=["filters", "address", "MAC", "address otherwise", "nothing"],
)
def test_mending(harm: Callable[[World], None], told: str) -> None:
    world = entered(serving=True)
    before = world.seen()
    harm(world)
    assert served(world).mend(ETH0.index).put_back == told
    assert world.seen() == before
    assert world.links.as_added(ETH0.index) == {VIP}


def test_what_cannot_be_mended_can_be_closed() -> None:
    world = entered(serving=True)
    before = world.seen()
    world.hooks.running.clear()
    world.hooks.foreign.add(ETH0.index)
    with pytest.raises(RefusedError, match="a foreign filter is in the way"):
        served(world).mend(ETH0.index)
    served(world).close(world.maps.by_index[ETH0.index].rules())
    assert world.links.addresses(ETH0.index) == frozenset()
    assert world.maps.by_index[ETH0.index].deadline(GROUP) == 77
    # When it can be mended again, all is as it was.
    world.hooks.foreign.clear()
    served(world).mend(ETH0.index)
    assert world.seen() == before


def test_an_interface_that_became_a_part_of_another_is_not_mended() -> None:
    world = entered(serving=True)
    before = world.seen()
    world.links.links.remove(ETH0)
    world.links.links.append(replace(ETH0, master="br0"))
    with pytest.raises(RefusedError, match="eth0 is a part of br0"):
        served(world).mend(ETH0.index)
    assert world.seen() == before


def test_a_mac_taken_out_of_the_filter_is_seen() -> None:
    world = World()
    state, _ = served(world).enter(WEB, "eth0")
    assert served(world).lets_in(state)
    world.links.remove_mac(ETH0, state.groups[0].sharing.mac)
    assert not served(world).lets_in(state)
    served(world).mend(ETH0.index)
    assert served(world).lets_in(state)


def test_closing_leaves_what_the_administrator_gave() -> None:
    world = World()
    own = IPv4Address("10.9.0.1")
    world.links.add_address(ETH0.index, own)
    state, _ = served(world).enter(WEB, "eth0")
    served(world).close(state)
    assert world.links.addresses(ETH0.index) == {own}


def test_mending_an_interface_that_is_gone() -> None:
    world = entered()
    world.links.links.remove(ETH0)
    with pytest.raises(ClusterIPError, match="the interface is gone"):
        served(world).mend(ETH0.index)


@pytest.mark.parametrize("up", [True, False])
def test_an_interface_that_comes_is_guarded_and_may_have_answered_if_it_is_up(up: bool) -> None:
    world = World()
    world.links.links = [ETH0]
    served(world).enter(WEB, "eth0")
    assert served(world).guard(ETH0.index) == (False, "")
    world.links.links.append(replace(ETH1, up=up))
    assert served(world).guard(ETH0.index) == (up, "")
    assert world.hooks.guards == {(ETH1.index, ETH0.index)}
    assert served(world).guard(ETH0.index) == (False, "")
    served(world).leave(ETH0.index)
    assert not world.hooks.guards
    assert not world.hooks.clsact
