"""What members of a cluster hear: the commands they obey, and the datagrams they count."""

from __future__ import annotations

import pytest

from clusterip.adapters.datagrams import Received
from clusterip.core.config.key_file import Key, Keys
from clusterip.core.config.reading import read
from clusterip.core.errors import RefusedError
from clusterip.core.messages.command import Command, CommandCodec, Verb
from clusterip.core.messages.envelope import Fault
from clusterip.core.messages.message import digest_of_name
from clusterip.core.messages.versions import SPOKEN, Versions
from clusterip.core.messages.wire import Codec
from tests.runtime.agents import ALL, KEYS, TEXT, Cluster, sharing
from tests.runtime.said import SECRETS, WEB, commands, leaving, message_of

# ---- commands ----


def test_another_node_is_asked() -> None:
    cluster = sharing()
    second = cluster["web2"]
    cluster["web1"].exchange.ask(second.node.me, Verb.DRAIN)
    cluster.run(0.02)
    assert leaving(cluster) == ["web2"]
    # It was said more than once, and done once.
    assert len(commands(cluster["web1"].inbox.sent)) == 3
    assert second.exchange.traffic.received["command"] == 1
    assert second.exchange.traffic.received["command refused: replayed or overtaken"] == 2
    assert cluster["web3"].exchange.traffic.received["command refused: another target"] == 3
    cluster.run(0.2)
    cluster["web1"].exchange.ask(second.node.me, Verb.UNDRAIN)
    cluster.run(0.2)
    assert leaving(cluster) == []
    cluster["web1"].exchange.ask(second.node.me, Verb.WEIGHT, 7)
    cluster.run(0.2)
    assert (second.node.own.weight, second.agent.weight) == (7, 7)


def test_a_recorded_command_is_not_obeyed_again() -> None:
    cluster = sharing()
    second = cluster["web2"]
    cluster["web1"].exchange.ask(second.node.me, Verb.DRAIN)
    (recorded, *_) = commands(cluster["web1"].inbox.sent)
    cluster.run(0.2)
    second.agent.do(Verb.UNDRAIN)
    second.take([Received(recorded)])
    assert not second.node.own.leaving
    cluster.run(5)
    second.take([Received(recorded)])
    assert not second.node.own.leaving
    assert second.exchange.traffic.received["command refused: stale"] == 1


