"""What clients do: web requests, datagrams and pings, from addresses and ports that are known.

Knowing them is what makes the answering host predictable, one request at a time.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import re
import selectors
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lab.topology import Client, Node

_QUIET_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Flow:
    """One client's end and one server's end, addresses as text, ports in host order."""

    source: str
    source_port: int
    destination: str
    destination_port: int


@dataclass(frozen=True, slots=True)
class Pings:
    """What ping counted, and all it printed."""

    sent: int
    received: int
    duplicates: int
    output: str


def flows(client: Client, vip: str, port: int, count: int) -> list[Flow]:
    """Return `count` flows to a VIP, from all of the client's addresses and from fresh ports."""
    sources = itertools.cycle(client.addresses)
    return [Flow(next(sources), client.fresh_port(), vip, port) for _ in range(count)]


def web_answers(
    client: Node,
    asked: Sequence[Flow],
    timeout: float = 2.0,
    progress: Callable[[int], None] = lambda _done: None,
) -> list[str]:
    """Make one HTTP request for each flow; returns what the servers said, "" for no answer."""

    def ask_all() -> list[str]:
        told = []
        for flow in asked:
            told.append(_web_answer(flow, timeout))
            progress(len(told))
        return told

    return client.call(ask_all)


def _web_answer(flow: Flow, timeout: float) -> str:
    source = (flow.source, flow.source_port)
    with contextlib.closing(
        http.client.HTTPConnection(flow.destination, flow.destination_port, timeout, source)
    ) as connection:
        try:
            connection.request("GET", "/", headers={"Connection": "close"})
            return connection.getresponse().read().decode().strip()
        except (OSError, http.client.HTTPException):
            return ""


def udp_answers(
    client: Node, asked: Sequence[Flow], *, expected: int = 1, within: float = 1.0
) -> list[list[str]]:
    """Send one datagram for each flow, in turn; returns for each flow what host each answer names.

    Goes on after the `expected` number of answers or `within` seconds, and listens to all flows
    until it has been quiet.
    """

    def ask_all() -> list[list[str]]:
        with contextlib.ExitStack() as open_sockets, selectors.DefaultSelector() as selector:
            told: list[list[str]] = []
            for flow in asked:
                one = open_sockets.enter_context(_udp_socket(flow))
                answers: list[str] = []
                told.append(answers)
                selector.register(one, selectors.EVENT_READ, answers)
                one.send(b"who?")
                deadline = time.monotonic() + within
                while len(answers) < expected and (left := deadline - time.monotonic()) > 0:
                    _collect(selector, left)
            while _collect(selector, _QUIET_SECONDS):
                pass
            return told

    return client.call(ask_all)


def _udp_socket(flow: Flow) -> socket.socket:
    family = socket.AF_INET6 if ":" in flow.destination else socket.AF_INET
    one = socket.socket(family, socket.SOCK_DGRAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind((flow.source, flow.source_port))
    one.connect((flow.destination, flow.destination_port))
    return one


def _collect(selector: selectors.BaseSelector, timeout: float) -> bool:
    """Read what has come, waiting `timeout` seconds for it; returns whether anything had."""
    ready = selector.select(timeout)
    for key, _ in ready:
        one: socket.socket = key.fileobj  # type: ignore[assignment]
        with contextlib.suppress(ConnectionRefusedError):
            key.data.append(one.recv(2048).decode().split()[0])
    return bool(ready)


def ping_from_everywhere(client: Client, vip: str, count: int, *, wait: float = 1.0) -> None:
    """Ping the VIP `count` times from each of the client's addresses, from all at once."""
    one = f"ping -q -n -i 0.02 -c {count} -W {wait} -I $source {vip}"
    all_of_them = f"for source in {' '.join(client.addresses)}; do {one} & done; wait"
    client.run("sh", "-c", all_of_them, check=False)


def ping(client: Node, vip: str, count: int, *, source: str = "", wait: float = 1.0) -> Pings:
    """Ping the VIP `count` times, 20 ms apart; waits `wait` seconds for the last answer."""
    origin = ["-I", source] if source else []
    command = ["ping", "-n", "-i", "0.02", "-c", str(count), "-W", str(wait), *origin, vip]
    output = client.run(*command, check=False).stdout
    summary = re.search(r"(\d+) packets transmitted, (\d+) received(?:, \+(\d+) dup)?", output)
    if summary is None:
        raise RuntimeError(f"ping on {client.name} gave no summary: {output}")
    sent, received, duplicates = (int(number or 0) for number in summary.groups())
    return Pings(sent, received, duplicates, output)
