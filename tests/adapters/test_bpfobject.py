"""The BPF object of an installation: whole, damaged, or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from clusterip.adapters import bpfobject
from clusterip.core.errors import SystemFaultError

WHOLE = bpfobject.object_content()


def test_one_that_is_whole() -> None:
    bpfobject.check_installation()


@pytest.mark.parametrize("content", [b"", WHOLE[: len(WHOLE) // 2], b"\0" * len(WHOLE)])
def test_one_that_is_damaged(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "clusterip.bpf.o"
    monkeypatch.setattr(bpfobject, "_OBJECT", file)
    file.write_bytes(content)
    with pytest.raises(SystemFaultError, match=r"is damaged \([\d,]+ bytes\)") as damaged:
        bpfobject.check_installation()
    assert "install the wheel again" in damaged.value.cure


def test_one_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpfobject, "_OBJECT", tmp_path / "clusterip.bpf.o")
    with pytest.raises(SystemFaultError, match="is missing from this installation"):
        bpfobject.check_installation()
