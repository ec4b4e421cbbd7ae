"""What a client really received: tcpdump on its interface."""

from __future__ import annotations

import contextlib
import re
import signal
import time
from typing import TYPE_CHECKING

from lab import frames
from lab.wait import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.namespace import Namespace
    from lab.topology import Lab


class Capture:
    """A running tcpdump. Reading is possible meanwhile, and after it has ended."""

    def __init__(self, node: Namespace, number: int, expression: str, interface: str) -> None:
        self.file = node.directory / f"{node.name}-{number}.pcap"
        # Headers only: the kernel divides its buffer, 16 MiB, by the snapshot length.
        size = ["-s", "128", "-B", "16384"]
        command = ["tcpdump", "-i", interface, *size, "-U", "--immediate-mode", "-Z", "root"]
        self._process = node.start(*command, "-w", str(self.file), *expression.split())
        self._process.wait_output("listening on")

    def seen(self) -> list[frames.Arp | frames.Packet]:
        """Return all that was seen so far."""
        return frames.read(self.file)

    def arps(self) -> list[frames.Arp]:
        """Return the ARP frames seen so far."""
        return [frame for frame in self.seen() if isinstance(frame, frames.Arp)]

    def settle(self, quiet: float = 0.3) -> None:
        """Wait until nothing new was seen for `quiet` seconds: a late second answer is one too."""
        size, since = -1, time.monotonic()

        def still() -> bool:
            nonlocal size, since
            now_size = self.file.stat().st_size
            if now_size != size:
                size, since = now_size, time.monotonic()
            return time.monotonic() - since >= quiet

        eventually(still, within=30.0, what="the network to fall silent")

    def stop(self) -> None:
        """End it; raises RuntimeError if it lost packets, for then its counts mean nothing."""
        if not self._process.running:
            return
        self._process.stop(signal.SIGINT)
        lost = re.search(r"^(\d+) packets? dropped by kernel", self._process.output, re.MULTILINE)
        if lost is None or lost[1] != "0":
            raise RuntimeError(f"tcpdump is not sure to have seen all: {self._process.output}")


@contextlib.contextmanager
def capturing(
    node: Namespace, expression: str = "arp or ip", interface: str = "eth0"
) -> Iterator[Capture]:
    """Capture what the expression selects, from before the body until it is quiet."""
    number = len(list(node.directory.glob(f"{node.name}-*.pcap")))
    capture = Capture(node, number, expression, interface)
    try:
        yield capture
        capture.settle()
    finally:
        capture.stop()


def answering_hosts(lab: Lab, capture: Capture, vip: str) -> dict[frames.Request, list[str]]:
    """Return for each request to the VIP the names of the hosts that answered, one per answer."""
    return {
        request: sorted(lab.name_of(mac) for mac in macs)
        for request, macs in frames.answers(capture.seen()).items()
        if request.destination == vip
    }


def two_answers(capture: Capture, vip: str) -> list[frames.TwoAnswers]:
    """Return the SYNs to the VIP that more than one host answered: there must be none."""
    return frames.two_answers(capture.file, vip)
