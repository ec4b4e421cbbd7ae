"""Pinned maps: complete or absent, by namespace, and whole whoever begins or is renewed."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest

from clusterip.adapters import bpffs, libbpf
from clusterip.adapters.abi import BucketState
from clusterip.adapters.bpfobject import object_content
from clusterip.adapters.kernel_maps import OtherVersionError
from clusterip.adapters.pinned_maps import PinnedMaps
from tests.adapters.pinning import state_of
from tests.namespaces import own_namespace

PROGRAMS = {"ingress", "egress", "xdp", "guard_ingress", "guard_egress", "heed", "carry"}
UNREAD = {"fragments", "openings", "own_openings"}
PINS = {"config", "groups", "verdicts", "traffic", "peers", "keys"} | UNREAD | PROGRAMS
NONE, OWNED = BucketState.NONE, BucketState.OWNED


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
