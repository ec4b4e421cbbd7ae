"""Sockets that are older than the connection which their ends have now answer nothing.

Real sockets in a network namespace of the test, in each state that a planned move leaves behind,
and what a client sends who uses its port again; the programs and the reference side by side.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, ip_address

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6

from clusterip.adapters.abi import NO_DEADLINE, BucketState, Reason
from lab.wait import eventually
from tests.bpf.frames import plain_frame
from tests.bpf.frames6 import plain_frame6
from tests.bpf.loaded import XDP_DROP, XDP_PASS, Loaded
from tests.bpf.openings import (
    CLIENTS,
    DRAINING,
    OWNED,
    ROUTERS,
    STRANGERS,
    TAKING,
    VIPS,
    Host,
    host_with,
    namespace_of_vips,
)
from tests.bpf.reference import Socket
from tests.bpf.states import ACK, FIN_ACK, RST, SYN
from tests.namespaces import run

MOST = 16384  # CI_OPENINGS
FIN_RST, PSH_ACK = 0x15, 0x18


@pytest.fixture(params=VIPS)
def vip(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", autouse=True)
def namespace() -> Iterator[None]:
    with namespace_of_vips():
        yield


def in_state(state: str, ends: Socket) -> bool:
    ports = ("sport", "=", f":{ends[3]}", "dport", "=", f":{ends[1]}")
    return bool(run("ss", "-Htn", "state", state, *ports))


WAITING = ("time-wait", "fin-wait-2")
"""What the server closed first, the client too or not yet: for BPF both are TIME_WAIT."""


@contextlib.contextmanager
def left_in(state: str, vip: str) -> Iterator[Socket]:
    """Yield the ends of a connection to a VIP, whose socket there is in this state."""
    if state == "syn-recv":
        with asked(vip) as ends:
            eventually(lambda: in_state(state, ends))
            yield ends
        return
    family = socket.AF_INET6 if ":" in vip else socket.AF_INET
    with socket.create_server((vip, 0), family=family) as listener:
        port = listener.getsockname()[1]
        client = socket.create_connection((vip, port), source_address=(CLIENTS[vip], 0))
        server, _ = listener.accept()
        with client, server:
            ends = (CLIENTS[vip], client.getsockname()[1], vip, port)
            if state in WAITING:
                server.close()
            if state == "time-wait":
                client.close()
            eventually(lambda: in_state(state, ends))
            yield ends


@contextlib.contextmanager
def asked(vip: str) -> Iterator[Socket]:
    """Yield the ends of a connection that a client asks for and never completes."""
    family = socket.AF_INET6 if ":" in vip else socket.AF_INET
    ends = (STRANGERS[vip], 40001, vip, 4711)
    with socket.create_server((vip, ends[3]), family=family):
        layer = IPv6 if ":" in vip else IP
        syn = layer(src=ends[0], dst=vip) / TCP(sport=ends[1], dport=ends[3])
        with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            raw.sendto(bytes(syn), (vip, 0))
        yield ends


@pytest.fixture(params=WAITING)
def waiting(loaded: Loaded, vip: str, request: pytest.FixtureRequest) -> Iterator[Host]:
    with left_in(request.param, vip) as ends:
        yield host_with(loaded, ends, waits=True)


@pytest.fixture(params=["established", "syn-recv", *WAITING])
def older(loaded: Loaded, vip: str, request: pytest.FixtureRequest) -> Iterator[Host]:
    """A socket in any state."""
    with left_in(request.param, vip) as ends:
        yield host_with(loaded, ends, waits=request.param in WAITING)


@pytest.fixture
def established(loaded: Loaded, vip: str) -> Iterator[Host]:
    with left_in("established", vip) as ends:
        yield host_with(loaded, ends, waits=False)


def test_waiting_sockets_answer_the_fin_and_nothing_else(waiting: Host) -> None:
    assert waiting.meets(FIN_ACK) is Reason.ACCEPT_DRAINING
    assert waiting.meets(FIN_ACK) is Reason.ACCEPT_DRAINING
    assert waiting.meets(FIN_RST) is Reason.DROP_DRAINING


@pytest.mark.parametrize("flags", [ACK, PSH_ACK, RST, FIN_RST])
def test_what_is_no_fin_may_be_of_a_new_connection(waiting: Host, flags: int) -> None:
    """Its SYN was lost on the way to this host: its FIN is not for the old socket either."""
    assert waiting.meets(flags) is Reason.DROP_DRAINING
    assert waiting.whose == "theirs"
    assert waiting.meets(FIN_ACK) is Reason.DROP_DRAINING


def test_an_icmp_error_says_nothing_about_a_waiting_socket(waiting: Host) -> None:
    assert waiting.too_big() is Reason.DROP_DRAINING
    assert waiting.whose == ""
    assert waiting.meets(FIN_ACK) is Reason.ACCEPT_DRAINING


def test_a_taker_answers_for_waiting_sockets_that_it_had_while_taking(waiting: Host) -> None:
    waiting.state(TAKING)
    for flags in (FIN_ACK, ACK, RST):
        assert waiting.meets(flags) is Reason.DROP_TAKING
    assert waiting.whose == ""
    assert waiting.meets(SYN) is Reason.ACCEPT_TAKING
    assert waiting.whose == "ours"
    assert waiting.meets(FIN_ACK) is Reason.ACCEPT_TAKING
    assert waiting.meets(ACK) is Reason.DROP_TAKING
    assert waiting.whose == "ours"
    waiting.state(DRAINING)
    assert waiting.meets(FIN_ACK) is Reason.ACCEPT_DRAINING


EVERYTHING = (ACK, PSH_ACK, FIN_ACK, RST)


def drops(host: Host, reason: Reason) -> None:
    assert [host.meets(flags) for flags in EVERYTHING] == [reason] * len(EVERYTHING)
    assert host.too_big() is reason


def test_a_syn_that_was_left_to_another_host(older: Host) -> None:
    assert older.meets(FIN_ACK) is Reason.ACCEPT_DRAINING
    assert older.meets(SYN) is Reason.DROP_DRAINING
    assert older.whose == "theirs"
    drops(older, Reason.DROP_DRAINING)
    older.state(TAKING)
    drops(older, Reason.DROP_TAKING)


def test_a_syn_that_came_past_the_deadline(older: Host) -> None:
    older.state(OWNED)
    older.deadline(0)
    assert older.meets(SYN) is Reason.DROP_EXPIRED
    assert older.whose == "theirs"
    older.deadline(NO_DEADLINE)
    older.state(TAKING)
    drops(older, Reason.DROP_TAKING)


@pytest.mark.parametrize("state", [OWNED, BucketState.WATCHING])
def test_the_bucket_comes_back_and_the_client_too(older: Host, state: BucketState) -> None:
    assert older.meets(SYN) is Reason.DROP_DRAINING
    older.state(state)
    assert older.meets(SYN) is Reason.ACCEPT_OWNED
    assert older.whose == ""
    older.state(DRAINING)
    assert older.meets(FIN_ACK) is Reason.ACCEPT_DRAINING


def test_who_owns_the_bucket_alone_answers_everything(older: Host) -> None:
    assert older.meets(SYN) is Reason.DROP_DRAINING
    older.state(OWNED)
    for flags in EVERYTHING:
        assert older.meets(flags) is Reason.ACCEPT_OWNED
    assert older.whose == "theirs"


def test_a_syn_for_another_host_while_this_one_has_nothing_of_the_bucket(older: Host) -> None:
    """It was cut off, say, and takes the bucket again: nothing that is here answers any more."""
    older.state(BucketState.NONE)
    older.deadline(NO_DEADLINE - 1)
    assert older.meets(FIN_ACK) is Reason.DROP_NOT_OWNED
    assert older.meets(SYN, 17) is Reason.DROP_NOT_OWNED
    assert older.whose == ""
    assert older.meets(SYN) is Reason.DROP_NOT_OWNED
    assert older.whose == "theirs"
    older.state(TAKING)
    drops(older, Reason.DROP_TAKING)
    older.state(DRAINING)
    drops(older, Reason.DROP_DRAINING)


def test_who_moves_buckets_by_commands_notes_nothing_of_others(older: Host) -> None:
    older.state(BucketState.NONE)
    assert older.meets(SYN) is Reason.DROP_NOT_OWNED
    assert older.whose == ""


def test_without_a_socket_a_syn_is_not_noted(loaded: Loaded, vip: str) -> None:
    """So a flood of SYNs makes a host forget nothing."""
    host = host_with(loaded, (CLIENTS[vip], 1, vip, 2), waits=False)
    host.world.sockets = frozenset()
    assert host.meets(SYN) is Reason.DROP_DRAINING
    host.state(BucketState.NONE)
    host.deadline(NO_DEADLINE - 1)
    assert host.meets(SYN) is Reason.DROP_NOT_OWNED
    assert host.whose == ""


def test_the_newest_of_many_openings_are_known(loaded: Loaded) -> None:
    vip = IPv4Address(VIPS[0])
    host = host_with(loaded, (CLIENTS[VIPS[0]], 1, VIPS[0], 2), waits=False)
    host.state(TAKING)
    for number in range(3 * MOST):
        source = f"10.8.{number >> 14}.1"
        assert loaded.xdp(plain_frame(source, number & 0x3FFF, vip, 2, flags=SYN)) == XDP_PASS
    known = loaded.openings()
    assert MOST // 2 < len(known) <= MOST
    assert known[source, number & 0x3FFF, VIPS[0], 2] == "ours"


def test_the_newest_of_many_that_others_answer_are_known(loaded: Loaded) -> None:
    """It takes sockets on this host to note so many: they are put in as the programs do it."""
    ends = [(f"10.8.{number >> 14}.1", number & 0x3FFF, VIPS[0], 2) for number in range(3 * MOST)]
    loaded.open(dict.fromkeys(ends, "theirs"))
    known = loaded.openings()
    assert MOST // 2 < len(known) <= MOST
    assert known[ends[-1]] == "theirs"


def test_a_flood_of_syns_drives_out_nothing_that_another_host_answers(
    established: Host, loaded: Loaded
) -> None:
    client, sport, vip, dport = established.ends
    address = ip_address(vip)

    def syn(source: str, port: int) -> bytes:
        if isinstance(address, IPv4Address):
            return plain_frame(source, port, address, dport, 6, SYN)
        return plain_frame6(source, port, address, dport, 6, SYN)

    # Once, and not looked up: what was looked up the kernel drives out last.
    assert loaded.xdp(syn(client, sport)) == XDP_DROP
    established.state(TAKING)
    for port in range(65536):
        assert loaded.xdp(syn(STRANGERS[vip], port)) == XDP_PASS
    assert loaded.openings()[established.ends] == "theirs"


def test_a_syn_that_is_accepted_here_is_no_others_any_more(established: Host) -> None:
    assert established.meets(SYN) is Reason.DROP_DRAINING
    assert established.whose == "theirs"
    established.state(TAKING)
    assert established.meets(SYN) is Reason.ACCEPT_TAKING
    assert established.whose == "ours"
    assert established.meets(ACK) is Reason.ACCEPT_TAKING


def test_ends_are_told_apart(established: Host) -> None:
    source, sport, vip, dport = established.ends
    assert established.meets(SYN) is Reason.DROP_DRAINING
    noted = established.world.openings
    others: list[Callable[[], Socket]] = [
        lambda: (ROUTERS[vip], sport, vip, dport),
        lambda: (source, sport ^ 1, vip, dport),
        lambda: (source, sport, vip, dport ^ 1),
    ]
    established.state(TAKING)
    for other in others:
        established.ends = other()
        assert established.meets(SYN) is Reason.ACCEPT_TAKING
    assert len(noted) == 4
