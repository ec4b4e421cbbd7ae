"""An interface in our control, whoever changes it: a real one, on which somebody changes things."""

from __future__ import annotations

import asyncio
import errno
import shutil
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, nullcontext, suppress
from typing import Any

import pytest

from clusterip.adapters import bpffs
from clusterip.adapters.hooks import FakeHooks
from clusterip.adapters.links import FakeLinks, Link
from clusterip.adapters.linkwatch import LinkWatch
from clusterip.adapters.pinned_maps import FakePinnedMaps
from clusterip.core.config.reading import read
from clusterip.core.errors import AbsentError
from clusterip.core.packets.model import Mac
from clusterip.core.packets.state import InterfaceState
from clusterip.runtime.namespace import Namespace
from clusterip.runtime.reconciler import Reconciler
from clusterip.runtime.served_interface import ServedInterface
from tests.core.config.texts import SMALL
from tests.namespaces import ip, own_namespace, tc

pytestmark = pytest.mark.root("network namespaces")

CONFIG = read(SMALL)
VIP = CONFIG.vips[0].address
GRACE = 0.5
ARP = 0x0806


class Kept:
    """A keeper, and what it told."""

    def __init__(self, served: ServedInterface, state: InterfaceState, watch: LinkWatch) -> None:
        self.served, self.state = served, state
        self.told: list[bool] = []
        self.why: list[str] = []
        self.came_back: list[None] = []
        self.exposed: list[None] = []
        self.reconciler = Reconciler(
            served,
            state,
            watch,
            self._told,
            back=lambda: self.came_back.append(None),
            exposed=lambda: self.exposed.append(None),
            grace=GRACE,
        )
        self.watch = watch
        self.fault: BaseException | None = None

    def _told(self, serves: bool, why: str) -> None:
        self.told.append(serves)
        self.why.append(why)

    def while_it_keeps(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        asyncio.run(self._run(work))

    async def _run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        loop = asyncio.get_running_loop()
        self.reconciler.look()
        loop.add_reader(self.watch, self.reconciler.look)
        task = asyncio.ensure_future(self._keep())
        try:
            await work()
        finally:
            loop.remove_reader(self.watch)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _keep(self) -> None:
        try:
            await self.reconciler.keep()
        except AbsentError as error:
            self.fault = error

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - of the kernel
                await asyncio.sleep(0.01)


@pytest.fixture
def watch() -> Iterator[LinkWatch]:
    with own_namespace(), closing(LinkWatch()) as one:
        yield one


@pytest.fixture
def real(watch: LinkWatch) -> Iterator[Kept]:
    """All that it does is done in the kernel."""
    served = ServedInterface.open(print)
    state, _ = served.enter(CONFIG, "eth0")
    yield Kept(served, state, watch)
    served.leave(state.index)


class Fakes:
    """An interface whose link is real, and all else in memory."""

    def __init__(self, watch: LinkWatch) -> None:
        self.hooks = FakeHooks()
        link = Link(socket.if_nametoindex("eth0"), "eth0")
        self.links = FakeLinks([link])
        self.index = link.index
        self.locks = 0
        self.served = ServedInterface(
            Namespace(FakePinnedMaps(), self.hooks, self.links, self._lock)
        )
        state, _ = self.served.enter(CONFIG, "eth0")
        self.kept = Kept(self.served, state, watch)

    def _lock(self) -> nullcontext[None]:
        self.locks += 1
        return nullcontext()


@pytest.fixture
def fakes(watch: LinkWatch) -> Fakes:
    return Fakes(watch)


def test_what_is_taken_away_is_put_back(real: Kept, caplog: pytest.LogCaptureFixture) -> None:
    def told(what: str) -> bool:
        words = f"put back on eth0, for it was gone: {what}; find out what takes it away"
        return caplog.messages.count(words) == 1

    def filtered() -> bool:
        ways = ("ingress", "egress")
        return all("clusterip" in tc(f"filter show dev eth0 {way}") for way in ways)

    def has_vip() -> bool:
        return f" {VIP}/32 " in ip("-4 address show dev eth0")

    async def work() -> None:
        await real.until(lambda: filtered() and has_vip())
        for harm in (
            "filter delete dev eth0 ingress",
            "filter delete dev eth0 egress",
            "qdisc delete dev eth0 clsact",
        ):
            # They fail where there is nothing to take away, so what is seen was put back.
            tc(harm)
            await real.until(filtered)
            # Twice or more the same is said once.
            await real.until(lambda: told("filters of tc"))
        ip(f"address delete {VIP}/32 dev eth0")
        await real.until(has_vip)
        await real.until(lambda: told(f"the address {VIP}"))
        # It is there, and not as it should: this host would begin connections from it.
        ip(f"address delete {VIP}/32 dev eth0")
        ip(f"address add {VIP}/32 dev eth0")
        await real.until(lambda: f" {VIP}/32 scope host " in ip("-4 address show dev eth0"))

    real.while_it_keeps(work)
    assert real.reconciler.in_control
    assert set(real.told) == {True}
    assert len(caplog.messages) <= 3


@pytest.fixture
def pausing(real: Kept, monkeypatch: pytest.MonkeyPatch) -> Kept:
    """One that mends, and then does so no more while a test lasts."""
    monkeypatch.setattr("clusterip.runtime.reconciler._PAUSE_SECONDS", 60.0)
    return real


def guarded(name: str = "eth1") -> bool:
    ways = ("ingress", "egress")
    return all("clusterip_guard" in tc(f"filter show dev {name} {way}") for way in ways)


def test_another_interface_is_guarded_without_a_pause(pausing: Kept) -> None:
    async def work() -> None:
        await pausing.until(lambda: len(pausing.told) > 1)
        pausing.exposed.clear()
        ip("link add eth1 type veth peer name wire1")
        # Before the loop hears of it: it may have answered for the VIP.
        ip("link set eth1 up")
        await pausing.until(lambda: guarded() and bool(pausing.exposed))

    pausing.while_it_keeps(work)


def test_one_that_leaves_a_bridge_is_guarded_without_a_pause(pausing: Kept) -> None:
    ip("link add br0 type bridge")
    ip("link add eth1 type veth peer name wire1")
    ip("link set eth1 master br0")

    async def work() -> None:
        await pausing.until(lambda: guarded("br0") and len(pausing.told) > 1)
        assert not guarded()
        ip("link set eth1 nomaster")
        await pausing.until(guarded)

    pausing.while_it_keeps(work)


def test_a_guard_that_was_taken_away_may_have_exposed_it(
    real: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        await real.until(lambda: guarded("wire") and len(real.told) > 1)
        real.exposed.clear()
        tc("qdisc delete dev wire clsact")
        await real.until(lambda: guarded("wire") and bool(real.exposed))
        words = "put back on eth0, for it was gone: the guard of wire; find out what takes it away"
        await real.until(lambda: caplog.messages == [words])

    real.while_it_keeps(work)


def test_it_rests_when_nothing_changes(fakes: Fakes) -> None:
    async def work() -> None:
        await fakes.kept.until(
            lambda: fakes.kept.reconciler.in_control and len(fakes.kept.told) > 1
        )
        await asyncio.sleep(0.3)
        before = fakes.locks
        await asyncio.sleep(0.5)
        assert fakes.locks == before

    fakes.kept.while_it_keeps(work)


def test_the_carrier(fakes: Fakes) -> None:
    async def work() -> None:
        await fakes.kept.until(lambda: fakes.kept.told[-1:] == [True])
        ip("link set wire down")
        await fakes.kept.until(lambda: fakes.kept.told[-1:] == [False])
        ip("link set wire up")
        await fakes.kept.until(lambda: fakes.kept.told[-1:] == [True])

    fakes.kept.while_it_keeps(work)
    assert fakes.kept.reconciler.in_control


def test_a_link_that_flaps_is_no_link_that_went(fakes: Fakes) -> None:
    kept, index = fakes.kept, fakes.index

    async def work() -> None:
        await kept.until(lambda: kept.told[-1:] == [True])
        for device in ("eth0", "wire") * 3:
            ip(f"link set {device} down")
            await kept.until(lambda: not kept.watch.running(index))
            ip(f"link set {device} up")
            await kept.until(lambda: kept.watch.running(index))
        await asyncio.sleep(2 * GRACE)
        assert set(kept.told) == {True}
        # But its return is told of, however soon it comes.
        assert kept.came_back
        kept.came_back.clear()
        # One that stays away is told of once, and its return at once.
        began = asyncio.get_running_loop().time()
        ip("link set eth0 down")
        await kept.until(lambda: False in kept.told)
        assert asyncio.get_running_loop().time() - began >= GRACE
        ip("link set eth0 up")
        await kept.until(lambda: kept.told[-1:] == [True])
        assert len(kept.came_back) == 1

    kept.while_it_keeps(work)


def test_who_was_asked_for_in_vain_is_asked_for_again(fakes: Fakes) -> None:
    kept = fakes.kept
    ip("address replace 10.9.0.1/24 dev eth0")
    taps = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ARP))
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    async def work() -> None:
        await kept.until(lambda: kept.told[-1:] == [True])
        ip("link set wire down")
        await kept.until(lambda: not kept.watch.running(fakes.index))
        datagrams.sendto(b"", ("10.9.0.7", 9))
        assert "INCOMPLETE" in ip("neighbour show 10.9.0.7")
        with suppress(OSError):  # that its network is down
            taps.recv(100, socket.MSG_DONTWAIT)
        began = asyncio.get_running_loop().time()
        ip("link set wire up")
        await asyncio.to_thread(taps.recv, 100)
        assert asyncio.get_running_loop().time() - began < 0.5
        assert "INCOMPLETE" in ip("neighbour show 10.9.0.7")

    with taps, datagrams:
        taps.bind(("wire", ARP))
        taps.settimeout(5)
        kept.while_it_keeps(work)


