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
    TC,
    XDP,
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

_CONNECTIONS: Final = 64
_SECONDS: Final = 1
_TURNS: Final = 2
_RATE, _PRICE = "requests", "requests for processor time"
_HALF, _MOST = "latency, 50 %", "latency, 99 %"
_UNITS: Final = {_RATE: "/s", _PRICE: "/s", _HALF: "us", _MOST: "us"}
_NFT: Final = ("nft jhash", "nft ingress jhash")

COMPARISONS: Final = (
    *(
        Comparison(one, subject, NONE, at_least=0.98)
        for one in (_RATE, _PRICE)
        for subject in (TC, XDP)
    ),
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
    filters: list[Filter] = [NoFilter(), *(our_filters() if ours else ()), *peer_filters()]
    values: dict[tuple[str, str], list[float]] = {
        (measure, one.name): [] for measure in _UNITS for one in filters
    }
    with places(filters) as every:
        for place in every:
            serve(place)
        for number in range(runs):
            for place in in_turn(every, number):
                measured = _measure(place)
                for measure, value in zip(_UNITS, measured, strict=True):
                    values[measure, place.filter.name].append(value)
            told = ", ".join(f"{one.name} {values[_PRICE, one.name][-1]:.0f}" for one in filters)
            say(f"accept: round {number + 1} of {runs}, requests for a processor second: {told}")
    return [
        Result("accept", measure, name, _UNITS[measure], found, more=_UNITS[measure] == "/s")
        for (measure, name), found in values.items()
    ]


def _measure(place: Place) -> tuple[float, ...]:
    """Return a value for each of _UNITS, in that order."""
    turns = [ask(place, _SECONDS, connections=_CONNECTIONS) for _ in range(_TURNS)]
    rate = max(report.rate for report, _ in turns)
    price = max(report.requests / spent for report, spent in turns)
    alone = [ask(place, _SECONDS, connections=1)[0] for _ in range(_TURNS)]
    half, most = min(one.p50 for one in alone), min(one.p99 for one in alone)
    return rate, price, half * 1e6, most * 1e6
