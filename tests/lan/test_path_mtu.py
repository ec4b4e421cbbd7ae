"""A router's "too big" reaches the host that holds the connection, whatever is hashed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from lab.router import FAR, far_client
from lab.topology import VIP
from tests.lan.cluster import MODES, Sharing, share

if TYPE_CHECKING:
    from lab.topology import Host, Lab

MTU = 1300
DOWNLOADS = 12
BYTES = 200_000


def learned(host: Host) -> bool:
    """Return whether a host knows of the small MTU on the way."""
    return f"mtu {MTU}" in host.run("ip", "route", "get", FAR, "from", VIP).stdout


@pytest.mark.parametrize("mode", MODES)
def test_large_downloads_through_a_small_mtu(lan: Lab, mode: str) -> None:
    sharing = Sharing(mode)
    share(lan, sharing, "-p", "tcp")
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(far_client(lan, MTU))
        owners = set()
        for port in range(21000, 21000 + DOWNLOADS):
            done = client.run(
                *("curl", "--silent", "--show-error", "--max-time", "10", "--output", "/dev/null"),
                *("--local-port", str(port), "--range", f"0-{BYTES - 1}"),
                *("--write-out", "%{http_code} %{size_download}", f"http://{VIP}/large?rate=1g"),
            )
            assert done.stdout == f"206 {BYTES}"
            owners.add(f"h{sharing.bucket_of(FAR, port, 80)}")
        assert {host.name for host in lan.hosts if learned(host)} == owners
        lan.on_hosts(lambda host: host.run("ip", "route", "flush", "cache"))
