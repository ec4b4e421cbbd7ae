"""Services of one VIP: one host for all of ssh, a port that nobody answers, the rest shared.

And FTP, whose control and data connections must come to one host.
"""

from __future__ import annotations

import contextlib
import ftplib
import io
import select
import socket
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from lab import traffic
from lab.capture import answering_hosts, capturing
from lab.servers import FTP_BYTES, HTTP_PORT, vsftpd, wait_for_listener
from lab.topology import VIP
from lab.wait import eventually
from tests.lan.clusters import Site, SshSession, all_go_on, site, sshd

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lab.topology import Client, Host

SSH, CLOSED = 22, 8080
BUCKET = 5
FTP, PASSIVE = 21, (30000, 30099)
# The same server again, shared by what is the default of a service.
FTP_BY_PORT, PASSIVE_BY_PORT = 2121, (31000, 31099)
SERVICES = (
    {"protocol": "tcp", "ports": SSH, "action": "single", "bucket": BUCKET},
    {"protocol": "tcp", "ports": ["1-29999", "31000-31099"]},
    {"protocol": "tcp", "ports": ["20-21", "30000-30099"], "hashmode": "sourceip"},
    {"protocol": "tcp", "ports": CLOSED, "action": "drop"},
)
COUNT = 48


@pytest.fixture(scope="module")
def web() -> Iterator[Site]:
    with site(services=SERVICES) as made:
        sshd(made.lan)
        for host in made.lan.hosts:
            host.start("socat", f"TCP-LISTEN:{CLOSED},fork,reuseaddr", f"SYSTEM:echo {host.name}")
            wait_for_listener(host, CLOSED)
            vsftpd(host, VIP, FTP, PASSIVE)
            vsftpd(host, VIP, FTP_BY_PORT, PASSIVE_BY_PORT)
        yield made


def connected(client: Client, flows: Sequence[traffic.Flow], within: float) -> int:
    """Begin a connection for each flow; return how many came about, or were refused, in time."""

    def connect() -> int:
        with contextlib.ExitStack() as stack:
            waiting = []
            for flow in flows:
                one = stack.enter_context(socket.socket())
                one.setblocking(False)
                one.bind((flow.source, flow.source_port))
                with contextlib.suppress(BlockingIOError):
                    one.connect((flow.destination, flow.destination_port))
                waiting.append(one)
            answered = 0
            while waiting:
                _, ready, _ = select.select((), waiting, (), within)
                if not ready:
                    break
                answered += len(ready)
                waiting = [one for one in waiting if one not in ready]
            return answered

    return client.call(connect)


def answering(web: Site, port: int) -> Counter[tuple[str, ...]]:
    """Connect to a port from all addresses; return which hosts answered, how often."""
    client = web.lan.client
    flows = traffic.flows(client, VIP, port, COUNT)
    with capturing(client, f"tcp[tcpflags]&tcp-syn!=0 and port {port}") as capture:
        assert connected(client, flows, 5.0) == COUNT
    answers = answering_hosts(web.lan, capture, VIP)
    assert len(answers) == COUNT
    return Counter(map(tuple, answers.values()))


def owners(web: Site) -> list[Host]:
    """Return the hosts that hold the bucket of ssh: one, but for the moments of a move."""
    return [host for host in web.lan.hosts if BUCKET in web.cluster.status(host)["held"]]


def drains(web: Site, host: Host) -> list[tuple[int, int]]:
    """Return the buckets that a host drains, and how many connections are left in each."""
    told = web.cluster.status(host)["draining"]
    return [(one["bucket"], one["connections"]) for one in told]


def rule(host: Host, word: str) -> dict[str, Any]:
    """Return what a host shows of the one service that does that."""
    (interface,) = host.show()["interfaces"]
    found: dict[str, Any]
    (found,) = (one for one in interface["rules"] if one["action"] == word)
    return found


