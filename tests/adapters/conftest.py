"""What the tests of the real adapters share."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from clusterip.adapters import bpffs, libbpf
from clusterip.adapters.hooks import Programs
from clusterip.adapters.kernel_maps import InterfaceMaps
from clusterip.adapters.links import Link, NetlinkLinks
from clusterip.adapters.pinned_maps import PinnedMaps
from tests.adapters.loading import Foreign, loaded_programs
from tests.adapters.pinning import state_of
from tests.namespaces import own_namespace, run

_FOREIGN = """\
__attribute__((section("xdp"), used)) int foreign_xdp(void *context) { return 2; }
__attribute__((section("tc"), used)) int foreign_tc(void *context) { return -1; }
char words[] __attribute__((section("license"), used)) = "GPL";
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A network namespace of the test's own; the value is where its pins are."""
    with own_namespace() as one:
        yield one


@pytest.fixture
def eth0(folder: Path) -> Link:
    return next(link for link in NetlinkLinks().all() if link.name == "eth0")


@pytest.fixture
def links() -> NetlinkLinks:
    return NetlinkLinks()


@pytest.fixture(scope="session")
def foreign_object(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody else's programs, which let everything pass."""
    source = tmp_path_factory.mktemp("foreign") / "foreign.c"
    source.write_text(_FOREIGN)
    program = source.with_suffix(".o")
    run("clang", "-O2", "-target", "bpf", "-c", str(source), "-o", str(program))
    return program


@pytest.fixture
def foreign(foreign_object: Path) -> Iterator[Foreign]:
    """Somebody else's programs, loaded: from a name to a descriptor."""
    loaded = libbpf.Object(foreign_object.read_bytes())
    yield loaded.program_fd
    loaded.close()


@pytest.fixture
def programs() -> Iterator[Programs]:
    """Our programs, loaded."""
    loaded, descriptors = loaded_programs()
    yield descriptors
    loaded.close()


@pytest.fixture
def no_leak() -> Iterator[None]:
    """Hold every test to leaving no descriptor, no thread and no zombie."""

    def held() -> tuple[list[str], int, list[str]]:
        return (
            sorted(one.name for one in Path("/proc/self/fd").iterdir()),
            threading.active_count(),
            Path(f"/proc/self/task/{os.getpid()}/children").read_text().split(),
        )

    before = held()
    yield
    assert held() == before


@pytest.fixture
def pinned(folder: Path) -> PinnedMaps:
    assert bpffs.namespace_folder() == folder
    return PinnedMaps(folder)


@pytest.fixture
def maps(pinned: PinnedMaps) -> Iterator[InterfaceMaps]:
    pinned.create(state_of())
    with pinned.open(2) as one:
        yield one
