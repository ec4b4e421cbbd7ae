"""Where nothing is settled, for a message changes nothing, settling would have changed nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from clusterip.core.lease import calm
from tests.sim.schedule import Story
from tests.sim.world import World

if TYPE_CHECKING:
    from clusterip.core.messages.message import Message
    from tests.sim.host import Decider, Host


class Told(World):
    """A world that notes all that its nodes say and do, and when they want to be called."""

    told: list[object]

    def send(self, host: Host, message: Message) -> None:
        self.told.append((self.now, host.id, message))
        super().send(host, message)

    def act(self, host: Host, event: object) -> None:
        self.told.append((self.now, host.id, event))
        super().act(host, event)

    def arm(self, host: Host, node: Decider) -> None:
        self.told.append((self.now, host.id, node.next_timer()))
        super().arm(host, node)


def told(seed: int) -> list[object]:
    story = Story(seed)
    story.world.__class__ = Told
    assert isinstance(story.world, Told)
    story.world.told = []
    story.run()
    return story.world.told


@pytest.mark.parametrize(
    "seed", [1, 2, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(3, 40))]
)
def test_it_comes_to_the_same(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    as_it_is = told(seed)
    assert len(as_it_is) > 100
    monkeypatch.setattr(calm, "is_calm", lambda state, now: False)
    assert told(seed) == as_it_is
