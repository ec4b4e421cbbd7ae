"""Every coordinator does as the protocol says: types by mypy, the rest here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from clusterip.core.messages.message import Message
from clusterip.core.serving.coordinator import Coordinator
from clusterip.core.serving.other import Other
from clusterip.core.serving.static import Static
from clusterip.core.units import SECOND
from tests.core.lease.lan import MS, cluster, node

if TYPE_CHECKING:
    from collections.abc import Callable

FRESH: dict[str, Callable[[], Coordinator[Message, Message]]] = {
    "peer": node,
    "static": lambda: Static(1, 4, 0b1111),
}


@pytest.fixture(params=FRESH)
def one(request: pytest.FixtureRequest) -> Any:
    made = FRESH[request.param]
    return made()


def taken(one: Coordinator[Any, Any]) -> None:
    while one.next_action():
        pass


def test_nothing_is_said_while_actions_are_not_taken(one: Coordinator[Any, Any]) -> None:
    assert one.kernel.actions, "it clears what there may be"
    assert one.message_to_send(now=SECOND) is None


def test_what_is_said_of_the_host_is_noted(one: Coordinator[Any, Any]) -> None:
    one.set_health(False, now=1)
    one.set_link(False, now=1)
    one.set_weight(7, now=1)
    one.drain(now=1)
    own = one.own
    assert (own.healthy, own.link, own.weight, own.leaving) == (False, False, 7, True)
    one.undrain(now=1)
    assert not any((one.own.leaving, one.own.stopped))


def test_it_has_ended_when_it_left_and_said_so(one: Coordinator[Any, Any]) -> None:
    taken(one)
    assert one.ended is bool(one.own.stopped)
    one.leave(now=SECOND)
    taken(one)
    one.message_to_send(now=2 * SECOND)
    assert one.ended
    assert not one.kernel.open
    assert not one.asking


def test_a_restart_is_under_way_until_it_is_called_off(one: Coordinator[Any, Any]) -> None:
    taken(one)
    one.prepare_restart(now=1)
    assert one.restarting
    taken(one)
    one.hand_over()
    assert one.gone
    one.cancel_restart(now=2)
    assert (one.restarting, one.gone) == (False, False)


def test_peers_tell_who_else_is_there_and_what_they_have() -> None:
    lan = cluster()
    one = lan.nodes[1]
    assert {node: other.held for node, other in one.others.items()} == {
        node: lan.nodes[node].kernel.open for node in (2, 3)
    }
    lan.nodes[2].drain(now=lan.now)
    lan.run(lan.now + 20 * MS)
    other = one.known(2)
    assert isinstance(other, Other)
    assert (other.node, other.leaving, one.lives(2)) == (2, True, True)
    del lan.nodes[2]
    lan.run(lan.now + 2 * SECOND)
    assert set(one.others) == {3}
    assert one.known(2) is not None
    assert not one.lives(2)
    assert one.known(9) is None
