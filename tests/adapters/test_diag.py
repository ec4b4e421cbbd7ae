"""Real sockets: which of them are connections to a VIP."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from clusterip.adapters import diag
from clusterip.adapters.diag import DiagSockets, FakeSockets, Sockets
from clusterip.core.packets.connections import Connection
from tests.namespaces import ip, own_namespace, send

pytestmark = pytest.mark.root("network namespaces")

VIP, OTHER = IPv4Address("10.9.0.100"), IPv4Address("10.9.0.101")
CLIENT = IPv4Address("10.9.0.1")
STRANGER = IPv4Address("10.9.0.77")
BOTH = frozenset({VIP, OTHER})


@pytest.fixture
def namespace() -> Iterator[Path]:
    with own_namespace(f"address add {VIP}/32 dev eth0", f"address add {OTHER}/32 dev eth0") as one:
        yield one


@pytest.fixture
def opened(namespace: Path) -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


def v4_listener(port: int) -> socket.socket:
    return socket.create_server((str(VIP), port))


def dual_listener(port: int) -> socket.socket:
    return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)


LISTENERS = pytest.mark.parametrize("listener", [v4_listener, dual_listener])


def connect(stack: contextlib.ExitStack, to: tuple[str, int]) -> tuple[socket.socket, Connection]:
    """Connect from CLIENT; return its end and what the server's host is to see."""
    one = stack.enter_context(socket.create_connection(to, source_address=(str(CLIENT), 0)))
    return one, Connection(IPv4Address(to[0]), to[1], CLIENT, one.getsockname()[1])


def seen(addresses: frozenset[IPv4Address] = BOTH) -> list[Connection]:
    return list(DiagSockets().tcp(addresses))


def eventually(wanted: set[Connection], addresses: frozenset[IPv4Address] = BOTH) -> None:
    """Wait until exactly these are seen; states change while the stack works."""
    until = time.monotonic() + 5
    while (last := sorted(seen(addresses))) != sorted(wanted) and time.monotonic() < until:
        time.sleep(0.01)
    assert last == sorted(wanted)


@LISTENERS
def test_connections_come_and_go(
    opened: contextlib.ExitStack, listener: Callable[[int], socket.socket]
) -> None:
    server = opened.enter_context(listener(80))
    assert not seen()  # a listener is no connection
    client, connection = connect(opened, (str(VIP), 80))
    eventually({connection})  # not yet taken up by the server, and established all the same
    taken = opened.enter_context(server.accept()[0])
    eventually({connection})
    client.shutdown(socket.SHUT_WR)
    eventually({connection})  # CLOSE_WAIT here: the answer may be yet to come
    client.close()
    taken.close()
    eventually(set())  # TIME_WAIT, at the end that closed first, is no connection


@LISTENERS
def test_time_wait_on_the_side_of_the_vip(
    opened: contextlib.ExitStack, listener: Callable[[int], socket.socket]
) -> None:
    server = opened.enter_context(listener(80))
    client, connection = connect(opened, (str(VIP), 80))
    taken = server.accept()[0]
    taken.close()
    eventually({connection})  # FIN_WAIT2: the client may send on
    client.close()
    eventually(set())
    assert f"{VIP}]:80" in sockets("time-wait") or f"{VIP}:80" in sockets("time-wait")


def sockets(state: str) -> str:
    """Return what ss(8) says."""
    with os.popen(f"ss -Htan state {state}") as pipe:
        return pipe.read()


@LISTENERS
def test_half_open_ones_count(
    opened: contextlib.ExitStack, listener: Callable[[int], socket.socket]
) -> None:
    """A SYN from a host that is not there: its SYN-ACK waits for an address in vain."""
    opened.enter_context(listener(80))
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as probe:
        probe.bind(("eth0", 0))
        hardware = probe.getsockname()[4].hex(":")
    ip(f"neighbour add {STRANGER} lladdr 02:00:00:00:00:77 dev eth0")
    syn = TCP(sport=4321, dport=80, flags="S")
    send(bytes(Ether(dst=hardware) / IP(src=str(STRANGER), dst=str(VIP)) / syn))
    eventually({Connection(VIP, 80, STRANGER, 4321)})


def test_only_the_addresses_asked_for(opened: contextlib.ExitStack) -> None:
    opened.enter_context(dual_listener(80))
    _, one = connect(opened, (str(VIP), 80))
    _, other = connect(opened, (str(OTHER), 80))
    eventually({one, other})
    eventually({one}, frozenset({VIP}))
    eventually({other}, frozenset({OTHER}))
    eventually(set(), frozenset({STRANGER}))
    assert not seen(frozenset())


def test_ports_are_in_host_order_and_clients_may_be_on_the_vip(
    opened: contextlib.ExitStack,
) -> None:
    """An outgoing connection from the VIP has its local end there too."""
    opened.enter_context(dual_listener(0x1234))
    client = opened.enter_context(
        socket.create_connection((str(VIP), 0x1234), source_address=(str(OTHER), 0x4321))
    )
    assert client
    eventually({Connection(VIP, 0x1234, OTHER, 0x4321), Connection(OTHER, 0x4321, VIP, 0x1234)})