def test_a_link_that_was_not_there_is_told_of_at_once(fakes: Fakes) -> None:
    ip("link set eth0 down")

    async def work() -> None:
        assert fakes.kept.told == [False]

    fakes.kept.while_it_keeps(work)


def test_a_filter_that_cannot_be_looked_at_is_looked_at_by_mending(
    fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(_self: FakeLinks, _index: int) -> frozenset[Mac]:
        raise OSError(errno.EMFILE, "Too many open files")

    def soon() -> float:
        return asyncio.get_running_loop().time() + 0.01

    async def work() -> None:
        await fakes.kept.until(lambda: fakes.kept.told[-1:] == [True])
        await asyncio.sleep(0.3)
        monkeypatch.setattr(FakeLinks, "macs", unreadable)
        monkeypatch.setattr("clusterip.runtime.reconciler.next_second", soon)
        fakes.kept.reconciler.look()
        await fakes.kept.until(lambda: not fakes.kept.reconciler.in_control)
        monkeypatch.undo()
        await fakes.kept.until(lambda: fakes.kept.reconciler.in_control)

    fakes.kept.while_it_keeps(work)
    assert fakes.kept.fault is None


def test_what_cannot_be_put_back(fakes: Fakes, caplog: pytest.LogCaptureFixture) -> None:
    kept = fakes.kept

    async def work() -> None:
        await kept.until(lambda: kept.told[-1:] == [True])
        fakes.hooks.running.clear()
        fakes.hooks.foreign.add(fakes.index)
        kept.reconciler.look()
        await kept.until(lambda: not kept.reconciler.in_control and kept.told[-1:] == [False])
        # Nothing is served, and the VIP leaves the interface.
        await kept.until(lambda: not fakes.links.addresses(fakes.index))
        # A carrier does not make it served.
        kept.reconciler.look()
        assert kept.told[-1] is False
        # It is tried again and again, and said once.
        tries = fakes.locks
        await kept.until(lambda: fakes.locks >= tries + 4)
        fakes.hooks.foreign.clear()
        await kept.until(lambda: kept.reconciler.in_control and kept.told[-1:] == [True])
        assert fakes.links.addresses(fakes.index) == {VIP}
        assert fakes.hooks.running == {fakes.index}

    kept.while_it_keeps(work)
    (line,) = (one for one in caplog.messages if "not in our control" in one)
    assert "eth0" in line
    assert "a foreign filter is in the way" in line
    assert any("a foreign filter is in the way" in why for why in kept.why)
    assert kept.why[-1] == ""


def test_the_pins_are_gone(real: Kept, caplog: pytest.LogCaptureFixture) -> None:
    pins = bpffs.namespace_folder() / str(real.state.index)

    async def work() -> None:
        await real.until(lambda: real.told[-1:] == [True])
        shutil.rmtree(pins)
        await real.until(pins.exists)
        tc("filter delete dev eth0 ingress")
        await real.until(lambda: "clusterip" in tc("filter show dev eth0 ingress"))

    real.while_it_keeps(work)
    assert sum("put back on eth0, for it was gone: the pins" in one for one in caplog.messages) == 1
    assert set(real.told) == {True}
    assert real.fault is None


def test_the_interface_is_gone(fakes: Fakes) -> None:
    async def work() -> None:
        await fakes.kept.until(lambda: fakes.kept.told[-1:] == [True])
        ip("link delete eth0")
        await fakes.kept.until(lambda: fakes.kept.fault is not None)

    fakes.kept.while_it_keeps(work)
    assert str(fakes.kept.fault).startswith("eth0 is gone")
    assert fakes.kept.told[-1] is False
