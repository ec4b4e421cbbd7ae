"""Connections that are half open when their bucket begins to drain: none breaks.

The servers speak first, as those of mail do: a client that has had the SYN-ACK waits, and sends
nothing. Where its ACK was lost only a SYN-ACK that is sent again makes it send another. Where the
SYN-ACK was lost its SYN comes again, and another host answers that, and no two.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import sys
import time
from typing import TYPE_CHECKING

import pytest

from lab.capture import capturing, two_answers
from lab.topology import VIP
from lab.wait import eventually
from tests.lan.clusters import Site, site
from tests.lan.drops import dropping

if TYPE_CHECKING:
    from collections.abc import Iterator

PORT = 2525
CONNECTIONS = 36
BANNER = f"""
import socket, sys
server = socket.create_server(("", {PORT}), backlog=500)
print("listens", flush=True)
open_ones = []
while True:
    one, _ = server.accept()
    one.sendall(sys.argv[1].encode())
    open_ones.append(one)
"""
TO_SERVER = f"tcp dport {PORT} tcp flags & (syn | ack) == ack"
FROM_SERVER = f"tcp sport {PORT} tcp flags & (syn | ack) == (syn | ack)"
PATIENCE = 12.0
"""Seconds for a banner: SYN-ACKs come 1, 3 and 7 s after the SYN, and one is kept back."""


@pytest.fixture(scope="module")
def mail() -> Iterator[Site]:
    with site(drain_timeout="60s") as made:
        for host in made.lan.hosts:
            host.start(sys.executable, "-c", BANNER, host.name).wait_output("listens")
        yield made


def opening(where: Site) -> list[socket.socket]:
    """Return sockets of the client that are about to be connected."""

    def connect() -> list[socket.socket]:
        made = []
        for _ in range(CONNECTIONS):
            one = socket.socket()
            one.setblocking(False)
            assert one.connect_ex((VIP, PORT)) == errno.EINPROGRESS, os.strerror(errno.EINPROGRESS)
            made.append(one)
        return made

    return where.lan.client.call(connect)


def banners(sockets: list[socket.socket]) -> dict[socket.socket, str]:
    """Return what those said in whose stead nobody else can: "" for what broke, or said nothing."""
    said = dict.fromkeys(sockets, "")
    ends = time.monotonic() + PATIENCE
    with selectors.DefaultSelector() as selector:
        for one in sockets:
            selector.register(one, selectors.EVENT_READ, one)
        while selector.get_map() and time.monotonic() < ends:
            for key, _ in selector.select(0.1):
                with contextlib.suppress(OSError):
                    said[key.data] = key.data.recv(100).decode()
                selector.unregister(key.fileobj)
    return said


@pytest.mark.parametrize("lost", ["ack", "syn-ack"])
def test_it_is_answered_by_one_host(mail: Site, lost: str) -> None:
    client, host = mail.lan.client, mail.lan.hosts[1]
    mail.cluster.settled()
    hook, what = ("output", TO_SERVER) if lost == "ack" else ("input", FROM_SERVER)
    tcp = f"tcp port {PORT} and tcp[tcpflags] & tcp-syn != 0"
    with contextlib.ExitStack() as stack:
        with dropping(client, "inet", hook, what):
            sockets = opening(mail)
            for one in sockets:
                stack.callback(one.close)
            if lost == "ack":
                eventually(lambda: all(map(is_open, sockets)), what="the SYN-ACKs")
            host.clusterip("drain")
            mail.cluster.settled(mail.others(host))
            capture = stack.enter_context(capturing(client, tcp))
        said = banners(sockets)
    assert all(said.values()), said
    assert two_answers(capture, VIP) == []
    # Who had the SYN-ACK stays there; who had none goes to where its SYN is accepted now.
    assert (host.name in said.values()) == (lost == "ack")
    host.clusterip("undrain")


def is_open(one: socket.socket) -> bool:
    """Whether the client takes a connection for open."""
    try:
        one.getpeername()
    except OSError:
        return False
    return True
