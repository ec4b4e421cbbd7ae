"""What acknowledges a SYN cookie has no socket yet, and is answered where its SYN was accepted.

The cookies are real ones, of a listener in a network namespace of the test; the programs and the
reference side by side.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6

from clusterip.adapters.abi import NO_DEADLINE, BucketState, Reason
from tests.bpf.loaded import Loaded
from tests.bpf.openings import (
    CLIENTS,
    DRAINING,
    OWNED,
    ROUTERS,
    TAKING,
    VIPS,
    Host,
    host_with,
    namespace_of_vips,
)
from tests.bpf.states import ACK, FIN_ACK, RST, SYN, SYN_ACK

SYSCTL = Path("/proc/sys/net/ipv4/tcp_syncookies")
NEVER, ALWAYS = "0", "2"
FIN, PSH_ACK, RST_ACK = 0x01, 0x18, 0x14
PORT, LISTENER = 40001, 4711
FIRST = 1000
"""The sequence number of the SYN."""
SYN_LEFT = {
    DRAINING: Reason.DROP_DRAINING,
    BucketState.NONE: Reason.DROP_NOT_OWNED,
    OWNED: Reason.DROP_EXPIRED,
}


@pytest.fixture(scope="module", autouse=True)
def namespace() -> Iterator[None]:
    with namespace_of_vips():
        yield


@contextlib.contextmanager
def listening(vip: str) -> Iterator[None]:
    """Have a listener at the VIP that answers each SYN with a cookie."""
    before = SYSCTL.read_text()
    SYSCTL.write_text(ALWAYS)
    family = socket.AF_INET6 if ":" in vip else socket.AF_INET
    try:
        with socket.create_server((vip, LISTENER), family=family):
            yield
    finally:
        SYSCTL.write_text(before)


def cookie(vip: str) -> int:
    """Send a SYN to the listener; return the sequence number of its SYN-ACK."""
    family, layer = (socket.AF_INET6, IPv6) if ":" in vip else (socket.AF_INET, IP)
    syn = layer(src=CLIENTS[vip], dst=vip) / TCP(sport=PORT, dport=LISTENER, seq=FIRST)
    with (
        socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_TCP) as client,
        socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw,
    ):
        client.bind((CLIENTS[vip], 0))
        client.settimeout(5.0)
        raw.sendto(bytes(syn), (vip, 0))
        while True:
            got = client.recv(2048)
            answer = TCP(got if family == socket.AF_INET6 else got[20:])
            if (answer.sport, answer.dport, int(answer.flags)) == (LISTENER, PORT, SYN_ACK):
                return int(answer.seq)


@pytest.fixture(params=VIPS)
def asked(loaded: Loaded, request: pytest.FixtureRequest) -> Iterator[Host]:
    """A host that takes the bucket, and answered a SYN with a cookie. It has no socket for it."""
    vip = request.param
    with listening(vip):
        ends = (CLIENTS[vip], PORT, vip, LISTENER)
        host = host_with(loaded, ends, waits=False)
        host.world.sockets = frozenset()
        host.world.cookies = frozenset({(ends, (FIRST + 1, cookie(vip) + 1))})
        host.state(TAKING)
        yield host


def first(host: Host) -> tuple[int, int]:
    """Return the sequence numbers of the first packet after the SYN."""
    ((_, numbers),) = host.world.cookies
    return numbers


@pytest.mark.parametrize("flags", [ACK, PSH_ACK, FIN_ACK])
def test_what_acknowledges_it(asked: Host, flags: int) -> None:
    """Where the first ACK was lost, data does, or the FIN."""
    assert asked.meets(SYN) is Reason.ACCEPT_TAKING
    for _ in range(2):
        assert asked.meets(flags, numbers=first(asked)) is Reason.ACCEPT_TAKING
    assert asked.whose == "ours"


@pytest.mark.parametrize("flags", [0, FIN, RST, RST_ACK, SYN_ACK])
def test_what_does_not(asked: Host, flags: int) -> None:
    assert asked.meets(SYN) is Reason.ACCEPT_TAKING
    assert asked.meets(flags, numbers=first(asked)) is Reason.DROP_TAKING


def test_an_icmp_error(asked: Host) -> None:
    assert asked.meets(SYN) is Reason.ACCEPT_TAKING
    assert asked.too_big() is Reason.DROP_TAKING


@pytest.mark.parametrize("more", [(8, 0), (-8, 0), (0, 8), (0, -8), (1448, 0)])
def test_other_numbers(asked: Host, more: tuple[int, int]) -> None:
    """Of an older connection of these ends, say. A cookie says which of four MSS it is for."""
    ours, theirs = first(asked)
    assert asked.meets(SYN) is Reason.ACCEPT_TAKING
    assert asked.meets(ACK, numbers=(ours + more[0], theirs + more[1])) is Reason.DROP_TAKING


def test_other_ends(asked: Host) -> None:
    source, sport, vip, dport = asked.ends
    for other in [
        (ROUTERS[vip], sport, vip, dport),
        (source, sport ^ 1, vip, dport),
        (source, sport, vip, dport ^ 1),
    ]:
        asked.ends = other
        assert asked.meets(SYN) is Reason.ACCEPT_TAKING
        assert asked.meets(ACK, numbers=first(asked)) is Reason.DROP_TAKING


def test_a_syn_that_was_not_accepted_while_taking(asked: Host) -> None:
    """Of the host before, say, whose secret is ours: both are one machine that was copied."""
    assert asked.meets(ACK, numbers=first(asked)) is Reason.DROP_TAKING
    asked.state(OWNED)
    assert asked.meets(SYN) is Reason.ACCEPT_OWNED
    assert asked.meets(ACK, numbers=first(asked)) is Reason.ACCEPT_OWNED
    asked.state(TAKING)
    assert asked.meets(ACK, numbers=first(asked)) is Reason.DROP_TAKING


@pytest.mark.parametrize("state", SYN_LEFT)
def test_the_syn_comes_again_and_goes_to_another_host(asked: Host, state: BucketState) -> None:
    """Which may have answered it: what the client acknowledges then is that host's."""
    assert asked.meets(SYN) is Reason.ACCEPT_TAKING
    asked.state(state)
    asked.deadline(0 if state is OWNED else NO_DEADLINE - 1)
    assert asked.meets(SYN) is SYN_LEFT[state]
    assert asked.whose == ""
    asked.deadline(NO_DEADLINE)
    asked.state(TAKING)
    assert asked.meets(ACK, numbers=first(asked)) is Reason.DROP_TAKING
    assert asked.meets(SYN) is Reason.ACCEPT_TAKING
    assert asked.meets(ACK, numbers=first(asked)) is Reason.ACCEPT_TAKING


def test_the_bucket_moves_on_before_the_client_acknowledges(asked: Host) -> None:
    assert asked.meets(SYN) is Reason.ACCEPT_TAKING
    asked.state(DRAINING)
    assert asked.meets(ACK, numbers=first(asked)) is Reason.DROP_DRAINING


def test_another_host_has_the_connection(asked: Host, loaded: Loaded) -> None:
    asked.world.openings[asked.ends] = "theirs"
    loaded.open(asked.world.openings)
    assert asked.meets(ACK, numbers=first(asked)) is Reason.DROP_TAKING


def test_a_kernel_that_takes_no_cookies(asked: Host) -> None:
    SYSCTL.write_text(NEVER)
    numbers, asked.world.cookies = first(asked), frozenset()
    assert asked.meets(SYN) is Reason.ACCEPT_TAKING
    assert asked.meets(ACK, numbers=numbers) is Reason.DROP_TAKING
