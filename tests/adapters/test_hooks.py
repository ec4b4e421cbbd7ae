"""The real hooks: ours come first, strangers stay, and nothing is left when we go."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from clusterip.adapters import libbpf
from clusterip.adapters.bpfobject import object_content
from clusterip.adapters.hooks import HANDLE, PRIORITY, Attached, KernelHooks, Programs
from clusterip.adapters.links import Link
from clusterip.core.errors import RefusedError
from clusterip.core.packets.state import XdpMode
from tests.adapters.loading import Foreign, loaded_programs
from tests.namespaces import Traces, ip, tc, traces

AUTO, OFF, REQUIRE = XdpMode.AUTO, XdpMode.OFF, XdpMode.REQUIRE
EVERYTHING, WITHOUT_XDP = Attached(tc=True, xdp=True), Attached(tc=True, xdp=False)
NOTHING = Attached(tc=False, xdp=False)


@pytest.fixture
def hooks() -> KernelHooks:
    return KernelHooks()


@pytest.fixture
def seen(folder: Path) -> Callable[[], Traces]:
    return lambda: traces(folder)


def test_attached_and_detached(
    eth0: Link, hooks: KernelHooks, programs: Programs, seen: Callable[[], Traces]
) -> None:
    before = seen()
    assert not hooks.has_clsact(eth0)
    assert hooks.attached(eth0, programs) == NOTHING
    for _ in range(2):
        assert hooks.attach(eth0, programs, AUTO) == ""
        assert hooks.attached(eth0, programs) == EVERYTHING
    assert hooks.has_clsact(eth0)
    assert tc("filter show dev eth0 ingress").count("name clusterip_ingre ") == 1
    assert tc("filter show dev eth0 egress").count("name clusterip_egres ") == 1
    for _ in range(2):
        hooks.detach(eth0, programs, clsact=True)
        assert hooks.attached(eth0, programs) == NOTHING
        assert seen() == before


def test_the_administrators_clsact_stays(
    eth0: Link, hooks: KernelHooks, programs: Programs, seen: Callable[[], Traces]
) -> None:
    tc("qdisc add dev eth0 clsact")
    before = seen()
    assert hooks.has_clsact(eth0)
    hooks.attach(eth0, programs, AUTO)
    hooks.detach(eth0, programs, clsact=False)
    assert seen() == before


@pytest.mark.parametrize("side", ["ingress", "egress"])
def test_a_foreign_filter_behind_ours_is_kept(
    eth0: Link, hooks: KernelHooks, programs: Programs, seen: Callable[[], Traces], side: str
) -> None:
    tc("qdisc add dev eth0 clsact")
    tc(f"filter add dev eth0 {side} prio 5 protocol ip u32 match u32 0 0")
    before = seen()
    hooks.attach(eth0, programs, AUTO)
    assert hooks.attached(eth0, programs) == EVERYTHING
    # Even if the qdisc were ours: it is in use.
    hooks.detach(eth0, programs, clsact=True)
    assert seen() == before


@pytest.mark.parametrize("side", ["ingress", "egress"])
def test_a_foreign_filter_in_our_place(
    eth0: Link, hooks: KernelHooks, programs: Programs, seen: Callable[[], Traces], side: str
) -> None:
    tc("qdisc add dev eth0 clsact")
    tc(f"filter add dev eth0 {side} prio 1 protocol ip u32 match u32 0 0")
    before = seen()
    with pytest.raises(RefusedError, match=f"foreign u32 filter .* eth0 {side}") as error:
        hooks.attach(eth0, programs, AUTO)
    assert f"tc filter show dev eth0 {side}" in error.value.cure
    hooks.detach(eth0, programs, clsact=False)
    assert seen() == before


@pytest.mark.parametrize("handle", [HANDLE, 7])
def test_a_foreign_bpf_filter_in_our_place(
    eth0: Link,
    hooks: KernelHooks,
    programs: Programs,
    foreign: Foreign,
    seen: Callable[[], Traces],
    handle: int,
) -> None:
    libbpf.tc_hook_create(eth0.index)
    fd = foreign("foreign_tc")
    libbpf.tc_attach(eth0.index, libbpf.TC_INGRESS, fd, handle=handle, priority=PRIORITY)
    before = seen()
    with pytest.raises(RefusedError, match="a foreign bpf filter with priority 1"):
        hooks.attach(eth0, programs, AUTO)
    assert hooks.attached(eth0, programs) == NOTHING
    hooks.detach(eth0, programs, clsact=False)
    assert seen() == before


def test_our_own_of_an_earlier_life_are_replaced(
    eth0: Link,
    hooks: KernelHooks,
    programs: Programs,
    seen: Callable[[], Traces],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = seen()
    earlier, descriptors = loaded_programs()
    hooks.attach(eth0, descriptors, AUTO)
    earlier.close()
    assert hooks.attached(eth0, programs) == NOTHING
    with monkeypatch.context() as patched:
        # A driver that has no program for a moment may lose packets.
        patched.delattr(libbpf, "xdp_detach")
        assert hooks.attach(eth0, programs, AUTO) == ""
    assert hooks.attached(eth0, programs) == EVERYTHING
    assert tc("filter show dev eth0 ingress").count("name clusterip_ingre ") == 1
    hooks.detach(eth0, programs, clsact=True)
    assert seen() == before


def test_an_ingress_qdisc_in_the_place_of_clsact(
    eth0: Link, hooks: KernelHooks, programs: Programs, seen: Callable[[], Traces]
) -> None:
    tc("qdisc add dev eth0 ingress")
    before = seen()
    with pytest.raises(RefusedError, match="eth0 has an ingress qdisc") as error:
        hooks.has_clsact(eth0)
    assert "tc qdisc del dev eth0 ingress" in error.value.cure
    with pytest.raises(RefusedError, match="eth0 has an ingress qdisc"):
        hooks.attach(eth0, programs, AUTO)
    assert seen() == before


def test_a_qdisc_of_another_kind_is_no_business_of_ours(
    eth0: Link, hooks: KernelHooks, programs: Programs
) -> None:
    tc("qdisc replace dev eth0 root pfifo limit 100")
    assert not hooks.has_clsact(eth0)
    hooks.attach(eth0, programs, AUTO)
    hooks.detach(eth0, programs, clsact=True)
    assert "pfifo" in tc("qdisc show dev eth0")
    assert "clsact" not in tc("qdisc show dev eth0")


def test_a_foreign_xdp_program(
    eth0: Link,
    hooks: KernelHooks,
    programs: Programs,
    foreign: Foreign,
    seen: Callable[[], Traces],
) -> None:
    fd = foreign("foreign_xdp")
    libbpf.xdp_attach(eth0.index, fd)
    number = libbpf.program_info(fd)[0]
    before = seen()
    note = hooks.attach(eth0, programs, AUTO)
    assert note == f"another XDP program is there (foreign_xdp, id {number})"
    assert hooks.attached(eth0, programs) == WITHOUT_XDP
    with pytest.raises(RefusedError, match=r"XDP is required on eth0, but .*foreign_xdp") as error:
        hooks.attach(eth0, programs, REQUIRE)
    assert "--xdp auto" in error.value.cure
    assert hooks.attach(eth0, programs, OFF) == ""
    assert libbpf.xdp_program(eth0.index) == number
    hooks.detach(eth0, programs, clsact=True)
    assert seen() == before


def test_a_foreign_generic_xdp_program(
    eth0: Link, hooks: KernelHooks, programs: Programs, foreign_object: Path
) -> None:
    ip(f"link set dev eth0 xdpgeneric obj {foreign_object} sec xdp")
    assert "another XDP program is there" in hooks.attach(eth0, programs, AUTO)
    hooks.detach(eth0, programs, clsact=True)
    assert "xdpgeneric" in ip("link show dev eth0")


def test_xdp_off_and_on_again(eth0: Link, hooks: KernelHooks, programs: Programs) -> None:
    for mode, expected in ((REQUIRE, EVERYTHING), (OFF, WITHOUT_XDP), (AUTO, EVERYTHING)):
        assert hooks.attach(eth0, programs, mode) == ""
        assert hooks.attached(eth0, programs) == expected


def test_a_driver_without_native_xdp(
    folder: Path, hooks: KernelHooks, programs: Programs, seen: Callable[[], Traces]
) -> None:
    ip("link add none0 type bridge")
    none0 = Link(socket.if_nametoindex("none0"), "none0")
    note = hooks.attach(none0, programs, AUTO)
    assert note.startswith("the driver has no native XDP here: ")
    assert hooks.attached(none0, programs) == WITHOUT_XDP
    with pytest.raises(RefusedError, match="XDP is required on none0, but the driver has no"):
        hooks.attach(none0, programs, REQUIRE)
    hooks.detach(none0, programs, clsact=True)
    assert hooks.attached(none0, programs) == NOTHING
    assert "clsact" not in tc("qdisc show dev none0")


@pytest.mark.parametrize(
    "gone",
    [
        ["filter del dev eth0 ingress"],
        ["filter del dev eth0 egress"],
        ["filter del dev eth0 ingress", "filter del dev eth0 egress"],
        ["qdisc del dev eth0 clsact"],
    ],
)
def test_what_vanished_comes_back_or_is_not_missed(
    eth0: Link,
    hooks: KernelHooks,
    programs: Programs,
    seen: Callable[[], Traces],
    gone: list[str],
) -> None:
    before = seen()
    hooks.attach(eth0, programs, AUTO)
    for words in gone:
        tc(words)
    assert hooks.attached(eth0, programs) == Attached(tc=False, xdp=True)
    hooks.attach(eth0, programs, AUTO)
    assert hooks.attached(eth0, programs) == EVERYTHING
    for words in gone:
        tc(words)
    hooks.detach(eth0, programs, clsact=True)
    assert seen() == before


def test_xdp_that_vanished(eth0: Link, hooks: KernelHooks, programs: Programs) -> None:
    hooks.attach(eth0, programs, AUTO)
    ip("link set dev eth0 xdp off")
    assert hooks.attached(eth0, programs) == WITHOUT_XDP
    hooks.detach(eth0, programs, clsact=True)
    assert hooks.attached(eth0, programs) == NOTHING


def test_a_stranger_that_took_our_place_is_kept(
    eth0: Link, hooks: KernelHooks, programs: Programs, foreign: Foreign
) -> None:
    hooks.attach(eth0, programs, AUTO)
    tc("filter del dev eth0 ingress")
    fd = foreign("foreign_tc")
    libbpf.tc_attach(eth0.index, libbpf.TC_INGRESS, fd, handle=HANDLE, priority=PRIORITY)
    hooks.detach(eth0, programs, clsact=True)
    assert "foreign_tc" in tc("filter show dev eth0 ingress")
    assert "clusterip" not in tc("filter show dev eth0 egress")


def test_each_interface_has_its_own(
    folder: Path, eth0: Link, hooks: KernelHooks, programs: Programs
) -> None:
    wire = Link(socket.if_nametoindex("wire"), "wire")
    hooks.attach(eth0, programs, AUTO)
    assert hooks.attached(wire, programs) == NOTHING
    hooks.attach(wire, programs, OFF)
    hooks.detach(eth0, programs, clsact=True)
    assert hooks.attached(wire, programs) == WITHOUT_XDP


@pytest.fixture
def wire(eth0: Link) -> Link:
    """Another interface beside the shared one, which is `eth0`."""
    assert eth0.name == "eth0"
    return Link(socket.if_nametoindex("wire"), "wire")


def on_wire() -> tuple[str, str]:
    return tc("qdisc show dev wire"), "".join(
        tc(f"filter show dev wire {side}") for side in ("ingress", "egress")
    )


def test_guarded_and_left(eth0: Link, wire: Link, hooks: KernelHooks, programs: Programs) -> None:
    before = on_wire()
    assert not hooks.guarded(wire, programs, eth0.index)
    for _ in range(2):
        hooks.guard(wire, programs, eth0.index)
        assert hooks.guarded(wire, programs, eth0.index)
    assert on_wire()[1].count("name clusterip_guard") == 2
    tc("filter del dev wire egress")
    assert not hooks.guarded(wire, programs, eth0.index)
    hooks.guard(wire, programs, eth0.index)
    for _ in range(2):
        hooks.unguard(wire, programs, eth0.index, clsact=True)
        assert on_wire() == before


@pytest.mark.parametrize("guard_first", [True, False])
def test_guards_and_programs_of_our_own_are_neighbours(
    eth0: Link, wire: Link, hooks: KernelHooks, programs: Programs, guard_first: bool
) -> None:
    before = on_wire()
    steps: list[Callable[[], object]] = [
        lambda: hooks.guard(wire, programs, eth0.index),
        lambda: hooks.attach(wire, programs, OFF),
        lambda: hooks.guard(wire, programs, eth0.index + 1000),
    ]
    for step in steps if guard_first else reversed(steps):
        step()
    assert hooks.attached(wire, programs) == WITHOUT_XDP
    assert hooks.guarded(wire, programs, eth0.index)
    hooks.detach(wire, programs, clsact=True)
    assert hooks.guarded(wire, programs, eth0.index)
    hooks.unguard(wire, programs, eth0.index, clsact=True)
    assert hooks.guarded(wire, programs, eth0.index + 1000)
    hooks.unguard(wire, programs, eth0.index + 1000, clsact=True)
    assert on_wire() == before


def test_a_foreign_filter_beside_a_guard_stays(
    eth0: Link, wire: Link, hooks: KernelHooks, programs: Programs, foreign: Foreign
) -> None:
    libbpf.tc_hook_create(wire.index)
    fd = foreign("foreign_tc")
    libbpf.tc_attach(wire.index, libbpf.TC_INGRESS, fd, handle=HANDLE, priority=PRIORITY)
    before = on_wire()
    hooks.guard(wire, programs, eth0.index)
    assert hooks.guarded(wire, programs, eth0.index)
    hooks.unguard(wire, programs, eth0.index, clsact=True)
    assert on_wire() == before


def test_where_no_guard_can_be(
    eth0: Link, wire: Link, hooks: KernelHooks, programs: Programs
) -> None:
    tc("qdisc add dev wire ingress")
    before = on_wire()
    with pytest.raises(RefusedError, match="wire has an ingress qdisc"):
        hooks.guard(wire, programs, eth0.index)
    assert on_wire() == before
    tc("qdisc del dev wire ingress")
    tc("qdisc add dev wire clsact")
    tc("filter add dev wire egress prio 1 protocol ip u32 match u32 0 0")
    with pytest.raises(OSError, match="bpf_tc_attach"):
        hooks.guard(wire, programs, eth0.index)
    assert not hooks.guarded(wire, programs, eth0.index)


def test_cleared_without_knowing_the_programs(
    eth0: Link, wire: Link, hooks: KernelHooks, programs: Programs, foreign: Foreign
) -> None:
    """Ours go, by whatever installation they were loaded, and no others."""
    loaded = libbpf.Object(object_content())
    heeding = msgspec.structs.replace(programs, heed=loaded.program_fd("clusterip_heed"))
    hooks.attach(eth0, programs, AUTO)
    hooks.heed(eth0, heeding)
    hooks.guard(wire, programs, eth0.index)
    hooks.guard(wire, programs, eth0.index + 1000)
    libbpf.tc_attach(eth0.index, libbpf.TC_INGRESS, foreign("foreign_tc"), handle=7, priority=9)
    loaded.close()
    for _ in range(2):
        hooks.clear(wire, eth0.index, clsact=True)
        hooks.clear(eth0, eth0.index, clsact=True)
        assert hooks.attached(eth0, programs) == NOTHING
        shown = tc("filter show dev eth0 ingress")
        assert shown.count("handle 0x") == shown.count("name foreign_tc") == 1
        assert "handle" not in tc("filter show dev eth0 egress")
        assert not hooks.guarded(wire, programs, eth0.index)
        assert hooks.guarded(wire, programs, eth0.index + 1000)
    libbpf.tc_detach(eth0.index, libbpf.TC_INGRESS, handle=7, priority=9)
    hooks.clear(eth0, eth0.index, clsact=False)
    assert hooks.has_clsact(eth0)
    libbpf.xdp_attach(eth0.index, foreign("foreign_xdp"))
    hooks.clear(eth0, eth0.index, clsact=True)
    assert not hooks.has_clsact(eth0)
    assert libbpf.xdp_program(eth0.index)
