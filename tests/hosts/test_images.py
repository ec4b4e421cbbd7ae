"""The guests' disks are made by the README's own commands, and made anew when these change."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.debian import RELEASES, Release
from lab.hosts import images


@pytest.mark.parametrize("release", RELEASES, ids=lambda one: one.kernel)
def test_the_readme_says_how_to_install(release: Release) -> None:
    steps = images.readme_steps(release).splitlines()
    assert steps[0].split()[:2] == ["apt", "install"]
    assert release.libfuse in steps[0].split()
    assert any("pip install clusterip-*.whl" in step for step in steps)


def test_what_is_half_made_is_never_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "KEPT", tmp_path)
    former, target = images._kept("x-site", "1"), images._kept("x-site", "2")
    assert former != target
    images._fresh(former, Path.mkdir)

    def fails(folder: Path) -> None:
        folder.mkdir()
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        images._fresh(target, fails)
    assert former.exists()
    assert not target.exists()
    images._fresh(target, Path.mkdir)
    assert target.exists()
    assert not former.exists()


def test_packages_stay_where_the_repository_is_laid_anew(tmp_path: Path) -> None:
    (tmp_path / ".venv").mkdir()
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "former.py").touch()
    (tmp_path / "former").touch()
    images._lay_repository(tmp_path)
    laid = {path.name for path in tmp_path.iterdir()}
    assert {".venv", "src", "Makefile"} <= laid
    assert "former" not in laid
    assert not (tmp_path / "src" / "former.py").exists()
