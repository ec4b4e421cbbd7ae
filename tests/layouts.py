"""Another version of the program, whose maps are laid out otherwise, for tests of taking over.

None has been released that differs in more than is made anew, so it is made: a copy of the sources
with a changed bpf/abi.h and its mirrors, and the object of it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from clusterip.adapters import abi

ROOT = Path(__file__).parents[1]
NEWER = abi.ABI_VERSION + 1
RULES = 2048
"""How many rules the newer version has room for."""

_MAP = """\
struct {
\t__uint(type, BPF_MAP_TYPE_ARRAY);
\t__uint(max_entries, 1);
\t__type(key, __u32);
\t__type(value, __u32);
} more SEC(".maps");
"""
_MORE = "\t__u64 more[3];\n};"


def package(folder: Path) -> Path:
    """Return a copy of this program: the folder of its package."""
    shutil.copytree(ROOT / "src" / "clusterip", folder / "src" / "clusterip")
    return folder / "src"


def newer(folder: Path, *, lowest: int = abi.ABI_LOWEST) -> Path:
    """Return a version with more rules, more in each entry that packets write, and another map.

    It continues versions from `lowest` on. What is returned is the folder of its package.
    """
    source = package(folder)
    shutil.copytree(ROOT / "bpf", folder / "bpf")
    shutil.copy(ROOT / "Makefile", folder)
    header = folder / "bpf" / "abi.h"
    text = header.read_text(encoding="ascii")
    for name, value in {"ABI_VERSION": NEWER, "ABI_LOWEST": lowest, "RULES": RULES}.items():
        text = _exchanged(text, rf"(#define CI_{name}) \w+", rf"\1 {value}")
    for name in ("group", "peer", "verdicts", "traffic"):
        text = _exchanged(text, rf"(?s)(struct ci_{name} \{{.*?)\}};", rf"\1{_MORE}")
    header.write_text(text, encoding="ascii")
    maps = folder / "bpf" / "maps.h"
    changed = _exchanged(maps.read_text(encoding="ascii"), r"(CI_OPENINGS) 16384", r"\1 32768")
    changed = _exchanged(changed, r"(struct \{[^}]*\}) fragments", rf"{_MAP}\n\1 fragments")
    maps.write_text(changed, encoding="ascii")
    pins = source / "clusterip" / "adapters" / "pins.py"
    text = pins.read_text()
    pins.write_text(_exchanged(text, r"(_MAPS: Final = \(\*_READ),", r'\1, "more",'))
    mirror = source / "clusterip" / "adapters" / "abi.py"
    text = mirror.read_text()
    for name, value in {"ABI_VERSION": NEWER, "ABI_LOWEST": lowest}.items():
        text = _exchanged(text, rf"({name}: Final) = \d+", rf"\1 = {value}")
    for name in ("Group", "Peer", "Verdicts", "Traffic"):
        text = _exchanged(
            text, rf"(?s)(class {name}\(.*?_fields_ = )(\(.*?\))\n\n", r"\1(*\2, *_MORE)\n\n"
        )
    text = text.replace("class Vip(", '_MORE = (("more", ctypes.c_uint64 * 3),)\n\n\nclass Vip(', 1)
    mirror.write_text(text)
    limits = source / "clusterip" / "core" / "limits.py"
    limits.write_text(_exchanged(limits.read_text(), r"(RULES: Final) = \d+", rf"\1 = {RULES}"))
    subprocess.run(("make", "object"), cwd=folder, check=True, capture_output=True)
    return source


def _exchanged(text: str, pattern: str, by: str) -> str:
    changed, count = re.subn(pattern, by, text, count=1)
    assert count == 1, pattern
    return changed


class Running:
    """Python code that another version runs, line by line as it is told to."""

    def __init__(self, source: Path) -> None:
        loop = "import sys\nfor line in sys.stdin: exec(line, globals()); print('done', flush=True)"
        self._process = subprocess.Popen(
            (sys.executable, "-c", loop),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(source)},
        )

    def do(self, code: str) -> str:
        """Run a line of code; returns what it printed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{code}\n")
        self._process.stdin.flush()
        said = ""
        for line in self._process.stdout:
            if line == "done\n":
                return said
            said += line
        raise AssertionError(f"ended at {code!r}: {said}")

    def end(self) -> None:
        """Let it end."""
        self._process.communicate()
