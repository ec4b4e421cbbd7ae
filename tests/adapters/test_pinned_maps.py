"""Pinned pinned: complete or absent, by namespace, and what is put in comes out."""

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
from clusterip.adapters.kernel_maps import FakeMaps, InterfaceMaps, OtherVersionError
from clusterip.adapters.packing import pack
from clusterip.adapters.pinned_maps import PinnedMaps
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
def pinned(folder: Path) -> PinnedMaps:
    assert bpffs.namespace_folder() == folder
    return PinnedMaps(folder)


@pytest.fixture
def maps(pinned: PinnedMaps) -> Iterator[InterfaceMaps]:
    pinned.create(state_of())
    with pinned.open(2) as one:
        yield one


def test_made_and_removed(pinned: PinnedMaps, folder: Path) -> None:
    assert pinned.indices() == ()
    assert not folder.exists()
    pinned.create(state_of())
    pinned.create(state_of(3, index=10))
    assert pinned.indices() == (2, 10)
    names = {one.name for one in (folder / "2").iterdir()}
    assert {name for name in names if not name.startswith("from-")} == PINS
    pinned.remove(2)
    assert pinned.indices() == (10,)
    assert {one.name for one in folder.iterdir()} == {"10"}
    pinned.remove(10)
    assert pinned.indices() == ()
    assert not folder.exists()


def test_programs_of_another_installation_are_renewed(pinned: PinnedMaps, folder: Path) -> None:
    pinned.create(state_of(5))
    assert not pinned.renew(2)
    with pinned.open(2) as maps:
        maps.set_bucket(0, 3, OWNED)
        maps.set_deadline(0, 12345)
    (origin,) = (folder / "2").glob("from-*")
    origin.rename(folder / "2" / "from-another")
    with pinned.programs(2) as before:
        ids = [libbpf.program_info(fd)[0] for fd in (before.ingress, before.egress, before.xdp)]
    assert pinned.renew(2)
    assert pinned.lags(2)
    pinned.level(2)
    pinned.settle(2)
    assert not pinned.lags(2)
    with pinned.programs(2) as after:
        for old, fd in zip(ids, (after.ingress, after.egress, after.xdp), strict=True):
            assert libbpf.program_info(fd)[0] != old
    with pinned.open(2) as maps:
        assert maps.rules() == state_of(5)
        assert maps.bucket_states(0)[2] is OWNED
        assert maps.deadline(0) == 12345
    assert {one.name for one in (folder / "2").iterdir()} == {*PINS, origin.name}
    assert not pinned.renew(2)


def test_whether_programs_could_be_renewed(pinned: PinnedMaps, folder: Path) -> None:
    pinned.create(state_of())
    pinned.try_renewing(2)
    (origin,) = (folder / "2").glob("from-*")
    origin.rename(folder / "2" / "from-another")
    before = sorted((folder / "2").iterdir())
    pinned.try_renewing(2)
    assert sorted((folder / "2").iterdir()) == before
    # As from a version that had no such map, and from one that cannot be read.
    (folder / "2" / "peers").unlink()
    pinned.try_renewing(2)
    (folder / "2" / "traffic").unlink()
    with pytest.raises(OtherVersionError):
        pinned.try_renewing(2)


def test_what_is_committed_is_read(pinned: PinnedMaps) -> None:
    pinned.create(state_of())
    for count in (1, 5, 0, limits.RULES - 1):
        with pinned.open(2) as maps:
            maps.commit(state_of(count))
        with pinned.open(2) as maps:
            assert maps.rules() == state_of(count)


def test_rules_are_a_map_like_the_one_that_they_replace(pinned: PinnedMaps, folder: Path) -> None:
    """Linux before 6.2 wants them equal in having BTF or not; later kernels do not care."""

    def kind(fd: int) -> dict[str, int]:
        info = libbpf.map_info(fd)
        one = {
            name: getattr(info, name) for name, *_ in info._fields_ if name not in ("id", "name")
        }
        # Each object has BTF of its own: whether there is any is what counts.
        return one | {"btf_id": bool(one["btf_id"])}

    loaded = libbpf.Object(object_content())
    pinned.create(state_of())
    with libbpf.pinned(str(folder / "2" / "config")) as config:
        number = int.from_bytes(libbpf.lookup(config, 0, 4), "little")
    with libbpf.map_by_id(number) as fd:
        assert kind(fd) == kind(loaded.map_fd("no_rules"))
    loaded.close()


