"""The states taking and draining, which ask for a socket: what the look-up costs.

Time of our program at tc ingress by BPF_PROG_TEST_RUN, in a namespace that has real connections
to the VIP: one, or thousands.
"""

from __future__ import annotations

import contextlib
import resource
import socket
from typing import TYPE_CHECKING, Final

from bench.filters import own_processor
from bench.flood import segment
from bench.loaded import REPEAT, TC_ACT_SHOT, TC_ACT_UNSPEC, loaded, rules, timed
from bench.results import Comparison, Result
from clusterip.adapters.abi import BucketState, Reason
from lab.servers import open_files
from lab.topology import VIP, pair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.loaded import Loaded
    from lab.topology import Host

_CONNECTIONS: Final = (1, 5000)
_SYN, _ACK = 0x02, 0x10
_TIME: Final = "time of a verdict"
_NONE, _OWNED = "clusterip none: dropped", "clusterip owned: accepted"
_SOCKET, _NO_SOCKET = "taking, socket here: accepted", "taking, no socket: dropped"
_CASES: Final = (
    (_NONE, BucketState.NONE, True, _ACK, Reason.DROP_NOT_OWNED),
    (_OWNED, BucketState.OWNED, True, _ACK, Reason.ACCEPT_OWNED),
    ("clusterip taking, SYN: accepted", BucketState.TAKING, False, _SYN, Reason.ACCEPT_TAKING),
    (f"clusterip {_SOCKET}", BucketState.TAKING, True, _ACK, Reason.ACCEPT_TAKING),
    (f"clusterip {_NO_SOCKET}", BucketState.TAKING, False, _ACK, Reason.DROP_TAKING),
    (
        "clusterip draining, socket here: accepted",
        BucketState.DRAINING,
        True,
        _ACK,
        Reason.ACCEPT_DRAINING,
    ),
    ("clusterip draining, SYN: dropped", BucketState.DRAINING, False, _SYN, Reason.DROP_DRAINING),
)
"""Name, state of the bucket, whether the packet is of a connection here, its flags, its fate."""


def _measure(connections: int) -> str:
    return f"{_TIME}, {connections} connections"


COMPARISONS: Final = tuple(
    Comparison(_measure(connections), name, _OWNED)
    for connections in _CONNECTIONS
    for name, *_ in _CASES
    if name != _OWNED
)


def run(runs: int, say: Callable[[str], None], *, ours: bool) -> list[Result]:
    """Measure each state."""
    results = []
    for connections in _CONNECTIONS if ours else ():
        values: dict[str, list[float]] = {name: [] for name, *_ in _CASES}
        with pair() as two:
            host = two.host
            host.add_address(VIP)
            host.call(lambda: _rounds(host, connections, runs, values))  # noqa: B023
        new = [Result("lookup", _measure(connections), *one) for one in _rows(values)]
        told = ", ".join(
            f"{one.subject.removeprefix('clusterip ')} {one.median:.0f}" for one in new
        )
        say(f"lookup: {connections} connections, ns: {told}")
        results += new
    return results


def _rows(values: dict[str, list[float]]) -> Iterator[tuple[str, str, list[float]]]:
    return ((name, "ns", found) for name, found in values.items())


def _rounds(host: Host, connections: int, runs: int, values: dict[str, list[float]]) -> None:
    own_processor()
    with _connected(host, connections) as port, loaded(rules()) as mine:
        for _ in range(runs):
            for name, state, here, flags, reason in _CASES:
                # Port 1 is nobody's: no connection came from there.
                frame = segment(source=host.address, flags=flags, source_port=port if here else 1)
                values[name].append(_time(mine, frame, state, reason))


def _time(mine: Loaded, frame: bytes, state: BucketState, reason: Reason) -> float:
    mine.be(state)
    before = mine.counted(reason)
    dropped = reason >= Reason.DROP_NOT_OWNED
    found = timed(mine.tc, frame, TC_ACT_SHOT if dropped else TC_ACT_UNSPEC)
    if (counted := mine.counted(reason) - before) != REPEAT:
        raise RuntimeError(f"{REPEAT} verdicts, {counted} of them {reason.word}")
    return found


@contextlib.contextmanager
def _connected(host: Host, count: int) -> Iterator[int]:
    """Open that many connections from the host to its VIP; yields the port of the last."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_files(), hard))
    with contextlib.ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        listener = stack.enter_context(socket.create_server((VIP, 80)))
        port = 0
        for _ in range(count):
            here = (host.address, 0)
            client = stack.enter_context(socket.create_connection((VIP, 80), source_address=here))
            stack.enter_context(listener.accept()[0])
            port = client.getsockname()[1]
        yield port
