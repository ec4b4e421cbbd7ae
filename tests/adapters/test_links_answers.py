"""An address that nothing is sent from by itself answers all the same, as any other does.

eth0 10.9.0.1 ── 10.9.0.2 wire     in the namespace of the test, and in that of a thread
"""

from __future__ import annotations

import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from clusterip.adapters.links import NetlinkLinks
from tests.adapters.test_datagrams import FAR, Far, far
from tests.namespaces import ip

pytestmark = pytest.mark.root("network namespaces")
__all__ = ["far"]

VIP = "10.9.0.100"
REMOTE = "192.0.2.7"


def add(how: str) -> None:
    """Add the VIP as an administrator does, or as we do."""
    if how == "plain":
        ip(f"address add {VIP}/32 dev eth0")
    else:
        NetlinkLinks().add_address(socket.if_nametoindex("eth0"), IPv4Address(VIP))


def resolved(far: Far) -> bool:
    """Tell whether the other host gets an answer when it asks for the VIP by ARP."""
    words = ("arping", "-c", "1", "-w", "1", "-f", "-I", "wire", VIP)
    return bool(
        far(lambda: subprocess.run(words, check=False, capture_output=True).returncode == 0)
    )


@pytest.mark.parametrize("ignore", [0, 1, 2, 8])
def test_arp(far: Far, ignore: int) -> None:
    for name in ("all", "eth0"):
        Path(f"/proc/sys/net/ipv4/conf/{name}/arp_ignore").write_text(str(ignore))
    seen = []
    for how in ("plain", "ours"):
        add(how)
        seen.append(resolved(far))
        ip(f"address delete {VIP}/32 dev eth0")
    assert seen == [ignore != 8] * 2


@pytest.mark.parametrize("announce", [0, 1, 2])
@pytest.mark.parametrize("own", [True, False], ids=["own", "only the VIP"])
@pytest.mark.parametrize("client", [FAR, REMOTE], ids=["segment", "router"])
@pytest.mark.parametrize(
    ("kind", "bound"),
    [
        (socket.SOCK_STREAM, "0.0.0.0"),
        (socket.SOCK_STREAM, VIP),
        (socket.SOCK_DGRAM, VIP),
    ],
)
def test_servers(
    far: Far, kind: socket.SocketKind, bound: str, client: str, own: bool, announce: int
) -> None:
    """They answer from the VIP, and resolve whom they answer."""
    Path("/proc/sys/net/ipv4/conf/eth0/arp_announce").write_text(str(announce))
    add("ours")
    if not own:
        ip("address delete 10.9.0.1/24 dev eth0")
        ip("route add 10.9.0.0/24 dev eth0")
    ip(f"route add default via {FAR}")
    far(ip, f"address add {REMOTE}/32 dev wire")

    def ask(port: int) -> bytes:
        with socket.socket(socket.AF_INET, kind) as one:
            one.settimeout(5)
            one.bind((client, 0))
            one.connect((VIP, port))  # what another address answers is not heard
            one.send(b"?")
            return one.recv(10)

    def answer(server: socket.socket) -> None:
        if kind is socket.SOCK_STREAM:
            with server.accept()[0] as one:
                one.sendall(one.recv(10))
        else:
            server.sendto(*server.recvfrom(10))

    with socket.socket(socket.AF_INET, kind) as server, ThreadPoolExecutor(1) as thread:
        server.settimeout(5)
        server.bind((bound, 0))
        if kind is socket.SOCK_STREAM:
            server.listen()
        answered = thread.submit(answer, server)
        assert far(ask, server.getsockname()[1]) == b"?"
        answered.result()
