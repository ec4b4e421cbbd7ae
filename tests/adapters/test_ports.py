"""Which program uses a UDP port: this one, of either IP version, while it does."""

from __future__ import annotations

import os
import socket

import pytest

from clusterip.adapters import ports


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_port_that_is_used(family: socket.AddressFamily) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        one.bind(("", 0))
        port = one.getsockname()[1]
        user = ports.user(port)
        assert user is not None
        assert user.pid == os.getpid()
        assert user.name
    assert ports.user(port) is None