def test_what_is_kept_needs_no_pins(pinned: PinnedMaps, folder: Path) -> None:
    pinned.create(state_of())
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are enough
    pinned.keep(2)
    assert pinned.is_pinned(2)
    with pinned.programs(2) as programs:
        ingress = libbpf.program_info(programs.ingress)[0]
    shutil.rmtree(folder)
    assert not pinned.is_pinned(2)
    assert pinned.indices() == (2,)
    assert not pinned.renew(2)
    with pinned.open(2) as maps:
        maps.set_bucket(0, 3, OWNED)
        maps.commit(state_of(4))
    # Somebody else made another in its place.
    PinnedMaps(folder).create(state_of(1))
    assert not pinned.is_pinned(2)
    pinned.pin(2)
    assert pinned.is_pinned(2)
    others = PinnedMaps(folder)
    with others.open(2) as maps, others.programs(2) as programs:
        assert (maps.rules(), maps.bucket_states(0)[2]) == (state_of(4), OWNED)
        assert libbpf.program_info(programs.ingress)[0] == ingress
    assert not others.renew(2)
    (folder / "2" / "xdp").unlink()
    assert not pinned.is_pinned(2)
    del maps  # what it has mapped into memory goes with it
    pinned.remove(2)
    assert pinned.indices() == ()
    assert not folder.exists()
    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_what_is_kept_and_not_pinned_is_removed(pinned: PinnedMaps, folder: Path) -> None:
    pinned.create(state_of())
    pinned.keep(2)
    shutil.rmtree(folder)
    pinned.remove(2)
    assert pinned.indices() == ()
    with pytest.raises(FileNotFoundError):
        pinned.remove(2)


def test_a_file_in_the_place_of_the_folder(pinned: PinnedMaps, folder: Path) -> None:
    pinned.create(state_of())
    pinned.keep(2)
    shutil.rmtree(folder)
    with libbpf.new_array(8) as fd:
        libbpf.pin(fd, str(folder))
    try:
        assert not pinned.is_pinned(2)
        with pytest.raises(NotADirectoryError) as refused:
            pinned.pin(2)
        assert str(refused.value.filename).startswith(f"{folder}/")
        pinned.remove(2)
        assert pinned.indices() == ()
    finally:
        folder.unlink()


def test_what_exceeds_a_limit_is_not_committed(maps: InterfaceMaps) -> None:
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
        maps.commit(chain.interfaces[0])
    assert maps.rules() == state_of()


def test_programs_are_those_of_the_object(pinned: PinnedMaps) -> None:
    pinned.create(state_of())
    with pinned.programs(2) as programs:
        names = [
            libbpf.program_info(fd)[1] for fd in (programs.ingress, programs.egress, programs.xdp)
        ]
    # The kernel keeps 15 letters.
    assert names == ["clusterip_ingre", "clusterip_egres", "clusterip_xdp"]


def test_descriptors_are_closed(pinned: PinnedMaps) -> None:
    pinned.create(state_of())
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are enough
    with pinned.open(2) as maps, pinned.programs(2):
        maps.commit(state_of(2))
        maps.set_bucket(0, 1, OWNED)
        maps.count(1)
    del maps  # what it has mapped into memory goes with it
    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_maps_that_are_not_there(pinned: PinnedMaps) -> None:
    with pytest.raises(FileNotFoundError), pinned.open(2):
        pass
    with pytest.raises(FileNotFoundError), pinned.programs(2):
        pass
    with pytest.raises(FileNotFoundError):
        pinned.remove(2)


def test_leftovers_are_swept(pinned: PinnedMaps, folder: Path) -> None:
    pinned.create(state_of())
    pinned.create(state_of(index=3))
    # Killed while making one, and while removing another.
    (folder / "new-4-999").mkdir()
    (folder / "3").rename(folder / "new-3-998")
    assert pinned.indices() == (2,)
    pinned.sweep()
    assert {one.name for one in folder.iterdir()} == {"2"}
    with pinned.open(2) as maps:
        assert maps.rules() == state_of()


def test_an_empty_folder_is_swept(pinned: PinnedMaps, folder: Path) -> None:
    (folder / "new-4-999").mkdir(parents=True)
    pinned.sweep()
    assert not folder.exists()
    pinned.sweep()


def test_two_namespaces_do_not_see_each_other(pinned: PinnedMaps, folder: Path) -> None:
    pinned.create(state_of())
    seen: list[object] = []

    def elsewhere() -> None:
        with own_namespace() as other:
            there = PinnedMaps(bpffs.namespace_folder())
            seen.append(other == bpffs.namespace_folder() != folder)
            seen.append(there.indices())
            there.create(state_of(2))
            with there.open(2) as maps:
                seen.append(maps.rules() == state_of(2))
            there.remove(2)
            seen.append(other.exists())

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [True, (), True, False]
    with pinned.open(2) as maps:
        assert maps.rules() == state_of()


