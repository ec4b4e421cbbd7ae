"""An attack: a flood of SYNs from random addresses while wrk asks, on one host of three.

How many of its requests the client keeps, with connections that are open and with a new one for
each request. A third of the flood falls to the host, as it would with any of the ways. As a
network card's interrupts do, the flood goes before all programs; of its 300,000 frames a second
those are lost, like the client's own, that find the queue of the interface full. The processor
time is that of the flood alone, to send, receive, discard two thirds and answer one.
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
from bench.flood import Flood, send
from bench.results import Comparison, Result
from lab.topology import VIP
from lab.wrk import wrk

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.filters import Filter, Place

_CONNECTIONS: Final = 64
_SECONDS: Final = 2
_FLOOD: Final = 300_000  # frames a second
_FLOODED: Final = 0.1  # of the flood, at least, must have come
_OPEN, _NEW = "requests kept, open connections", "requests kept, new connections"
_COST: Final = "processor time of a frame"
_CAME: Final = "frames taken in"
_UNITS: Final = {_COST: "ns", _OPEN: "%", _NEW: "%", _CAME: "/s"}
_FRAMES: Final = 50_000
_TURNS: Final = 3
_PEERS: Final = ("xt_cluster", "nft jhash", "nft ingress jhash", NONE)

COMPARISONS: Final = tuple(
    Comparison(measure, subject, peer)
    for measure in (_COST, _OPEN, _NEW)
    for subject in (XDP, TC)
    for peer in _PEERS
)


def run(runs: int, say: Callable[[str], None], *, ours: bool) -> list[Result]:
    """Measure each way a few times."""
    filters: list[Filter] = [NoFilter(), *(our_filters() if ours else ()), *peer_filters()]
    values: dict[tuple[str, str], list[float]] = {
        (measure, one.name): [] for measure in _UNITS for one in filters
    }
    rounds = max(1, runs // 4)
    with places(filters) as every:
        for place in every:
            serve(place)
        for number in range(rounds):
            for place in in_turn(every, number):
                cost = min(send(place, _FRAMES, place.mac) for _ in range(_TURNS)) / _FRAMES * 1e9
                values[_COST, place.filter.name].append(cost)
                opened, new = (values[measure, place.filter.name] for measure in (_OPEN, _NEW))
                for measure in (_OPEN, _NEW):
                    kept, came = _kept(place, keepalive=measure == _OPEN)
                    values[measure, place.filter.name].append(kept)
                    values[_CAME, place.filter.name].append(came)
                told = ", ".join(f"{found[-1]:.1f} %" for found in (opened, new))
                told = f"{place.filter.name} {cost:.0f} ns a frame, kept {told}"
                say(f"attack: round {number + 1} of {rounds}, {told}")
    return [
        Result("attack", measure, name, _UNITS[measure], found, more=measure != _COST)
        for (measure, name), found in values.items()
    ]


def _kept(place: Place, *, keepalive: bool) -> tuple[float, float]:
    """Return the requests answered, in percent of those without a flood, and frames a second."""
    client = place.pair.client
    quiet, _ = ask(place, _SECONDS, connections=_CONNECTIONS, keepalive=keepalive)
    before = place.seen()
    flood = Flood(place, _FLOOD)
    flooded = wrk(client, VIP, _SECONDS, connections=_CONNECTIONS, keepalive=keepalive)
    sent, seconds = flood.stop()
    came = place.seen().since(before).frames
    if came < _FLOODED * _FLOOD * seconds:
        raise RuntimeError(f"{place.filter.name}: {sent} sent in {seconds:.1f} s, {came} came")
    return 100 * flooded.rate / quiet.rate, came / seconds
