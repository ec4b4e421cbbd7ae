"""Puts the compiled BPF object into the wheel, so that its users need no compiler."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

OBJECT = "src/clusterip/adapters/clusterip.bpf.o"


class CompileObject(BuildHookInterface[Any]):
    """Compiles the object with the Makefile's rule: there is one way to build it."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, unless the object is newer than its sources."""
        del build_data
        if version == "editable":
            # `make` compiles it in place, where an editable installation looks for it.
            return
        done = subprocess.run(
            ("make", "object"), cwd=self.root, capture_output=True, text=True, check=False
        )
        if done.returncode != 0 or not (Path(self.root) / OBJECT).is_file():
            raise RuntimeError(f"the BPF object does not compile:\n{done.stdout}{done.stderr}")
