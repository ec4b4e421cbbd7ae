"""Who lives: what is remembered of them is what looking them up would find."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clusterip.core.lease.living import Living
from clusterip.core.lease.peers import Peers
from clusterip.core.messages.message import Message

STEPS = st.lists(
    st.tuples(
        st.integers(2, 4),
        st.booleans(),
        st.sampled_from((0, 5, 10, 20)),
        st.integers(0, 8),
        st.sampled_from((0, 0b1, 0b11)),
    ),
    max_size=40,
)


@given(STEPS)
def test_what_is_remembered_is_what_would_be_found(
    steps: list[tuple[int, bool, int, int, int]],
) -> None:
    peers, now = Peers(1, 10, 10, 2), 0
    for sequence, (node, hears_us, lasts, passed, want) in enumerate(steps, start=1):
        now += passed
        peers.learn(node)
        peers.accept(
            Message(node, 7, sequence, 1, 1, want=want),
            hears_us=hears_us,
            alive_until=now + lasts if lasts else 0,
            excused_until=0,
            now=now,
        )
        anew = Living()
        anew.look(peers.all, now)
        assert peers.heard(now=now) == anew.heard
        assert peers.living(now=now) == anew.hear_us


def test_a_turn_is_what_others_are_or_have() -> None:
    peers = Peers(1, 10, 10, 2)

    def hears(sequence: int, now: int, *, want: int = 0) -> int:
        peers.learn(2)
        message = Message(2, 7, sequence, 1, 1, want=want, clock=now)
        peers.accept(message, hears_us=True, alive_until=now + 10, excused_until=0, now=now)
        assert peers.heard(now=now) == {2: message}
        return peers.alive.turns

    first = hears(1, 1)
    assert hears(2, 5) == first
    assert hears(3, 9, want=1) > first
    second = peers.alive.turns
    assert hears(4, 10, want=1) == second
    assert peers.heard(now=20) == {}
    assert peers.alive.turns > second
