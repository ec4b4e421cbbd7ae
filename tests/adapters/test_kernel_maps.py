"""The maps of an interface: what is put in comes out, and the fake does as the kernel."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from clusterip.adapters import abi, bpffs, libbpf
from clusterip.adapters.abi import NO_DEADLINE, BucketState, Reason
from clusterip.adapters.bpfobject import object_content
from clusterip.adapters.kernel_maps import FakeMaps, InterfaceMaps
from clusterip.adapters.packing import pack
from clusterip.adapters.pinned_maps import PinnedMaps
from clusterip.core import limits
from clusterip.core.errors import RefusedError, SystemFaultError
from clusterip.core.packets.model import Match, Ports
from clusterip.core.packets.state import Chain
from clusterip.core.rules import chain as chains
from tests.adapters.pinning import state_of

NONE, OWNED = BucketState.NONE, BucketState.OWNED


def maps_of_groups() -> int:
    """Return how many BPF maps this process has mapped into memory."""
    return Path("/proc/self/maps").read_text().count("bpf-map")


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
    with pytest.raises(SystemFaultError, match="of another release of clusterip"):
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
