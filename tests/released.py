"""The program of the last release, and that of this tree, as wheels that hosts of a lab install.

`tests/vectors/released/X.Y.Z.commit` names the commit of each release; its wheel is built once and
kept under build/released. Nothing is fetched: what a wheel depends on is what the tests run with.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from lab.topology import Host

ROOT = Path(__file__).parents[1]
COMMITS = ROOT / "tests" / "vectors" / "released"
BUILT = ROOT / "build" / "released"


def newest() -> Path:
    """Return the file that names the commit of the newest release."""

    def version(path: Path) -> tuple[int, ...]:
        return tuple(map(int, path.stem.split(".")))

    return max(COMMITS.glob("*.commit"), key=version)


def of_last_release() -> Path:
    """Return the wheel of the last release; skips the test where its history is not there."""
    named = newest()
    commit = named.read_text().strip()
    folder = BUILT / commit
    if not folder.exists():
        BUILT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILT) as made:
            tree = Path(made) / "tree"
            _check_out(commit, tree, named.stem)
            build(tree, Path(made) / "wheel")
            # Whoever is the first of several has built it; theirs are the same.
            if not folder.exists():
                (Path(made) / "wheel").rename(folder)
    (wheel,) = folder.glob("clusterip-*.whl")
    assert wheel.name.startswith(f"clusterip-{named.stem}-")
    return wheel


def build(tree: Path, folder: Path) -> Path:
    """Build the wheel of a tree into a folder, with what builds this one."""
    words = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, tree)
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


def _check_out(commit: str, tree: Path, version: str) -> None:
    """Put a commit's files into a folder."""
    packed = tree.with_suffix(".tar")
    # The owner of the clone may be another than who runs its tests.
    git = ("git", "-c", "safe.directory=*", "-C", ROOT)
    try:
        subprocess.run(
            (*git, "archive", "--output", packed, commit),
            capture_output=True,
            text=True,
            check=True,
        )
    except FileNotFoundError:
        pytest.skip(f"release {version} cannot be built: there is no git")
    except subprocess.CalledProcessError as error:
        said: str = error.stderr
        reason = (said.strip().splitlines() or ["git archive failed"])[-1]
        pytest.skip(f"release {version} cannot be built, its commit is not in this clone: {reason}")
    with tarfile.open(packed) as archive:
        archive.extractall(tree, filter="data")


class Installation:
    """A virtual environment of its own, into which one program after the other is installed."""

    def __init__(self, home: Path) -> None:
        self.home = home
        subprocess.run((sys.executable, "-m", "venv", "--without-pip", home), check=True)
        packages = Path(self._asked("import sysconfig; print(sysconfig.get_path('purelib'))"))
        # After its own packages; and .pth files there, such as that of this tree, are not read.
        ours = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
        (packages / "dependencies.pth").write_text("".join(f"{path}\n" for path in ours))

    @property
    def command(self) -> Path:
        """The command `clusterip`."""
        return self.home / "bin" / "clusterip"

    def install(self, wheel: Path) -> None:
        """Replace the program as an administrator does, while a daemon of it may run."""
        # Hosts of a lab share processors; those that are upgraded one by one do not.
        pip = ("nice", "-n", "19", sys.executable, "-m", "pip", "--python", self._python)
        # A wheel of the same version is another one all the same, and an older one is put back.
        words = (*pip, "install", "--quiet", "--no-index", "--no-deps", "--force-reinstall", wheel)
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def of(self, host: Host) -> None:
        """Have the commands and daemons of a host be this one's."""
        host.env["PATH"] = f"{self.command.parent}:{host.env['PATH']}"

    @property
    def _python(self) -> Path:
        return self.home / "bin" / "python"

    def _asked(self, code: str) -> str:
        return subprocess.check_output((self._python, "-c", code), text=True).strip()
