"""One lab for each test module, given back by each test as it was found."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from lab.servers import nginx
from lab.topology import Host, Lab, lab
from tests.lan.traces import addresses, mac_filter

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROGRAMS = (
    *("ip", "nsenter", "nginx", "tcpdump", "ping", "arping", "iperf3", "nft", "tc", "strace"),
    *("curl", "wrk", "sshd", "ssh-keygen", "vsftpd", "socat"),
)


@pytest.fixture(scope="session", autouse=True)
def _able() -> None:
    """Skip all of these tests where they cannot run."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (scripts/install does it)")


@pytest.fixture(scope="module")
def lan(_able: None) -> Iterator[Lab]:
    """Three hosts, each with a web server on ports 80 and 8080 and a UDP server, and a client."""
    with lab() as made:
        for host in made.hosts:
            nginx(host, http=(80, 8080))
        yield made


@pytest.fixture(autouse=True)
def _restored(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test, undo what it did to the hosts and the client."""
    yield
    if "lan" in request.fixturenames:
        made: Lab = request.getfixturevalue("lan")
        made.on_hosts(_restore)
        for client in made.clients:
            client.run("ip", "neighbour", "flush", "dev", "eth0", "nud", "all")


def _restore(host: Host) -> None:
    if host.pins.exists():
        host.clusterip("flush")
    for address in addresses(host):
        if address.partition("/")[0] not in host.addresses:
            host.run("ip", "address", "del", address, "dev", "eth0")
    for digits in mac_filter(host):
        mac = bytes.fromhex(digits).hex(":")
        host.run("ip", "maddress", "del", mac, "dev", "eth0")
    (link,) = json.loads(host.run("ip", "-json", "link", "show", "dev", "eth0").stdout)
    if "xdp" in link:
        host.run("ip", "link", "set", "dev", "eth0", "xdp", "off")
    for qdisc in ("clsact", "ingress"):
        host.run("tc", "qdisc", "del", "dev", "eth0", qdisc, check=False)
    host.run("nft", "flush", "ruleset")
    host.run("ip", "neighbour", "flush", "dev", "eth0", "nud", "all")
