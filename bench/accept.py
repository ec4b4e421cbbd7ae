"""Accepting what is ours: a web server behind the VIP, against the same host without clusterip.

nginx on one processor, wrk on the other: requests a second with 64 connections, and the time of
a request with one. Requests for a second of processor time, client, server and all between them,
are the same measure for a machine that others use, too. Each value is the best of a few turns of
a second; the ways take turns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bench.filters import (
    NONE,
    PASS,
    TC,
    XDP,
    Bare,
    NoFilter,
    ask,
    in_turn,
    our_filters,
    peer_filters,
    places,
    serve,
)
from bench.results import Comparison, Result

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.filters import Filter, Place
    from lab.wrk import WrkReport

_CONNECTIONS: Final = 64
_SECONDS: Final = 1
_TURNS: Final = 6
_TURNS_ALONE: Final = 2
_RATE, _PRICE = "requests", "requests for processor time"
_HALF, _MOST = "latency, 50 %", "latency, 99 %"
_UNITS: Final = {_RATE: "/s", _PRICE: "/s", _HALF: "us", _MOST: "us"}
_NFT: Final = ("nft jhash", "nft ingress jhash")

COMPARISONS: Final = (
    Comparison(_PRICE, TC, NONE, at_least=0.985),
    Comparison(_PRICE, XDP, PASS, at_least=1),
    Comparison(_PRICE, XDP, NONE, at_least=0.98),
    *(Comparison(_RATE, subject, NONE, at_least=0.98) for subject in (TC, XDP)),
    *(
        Comparison(one, subject, "xt_cluster", at_least=1)
        for one in (_RATE, _PRICE)
        for subject in (TC, XDP)
    ),
    *(Comparison(_PRICE, subject, peer) for subject in (TC, XDP) for peer in _NFT),
    *(Comparison(one, subject, NONE) for one in (_HALF, _MOST) for subject in (TC, XDP)),
)


def run(runs: int, say: Callable[[str], None], *, ours: bool) -> list[Result]:
    """Measure all of it."""
    filters: list[Filter] = [
        NoFilter(),
        Bare(PASS),
        *(our_filters() if ours else ()),
        *peer_filters(),
    ]
    values: dict[tuple[str, str], list[float]] = {
        (measure, one.name): [] for measure in _UNITS for one in filters
    }
    with places(filters) as every:
        for place in every:
            serve(place)
        rounds = max(1, runs // 2)
        for number in range(rounds):
            loaded = _turns(every, number, _TURNS, _CONNECTIONS)
            alone = _turns(every, number, _TURNS_ALONE, 1)
            for one in filters:
                measured = _best(loaded[one.name], alone[one.name])
                for measure, value in zip(_UNITS, measured, strict=True):
                    values[measure, one.name].append(value)
            told = ", ".join(f"{one.name} {values[_PRICE, one.name][-1]:.0f}" for one in filters)
            say(f"accept: round {number + 1} of {rounds}, requests for a processor second: {told}")
    return [
        Result("accept", measure, name, _UNITS[measure], found, more=_UNITS[measure] == "/s")
        for (measure, name), found in values.items()
    ]


def _turns(
    every: list[Place], number: int, count: int, connections: int
) -> dict[str, list[tuple[WrkReport, float]]]:
    """Ask every place `count` times, in turn: a machine that is slow for a while is so to all."""
    found: dict[str, list[tuple[WrkReport, float]]] = {one.filter.name: [] for one in every}
    for turn in range(count):
        for place in in_turn(every, number + turn):
            found[place.filter.name].append(ask(place, _SECONDS, connections=connections))
    return found


def _best(
    loaded: list[tuple[WrkReport, float]], alone: list[tuple[WrkReport, float]]
) -> tuple[float, ...]:
    """Return a value for each of _UNITS, in that order: the best, by no other program disturbed."""
    rate = max(report.rate for report, _ in loaded)
    price = max(report.requests / spent for report, spent in loaded)
    half, most = min(one.p50 for one, _ in alone), min(one.p99 for one, _ in alone)
    return rate, price, half * 1e6, most * 1e6
