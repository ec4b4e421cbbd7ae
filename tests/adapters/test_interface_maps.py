"""Pinned planes: complete or absent, by namespace, and what is put in comes out."""

from __future__ import annotations

import gc
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from pathlib import Path

import msgspec
import pytest

from clusterip.adapters import abi, bpffs, libbpf
from clusterip.adapters.abi import NO_DEADLINE, BucketState, Reason
from clusterip.adapters.bpfobject import object_content
from clusterip.adapters.dataplane import FakePlane, OtherVersionError, Plane
from clusterip.adapters.interface_maps import PinnedPlanes
from clusterip.adapters.packing import pack
from clusterip.core import limits
from clusterip.core.errors import RefusedError, SystemFaultError
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import Mac, Match, Ports, Rule, Sharing
from clusterip.core.packets.state import Chain, InterfaceState, Taken, XdpMode
from clusterip.core.rules import chain as chains
from tests.namespaces import own_namespace

VIP = IPv4Address("10.9.0.100")
SHARED = Sharing(HashMode.SOURCEIP_SOURCEPORT, Mac("01005e000020"), 3, 1234)
PROGRAMS = {"ingress", "egress", "xdp", "guard_ingress", "guard_egress", "heed", "carry"}
UNREAD = {"fragments", "openings", "own_openings"}
PINS = {"config", "groups", "verdicts", "traffic", "peers", "keys"} | UNREAD | PROGRAMS
NONE, OWNED = BucketState.NONE, BucketState.OWNED


def state_of(count: int = 1, index: int = 2) -> InterfaceState:
    chain = Chain()
    for port in range(1, count + 1):
        match = Match(6, destination_ports=(Ports("tcp", ((port, port),)),))
        chain = chains.append(chain, Rule(VIP, "eth0", match, SHARED, 1), index)
    state = chain.interface(index) or InterfaceState(index, "eth0")
    taken = Taken(clsact=True, macs=(SHARED.mac,), addresses=(VIP,))
    return msgspec.structs.replace(state, xdp=XdpMode.REQUIRE, xdp_note="why not", taken=taken)


@pytest.fixture
def planes(folder: Path) -> PinnedPlanes:
    assert bpffs.namespace_folder() == folder
    return PinnedPlanes(folder)


@pytest.fixture
def plane(planes: PinnedPlanes) -> Iterator[Plane]:
    planes.create(state_of())
    with planes.open(2) as one:
        yield one


def test_made_and_removed(planes: PinnedPlanes, folder: Path) -> None:
    assert planes.indices() == ()
    assert not folder.exists()
    planes.create(state_of())
    planes.create(state_of(3, index=10))
    assert planes.indices() == (2, 10)
    names = {one.name for one in (folder / "2").iterdir()}
    assert {name for name in names if not name.startswith("from-")} == PINS
    planes.remove(2)
    assert planes.indices() == (10,)
    assert {one.name for one in folder.iterdir()} == {"10"}
    planes.remove(10)
    assert planes.indices() == ()
    assert not folder.exists()


def test_programs_of_another_installation_are_renewed(planes: PinnedPlanes, folder: Path) -> None:
    planes.create(state_of(5))
    assert not planes.renew(2)
    with planes.open(2) as plane:
        plane.set_bucket(0, 3, OWNED)
        plane.set_deadline(0, 12345)
    (origin,) = (folder / "2").glob("from-*")
    origin.rename(folder / "2" / "from-another")
    with planes.programs(2) as before:
        ids = [libbpf.program_info(fd)[0] for fd in (before.ingress, before.egress, before.xdp)]
    assert planes.renew(2)
    assert planes.lags(2)
    planes.level(2)
    planes.settle(2)
    assert not planes.lags(2)
    with planes.programs(2) as after:
        for old, fd in zip(ids, (after.ingress, after.egress, after.xdp), strict=True):
            assert libbpf.program_info(fd)[0] != old
    with planes.open(2) as plane:
        assert plane.state() == state_of(5)
        assert plane.states(0)[2] is OWNED
        assert plane.deadline(0) == 12345
    assert {one.name for one in (folder / "2").iterdir()} == {*PINS, origin.name}
    assert not planes.renew(2)