def test_ipv6_connections_are_none_of_ours(opened: contextlib.ExitStack) -> None:
    Path("/proc/sys/net/ipv6/conf/lo/disable_ipv6").write_text("0")
    opened.enter_context(dual_listener(80))
    opened.enter_context(socket.create_connection(("::1", 80)))
    assert "[::1]:80" in sockets("established")
    assert not seen()


def test_an_ipv6_vip(opened: contextlib.ExitStack) -> None:
    Path("/proc/sys/net/ipv6/conf/lo/disable_ipv6").write_text("0")
    vip = IPv6Address("::1")
    opened.enter_context(dual_listener(80))
    opened.enter_context(v4_listener(81))
    client = opened.enter_context(socket.create_connection((str(vip), 80)))
    _, four = connect(opened, (str(VIP), 80))
    port = client.getsockname()[1]
    wanted = {Connection(vip, 80, vip, port), Connection(vip, port, vip, 80), four}
    until = time.monotonic() + 5
    found: set[Connection] = set()
    while found != wanted and time.monotonic() < until:
        found = set(DiagSockets().tcp(frozenset({vip, VIP})))
    assert found == wanted


def test_another_namespace_is_not_seen(opened: contextlib.ExitStack) -> None:
    opened.enter_context(v4_listener(80))
    _, connection = connect(opened, (str(VIP), 80))
    eventually({connection})
    with own_namespace():
        assert not seen()
    eventually({connection})


def crowd(stack: contextlib.ExitStack, number: int) -> set[Connection]:
    """Open that many connections, which no server takes up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < number + 1000:
        pytest.skip(f"{number} connections need a limit of files above {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
    Path("/proc/sys/net/core/somaxconn").write_text("65535")
    server = stack.enter_context(v4_listener(80))
    server.listen(65535)
    return {connect(stack, (str(VIP), 80))[1] for _ in range(number)}


def test_many_and_another_thread_has_its_turn(opened: contextlib.ExitStack) -> None:
    """Several portions of an answer; nothing is lost at their borders."""
    wanted = crowd(opened, 3000)
    assert sorted(seen()) == sorted(wanted)
    gaps = []
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask_twenty_times)
        last = time.monotonic()
        while not asked.done():
            time.sleep(0.001)
            now = time.monotonic()
            gaps.append(now - last)
            last = now
        assert asked.result() == 3000
    # A turn is due within Python's switch interval, 5 ms; a busy machine takes longer at times.
    assert sorted(gaps)[len(gaps) // 2] < 0.02


def test_what_ended_while_the_kernel_told_of_it_is_no_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has lost its port: {0, 80} were the ports of what came and went at port 80."""
    ports = (0, 80)
    told = [
        message(20, struct.pack("!4xHH4s12x4s", port, 4321, VIP.packed, CLIENT.packed).ljust(72))
        for port in ports
    ]
    monkeypatch.setattr(diag, "_dump", lambda family: ((one, 0) for one in told))
    found = list(diag._connections(socket.AF_INET, {VIP.packed: VIP}))
    assert found == [Connection(VIP, 80, CLIENT, 4321)]


def ask_twenty_times() -> int:
    return max(sum(1 for _ in DiagSockets().tcp(BOTH)) for _ in range(20))


def message(what: int, body: bytes, length: int | None = None) -> bytes:
    return struct.pack("=IHHII", length or 16 + len(body), what, 0, 0, 0) + body


@pytest.mark.parametrize(
    "portion",
    [
        b"\x10",
        message(20, bytes(71)),
        message(20, bytes(72), length=89),
        message(20, bytes(72), length=15),
        message(3, b"", length=16),
        message(20, bytes(72)) + message(2, bytes(3)),
    ],
)
def test_an_answer_cut_short_is_an_error(portion: bytes) -> None:
    with pytest.raises(OSError, match="listing TCP connections") as error:
        list(diag.messages(portion))
    assert error.value.errno == errno.EBADMSG


def test_messages_are_aligned() -> None:
    portion = message(20, bytes(73)) + bytes(3) + message(3, bytes(4))
    assert list(diag.messages(portion)) == [(0, 20), (92, 3)]


def test_what_the_kernel_refuses_is_an_error(
    namespace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diag, "_SOCK_DIAG_BY_FAMILY", 99)
    with pytest.raises(OSError, match="listing TCP connections") as error:
        seen()
    assert error.value.errno == errno.EINVAL


def test_the_fake() -> None:
    connections = [Connection(vip, 80, CLIENT, 1024) for vip in (VIP, OTHER)]
    fake: Sockets = FakeSockets(connections)
    assert list(fake.tcp(BOTH)) == connections
    assert list(fake.tcp(frozenset({OTHER}))) == [connections[1]]
    assert not list(fake.tcp(frozenset()))
