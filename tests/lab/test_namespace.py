"""What programs in a namespace of the lab inherit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lab.namespace import Namespace

NEVER_COMPILED = "PYTHONDONTWRITEBYTECODE"


def test_sources_are_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nor do the programs that tests start compile them each time.
    assert NEVER_COMPILED not in os.environ
    monkeypatch.setenv(NEVER_COMPILED, "1")
    env = Namespace("h1", "ci-h1", tmp_path).env
    assert NEVER_COMPILED not in env
    assert env["PATH"].startswith(f"{tmp_path}/bin:")