def test_whether_programs_could_be_renewed(planes: PinnedPlanes, folder: Path) -> None:
    planes.create(state_of())
    planes.try_renewing(2)
    (origin,) = (folder / "2").glob("from-*")
    origin.rename(folder / "2" / "from-another")
    before = sorted((folder / "2").iterdir())
    planes.try_renewing(2)
    assert sorted((folder / "2").iterdir()) == before
    # As from a version that had no such map, and from one that cannot be read.
    (folder / "2" / "peers").unlink()
    planes.try_renewing(2)
    (folder / "2" / "traffic").unlink()
    with pytest.raises(OtherVersionError):
        planes.try_renewing(2)


def test_what_is_committed_is_read(planes: PinnedPlanes) -> None:
    planes.create(state_of())
    for count in (1, 5, 0, limits.RULES - 1):
        with planes.open(2) as plane:
            plane.commit(state_of(count))
        with planes.open(2) as plane:
            assert plane.state() == state_of(count)


def test_rules_are_a_map_like_the_one_that_they_replace(planes: PinnedPlanes, folder: Path) -> None:
    """Linux before 6.2 wants them equal in having BTF or not; later kernels do not care."""

    def kind(fd: int) -> dict[str, int]:
        info = libbpf.map_info(fd)
        one = {
            name: getattr(info, name) for name, *_ in info._fields_ if name not in ("id", "name")
        }
        # Each object has BTF of its own: whether there is any is what counts.
        return one | {"btf_id": bool(one["btf_id"])}

    loaded = libbpf.Object(object_content())
    planes.create(state_of())
    with libbpf.pinned(str(folder / "2" / "config")) as config:
        number = int.from_bytes(libbpf.lookup(config, 0, 4), "little")
    with libbpf.map_by_id(number) as fd:
        assert kind(fd) == kind(loaded.map_fd("no_rules"))
    loaded.close()


def test_what_is_kept_needs_no_pins(planes: PinnedPlanes, folder: Path) -> None:
    planes.create(state_of())
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are enough
    planes.keep(2)
    assert planes.is_pinned(2)
    with planes.programs(2) as programs:
        ingress = libbpf.program_info(programs.ingress)[0]
    shutil.rmtree(folder)
    assert not planes.is_pinned(2)
    assert planes.indices() == (2,)
    assert not planes.renew(2)
    with planes.open(2) as plane:
        plane.set_bucket(0, 3, OWNED)
        plane.commit(state_of(4))
    # Somebody else made another in its place.
    PinnedPlanes(folder).create(state_of(1))
    assert not planes.is_pinned(2)
    planes.pin(2)
    assert planes.is_pinned(2)
    others = PinnedPlanes(folder)
    with others.open(2) as plane, others.programs(2) as programs:
        assert (plane.state(), plane.states(0)[2]) == (state_of(4), OWNED)
        assert libbpf.program_info(programs.ingress)[0] == ingress
    assert not others.renew(2)
    (folder / "2" / "xdp").unlink()
    assert not planes.is_pinned(2)
    del plane  # what it has mapped into memory goes with it
    planes.remove(2)
    assert planes.indices() == ()
    assert not folder.exists()
    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_what_is_kept_and_not_pinned_is_removed(planes: PinnedPlanes, folder: Path) -> None:
    planes.create(state_of())
    planes.keep(2)
    shutil.rmtree(folder)
    planes.remove(2)
    assert planes.indices() == ()
    with pytest.raises(FileNotFoundError):
        planes.remove(2)


def test_a_file_in_the_place_of_the_folder(planes: PinnedPlanes, folder: Path) -> None:
    planes.create(state_of())
    planes.keep(2)
    shutil.rmtree(folder)
    with libbpf.new_array(8) as fd:
        libbpf.pin(fd, str(folder))
    try:
        assert not planes.is_pinned(2)
        with pytest.raises(NotADirectoryError) as refused:
            planes.pin(2)
        assert str(refused.value.filename).startswith(f"{folder}/")
        planes.remove(2)
        assert planes.indices() == ()
    finally:
        folder.unlink()


