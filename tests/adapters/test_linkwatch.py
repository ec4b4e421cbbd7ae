"""Whether an interface can serve, and being told when that may have changed."""

from __future__ import annotations

import os
import resource
import select
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from clusterip.adapters.linkwatch import LinkWatch
from tests.namespaces import ip, own_namespace, run, tc
from tests.served import until

pytestmark = pytest.mark.root("network namespaces")


@pytest.fixture
def index() -> Iterator[int]:
    """The index of eth0, in a namespace of the test's own."""
    with own_namespace():
        yield socket.if_nametoindex("eth0")


@pytest.fixture
def watch(index: int) -> Iterator[LinkWatch]:
    with closing(LinkWatch()) as one:
        yield one


def filtered(way: str) -> None:
    """Add a filter that lets everything pass."""
    everything = "1,6 0 0 4294967295"
    run("tc", "filter", "add", "dev", "eth0", way, "bpf", "bytecode", everything)


def told(watch: LinkWatch) -> bool:
    """Tell whether something was told, and forget it."""
    found = bool(select.select([watch], [], [], 0)[0])
    watch.drain()
    return found


def at_rest(watch: LinkWatch) -> None:
    """Wait until nothing more is told of how the namespace was made: the kernel is late with it."""

    def quiet() -> bool:
        more = bool(select.select([watch], [], [], 0.5)[0])
        watch.drain()
        return not more

    until(quiet)


def test_up_and_down(index: int, watch: LinkWatch) -> None:
    until(lambda: watch.running(index))
    ip("link set wire down")
    until(lambda: not watch.running(index))
    assert watch.exists(index)
    ip("link set wire up")
    until(lambda: watch.running(index))
    ip("link set eth0 down")
    until(lambda: not watch.running(index))
    assert watch.exists(index)


def test_gone(index: int, watch: LinkWatch) -> None:
    ip("link delete eth0")
    assert not watch.exists(index)
    assert not watch.running(index)
    # One of the same name is another.
    ip("link add eth0 type veth peer name other")
    ip("link set other up")
    ip("link set eth0 up")
    assert not watch.exists(index)
    assert not watch.running(index)


def test_without_descriptors_it_is_not_gone(index: int, watch: LinkWatch) -> None:
    until(lambda: watch.running(index))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            os.open(os.devnull, os.O_RDONLY)
        seen = watch.exists(index), watch.running(index), watch.has("eth0"), watch.has("eth9")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert seen == (True, True, True, False)


def test_a_new_name_is_the_same_interface(index: int, watch: LinkWatch) -> None:
    until(lambda: watch.running(index))
    ip("link set eth0 down")
    ip("link set eth0 name an-interface-15")
    ip("link set an-interface-15 up")
    until(lambda: watch.running(index))


@pytest.mark.parametrize(
    "change",
    [
        lambda: ip("link set wire down"),
        lambda: ip("link set eth0 down"),
        lambda: ip("link delete eth0"),
        lambda: ip("address add 10.9.0.100/32 dev eth0"),
        lambda: ip("address delete 10.9.0.1/24 dev eth0"),
        lambda: tc("qdisc delete dev eth0 clsact"),
        lambda: tc("filter delete dev eth0 ingress"),
        lambda: filtered("egress"),
    ],
    ids=["carrier", "down", "gone", "address", "no-address", "qdisc", "no-filter", "filter"],
)
def test_changes_are_told(index: int, watch: LinkWatch, change: object) -> None:
    assert callable(change)
    until(lambda: watch.running(index))
    tc("qdisc add dev eth0 clsact")
    filtered("ingress")
    until(lambda: not told(watch))
    change()
    until(lambda: told(watch))


def test_nothing_is_told_when_nothing_changes(index: int, watch: LinkWatch) -> None:
    until(lambda: watch.running(index))
    at_rest(watch)
    assert not select.select([watch], [], [], 0.2)[0]


def test_notifications_that_were_lost_are_as_good_as_others(index: int, watch: LinkWatch) -> None:
    watch._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    for last in range(2, 40):
        ip(f"address add 10.9.1.{last}/32 dev eth0")
    assert told(watch)
    assert not told(watch)
    ip("address add 10.9.2.1/32 dev eth0")
    until(lambda: told(watch))


def test_another_namespace_tells_nothing(index: int, watch: LinkWatch) -> None:
    until(lambda: watch.running(index))
    at_rest(watch)
    with own_namespace():
        ip("link delete eth0")
    assert not told(watch)


def test_a_link_that_was_down_is_told_of_when_it_is_back(index: int, watch: LinkWatch) -> None:
    until(lambda: watch.running(index))
    watch.drain()
    ip("link set wire down")
    until(lambda: not watch.running(index))
    ip("link set wire up")
    until(lambda: watch.running(index))
    assert index in watch.drain().down
    ip("address add 10.9.0.7/24 dev eth0")
    assert index not in watch.drain().down


def test_what_comes_or_changes_its_master_is_told_of(index: int, watch: LinkWatch) -> None:
    until(lambda: watch.running(index))
    ip("link add br0 type bridge")
    at_rest(watch)
    for change, came in (
        ("link add eth1 type veth peer name wire1", True),
        ("link set eth1 up", False),
        ("link set eth1 master br0", True),
        ("link set eth1 nomaster", True),
        ("link set wire1 up", False),
        ("link delete eth1", False),
    ):
        ip(change)
        assert watch.drain().came is came, change
        at_rest(watch)
