"""wrk, the load generator: as many web requests as the hosts can answer, and which of them failed.

It sends from the first address of the client, from a new port for each connection.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lab.servers import HTTP_PORT

if TYPE_CHECKING:
    from lab.topology import Node


_UNITS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class WrkReport:
    """What wrk counted. `read` counts connections that were reset or closed under a request."""

    requests: int
    seconds: float
    connect: int
    read: int
    write: int
    timeout: int
    not_2xx: int
    output: str
    p50: float = 0.0
    p99: float = 0.0
    """Seconds that half, and 99 %, of the requests took no longer than."""

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    @property
    def errors(self) -> int:
        """All that went wrong."""
        return self.connect + self.read + self.write + self.timeout + self.not_2xx


class Wrk:
    """A running wrk; it ends by itself after `seconds`.

    With `keepalive` off, each request is on a connection of its own. A request that is not
    answered within `timeout` seconds counts as one that timed out.
    """

    def __init__(
        self,
        client: Node,
        vip: str,
        seconds: int,
        *,
        connections: int = 64,
        threads: int = 1,
        timeout: int = 2,
        keepalive: bool = True,
        port: int = HTTP_PORT,
    ) -> None:
        self._seconds = seconds
        self._timeout = timeout
        self._process = client.start(
            *("wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s"),
            *("--timeout", f"{timeout}s", "--latency"),
            *(() if keepalive else ("-H", "Connection: close")),
            f"http://{vip}:{port}/",
        )

    def result(self) -> WrkReport:
        """Wait for its end and return what it counted."""
        self._process.wait_output("Requests/sec", within=self._seconds + self._timeout + 10.0)
        self._process.stop()
        return parse(self._process.output)

    def finish(self) -> WrkReport:
        """End it now and return what it counted."""
        self._process.stop(signal.SIGINT)
        return parse(self._process.output)


def wrk(client: Node, vip: str, seconds: int, **options: Any) -> WrkReport:
    """Run wrk for that long; see `Wrk` for the options."""
    return Wrk(client, vip, seconds, **options).result()


def parse(output: str) -> WrkReport:
    """Read what wrk printed; lines about errors are only there if there were any."""
    summary = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m|h)", output)
    if summary is None:
        raise RuntimeError(f"wrk gave no summary: {output}")

    def number(pattern: str) -> int:
        found = re.search(pattern, output)
        return int(found[1]) if found else 0

    return WrkReport(
        requests=int(summary[1]),
        seconds=float(summary[2]) * _UNITS[summary[3]],
        connect=number(r"Socket errors: connect (\d+)"),
        read=number(r"Socket errors:.* read (\d+)"),
        write=number(r"Socket errors:.* write (\d+)"),
        timeout=number(r"Socket errors:.* timeout (\d+)"),
        not_2xx=number(r"Non-2xx or 3xx responses: (\d+)"),
        output=output,
        p50=_percentile(output, 50),
        p99=_percentile(output, 99),
    )


def _percentile(output: str, share: int) -> float:
    found = re.search(rf"{share}%\s+([\d.]+)(us|ms|s|m|h)", output)
    return float(found[1]) * _UNITS[found[2]] if found else 0.0