def test_one_host_has_all_of_a_single_service(web: Site) -> None:
    (owner,) = owners(web)
    assert answering(web, SSH) == {(owner.name,): COUNT}
    assert set(answering(web, HTTP_PORT)) == {("h1",), ("h2",), ("h3",)}
    assert [rule(host, "single")["bucket"] for host in web.lan.hosts] == [BUCKET] * 3


def test_a_session_survives_the_drain_of_its_host(web: Site) -> None:
    (before,) = owners(web)
    sessions = [SshSession(web), SshSession(web)]
    assert {session.host for session in sessions} == {before.name}
    before.clusterip("drain")
    eventually(lambda: owners(web) not in ([], [before]), what="another host to hold the bucket")
    (after,) = owners(web)
    all_go_on(sessions)
    assert answering(web, SSH) == {(after.name,): COUNT}
    newcomer = SshSession(web)
    assert newcomer.host == after.name
    all_go_on([*sessions, newcomer])
    # Counted in the bucket where they are, the sessions keep that one draining and no other.
    eventually(
        lambda: drains(web, before) == [(BUCKET, len(sessions))], what="ssh to be all that is left"
    )
    for session in sessions:
        session.end()
    eventually(lambda: not web.cluster.status(before)["draining"], what="the drain to end")
    all_go_on([newcomer])
    newcomer.end()
    before.clusterip("undrain")
    web.cluster.settled()


def test_a_dropped_port_is_not_answered_and_counted(web: Site) -> None:
    client = web.lan.client
    dropped = [rule(host, "drop")["verdicts"]["drop_service"] for host in web.lan.hosts]
    flows = traffic.flows(client, VIP, CLOSED, COUNT)
    with capturing(client, f"tcp port {CLOSED}") as capture:
        assert connected(client, flows, 0.5) == 0
    answers = answering_hosts(web.lan, capture, VIP)
    assert list(answers.values()) == [[]] * COUNT
    for host, was in zip(web.lan.hosts, dropped, strict=True):
        verdicts = rule(host, "drop")["verdicts"]
        assert verdicts["drop_service"] >= was + COUNT
        assert sum(verdicts.values()) == verdicts["drop_service"]
        # Somebody listens there: only the VIP is closed.
        assert connected(client, traffic.flows(client, host.address, CLOSED, 3), 5.0) == 3


class Trusting(ftplib.FTP):
    """Connects to the address that the server names, where ftplib takes the one it knows."""

    trust_server_pasv_ipv4_address = True


def visit(source: str, port: int, *, passive: bool) -> tuple[str, list[str], str, int]:
    """Log in, list and download in one of FTP's modes; return what came, the greeting first."""
    with Trusting(timeout=5.0, source_address=(source, 0)) as session:
        greeting = session.connect(VIP, port)
        session.login()
        session.set_pasv(passive)
        files = sorted(session.nlst())
        name, large = io.BytesIO(), io.BytesIO()
        session.retrbinary("RETR name", name.write)
        session.retrbinary("RETR large", large.write)
        return greeting.removeprefix("220 "), files, name.getvalue().decode(), len(large.getvalue())


@pytest.mark.parametrize("passive", [True, False], ids=["passive", "active"])
def test_every_client_has_all_of_ftp_from_one_host(web: Site, *, passive: bool) -> None:
    client = web.lan.client
    visits = client.call(lambda: [visit(one, FTP, passive=passive) for one in client.addresses])
    hosts = [greeting for greeting, *_ in visits]
    assert visits == [(host, ["large", "name"], host, FTP_BYTES) for host in hosts]
    assert set(hosts) == {"h1", "h2", "h3"}


def test_by_source_port_ftp_data_misses_its_host(web: Site) -> None:
    client = web.lan.client

    def missed() -> int:
        count = 0
        for source in client.addresses:
            try:
                visit(source, FTP_BY_PORT, passive=True)
            except ftplib.all_errors:  # refused: another host got the data connection
                count += 1
        return count

    assert client.call(missed) > len(client.addresses) // 2