def test_what_exceeds_a_limit_is_not_committed(plane: Plane) -> None:
    many = state_of(1)
    rule = many.entries[0].rule
    conditions = [
        msgspec.structs.replace(rule, match=Match(6, source_ports=(Ports("tcp", ((port, port),)),)))
        for port in range(limits.CHAIN + 1)
    ]
    chain = Chain((many,))
    for one in conditions:
        chain = chains.append(chain, one, 2)
    with pytest.raises(RefusedError):
        plane.commit(chain.interfaces[0])
    assert plane.state() == state_of()


def test_programs_are_those_of_the_object(planes: PinnedPlanes) -> None:
    planes.create(state_of())
    with planes.programs(2) as programs:
        names = [
            libbpf.program_info(fd)[1] for fd in (programs.ingress, programs.egress, programs.xdp)
        ]
    # The kernel keeps 15 letters.
    assert names == ["clusterip_ingre", "clusterip_egres", "clusterip_xdp"]


def test_descriptors_are_closed(planes: PinnedPlanes) -> None:
    planes.create(state_of())
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are enough
    with planes.open(2) as plane, planes.programs(2):
        plane.commit(state_of(2))
        plane.set_bucket(0, 1, OWNED)
        plane.count(1)
    del plane  # what it has mapped into memory goes with it
    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_plane_that_is_not_there(planes: PinnedPlanes) -> None:
    with pytest.raises(FileNotFoundError), planes.open(2):
        pass
    with pytest.raises(FileNotFoundError), planes.programs(2):
        pass
    with pytest.raises(FileNotFoundError):
        planes.remove(2)


def test_leftovers_are_swept(planes: PinnedPlanes, folder: Path) -> None:
    planes.create(state_of())
    planes.create(state_of(index=3))
    # Killed while making one, and while removing another.
    (folder / "new-4-999").mkdir()
    (folder / "3").rename(folder / "new-3-998")
    assert planes.indices() == (2,)
    planes.sweep()
    assert {one.name for one in folder.iterdir()} == {"2"}
    with planes.open(2) as plane:
        assert plane.state() == state_of()


def test_an_empty_folder_is_swept(planes: PinnedPlanes, folder: Path) -> None:
    (folder / "new-4-999").mkdir(parents=True)
    planes.sweep()
    assert not folder.exists()
    planes.sweep()


def test_two_namespaces_do_not_see_each_other(planes: PinnedPlanes, folder: Path) -> None:
    planes.create(state_of())
    seen: list[object] = []

    def elsewhere() -> None:
        with own_namespace() as other:
            there = PinnedPlanes(bpffs.namespace_folder())
            seen.append(other == bpffs.namespace_folder() != folder)
            seen.append(there.indices())
            there.create(state_of(2))
            with there.open(2) as plane:
                seen.append(plane.state() == state_of(2))
            there.remove(2)
            seen.append(other.exists())

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [True, (), True, False]
    with planes.open(2) as plane:
        assert plane.state() == state_of()


def test_buckets_and_deadlines(plane: Plane) -> None:
    assert plane.states(0) == (NONE,) * 256
    assert plane.deadline(0) == 0, "closed until it is opened"
    for group in (0, 1, limits.GROUPS - 1):
        for bucket in (1, 2, 256):
            plane.set_bucket(group, bucket, BucketState.DRAINING)
        plane.set_deadline(group, NO_DEADLINE - group)
    for group in (0, 1, limits.GROUPS - 1):
        states = plane.states(group)
        assert [at for at, one in enumerate(states, start=1) if one is not NONE] == [1, 2, 256]
        assert plane.deadline(group) == NO_DEADLINE - group
    assert plane.states(2) == (NONE,) * 256
    plane.clear_group(1)
    assert (plane.states(1), plane.deadline(1)) == ((NONE,) * 256, 0)
    assert plane.states(0)[0] is BucketState.DRAINING


def test_a_group_stays_mapped_and_two_planes_see_the_same(planes: PinnedPlanes) -> None:
    planes.create(state_of())
    gc.collect()  # what earlier tests left behind goes before it is counted
    with planes.open(2) as one, planes.open(2) as other:
        before = maps_of_groups()
        for deadline in range(1, 100):
            one.set_deadline(3, deadline)
            assert other.deadline(3) == deadline
            other.set_bucket(3, 256, BucketState(deadline % 4))
            assert one.states(3)[255] is BucketState(deadline % 4)
        assert maps_of_groups() == before + 2
    del one, other
    gc.collect()
    assert maps_of_groups() == before