@pytest.mark.parametrize("first", ["datagrams", "the timer"])
def test_a_command_that_waited_while_the_target_was_stopped_is_not_obeyed(
    first: str, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = sharing()
    second = cluster["web2"]
    second.runs = False
    cluster["web1"].exchange.ask(second.node.me, Verb.WEIGHT, 7)
    for _ in range(12):
        cluster.run(1)
    if first == "the timer":
        second.agent.timer()
    second.runs = True
    cluster.run(0.5)
    assert second.node.own.weight == 100
    assert second.exchange.traffic.received["command refused: too late"] == 3
    assert "not done, for it came too late: web1 asks this node: weight 7" in caplog.messages
    cluster["web1"].exchange.ask(second.node.me, Verb.WEIGHT, 9)
    cluster.run(0.5)
    assert second.node.own.weight == 9


def test_a_command_to_an_earlier_incarnation_is_not_obeyed() -> None:
    cluster = sharing()
    second = cluster["web2"]
    cluster["web1"].exchange.ask(second.node.me, Verb.DRAIN)
    (recorded, *_) = commands(cluster["web1"].inbox.sent)
    second.start()
    second.agent.pump()
    second.take([Received(recorded)])
    assert not second.node.own.leaving
    assert second.exchange.traffic.received["command refused: another incarnation"] == 1


@pytest.mark.parametrize(
    ("cluster_id", "secrets", "fault"),
    [
        (WEB, {1: b"x" * 32}, Fault.MAC),
        (WEB, {2: b"k" * 32}, Fault.KEY),
        (WEB + 1, SECRETS, Fault.CLUSTER),
    ],
)
def test_a_stranger_is_not_obeyed(cluster_id: int, secrets: dict[int, bytes], fault: Fault) -> None:
    cluster = sharing()
    second = cluster["web2"]
    node = second.node
    command = Command(99, node.me, node.incarnation, node.sequence, Verb.DRAIN)
    second.take([Received(CommandCodec(cluster_id, secrets, next(iter(secrets))).encode(command))])
    assert not node.own.leaving
    assert second.exchange.traffic.received[fault.value] == 1


def test_one_that_is_not_there_cannot_be_asked() -> None:
    cluster = sharing()
    cluster["web2"].runs = False
    cluster.run(1)
    with pytest.raises(RefusedError, match="web2 is not alive, as far as this host hears"):
        cluster["web1"].exchange.ask(cluster["web2"].node.me, Verb.DRAIN)
    with pytest.raises(RefusedError, match="0000000000000011 is not alive"):
        cluster["web1"].exchange.ask(17, Verb.DRAIN)
    assert commands(cluster["web1"].inbox.sent) == []


# ---- what is counted ----


def altered(datagram: bytes, at: int, byte: int) -> bytes:
    return datagram[:at] + bytes((byte,)) + datagram[at + 1 :]


def test_what_is_no_message_is_counted_by_kind() -> None:
    cluster = sharing()
    host = cluster["web2"]
    received = host.exchange.traffic.received
    good = message_of(cluster["web1"])
    before = dict(received)
    assert not {one.value for one in Fault} & set(before)
    for bad in (
        b"",
        b"x" * 5000,
        altered(good, 0, 0),
        altered(good, 4, 0),
        altered(good, 5, 9),
        altered(good, 6, good[6] ^ 1),
        altered(good, 20, good[20] ^ 1),
        good[:-1],
        Codec(WEB, SECRETS, 1, 6)._seal.close(b"short"),
        b"CLIC",
    ):
        host.take([Received(bad)])
    found = {kind: received[kind] for kind in set(received) - set(before)}
    assert found == {
        "truncated": 2,
        "oversized": 1,
        "bad magic": 1,
        "wrong version": 1,
        "unknown key": 1,
        "wrong cluster": 1,
        "bad MAC": 2,
        "malformed": 1,
    }
    cluster.run(0.1)
    assert cluster.answered() == ALL


def test_what_is_said_in_a_newer_version_tells_which_ones_its_sender_speaks() -> None:
    cluster = sharing()
    second, codec = cluster["web2"], Codec(WEB, SECRETS, 1, 6)
    sender = digest_of_name("web1")
    newer = Versions(1, 2)
    said = codec.decode(message_of(cluster["web1"]))
    unread = [Received(codec.encode(said._replace(version=2, speaks=newer)))]
    second.take(unread)
    assert second.exchange.traffic.received["wrong version"] == 1
    # It may be a recording: what is new and can be read counts for more.
    assert second.node.state.voice.spoken.of(now=cluster.now)[sender] == SPOKEN
    cluster["web1"].runs = False
    cluster.run(1)
    second.take(unread)
    assert second.node.state.voice.spoken.of(now=cluster.now)[sender] == newer
    cluster.run(0.1)
    assert cluster.answered() == ALL


def test_what_is_no_news_is_counted_too() -> None:
    cluster = sharing()
    second = cluster["web2"]
    second.take([Received(message_of(cluster["web1"]))])
    second.take([Received(message_of(cluster["web1"]))])
    second.take([Received(message_of(cluster["web2"]))])
    assert second.exchange.traffic.received["replayed"] >= 1
    assert second.exchange.traffic.received["own"] == 1
    four = Cluster(read(TEXT + '[[node]]\nname = "web4"\n'))
    second.take([Received(message_of(four["web4"]))])
    assert second.exchange.traffic.received["stranger"] == 1


def test_keys_are_changed_host_by_host() -> None:
    cluster = sharing()
    old, new = KEYS.sending, Key(2, b"n" * 32)
    for keys in ((old, new), (new, old), (new,)):
        for host in cluster.hosts:
            host.exchange.use_keys(Keys(keys))
            cluster.run(0.5)
            assert cluster.answered() == ALL
    assert all(host.exchange.traffic.received["unknown key"] == 0 for host in cluster.hosts)
    assert cluster["web1"].inbox.sent[-1][5] == 2


# ---- sending ----


def test_nothing_to_send_from_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    cluster = sharing()
    host = cluster["web1"]
    for _ in range(2):
        caplog.clear()
        for missing in (True, False):
            host.inbox.without_source = missing
            cluster.run(1)
            assert host.exchange.traffic.without_source is missing
        said = [one for one in caplog.messages if "messages from" in one]
        assert [one.split(":")[0] for one in said] == [
            "this host has no address but VIPs to send messages from",
            "this host has an address to send messages from again",
        ]


def test_what_is_not_heard_goes_to_everybody() -> None:
    cluster = sharing()
    first, second = cluster["web1"], cluster["web2"]
    before = [host.inbox.called for host in cluster.hosts]
    cluster.run(1)
    assert [host.inbox.called for host in cluster.hosts] == before
    first.inbox.peers = [cluster["web3"].inbox]
    cluster.run(0.6)
    assert first.inbox.called > before[0]
    assert second.inbox.called == before[1]
