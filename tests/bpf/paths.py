"""Objects with one of the two paths of the verdict left out, made of the sources."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
OBJECT = Path("src/clusterip/adapters/clusterip.bpf.o")
NOT_PLAIN = 0
"""What `plain_only` returns where the plain path leaves it to the other: of XDP and of tc no other
verdict of ours."""


def general_only(folder: Path) -> bytes:
    """Return the object of programs that decide everything by ci_decide."""
    return _compiled(folder, (r"ci_decide_plain\([^;]*\);", "(struct ci_verdict){ CI_NOT_PLAIN };"))


def plain_only(folder: Path) -> bytes:
    """Return the object of programs that return NOT_PLAIN for all but what is plain."""
    return _compiled(folder, (r"return ci_(xdp|ingress)_any\(\w+\);", f"return {NOT_PLAIN};"))


def _compiled(folder: Path, *changes: tuple[str, str]) -> bytes:
    """Compile with each of these changed in both hooks."""
    shutil.copytree(ROOT / "bpf", folder / "bpf")
    shutil.copy(ROOT / "Makefile", folder)
    (folder / OBJECT).parent.mkdir(parents=True)
    hooks = folder / "bpf" / "clusterip.bpf.c"
    text = hooks.read_text(encoding="ascii")
    for old, new in changes:
        text, count = re.subn(old, new, text)
        assert count == 2, old
    hooks.write_text(text, encoding="ascii")
    # What is left out leaves something unused.
    command = ("make", "object", "CLANG=clang -w")
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return (folder / OBJECT).read_bytes()
