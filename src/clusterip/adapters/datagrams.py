"""The messages of the daemons on the network: UDP, to addresses or by broadcast on an interface.

What is received may come from anybody; `core.messages.wire` says what of it is a message. Where
from it comes decides nothing: what counts is in the message, and authenticated. It is for people,
who look for the host that is refused.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from clusterip.adapters import capabilities
from clusterip.adapters.sources import NoSourceError, Sources
from clusterip.core.errors import AbsentError, SystemFaultError
from clusterip.core.messages.envelope import MAX_DATAGRAM

_BUFFER_BYTES: Final = 1 << 20
_LONGEST: Final = MAX_DATAGRAM + 1
"""Bytes read of a datagram: more than the longest message, so that a longer one is seen as such."""
_AT_ONCE: Final = 128
"""Datagrams: some 1 ms of work."""
_REST_SECONDS: Final = 0.0001
_SOURCE_SECONDS: Final = 1.0
"""For how long the address that datagrams leave from is not looked up again. It is one of this
host's own, or nothing is sent from it, and it is no VIP: to look it up costs more than to send."""
_MOST_SOURCES: Final = 256
_NETWORK_CONTROL: Final = 0xC0
"""The type of service of what holds a network together: class selector 6, RFC 4594."""
_EVERYBODY: Final = "255.255.255.255"
_IP_PKTINFO: Final = 8
_SO_BINDTOIFINDEX: Final = 62
_PKTINFO: Final = struct.Struct("=i4s4x")  # struct in_pktinfo: interface, source, destination


class Received(NamedTuple):
    """A datagram, and the address that it says it comes from."""

    raw: bytes
    source: str = ""


class Datagrams(Protocol):
    """Sends to all peers; receives from anybody."""

    without_source: bool
    """Whether one of the last datagrams was not sent because this host has only VIPs."""

    def send(self, datagram: bytes, *, everybody: bool = False) -> bool:
        """Send to every peer; if so asked, to everybody on the interface, too, where it was not.

        That it does not arrive, or cannot be sent, is no error. Returns whether it was sent to
        everybody for being asked so.
        """

    def remind(self, datagram: bytes, addresses: Iterable[str]) -> None:
        """Send to these IPv4 addresses only."""

    def receive(self) -> Iterator[Received]:
        """Yield the datagrams that have come, at most as many as may be dealt with in one go."""

    def aim(self, addresses: Iterable[str], *, broadcast: bool) -> None:
        """Set where messages go: IPv4 addresses, and everybody on the interface."""

    def fileno(self) -> int:
        """Return the file descriptor that is readable when a datagram has come."""


