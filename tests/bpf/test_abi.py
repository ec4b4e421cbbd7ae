"""The Python mirror of abi.h agrees with the compiled object, field by field."""

from __future__ import annotations

import ctypes
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from clusterip.adapters import abi, planes
from clusterip.adapters.abi import BucketState, Reason
from clusterip.core import limits
from clusterip.core.hashing import HashMode
from clusterip.core.model import ServiceAction

ROOT = Path(__file__).parents[2]
OBJECT = Path(planes.__file__).parent / "clusterip.bpf.o"
HEADER = (ROOT / "bpf" / "abi.h").read_text(encoding="ascii")


@pytest.fixture(scope="module")
def btf() -> dict[int, dict[str, Any]]:
    dump = subprocess.run(
        ("bpftool", "--json", "btf", "dump", "file", str(OBJECT)),
        check=True,
        capture_output=True,
    )
    return {one["id"]: one for one in json.loads(dump.stdout)["types"]}


def named(btf: dict[int, dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = (one for one in btf.values() if (one["kind"], one["name"]) == (kind, name))
    return found


def size_of(btf: dict[int, dict[str, Any]], number: int) -> int:
    one = btf[number]
    if one["kind"] == "ARRAY":
        return int(one["nr_elems"]) * size_of(btf, one["type_id"])
    if "size" in one:
        return int(one["size"])
    return size_of(btf, one["type_id"])


@pytest.mark.parametrize("name", abi.STRUCTURES)
def test_structure(btf: dict[int, dict[str, Any]], name: str) -> None:
    mirror = abi.STRUCTURES[name]
    real = named(btf, "STRUCT", name)
    assert ctypes.sizeof(mirror) == real["size"]
    assert [
        (field[0], getattr(mirror, field[0]).offset * 8, getattr(mirror, field[0]).size)
        for field in mirror._fields_
    ] == [
        (member["name"], member["bits_offset"], size_of(btf, member["type_id"]))
        for member in real["members"]
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
    assert int(defined["NO_DEADLINE"].removesuffix("ULL"), 0) == abi.NO_DEADLINE
    assert 1 << (32 - limits.VIP_SHIFT) == limits.VIP_SLOTS
