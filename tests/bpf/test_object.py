"""What the compiled object is: free of the machine it was built on."""

from __future__ import annotations

import ctypes
import shutil
import struct
import subprocess
from pathlib import Path

from elftools.elf.elffile import ELFFile

from clusterip.adapters import (
    abi,
    bpfobject,
    libbpf,
    pinned_maps,
)
from clusterip.adapters.libbpf_types import SIGNATURES

ROOT = Path(__file__).parents[2]
OBJECT = Path(pinned_maps.__file__).parent / "clusterip.bpf.o"
PROGRAMS = ("xdp", "ingress", "egress", "guard_ingress", "guard_egress", "heed", "carry")
RELATIVE = Path("src/clusterip/adapters/clusterip.bpf.o")


def core_relocation_bytes(path: Path) -> int:
    """Return the length of the CO-RE relocations: core_relo_len of struct btf_ext_header."""
    with path.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".BTF.ext")
        assert section is not None
        content = section.data()
    magic, _version, _flags, header, *_rest = struct.unpack_from("<HBBIIIII", content)
    assert magic == 0xEB9F
    if header < 32:
        return 0
    return int(struct.unpack_from("<I", content, 28)[0])


def test_no_core_relocations() -> None:
    assert core_relocation_bytes(OBJECT) == 0


def test_identical_from_another_folder(tmp_path: Path) -> None:
    elsewhere = tmp_path / "another folder's name"
    (elsewhere / RELATIVE.parent).mkdir(parents=True)
    shutil.copytree(ROOT / "bpf", elsewhere / "bpf")
    shutil.copy(ROOT / "Makefile", elsewhere)
    subprocess.run(("make", "object"), cwd=elsewhere, check=True, capture_output=True)
    assert (elsewhere / RELATIVE).read_bytes() == OBJECT.read_bytes()


def test_little_endian_whatever_built_it() -> None:
    with OBJECT.open("rb") as file:
        elf = ELFFile(file)
        assert elf.little_endian
        assert elf["e_machine"] == "EM_BPF"


def instructions_verified(program: int) -> int:
    """Return how many instructions the verifier went through: verified_insns of bpf_prog_info."""
    info = ctypes.create_string_buffer(220)
    size = ctypes.c_uint32(len(info))
    library = ctypes.CDLL("libbpf.so.1", use_errno=True)
    library.bpf_obj_get_info_by_fd.argtypes = SIGNATURES["bpf_obj_get_info_by_fd"][1]
    assert library.bpf_obj_get_info_by_fd(program, info, ctypes.byref(size)) == 0
    return int(struct.unpack_from("<I", info, 216)[0])


def test_the_verifier_is_done_soon() -> None:
    """It ends at a million instructions, and each start of a daemon waits for it."""
    loaded = libbpf.Object(bpfobject.object_content())
    try:
        numbers = {
            name: instructions_verified(loaded.program_fd(f"clusterip_{name}")) for name in PROGRAMS
        }
    finally:
        loaded.close()
    assert all(0 < number < 50_000 for number in numbers.values()), numbers


def test_it_tells_its_layout_before_it_is_loaded() -> None:
    told = libbpf.layout_of(bpfobject.object_content())
    assert told == (abi.ABI_VERSION, abi.ABI_LOWEST)
