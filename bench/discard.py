"""Discarding a packet that is another host's: what it costs, beside what others do and the limit.

The time of our programs is taken by BPF_PROG_TEST_RUN; it includes what the kernel does between
two runs, which is all that the bare programs cost. The rate is of a flood of SYNs from random
addresses through a veth pair, in frames for each second of processor time: one thread sends a
frame and does all of the receiver's work, so other programs on the machine do not count.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from bench.filters import (
    BARE,
    NONE,
    PASS,
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
from bench.flood import segment, segment6, send
from bench.loaded import (
    REPEAT,
    TC_ACT_SHOT,
    XDP_DROP,
    XDP_PASS,
    loaded,
    rules,
    smallest,
    timed,
)
from bench.results import Comparison, Result
from clusterip.adapters.abi import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.filters import Filter, Place

_FRAMES: Final = 60_000
_TURNS: Final = 5
_NS, _RATE = "time of a program", "rate"
_SHOT: Final = "bare TC_ACT_SHOT"
_SMALLEST_XDP, _SMALLEST_TC = "smallest xdp", "smallest tc"
_NO_VIP: Final = "clusterip xdp, for no VIP"
_VIP6: Final = "2001:db8::100"
_PEERS: Final = ("xt_cluster", "nft jhash", "nft ingress jhash", NONE)


def _four(name: str) -> str:
    return name


def _six(name: str) -> str:
    return f"{name}, IPv6"


COMPARISONS: Final = (
    Comparison(_NS, XDP, BARE, at_most=1.6),
    Comparison(_NS, XDP, _SMALLEST_XDP, at_most=1.15),
    Comparison(_NS, TC, _SHOT, at_most=1.6),
    Comparison(_NS, TC, _SMALLEST_TC, at_most=1.15),
    Comparison(_NS, _six(XDP), BARE, at_most=1.6),
    Comparison(_NS, _six(XDP), _six(_SMALLEST_XDP), at_most=1.15),
    Comparison(_NS, _six(TC), _SHOT, at_most=1.6),
    Comparison(_NS, _six(TC), _six(_SMALLEST_TC), at_most=1.15),
    Comparison(_NS, _NO_VIP, PASS, at_most=1.2),
    Comparison(_NS, _six(_NO_VIP), PASS, at_most=1.2),
    Comparison(_RATE, XDP, BARE, at_least=0.92),
    Comparison(_RATE, XDP, "xt_cluster", at_least=7),
    Comparison(_RATE, XDP, "nft jhash", at_least=4),
    *(Comparison(_RATE, XDP, peer) for peer in _PEERS[2:]),
    *(Comparison(_RATE, TC, peer) for peer in _PEERS),
)


def run(runs: int, say: Callable[[str], None], *, ours: bool) -> list[Result]:
    """Measure both."""
    return [*(_times(runs, say) if ours else ()), *_rates(runs, say, ours=ours)]


def _times(runs: int, say: Callable[[str], None]) -> list[Result]:
    bare, frames = programs(), (segment(), segment6(_VIP6))
    with contextlib.ExitStack() as stack:
        both = [rules(), rules((_VIP6,))]
        ours = [stack.enter_context(loaded(one)) for one in both]
        least = [stack.enter_context(smallest(one)) for one in both]
        timings = {
            BARE: (bare.program_fd("bench_drop"), frames[0], XDP_DROP),
            PASS: (bare.program_fd("bench_pass"), frames[0], XDP_PASS),
            _SHOT: (bare.program_fd("bench_shot"), frames[0], TC_ACT_SHOT),
        }
        for of, frame, one, other in zip((_four, _six), frames, ours, least, strict=True):
            timings |= {
                of(XDP): (one.xdp, frame, XDP_DROP),
                of(_SMALLEST_XDP): (other.xdp, frame, XDP_DROP),
                of(TC): (one.tc, frame, TC_ACT_SHOT),
                of(_SMALLEST_TC): (other.tc, frame, TC_ACT_SHOT),
            }
        timings[_NO_VIP] = (ours[0].xdp, segment("10.9.0.1"), XDP_PASS)
        timings[_six(_NO_VIP)] = (ours[1].xdp, segment6("2001:db8::1"), XDP_PASS)
        values: dict[str, list[float]] = {name: [] for name in timings}
        for _ in range(runs):
            for name, (program, frame, returned) in timings.items():
                values[name].append(timed(program, frame, returned))
        for one in (*ours, *least):
            if (counted := one.counted(Reason.DROP_NOT_OWNED)) != 2 * runs * REPEAT:
                raise RuntimeError(f"{2 * runs * REPEAT} runs of programs, {counted} counted")
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
