"""What is said of datagrams that are refused, and of nodes that are not in the file."""

from __future__ import annotations

import re

import pytest

from clusterip.adapters.datagrams import Received
from clusterip.core.config.key_file import Key, Keys
from clusterip.core.config.reading import read
from clusterip.core.messages.envelope import Fault
from tests.runtime.agents import TEXT, Cluster, sharing
from tests.runtime.said import ADDRESS, codes, faults, message_of, with_address

pytestmark = pytest.mark.usefixtures("info")


# ---- who is refused ----


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (Key(1, b"x" * 32), "(bad MAC): their key is another one than that of this number here"),
        (Key(2, b"k" * 32), "(unknown key): their key is not in the key file here"),
    ],
)
def test_another_key(key: Key, words: str, caplog: pytest.LogCaptureFixture) -> None:
    cluster = Cluster()
    with_address(cluster)
    cluster["web3"].exchange.use_keys(Keys((key,)))
    cluster.run(10)
    (fault,) = faults(cluster["web1"])
    assert re.match(
        r"web3 was never heard: \d\d+ datagrams were refused that came in its name, from "
        + re.escape(f"{ADDRESS} "),
        fault,
    )
    assert words in fault
    assert codes(cluster["web1"]) == ["refused"]
    assert fault.endswith("; give all hosts the key file of the majority")
    # Each of the other two says it once.
    assert len([one for one in caplog.messages if one.startswith("web3")]) == 2
    # On the other side it is the same, with the others' names.
    assert codes(cluster["web3"]) == ["refused", "refused", "no-majority"]


def test_a_key_that_becomes_another_one(caplog: pytest.LogCaptureFixture) -> None:
    cluster = sharing()
    with_address(cluster)
    caplog.clear()
    cluster["web3"].exchange.use_keys(Keys((Key(1, b"x" * 32),)))
    cluster.run(5)
    lines = [one for one in caplog.messages if one.startswith("web3")]
    assert len(lines) == 2
    assert all("is silent for 0." in one and "(bad MAC)" in one for one in lines)
    cluster["web3"].runs = False
    caplog.clear()
    cluster.run(15)
    # It is dead by now, and was silent before.
    (fault,) = faults(cluster["web1"])
    assert "refused" not in fault
    cluster["web3"].runs = True
    cluster.run(15)
    (fault,) = faults(cluster["web1"])
    assert "refused" in fault
    assert [one for one in caplog.messages if one.startswith("web3")] == []


@pytest.mark.long
@pytest.mark.parametrize("name", ["web3", "web9"])
def test_who_has_no_key_fills_no_log(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """A flood in anybody's name, from everywhere, of every kind."""
    cluster = sharing()
    good = message_of(cluster["web3"])
    first = cluster["web1"]
    caplog.clear()
    for at in range(3000):
        bad = bytearray(good)
        bad[(at * 7) % len(bad)] ^= 1
        if name == "web9":
            bad[14:22] = at.to_bytes(8)
        first.take([Received(bytes(bad), f"192.0.{at % 200}.{at % 250}")])
        if at % 100 == 0:
            cluster.run(0.1)
    lines = [one for one in caplog.messages if "datagram" in one]
    assert len(lines) == 1
    assert lines[0].startswith("1 datagram was refused lately, the last from 192.0.0.0 (bad magic)")
    (fault,) = faults(cluster["web1"])
    assert codes(cluster["web1"]) == ["stray-datagrams"]
    assert fault.split(" ", 1)[1].startswith("datagrams were refused lately, the last from 192.0.")
    # All that is remembered of it.
    assert len(first.exchange.others.refusals._of) <= 3
    assert cluster["web1"].node.state.hearing.living.keys() == {
        cluster["web2"].node.me,
        cluster["web3"].node.me,
    }
    cluster.run(11)
    assert faults(cluster["web1"]) == []
    caplog.clear()
    # The others would only compute.
    cluster["web2"].runs = cluster["web3"].runs = False
    for _ in range(50):
        first.take([Received(b"x" * 100, "192.0.2.1")])
        cluster.run(11)
    assert not any("datagram" in one for one in caplog.messages[:-1])


def test_the_address_tells_who_it_is_where_the_datagram_does_not() -> None:
    cluster = Cluster()
    cluster["web3"].runs = False
    first = cluster["web1"]
    first.exchange.others.addresses = {cluster["web3"].node.me: ("10.9.5.13", ADDRESS)}
    cluster.run(1)
    first.take([Received(b"hello", ADDRESS)])
    assert [one.split("(")[0] for one in faults(cluster["web1"])] == [
        f"web3 was never heard: 1 datagram was refused that came in its name, from {ADDRESS} "
    ]


def test_other_clusters_may_share_the_network() -> None:
    cluster = sharing()
    other = Cluster(read(TEXT.replace('"web"', '"mail"').replace("web", "mail")))
    first = cluster["web1"]
    first.take([Received(message_of(other.hosts[0]), "10.9.0.77")])
    assert first.exchange.traffic.received[Fault.CLUSTER.value] == 1
    assert faults(first) == []


# ---- who is not in the file ----


def test_a_node_that_is_not_in_the_file(caplog: pytest.LogCaptureFixture) -> None:
    cluster = sharing()
    four = Cluster(read(TEXT + '[[node]]\nname = "web4"\n'))
    four.now = cluster.now
    fourth = four["web4"]
    caplog.clear()
    for _ in range(20):
        four.run(0.1)
        cluster["web1"].take([Received(message_of(fourth), "10.9.0.14")])
        cluster.run(0.1)
    lines = [one for one in caplog.messages if "is not in the file here" in one]
    assert len(lines) == 1
    (fault,) = faults(cluster["web1"])
    assert codes(cluster["web1"]) == ["stranger"]
    assert re.fullmatch(
        r"[0-9a-f]{16} at 10\.9\.0\.14 has a key of this cluster and is not in the file here,"
        r" 20 messages: add its \[\[node\]\], on all hosts, or stop its daemon",
        fault,
    )
    # Recordings of it are nothing new.
    cluster.run(2)
    recorded = Received(message_of(fourth), "192.0.2.66")
    for _ in range(20):
        cluster["web1"].take([recorded])
        cluster.run(0.1)
    assert faults(cluster["web1"]) == []
