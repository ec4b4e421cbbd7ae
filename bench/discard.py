"""Discarding a packet that is another host's: what it costs, beside what others do and the limit.

The time of our programs is taken by BPF_PROG_TEST_RUN; it includes what the kernel does between
two runs, which is all that the bare programs cost. The rate is of a flood of SYNs from random
addresses through a veth pair, in frames for each second of processor time: one thread sends a
frame and does all of the receiver's work, so other programs on the machine do not count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bench.filters import (
    BARE,
    NONE,
    TC,
    XDP,
    Bare,
    NoFilter,
    in_turn,
    our_filters,
    peer_filters,
    places,
    programs,
)
from bench.flood import segment, send
from bench.loaded import REPEAT, TC_ACT_SHOT, XDP_DROP, loaded, rules, timed
from bench.results import Comparison, Result
from clusterip.adapters.abi import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.filters import Filter, Place

_FRAMES: Final = 60_000
_TURNS: Final = 5
_NS, _RATE = "time of a program", "rate"
_SHOT: Final = "bare TC_ACT_SHOT"
_PEERS: Final = ("xt_cluster", "nft jhash", "nft ingress jhash", NONE)

COMPARISONS: Final = (
    Comparison(_NS, XDP, BARE, at_most=1.5),
    Comparison(_NS, TC, _SHOT),
    Comparison(_RATE, XDP, BARE, at_least=0.9),
    Comparison(_RATE, XDP, "xt_cluster", at_least=8),
    *(Comparison(_RATE, XDP, peer) for peer in _PEERS[1:]),
    *(Comparison(_RATE, TC, peer) for peer in _PEERS),
)


def run(runs: int, say: Callable[[str], None], *, ours: bool) -> list[Result]:
    """Measure both."""
    return [*(_times(runs, say) if ours else ()), *_rates(runs, say, ours=ours)]


def _times(runs: int, say: Callable[[str], None]) -> list[Result]:
    bare, frame = programs(), segment()
    with loaded(rules()) as mine:
        programs_of = {
            BARE: (bare.program_fd("bench_drop"), XDP_DROP),
            XDP: (mine.xdp, XDP_DROP),
            _SHOT: (bare.program_fd("bench_shot"), TC_ACT_SHOT),
            TC: (mine.tc, TC_ACT_SHOT),
        }
        values: dict[str, list[float]] = {name: [] for name in programs_of}
        for _ in range(runs):
            for name, (program, returned) in programs_of.items():
                values[name].append(timed(program, frame, returned))
        if (counted := mine.counted(Reason.DROP_NOT_OWNED)) != 2 * runs * REPEAT:
            raise RuntimeError(f"{2 * runs * REPEAT} runs of our programs, {counted} counted")
    results = [Result("discard", _NS, name, "ns", found) for name, found in values.items()]
    say("discard: " + ", ".join(f"{one.subject} {one.median:.0f} ns" for one in results))
    return results


def _rates(runs: int, say: Callable[[str], None], *, ours: bool) -> list[Result]:
    filters: list[Filter] = [
        NoFilter(),
        Bare(BARE),
        *peer_filters(),
        *(our_filters() if ours else ()),
    ]
    rates: dict[str, list[float]] = {one.name: [] for one in filters}
    with places(filters) as every:
        for place in every:
            place.filter.put(place.host, None)
        for number in range(runs):
            for place in in_turn(every, number):
                rates[place.filter.name].append(_rate(place) / 1e6)
            told = ", ".join(f"{name} {found[-1]:.2f}" for name, found in rates.items())
            say(f"discard: round {number + 1} of {runs}, million frames/s: {told}")
    return [
        Result("discard", _RATE, name, "million frames/s", found, more=True)
        for name, found in rates.items()
    ]


def _rate(place: Place) -> float:
    """Return frames for a second of processor time; each must have been discarded, or none.

    The best of a few turns counts: in the others the caches were another program's.
    """
    before, ours = place.seen(), _discarded(place)
    seconds = min(send(place, _FRAMES) for _ in range(_TURNS))
    delivered, sent = place.seen().since(before).delivered, _FRAMES * _TURNS
    if delivered != (sent if place.filter.name == NONE else 0):
        raise RuntimeError(f"{place.filter.name}: {delivered} of {sent} reached the stack")
    if ours is not None and (_discarded(place) or 0) - ours != sent:
        raise RuntimeError(f"{place.filter.name}: not all of {sent} frames were counted")
    return _FRAMES / seconds


def _discarded(place: Place) -> int | None:
    """Return what our counter says, None if the filter is not ours."""
    if place.filter.name not in (XDP, TC):
        return None
    (shown,) = place.host.show()["interfaces"]
    return int(shown["verdicts"][Reason.DROP_NOT_OWNED.word])
