"""Programs at tcx: a stranger's are refused, and those of a version that uses it are replaced."""

from __future__ import annotations

import pytest

from clusterip.adapters import libbpf, tcx
from clusterip.adapters.hooks import Attached, KernelHooks, Programs
from clusterip.adapters.links import Link
from clusterip.core.errors import RefusedError
from clusterip.core.packets.state import XdpMode
from tests.adapters.loading import Foreign, loaded_programs
from tests.namespaces import tc

POINTS = (tcx.INGRESS, tcx.EGRESS)
ALL = Attached(tc=True, xdp=False)


@pytest.fixture(autouse=True)
def has_tcx(eth0: Link) -> None:
    try:
        libbpf.attached_programs(eth0.index, tcx.INGRESS)
    except OSError:
        pytest.skip("before Linux 6.6")


def put(link: Link, point: int, fd: int) -> None:
    libbpf.call("bpf_prog_attach", fd, link.index, point, 0)


@pytest.fixture
def later(eth0: Link) -> None:
    """A version that uses tcx has run here."""
    loaded, those = loaded_programs()
    for point, fd in zip(POINTS, (those.ingress, those.egress), strict=True):
        put(eth0, point, fd)
    loaded.close()


def left(link: Link) -> list[str]:
    return [
        libbpf.program_name(one)
        for point in POINTS
        for one in libbpf.attached_programs(link.index, point)
    ]


@pytest.mark.parametrize("point", POINTS)
def test_a_stranger_is_refused(eth0: Link, foreign: Foreign, point: int) -> None:
    put(eth0, point, foreign("foreign_tc"))
    with pytest.raises(RefusedError, match=r"a foreign tcx program \(foreign_tc\)"):
        KernelHooks().refuse_foreign(eth0)
    KernelHooks().clear(eth0, eth0.index, clsact=True)
    assert left(eth0) == ["foreign_tc"]


@pytest.mark.usefixtures("later")
def test_a_version_that_uses_it_is_put_back_to_this(eth0: Link, programs: Programs) -> None:
    hooks = KernelHooks()
    hooks.refuse_foreign(eth0)
    assert hooks.attach(eth0, programs, XdpMode.OFF) == ""
    assert left(eth0) == []
    assert hooks.attached(eth0, programs) == ALL


@pytest.mark.usefixtures("later")
def test_both_until_ours_are_filters(
    eth0: Link, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the two, it is not over."""
    hooks = KernelHooks()

    def killed(ifindex: int, point: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(tcx, "leave", killed)
        with pytest.raises(KeyboardInterrupt):
            hooks.attach(eth0, programs, XdpMode.OFF)
    assert left(eth0) == ["clusterip_ingre", "clusterip_egres"]
    for side in ("ingress", "egress"):
        assert "clusterip_" in tc(f"filter show dev eth0 {side}")
    assert not hooks.attached(eth0, programs).tc
    hooks.attach(eth0, programs, XdpMode.OFF)
    assert hooks.attached(eth0, programs) == ALL


@pytest.mark.usefixtures("later")
def test_flushed(eth0: Link) -> None:
    KernelHooks().clear(eth0, eth0.index, clsact=False)
    assert left(eth0) == []


@pytest.mark.usefixtures("later")
def test_detached(eth0: Link, programs: Programs) -> None:
    KernelHooks().detach(eth0, programs, clsact=False)
    assert left(eth0) == []


def test_guards_are_left_to_whoever_they_are_for(eth0: Link, programs: Programs) -> None:
    put(eth0, tcx.INGRESS, programs.guard_ingress)
    KernelHooks().attach(eth0, programs, XdpMode.OFF)
    assert left(eth0) == ["clusterip_guard"]