def test_buckets_and_deadlines(maps: InterfaceMaps) -> None:
    assert maps.bucket_states(0) == (NONE,) * 256
    assert maps.deadline(0) == 0, "closed until it is opened"
    for group in (0, 1, limits.GROUPS - 1):
        for bucket in (1, 2, 256):
            maps.set_bucket(group, bucket, BucketState.DRAINING)
        maps.set_deadline(group, NO_DEADLINE - group)
    for group in (0, 1, limits.GROUPS - 1):
        states = maps.bucket_states(group)
        assert [at for at, one in enumerate(states, start=1) if one is not NONE] == [1, 2, 256]
        assert maps.deadline(group) == NO_DEADLINE - group
    assert maps.bucket_states(2) == (NONE,) * 256
    maps.clear_group(1)
    assert (maps.bucket_states(1), maps.deadline(1)) == ((NONE,) * 256, 0)
    assert maps.bucket_states(0)[0] is BucketState.DRAINING


def test_a_group_stays_mapped_and_two_who_opened_it_see_the_same(pinned: PinnedMaps) -> None:
    pinned.create(state_of())
    gc.collect()  # what earlier tests left behind goes before it is counted
    with pinned.open(2) as one, pinned.open(2) as other:
        before = maps_of_groups()
        for deadline in range(1, 100):
            one.set_deadline(3, deadline)
            assert other.deadline(3) == deadline
            other.set_bucket(3, 256, BucketState(deadline % 4))
            assert one.bucket_states(3)[255] is BucketState(deadline % 4)
        assert maps_of_groups() == before + 2
    del one, other
    gc.collect()
    assert maps_of_groups() == before


def maps_of_groups() -> int:
    """Return how many BPF maps this process has mapped into memory."""
    return Path("/proc/self/maps").read_text().count("bpf-map")


def test_buckets_outlive_the_process_that_set_them(pinned: PinnedMaps) -> None:
    pinned.create(state_of())
    with pinned.open(2) as maps:
        maps.set_bucket(5, 7, OWNED)
        maps.commit(state_of(4))
    with pinned.open(2) as maps:
        assert maps.bucket_states(5)[6] is OWNED


def test_counters(pinned: PinnedMaps, maps: InterfaceMaps) -> None:
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
    count = maps.count(1)
    assert count.bytes == sum(range(100, 100 + cpus))
    assert {reason: number for reason, number in count.packets.items() if number} == {
        Reason.ACCEPT_OWNED: cpus,
        Reason.DROP_NOT_OWNED: 2 * cpus,
    }
    assert maps.traffic(0)[255] == (3 * cpus, 4 * cpus)
    maps.zero_rule(1)
    assert (maps.count(1).bytes, sum(maps.count(1).packets.values())) == (0, 0)
    assert maps.count(0).bytes > 0
    maps.zero_traffic(0)
    assert maps.traffic(0) == ((0, 0),) * 256


def test_rules_of_another_version(maps: InterfaceMaps) -> None:
    content = bytearray(pack(state_of()))
    content[:8] = (abi.ABI_VERSION + 1).to_bytes(4, "little") * 2
    with (
        libbpf.pinned(str(bpffs.namespace_folder() / "2" / "config")) as outer,
        libbpf.new_array(len(content)) as inner,
    ):
        libbpf.update(inner, 0, bytes(content))
        libbpf.update(outer, 0, inner.to_bytes(4, "little"))
    with pytest.raises(SystemFaultError, match="of another version of clusterip"):
        maps.rules()


def test_the_fake_does_as_the_kernel_does(maps: InterfaceMaps) -> None:
    fake = FakeMaps(state_of())

    def states(one: InterfaceMaps) -> list[object]:
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
            seen.append((one.rules(), one.bucket_states(0), one.deadline(0), one.bucket_states(1)))
        return seen

    assert states(fake) == states(maps)


def test_a_failure_in_the_making_leaves_no_maps(folder: Path, pinned: PinnedMaps) -> None:
    # The folder of one that failed is what `sweep` is for.
    (folder / f"new-2-{os.getpid()}").mkdir(parents=True)
    with pytest.raises(FileExistsError):
        pinned.create(state_of())
    assert pinned.indices() == ()
    pinned.sweep()
    pinned.create(state_of())
    assert pinned.indices() == (2,)


def test_the_object_is_there() -> None:
    assert object_content().startswith(b"\x7fELF")
