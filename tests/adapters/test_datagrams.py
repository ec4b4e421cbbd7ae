"""The daemons' datagrams between two hosts.

eth0 10.9.0.1 ── 10.9.0.2 wire     in the namespace of the test, and in that of a thread
"""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from clusterip.adapters.datagrams import Datagrams, FakeDatagrams, Received, UdpDatagrams
from clusterip.adapters.linkwatch import LinkWatch
from clusterip.core.errors import RefusedError, SystemFaultError
from tests.namespaces import ip, own_namespace
from tests.served import until

pytestmark = pytest.mark.root("network namespaces")

NEAR, FAR, PORT = "10.9.0.1", "10.9.0.2", 4096
Far = Callable[..., Any]


def running(name: str) -> bool:
    with closing(LinkWatch()) as watch:
        return watch.running(socket.if_nametoindex(name))


@pytest.fixture
def far() -> Iterator[Far]:
    """Do something at the other host."""
    with own_namespace(), ThreadPoolExecutor(1) as thread:
        world = own_namespace("link delete eth0")
        thread.submit(world.__enter__).result()
        place = thread.submit(threading.get_native_id).result()
        ip(f"link set wire netns /proc/{os.getpid()}/task/{place}/ns/net")

        def do(work: Callable[..., Any], *arguments: Any) -> Any:
            return thread.submit(work, *arguments).result()

        do(ip, "link set wire up")
        do(ip, f"address add {FAR}/24 dev wire")
        # What is sent before there is a carrier is lost.
        until(lambda: running("eth0"))
        until(lambda: do(running, "wire"))
        yield do
        do(world.__exit__, None, None, None)


@pytest.fixture
def both(far: Far) -> Iterator[tuple[UdpDatagrams, UdpDatagrams]]:
    """The sockets of the two hosts."""
    with (
        closing(UdpDatagrams(PORT, "eth0")) as near,
        closing(far(UdpDatagrams, PORT, "wire")) as other,
    ):
        yield near, other


def arrived(at: UdpDatagrams) -> list[bytes]:
    """Return what has come, when something has."""
    assert select.select([at], [], [], 5)[0], "nothing came"
    return [raw for raw, _ in at.receive()]


def test_to_an_address(both: tuple[UdpDatagrams, UdpDatagrams], far: Far) -> None:
    near, other = both
    near.aim([FAR], broadcast=False)
    near.send(b"one")
    assert select.select([other], [], [], 5)[0], "nothing came"
    assert list(other.receive()) == [Received(b"one", NEAR)]
    other.aim([NEAR], broadcast=False)
    far(other.send, b"two")
    assert arrived(near) == [b"two"]
    assert list(near.receive()) == []


def test_to_everybody_on_the_interface(both: tuple[UdpDatagrams, UdpDatagrams]) -> None:
    near, other = both
    near.aim([], broadcast=True)
    near.send(b"one")
    assert arrived(other) == [b"one"]
    assert near.unsent == 0


@pytest.mark.parametrize("again", [False, True])
def test_to_everybody_on_an_interface_that_is_renamed(
    both: tuple[UdpDatagrams, UdpDatagrams], again: bool
) -> None:
    near, other = both
    ip("link set eth0 name foo0")
    if again:  # another one by that name is not meant
        ip("link add eth0 type veth peer name wire0")
        ip("address add 10.9.7.1/24 dev eth0")
        ip("link set eth0 up")
    near.aim([], broadcast=True)
    near.send(b"one")
    assert near.unsent == 0
    assert arrived(other) == [b"one"]


def test_to_everybody_besides(both: tuple[UdpDatagrams, UdpDatagrams]) -> None:
    near, other = both
    # Nobody there has this one's MAC, or ever gets to have it.
    near.aim(["10.9.0.3"], broadcast=False)
    near.send(b"one", everybody=True)
    assert arrived(other) == [b"one"]
    # Once is enough, and it does not count where it cannot be.
    near.aim([], broadcast=True)
    near.send(b"two", everybody=True)
    near.send(b"three")
    found: list[bytes] = []
    while len(found) < 2:
        found += arrived(other)
    assert found == [b"two", b"three"]
    near.aim([], broadcast=False)
    ip("address flush dev eth0")
    near.send(b"four", everybody=True)
    assert (near.unsent, near.without_source) == (0, False)
    assert list(other.receive()) == []


def test_to_nobody(both: tuple[UdpDatagrams, UdpDatagrams]) -> None:
    near, other = both
    near.send(b"to nobody yet")
    near.aim(iter([FAR]), broadcast=False)
    near.send(b"one")
    near.send(b"two")
    near.aim([], broadcast=False)
    near.send(b"to nobody any more")
    near.aim([FAR], broadcast=False)
    near.send(b"three")
    found: list[bytes] = []
    while len(found) < 3:
        found += arrived(other)
    assert found == [b"one", b"two", b"three"]


