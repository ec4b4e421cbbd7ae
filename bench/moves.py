"""A planned move, one host of three giving its share away, and the connections that it breaks.

1,000 connections are open, each asking once a second, and 2,000 new ones a second are made.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from bench.peers import NftJhash, Ours, XtCluster
from bench.results import Result
from lab.gaps import Hashing, SynGaps
from lab.load import LiveConnections
from lab.servers import nginx
from lab.topology import VIP, lab

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.peers import Sharing

_CONNECTIONS: Final = 1000
_A_SECOND: Final = 2000
_PATIENCE: Final = 5.0
_BEFORE: Final = 2.0
_AFTER: Final = 8.0
_SLOW: Final = 0.2
_BROKEN, _DELAYED = "open connections broken", "new connections > 200 ms"
_SLOWEST, _NOISE, _RATE = "slowest new connection", "> 200 ms before the move", "new a second"
_UNITS: Final = {_BROKEN: "", _DELAYED: "", _SLOWEST: "s", _NOISE: "", _RATE: ""}


def run(runs: int, say: Callable[[str], None], *, ours: bool) -> list[Result]:
    """Measure each way a few times: whoever moves, the number of connections hardly varies."""
    results = []
    ways: Sequence[Callable[[], Sharing]] = (XtCluster, NftJhash, Ours)
    for make in ways[: 3 if ours else 2]:
        rows = [_measure(make(), say) for _ in range(max(1, runs // 4))]
        for measure, unit in _UNITS.items():
            values = [row[measure] for row in rows]
            condition = measure in (_NOISE, _RATE)
            results.append(Result("moves", measure, make().name, unit, values, condition))
    return results


def _measure(way: Sharing, say: Callable[[str], None]) -> dict[str, float]:
    with lab(hosts=3) as lan:
        for host in lan.hosts:
            nginx(host)
        way.share(lan)
        live = LiveConnections(lan.client, VIP, count=_CONNECTIONS, patience=_PATIENCE)
        held = live.wait_ready()
        new = SynGaps(lan.client, VIP, Hashing(total=1), interval=1 / _A_SECOND, patience=_PATIENCE)
        time.sleep(_BEFORE)
        before = len(live.broken())
        moved = time.monotonic()
        way.move(lan)
        time.sleep(_AFTER)
        made = new.stop()
        broken = live.stop().broken
    slow = made.slower(_SLOW)
    broke = len(broken) - before
    delayed = sum(one.at + max(one.seconds, _SLOW) >= moved for one in slow)
    how = ", ".join(sorted({one.broken for one in broken})) or "none"
    say(f"moves: {way.name}: h3 had {held['h3']}; broken {broke} ({how}), slow {delayed}")
    return {
        _BROKEN: broke,
        _DELAYED: delayed,
        _SLOWEST: max(one.seconds for one in made.attempts),
        _NOISE: len(slow) - delayed,
        _RATE: made.rate,
    }
