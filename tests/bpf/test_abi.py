"""The Python mirror of abi.h agrees with the compiled object, field by field."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from elftools.dwarf.die import DIE
from elftools.elf.elffile import ELFFile

from clusterip.adapters import (
    abi,
    pinned_maps,
)
from clusterip.adapters.abi import BucketState, Reason
from clusterip.core import limits
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import ServiceAction

ROOT = Path(__file__).parents[2]
OBJECT = Path(pinned_maps.__file__).parent / "clusterip.bpf.o"
HEADER = (ROOT / "bpf" / "abi.h").read_text(encoding="ascii")


def size_of(die: DIE) -> int:
    """Return the bytes of a type."""
    if "DW_AT_byte_size" in die.attributes:
        return int(die.attributes["DW_AT_byte_size"].value)
    size = size_of(die.get_DIE_from_attribute("DW_AT_type"))
    if die.tag == "DW_TAG_array_type":
        for dimension in die.iter_children():
            size *= dimension.attributes["DW_AT_count"].value
    return size


@pytest.fixture(scope="module")
def structures() -> Iterator[dict[str, DIE]]:
    """Yield the structures of the object by name, from its debugging information.

    Its BTF lacks those of the inner map, which must have none.
    """
    with OBJECT.open("rb") as file:
        (unit,) = ELFFile(file).get_dwarf_info().iter_CUs()
        yield {
            die.attributes["DW_AT_name"].value.decode(): die
            for die in unit.iter_DIEs()
            if die.tag == "DW_TAG_structure_type" and "DW_AT_name" in die.attributes
        }


@pytest.mark.parametrize("name", abi.STRUCTURES)
def test_structure(structures: dict[str, DIE], name: str) -> None:
    mirror, real = abi.STRUCTURES[name], structures[name]
    assert ctypes.sizeof(mirror) == size_of(real)
    assert [
        (field[0], getattr(mirror, field[0]).offset, getattr(mirror, field[0]).size)
        for field in mirror._fields_
    ] == [
        (
            member.attributes["DW_AT_name"].value.decode(),
            member.attributes["DW_AT_data_member_location"].value,
            size_of(member.get_DIE_from_attribute("DW_AT_type")),
        )
        for member in real.iter_children()
    ]


def test_no_structure_is_forgotten() -> None:
    assert set(re.findall(r"^struct (ci_\w+) \{", HEADER, re.MULTILINE)) == set(abi.STRUCTURES)


def enumeration(name: str) -> dict[str, int]:
    body = re.sub(
        r"/\*.*?\*/", "", HEADER.split(f"enum {name} {{")[1].split("}")[0], flags=re.DOTALL
    )
    return {key: int(value) for key, value in re.findall(r"(\w+)\s*=\s*(\d+)", body)}


def test_enumerations() -> None:
    reasons = {f"CI_{reason.name}": reason.value for reason in Reason}
    assert enumeration("ci_reason") == {**reasons, "CI_REASONS": len(Reason)}
    states = {f"CI_STATE_{state.name}": state.value for state in BucketState}
    assert enumeration("ci_state") == states
    modes = {f"CI_{mode.name}": abi.HASHMODES[mode] for mode in HashMode}
    assert enumeration("ci_hashmode") == modes
    actions = {f"CI_{action.name}": abi.ACTIONS[action] for action in ServiceAction}
    assert enumeration("ci_action") == actions
    assert enumeration("ci_carry") == {f"CI_CARRY_{one.name}": one.value for one in abi.Carry}
    assert enumeration("ci_service_flags") == {
        "CI_SERVICE_ANY": abi.SERVICE_ANY,
        "CI_SERVICE_NOT_SOURCE": abi.SERVICE_NOT_SOURCE,
    }


def test_limits() -> None:
    defined = dict(re.findall(r"^#define CI_(\w+) (\w+)", HEADER, re.MULTILINE))
    ours = {name: value for name, value in vars(limits).items() if name.isupper()}
    mirrored = {name: int(defined[name]) for name in ours}
    assert mirrored == ours
    assert int(defined["ABI_VERSION"]) == abi.ABI_VERSION
    assert int(defined["ABI_LOWEST"]) == abi.ABI_LOWEST
    assert int(defined["NO_DEADLINE"].removesuffix("ULL"), 0) == abi.NO_DEADLINE
    assert 1 << (32 - limits.VIP_SHIFT) == limits.VIP_SLOTS