def test_they_are_marked_as_network_control(both: tuple[UdpDatagrams, UdpDatagrams]) -> None:
    near, other = both
    for broadcast in (False, True):
        with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0003)) as tap:
            tap.bind(("eth0", 0x0003))
            tap.settimeout(5)
            near.aim([] if broadcast else [FAR], broadcast=broadcast)
            near.send(b"marked")
            while (packet := tap.recv(2048))[28:] != b"marked":
                pass
            assert packet[1] == 0xC0
            assert arrived(other) == [b"marked"]


def test_one_that_is_too_long_is_seen_as_such(both: tuple[UdpDatagrams, UdpDatagrams]) -> None:
    near, other = both
    near.aim([FAR], broadcast=False)
    near.send(b"x" * 5000)
    (one,) = arrived(other)
    assert one == b"x" * 4001
    near.send(b"")
    assert arrived(other) == [b""]


def test_a_flood_is_taken_in_several_goes(
    both: tuple[UdpDatagrams, UdpDatagrams], monkeypatch: pytest.MonkeyPatch
) -> None:
    near, other = both
    rests: list[float] = []
    monkeypatch.setattr("clusterip.adapters.datagrams.time.sleep", rests.append)
    near.aim([FAR], broadcast=False)
    for _ in range(300):
        near.send(b"")
    goes = [arrived(other)]
    while sum(map(len, goes)) < 300:
        goes.append(arrived(other))
    assert max(map(len, goes)) == 128
    # Others get the processor meanwhile, and nobody waits for long.
    assert len(rests) == sum(len(one) == 128 for one in goes)
    assert all(0 < rest < 0.001 for rest in rests)


def test_what_cannot_be_sent_is_lost(both: tuple[UdpDatagrams, UdpDatagrams]) -> None:
    near, other = both
    # No route, nobody there, too long: the others get theirs all the same.
    near.aim(["192.0.2.1", FAR], broadcast=True)
    near.send(b"one")
    assert near.unsent == 1
    found: list[bytes] = []
    while len(found) < 2:
        found += arrived(other)
    assert found == [b"one", b"one"]
    near.send(b"x" * 70_000)
    assert near.unsent == 4
    ip("link set eth0 down")
    near.send(b"two")
    assert near.unsent == 7
    assert list(other.receive()) == []


def test_nobody_listens_there(far: Far) -> None:
    with closing(UdpDatagrams(PORT, "eth0")) as near:
        near.aim([FAR], broadcast=False)
        for _ in range(5):
            near.send(b"one")
            assert list(near.receive()) == []
        # It refuses now and then, and does not end what else comes.
        near.aim([NEAR], broadcast=False)
        near.send(b"to myself")
        found: list[bytes] = []
        while not found:
            found = arrived(near)
        assert found == [b"to myself"]


def test_a_host_without_an_interface_sends_to_addresses_only(far: Far) -> None:
    with (
        closing(UdpDatagrams(PORT, "")) as near,
        closing(far(UdpDatagrams, PORT, "")) as other,
    ):
        near.aim([FAR], broadcast=True)
        near.send(b"one")
        assert arrived(other) == [b"one"]
        assert near.unsent == 1
        near.aim([FAR], broadcast=False)
        near.send(b"two", everybody=True)
        assert arrived(other) == [b"two"]
        assert near.unsent == 1


def test_the_port_is_in_use(far: Far) -> None:
    with (
        closing(UdpDatagrams(PORT, "eth0")),
        pytest.raises(SystemFaultError, match=f"UDP port {PORT} is in use") as used,
    ):
        UdpDatagrams(PORT, "eth0")
    assert "ss -lunp" in used.value.cure
    # It was given back.
    UdpDatagrams(PORT, "eth0").close()


def test_there_is_no_such_interface(far: Far) -> None:
    with pytest.raises(RefusedError, match="there is no interface eth9 in this network namespace"):
        UdpDatagrams(PORT, "eth9")
    UdpDatagrams(PORT, "eth0").close()


def test_the_fake() -> None:
    one, other, third = FakeDatagrams(), FakeDatagrams(), FakeDatagrams()
    one.peers = [other, third]
    shared: Datagrams = one
    shared.aim(["10.9.0.2"], broadcast=True)
    shared.send(b"one")
    shared.send(b"two", everybody=True)
    assert one.called == 1
    assert one.aims == (("10.9.0.2",), True)
    came = [Received(b"one"), Received(b"two")]
    assert list(other.receive()) == list(third.receive()) == came
    assert one.sent == [b"one", b"two"]
    assert list(other.receive()) == list(one.receive()) == []


def test_the_source_is_not_looked_up_for_each(
    both: tuple[UdpDatagrams, UdpDatagrams], monkeypatch: pytest.MonkeyPatch
) -> None:
    near, other = both
    looked: list[str] = []
    towards = near._sources.towards

    def look(address: str) -> str:
        looked.append(address)
        return towards(address)

    monkeypatch.setattr(near._sources, "towards", look)
    near.aim([FAR], broadcast=False)
    for number in range(20):
        near.send(b"%d" % number)
    found: list[bytes] = []
    while len(found) < 20:
        found += arrived(other)
    # It may be slow: within a second it is once.
    assert looked[0] == FAR
    assert len(looked) < 10