def maps_of_groups() -> int:
    """Return how many BPF maps this process has mapped into memory."""
    return Path("/proc/self/maps").read_text().count("bpf-map")


def test_buckets_outlive_the_process_that_set_them(planes: PinnedPlanes) -> None:
    planes.create(state_of())
    with planes.open(2) as plane:
        plane.set_bucket(5, 7, OWNED)
        plane.commit(state_of(4))
    with planes.open(2) as plane:
        assert plane.states(5)[6] is OWNED


def test_counters(planes: PinnedPlanes, plane: Plane) -> None:
    cpus = libbpf.possible_cpus()
    values = (abi.Verdicts * cpus)()
    for at, one in enumerate(values):
        one.bytes = 100 + at
        one.packets[Reason.ACCEPT_OWNED] = 1
        one.packets[Reason.DROP_NOT_OWNED] = 2
    flows = (abi.Traffic * cpus)()
    for flow in flows:
        flow.bucket[255].packets = 3
        flow.bucket[255].bytes = 4
    with libbpf.pinned(str(bpffs.namespace_folder() / "2" / "verdicts")) as fd:
        libbpf.update(fd, 1, bytes(values))
        libbpf.update(fd, 0, bytes(values))
    with libbpf.pinned(str(bpffs.namespace_folder() / "2" / "traffic")) as fd:
        libbpf.update(fd, 0, bytes(flows))
    count = plane.count(1)
    assert count.bytes == sum(range(100, 100 + cpus))
    assert {reason: number for reason, number in count.packets.items() if number} == {
        Reason.ACCEPT_OWNED: cpus,
        Reason.DROP_NOT_OWNED: 2 * cpus,
    }
    assert plane.traffic(0)[255] == (3 * cpus, 4 * cpus)
    plane.zero_rule(1)
    assert (plane.count(1).bytes, sum(plane.count(1).packets.values())) == (0, 0)
    assert plane.count(0).bytes > 0
    plane.zero_traffic(0)
    assert plane.traffic(0) == ((0, 0),) * 256


def test_rules_of_another_version(plane: Plane) -> None:
    content = bytearray(pack(state_of()))
    content[:8] = (abi.ABI_VERSION + 1).to_bytes(4, "little") * 2
    with (
        libbpf.pinned(str(bpffs.namespace_folder() / "2" / "config")) as outer,
        libbpf.new_array(len(content)) as inner,
    ):
        libbpf.update(inner, 0, bytes(content))
        libbpf.update(outer, 0, inner.to_bytes(4, "little"))
    with pytest.raises(SystemFaultError, match="of another release of clusterip"):
        plane.state()


def test_the_fake_does_as_the_kernel_does(plane: Plane) -> None:
    fake = FakePlane(state_of())

    def states(one: Plane) -> list[object]:
        seen: list[object] = []
        steps: tuple[Callable[[], None], ...] = (
            lambda: one.set_bucket(0, 2, OWNED),
            lambda: one.set_deadline(0, 77),
            lambda: one.commit(state_of(3)),
            lambda: one.zero_traffic(0),
            lambda: one.zero_rule(1),
            lambda: one.clear_group(0),
        )
        for step in steps:
            step()
            seen.append((one.state(), one.states(0), one.deadline(0), one.states(1)))
        return seen

    assert states(fake) == states(plane)


def test_a_failure_in_the_making_leaves_no_plane(folder: Path, planes: PinnedPlanes) -> None:
    # The folder of one that failed is what `sweep` is for.
    (folder / f"new-2-{os.getpid()}").mkdir(parents=True)
    with pytest.raises(FileExistsError):
        planes.create(state_of())
    assert planes.indices() == ()
    planes.sweep()
    planes.create(state_of())
    assert planes.indices() == (2,)


def test_the_object_is_there() -> None:
    assert object_content().startswith(b"\x7fELF")
