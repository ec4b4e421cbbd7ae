"""libbpf through ctypes: what works, and that failures come as errors with words."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from clusterip.adapters import libbpf
from clusterip.adapters.bpfobject import object_content
from clusterip.adapters.links import Link
from clusterip.core.errors import SystemFaultError
from lab.wait import eventually

SOURCE = Path(__file__).parents[2] / "src"


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x7fELF" + bytes(200)])
def test_what_is_no_object(content: bytes) -> None:
    with pytest.raises(OSError, match="bpf_object__open_mem: "):
        libbpf.Object(content)


def test_an_object_cut_short() -> None:
    with pytest.raises((OSError, SystemFaultError)):
        libbpf.Object(object_content()[:2000])


def test_what_the_verifier_refuses(tmp_path: Path) -> None:
    source = tmp_path / "wild.c"
    source.write_text(
        '__attribute__((section("tc"), used)) int wild(void *c) { return *(int *)0xdead; }\n'
    )
    program = tmp_path / "wild.o"
    command = ("clang", "-O2", "-target", "bpf", "-c", source, "-o", program)
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(SystemFaultError, match="the kernel refused the BPF programs") as error:
        libbpf.Object(program.read_bytes())
    lines = error.value.message.splitlines()
    assert 2 <= len(lines) <= 4, "the verifier's last words, and no more"
    assert "Linux 6.1" in error.value.cure


@pytest.mark.parametrize("part", [0.0, 0.3, 0.6, 0.9])
def test_too_few_descriptors(part: float) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    content = object_content()
    libbpf.Object(content).close()  # what stays open is open now
    before, loaded = descriptors(), libbpf.Object(content)
    free = int((descriptors() - before) * part)
    loaded.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (first_but(free), limits[1]))
    try:
        with pytest.raises(SystemFaultError) as error:
            libbpf.Object(content)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert error.value.message == "the kernel refused the BPF programs: Too many open files"
    assert "LimitNOFILE=" in error.value.cure


def first_but(free: int) -> int:
    """Return the lowest number below which so many descriptors are free: others leave gaps."""
    number = 0
    while free or is_open(number):
        free -= not is_open(number)
        number += 1
    return number


def is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def test_names_that_are_not_there() -> None:
    loaded = libbpf.Object(object_content())
    try:
        with pytest.raises(FileNotFoundError, match="bpf_object__find_map_by_name: "):
            loaded.map_fd("nothing")
        with pytest.raises(FileNotFoundError, match="bpf_object__find_program_by_name: "):
            loaded.program_fd("nothing")
        assert os.fstat(loaded.map_fd("groups"))
    finally:
        loaded.close()


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_closing_gives_all_descriptors_back() -> None:
    libbpf.Object(object_content()).close()
    before = descriptors()
    for _ in range(3):
        loaded = libbpf.Object(object_content())
        assert descriptors() > before
        loaded.close()
    assert descriptors() == before


def test_a_pin_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError, match="bpf_obj_get: No such file"):  # noqa: SIM117
        with libbpf.pinned("/sys/fs/bpf/there-is-no-such-pin"):
            pass


def test_a_pin_outside_of_bpffs(tmp_path: Path) -> None:
    with libbpf.new_array(4) as fd, pytest.raises(OSError, match="bpf_obj_pin: ") as error:
        libbpf.pin(fd, str(tmp_path / "pin"))
    assert error.value.errno in (errno.EINVAL, errno.EPERM)


def test_maps() -> None:
    with libbpf.new_array(8) as fd:
        assert libbpf.lookup(fd, 0, 8) == bytes(8)
        libbpf.update(fd, 0, b"12345678")
        assert libbpf.lookup(fd, 0, 8) == b"12345678"
        with pytest.raises(OSError, match="bpf_map_update_elem: ") as error:
            libbpf.update(fd, 1, b"12345678")
        assert error.value.errno == errno.E2BIG
        with pytest.raises(FileNotFoundError, match="bpf_map_lookup_elem: "):
            libbpf.lookup(fd, 1, 8)
    with pytest.raises(OSError, match="bpf_map_lookup_elem: Bad file descriptor"):
        libbpf.lookup(fd, 0, 8)
    with pytest.raises(FileNotFoundError), libbpf.map_by_id(2**31 - 1):
        pass


def test_an_interface_that_is_not_there(folder: Path) -> None:
    with pytest.raises(OSError, match="bpf_tc_hook_create: "):
        libbpf.tc_hook_create(9999)
    with pytest.raises(OSError, match="bpf_tc_attach: "):
        libbpf.tc_attach(9999, libbpf.TC_INGRESS, 0, handle=1, priority=1)
    with pytest.raises(OSError, match="bpf_xdp_attach: "):
        libbpf.xdp_attach(9999, 0)


def test_no_filter_is_program_0(eth0: Link) -> None:
    assert libbpf.tc_program(eth0.index, libbpf.TC_INGRESS, handle=1, priority=1) == 0
    libbpf.tc_hook_create(eth0.index)
    assert libbpf.tc_program(eth0.index, libbpf.TC_INGRESS, handle=1, priority=1) == 0
    with pytest.raises(FileExistsError):
        libbpf.tc_hook_create(eth0.index)
    assert libbpf.xdp_program(eth0.index) == 0
    libbpf.tc_hook_destroy(eth0.index)


def test_program_names() -> None:
    loaded = libbpf.Object(object_content())
    number, name = libbpf.program_info(loaded.program_fd("clusterip_xdp"))
    assert name == "clusterip_xdp"
    assert libbpf.program_name(number) == "clusterip_xdp"
    loaded.close()
    assert libbpf.program_name(2**31 - 1) == ""


# To everybody, as a stack of its own drops what is for others; IPv4, and nothing right in it.
FRAME = (b"\xff" * 6 + bytes(6) + b"\x08\x00\x45").ljust(60, b"\0")


def test_a_program_that_is_timed(foreign: Callable[[str], int]) -> None:
    returned, duration = libbpf.time_program(foreign("foreign_xdp"), FRAME, 10_000)
    assert returned == 2
    assert 0 < duration < 1_000_000


def test_frames_that_are_sent(eth0: Link, foreign: Callable[[str], int]) -> None:
    def received() -> int:
        lines = Path("/proc/thread-self/net/snmp").read_text().splitlines()
        names, values = (line.split() for line in lines if line.startswith("Ip:"))
        return int(values[names.index("InReceives")])

    # The receive queue of a veth is known to XDP where a program is attached.
    libbpf.xdp_attach(eth0.index, foreign("foreign_xdp"))
    before = received()
    libbpf.send_frames(foreign("foreign_xdp"), FRAME, 200, eth0.index)
    eventually(lambda: received() - before == 200, what="200 frames")
    with pytest.raises(OSError, match="bpf_prog_test_run_opts: "):
        libbpf.send_frames(foreign("foreign_xdp"), FRAME, 200, 9999)


def test_no_more_descriptors() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = os.open("/dev/null", os.O_RDONLY)
    os.close(highest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest, hard))
    try:
        with pytest.raises(OSError, match="bpf_map_create: Too many open files"):  # noqa: SIM117
            with libbpf.new_array(4):
                pass
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_without_the_library() -> None:
    program = (
        "import ctypes, sys\n"
        "def gone(*_, **__): raise OSError('libbpf.so.1: cannot open shared object file')\n"
        "ctypes.CDLL = gone\n"
        "from clusterip.adapters import libbpf\n"
        "try: libbpf.possible_cpus()\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(
        (sys.executable, "-c", program), env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == (
        "SystemFaultError cannot load libbpf: libbpf.so.1: cannot open shared object file\n"
        "  cure: apt install libbpf1\n"
    )


def test_as_many_values_as_cpus() -> None:
    assert libbpf.possible_cpus() >= (os.cpu_count() or 1)