class UdpDatagrams:
    """Sockets of this network namespace: one that receives, and one for each way of sending.

    `port` is 1..65535 on every host. `interface` is where broadcasts go, empty for nowhere, and
    whatever it is called later.
    `never` are addresses that nothing is sent from: the VIPs.
    """

    def __init__(self, port: int, interface: str, never: Collection[str] = ()) -> None:
        self._port = port
        self._index = 0
        """The ifindex of where broadcasts go, 0 for nowhere."""
        self._sources = Sources(never)
        self._addresses: tuple[str, ...] = ()
        self._source_towards: dict[str, tuple[str, float]] = {}
        """Address -> what is sent to it from which address of ours, and until when that holds."""
        self._broadcast = False
        self.unsent = 0
        """How many could not be sent."""
        self.without_source = False
        self._all = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._on_link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            for one in (self._all, self._on_link):
                one.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, _NETWORK_CONTROL)
            self._all.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
            if interface:
                self._on_link.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                name = interface.encode()
                self._on_link.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name)
                self._index = self._on_link.getsockopt(socket.SOL_SOCKET, _SO_BINDTOIFINDEX)
            self._all.bind(("", port))
        except OSError as error:
            self.close()
            if error.errno == errno.ENODEV:
                raise AbsentError(
                    interface,
                    f"there is no interface {interface} in this network namespace",
                    "`ip link` lists them; give the one in [cluster], or in this host's [[node]]",
                ) from error
            if error.errno == errno.EACCES:
                capabilities.refuse_missing(capabilities.LOW_PORT)
                raise SystemFaultError(
                    f"UDP port {port} may not be used: {error.strerror}",
                    "see what security module forbids it; or give another port in [cluster], on"
                    " every host",
                ) from error
            if error.errno != errno.EADDRINUSE:
                raise
            raise SystemFaultError(
                f"UDP port {port} is in use by another program",
                "find it with `ss -lunp`; or give another port in [cluster], on every host",
            ) from error

    def close(self) -> None:
        """Close the sockets."""
        self._all.close()
        self._on_link.close()

    def fileno(self) -> int:
        """Return the descriptor to wait on for datagrams."""
        return self._all.fileno()

    def aim(self, addresses: Iterable[str], *, broadcast: bool) -> None:
        """Set where messages go: IPv4 addresses, and everybody on the interface."""
        self._addresses = tuple(addresses)
        self._broadcast = broadcast

    def send(self, datagram: bytes, *, everybody: bool = False) -> bool:
        """Send to every peer; if so asked, to everybody on the interface, too, where it was not.

        That it does not arrive, or cannot be sent, is no error. Returns whether it was sent to
        everybody for being asked so.
        """
        self._send_to([*self._addresses, *([_EVERYBODY] if self._broadcast else [])], datagram)
        if everybody and self._index and not self._broadcast:
            # A second way for it: that this one is closed says nothing.
            return self._send(datagram, _EVERYBODY) is None
        return False

    def remind(self, datagram: bytes, addresses: Iterable[str]) -> None:
        """Send to these IPv4 addresses only."""
        self._send_to(addresses, datagram)

    def _send_to(self, targets: Iterable[str], datagram: bytes) -> None:
        failures = [error for one in targets if (error := self._send(datagram, one)) is not None]
        # A full queue, no link, no route: lost, as any datagram may be.
        self.unsent += len(failures)
        self.without_source = any(isinstance(error, NoSourceError) for error in failures)

    def _send(self, datagram: bytes, address: str) -> OSError | None:
        now = time.monotonic()
        source, until = self._source_towards.get(address, ("", 0.0))
        if now < until and self._send_from(source, datagram, address) is None:
            return None
        # It may be that this host has another address now.
        try:
            everybody = address == _EVERYBODY
            sources = self._sources
            source = sources.on_link(self._index) if everybody else sources.towards(address)
        except OSError as error:
            return error
        if len(self._source_towards) >= _MOST_SOURCES:
            self._source_towards.clear()
        self._source_towards[address] = source, now + _SOURCE_SECONDS
        return self._send_from(source, datagram, address)

    def _send_from(self, source: str, datagram: bytes, address: str) -> OSError | None:
        one = self._on_link if address == _EVERYBODY else self._all
        how = [(socket.IPPROTO_IP, _IP_PKTINFO, _PKTINFO.pack(0, socket.inet_aton(source)))]
        try:
            one.sendmsg([datagram], how, 0, (address, self._port))
        except OSError as error:
            return error
        return None

    def receive(self) -> Iterator[Received]:
        """Yield the datagrams that have come, at most as many as may be dealt with in one go.

        If they were that many, it is a flood, and a rest follows: a daemon in real time would keep
        its processor from all other programs for up to 0.95 s of each second, see sched(7).
        """
        for _ in range(_AT_ONCE):
            try:
                raw, (source, _) = self._all.recvfrom(_LONGEST)
            except BlockingIOError:
                return
            except OSError:
                # Somebody's ICMP error about an earlier datagram of ours.
                continue
            yield Received(raw, source)
        time.sleep(_REST_SECONDS)


@dataclass(eq=False)
class FakeDatagrams:
    """A network in memory, for tests: what is sent lies in the inboxes of `peers`."""

    inbox: deque[Received] = field(default_factory=deque)
    peers: list[FakeDatagrams] = field(default_factory=list)
    others: list[FakeDatagrams] = field(default_factory=list)
    """Who gets what goes to everybody on the interface, beside the peers."""
    sent: list[bytes] = field(default_factory=list)
    called: int = 0
    """How many went to everybody on the interface, too."""
    address: str = ""
    aims: tuple[tuple[str, ...], bool] = ((), False)
    without_source: bool = False

    def send(self, datagram: bytes, *, everybody: bool = False) -> bool:
        """Send to every peer."""
        self.sent.append(datagram)
        self.called += everybody
        for peer in [*self.peers, *(self.others if everybody else [])]:
            peer.inbox.append(Received(datagram, self.address))
        return everybody

    def remind(self, datagram: bytes, addresses: Iterable[str]) -> None:
        """Send to every peer."""
        del addresses
        self.send(datagram)

    def receive(self) -> Iterator[Received]:
        """Yield what has come."""
        with contextlib.suppress(IndexError):
            while True:
                yield self.inbox.popleft()

    def fileno(self) -> int:
        """Return none: nobody waits for it."""
        return -1

    def aim(self, addresses: Iterable[str], *, broadcast: bool) -> None:
        """Remember where messages go."""
        self.aims = (tuple(addresses), broadcast)
