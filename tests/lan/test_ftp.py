"""FTP in passive mode: control and data connections of a client are on one host by sourceip."""

from __future__ import annotations

import ftplib
import io
from typing import TYPE_CHECKING

import pytest

from lab.servers import FTP_BYTES, vsftpd
from lab.topology import VIP
from tests.lan.clusters import Site, site

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTROL, PASSIVE = 21, (30000, 30099)
# The same server again, shared by what is the default of a service.
BY_PORT, BY_PORT_PASSIVE = 2121, (31000, 31099)
SERVICES = (
    {
        "protocol": "tcp",
        "ports": [CONTROL, "-".join(map(str, PASSIVE))],
        "hashmode": "sourceip",
    },
    {"protocol": "tcp", "ports": [BY_PORT, "-".join(map(str, BY_PORT_PASSIVE))]},
)


@pytest.fixture(scope="module")
def ftp() -> Iterator[Site]:
    with site(services=SERVICES) as made:
        for host in made.lan.hosts:
            vsftpd(host, VIP, CONTROL, PASSIVE)
            vsftpd(host, VIP, BY_PORT, BY_PORT_PASSIVE)
        yield made


class Trusting(ftplib.FTP):
    """Connects to the address that the server names, where ftplib takes the one it knows."""

    trust_server_pasv_ipv4_address = True


def visit(source: str, port: int) -> tuple[str, list[str], str, int]:
    """Log in, list and download in passive mode; return what came, the greeting first."""
    with Trusting(timeout=5.0, source_address=(source, 0)) as session:
        greeting = session.connect(VIP, port)
        session.login()
        files = sorted(session.nlst())
        name, large = io.BytesIO(), io.BytesIO()
        session.retrbinary("RETR name", name.write)
        session.retrbinary("RETR large", large.write)
        return greeting.removeprefix("220 "), files, name.getvalue().decode(), len(large.getvalue())


def test_every_client_has_all_of_it_from_one_host(ftp: Site) -> None:
    client = ftp.lan.client
    visits = client.call(lambda: [visit(source, CONTROL) for source in client.addresses])
    hosts = [greeting for greeting, *_ in visits]
    assert visits == [(host, ["large", "name"], host, FTP_BYTES) for host in hosts]
    assert set(hosts) == {"h1", "h2", "h3"}


def test_by_source_port_data_connections_miss_their_host(ftp: Site) -> None:
    client = ftp.lan.client

    def missed() -> int:
        count = 0
        for source in client.addresses:
            try:
                visit(source, BY_PORT)
            except ftplib.all_errors:  # refused: another host got the data connection
                count += 1
        return count

    assert client.call(missed) > len(client.addresses) // 2
