"""Disks of guests, each built once: kept below build/hosts until what it is made of changes.

A disk is the root of a release (`roots`), on which clusterip was installed by the steps that the
README gives. Guests never write to it: each has an overlay of its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lab import debian
from lab.hosts import chroot, roots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from lab.debian import Release

ROOT: Final = Path(__file__).parents[2]
KEPT: Final = ROOT / "build" / "hosts"
_WHEEL_OF: Final = (
    *("src", "man", "systemd", "docs/clusterip.toml", "pyproject.toml", "hatch_build.py"),
    *("LICENSE", "bpf/LICENSE"),
)
"""What goes into the wheel; its description is the README."""
_TOOLS_OF: Final = ("scripts/install", "pyproject.toml", "hatch_build.py", "Makefile")
"""What decides which packages `make dev` brings, of Debian and of Python."""
_REPOSITORY: Final = "root/clusterip"
_VENV: Final = ".venv"
_SIZE: Final = 2048
_DEMO_SIZE: Final = 6144
"""Of the disks, in MiB; what is empty takes no space."""
_SITE: Final = "cd /root\napt-get update\n{steps}\napt-get clean\n"
_TOOLS: Final = f"cd /{_REPOSITORY}\nscripts/install\nmake dev\napt-get clean\n"
# In emulation, compiling all sources at the first command takes longer than that command may.
_DEMO: Final = f"""\
cd /{_REPOSITORY}
touch {_VENV}/.ready
make object
{_VENV}/bin/python -m compileall -q src lab
"""
_DIGITS: Final = 16


@dataclass(frozen=True, slots=True)
class Image:
    """What a guest boots from."""

    release: Release
    disk: Path
    kernel: Path
    initrd: Path


def image(release: Release, say: Callable[[str], None], *, demo: bool = False) -> Image:
    """Return the image of a release; builds what is not there, and says so.

    With `demo` it is one on which this repository lies in /root/clusterip, ready for `make demo`,
    in place of the installed wheel.
    """
    number = release.number
    root = _kept(f"{release.codename}-root", _of_base(release))
    tools = _kept(f"{release.codename}-tools", root.name, _of_tools(), _TOOLS)
    kind, below, inputs = ("demo", tools, _of_demo()) if demo else ("site", root, _of_site())
    made = _kept(f"{release.codename}-{kind}", below.name, *inputs)
    if not made.exists():
        with _locked(release.codename, say):
            if not root.exists():
                say(f"debootstrap of Debian {number} ({release.codename})")
                _fresh(root, lambda folder: roots.debootstrapped(release, folder))
            if demo and not tools.exists():
                say(f"Debian {number}: make dev")
                _fresh(tools, lambda folder: _with_tools(root, folder))
            if not made.exists():
                say(f"Debian {number}: {'this repository' if demo else 'the steps of the README'}")
                _fresh(made, lambda folder: _build(release, below, folder, demo=demo))
    (kernel,) = made.glob("vmlinuz-*")
    (initrd,) = made.glob("initrd.img-*")
    return Image(release, made / "disk", kernel, initrd)


def readme_steps(release: Release) -> str:
    """Return the commands by which the README installs clusterip on a host, as a script."""
    text = (ROOT / "README.md").read_text()
    found = re.search(r"\*\*2\. Install\*\*.*?```sh\n(.*?)```", text, re.DOTALL)
    if found is None:
        raise RuntimeError("README.md has no commands after '**2. Install**' any more")
    return found[1].replace(debian.RELEASES[0].libfuse, release.libfuse)


def _build(release: Release, base: Path, folder: Path, *, demo: bool) -> None:
    folder.mkdir()
    root = folder / "root"
    chroot.copied(base, root)
    if demo:
        _lay_repository(root / _REPOSITORY)
        chroot.inside(root, _DEMO)
    else:
        wheel = _wheel(folder)
        shutil.move(wheel, root / "root" / wheel.name)
        chroot.inside(root, _SITE.format(steps=readme_steps(release)))
    chroot.packed(root, folder / "disk", _DEMO_SIZE if demo else _SIZE)
    for name in ("vmlinuz-*", "initrd.img-*"):
        (file,) = (root / "boot").glob(name)
        shutil.copy(file, folder)
    shutil.rmtree(root)


def _with_tools(base: Path, root: Path) -> None:
    chroot.copied(base, root)
    _lay_repository(root / _REPOSITORY)
    chroot.inside(root, _TOOLS)


def _wheel(folder: Path) -> Path:
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"the wheel cannot be built: {done.stdout}{done.stderr}")
    (wheel,) = folder.glob("*.whl")
    return wheel


def _lay_repository(target: Path) -> None:
    """Have this repository there, in the place of a former one whose packages stay."""
    target.mkdir(exist_ok=True)
    for former in target.iterdir():
        if former.name == _VENV:
            continue
        if former.is_dir():
            shutil.rmtree(former)
        else:
            former.unlink()
    for file in _tracked():
        path = target / file.relative_to(ROOT)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, path)


def _tracked() -> list[Path]:
    """Return the files of this repository, as they are now."""
    listed = ("git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others")
    done = subprocess.run([*listed, "--exclude-standard"], check=True, capture_output=True)
    names = (name for name in done.stdout.decode().split("\0") if name)
    return sorted(path for name in names if (path := ROOT / name).is_file())


def _of_base(release: Release) -> str:
    return _digest([Path(roots.__file__), Path(debian.__file__)]) + release.codename


def _of_tools() -> str:
    return _digest(ROOT / name for name in _TOOLS_OF)


def _of_site() -> tuple[str, ...]:
    files = [
        path
        for name in _WHEEL_OF
        for path in ([ROOT / name] if (ROOT / name).is_file() else sorted((ROOT / name).rglob("*")))
        if path.is_file() and "__pycache__" not in path.parts
    ]
    steps = readme_steps(debian.RELEASES[0])
    return (_digest(files), _SITE.format(steps=steps), str(_SIZE))


def _of_demo() -> tuple[str, ...]:
    return (_digest(_tracked()), _DEMO, str(_DEMO_SIZE))


def _digest(files: Iterable[Path]) -> str:
    sum_of_all = hashlib.sha256()
    for file in files:
        data = file.read_bytes()
        sum_of_all.update(f"{file.name} {len(data)}\n".encode() + data)
    return sum_of_all.hexdigest()


def _kept(name: str, *inputs: str) -> Path:
    """Return where the thing of that name is kept that is made of these inputs."""
    digest = hashlib.sha256("\n".join(inputs).encode()).hexdigest()[:_DIGITS]
    return KEPT / f"{name}-{digest}"


def _fresh(target: Path, make: Callable[[Path], object]) -> None:
    """Make a directory as a whole or not at all; then the one that it follows goes."""
    name = target.name[: -_DIGITS - 1]
    unfinished = KEPT / f"{name}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    make(unfinished)
    for former in KEPT.glob(f"{name}-*"):
        shutil.rmtree(former)
    unfinished.rename(target)


@contextlib.contextmanager
def _locked(name: str, say: Callable[[str], None]) -> Iterator[None]:
    """Let one run build at a time: the other finds it done."""
    KEPT.mkdir(parents=True, exist_ok=True)
    handle = os.open(KEPT / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another run builds a disk of {name}: waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
