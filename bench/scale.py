"""More VIPs and more services: whether a verdict takes longer.

Time of our XDP program by BPF_PROG_TEST_RUN on packets to the first, the middle and the last VIP
and service: the worst of the three counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bench.flood import segment
from bench.loaded import FIRST_PORT, XDP_DROP, loaded, rules, timed
from bench.results import Comparison, Result

if TYPE_CHECKING:
    from collections.abc import Callable

_SIZES: Final = ((1, 1), (8, 1), (64, 1), (1, 100), (8, 100), (64, 15))
"""VIPs, and services of each; 1,023 rules are the most that an interface has."""
_TIME: Final = "time of a verdict"


def _name(vips: int, services: int) -> str:
    return f"clusterip {vips} VIPs, {services} services each"


COMPARISONS: Final = tuple(
    Comparison(_TIME, _name(*size), _name(*_SIZES[0]), at_most=1.1) for size in _SIZES[1:]
)


def run(runs: int, say: Callable[[str], None], *, ours: bool) -> list[Result]:
    """Measure each size."""
    values: dict[str, list[float]] = {_name(*size): [] for size in _SIZES if ours}
    for number in range(runs if ours else 0):
        for size in _SIZES:
            values[_name(*size)].append(_worst(*size))
        told = ", ".join(
            f"{vips}x{services} {_last(values, vips, services):.0f}" for vips, services in _SIZES
        )
        say(f"scale: round {number + 1} of {runs}, ns: {told}")
    return [Result("scale", _TIME, name, "ns", found) for name, found in values.items()]


def _last(values: dict[str, list[float]], vips: int, services: int) -> float:
    return values[_name(vips, services)][-1]


def _worst(vips: int, services: int) -> float:
    addresses = [f"10.9.2.{last}" for last in range(1, vips + 1)]
    ports = range(FIRST_PORT, FIRST_PORT + services)
    places = [(addresses[at * (vips - 1) // 2], ports[at * (services - 1) // 2]) for at in range(3)]
    with loaded(rules(addresses, services)) as mine:
        frames = [segment(vip, port=port) for vip, port in places]
        return max(timed(mine.xdp, frame, XDP_DROP) for frame in frames)
