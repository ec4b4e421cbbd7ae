"""Root file systems as directories: commands that run inside, copies, and disk images of them."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lab.debian import quietly

if TYPE_CHECKING:
    from collections.abc import Mapping

_AUTHORITIES: Final = Path(
    os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")  # as OpenSSL looks
)
_TRUSTED: Final = "run/authorities.crt"
"""A copy in the root while commands run there: what is booted trusts whom Debian trusts."""


def write(root: Path, files: Mapping[str, str]) -> None:
    """Write files below a root, with the directories on the way."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def inside(root: Path, script: str) -> None:
    """Run a shell script in a root, with the network of this machine; RuntimeError if it fails.

    What it mounts and whatever it leaves running ends with it.
    """
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    if _AUTHORITIES.is_file():
        shutil.copy(_AUTHORITIES, root / _TRUSTED)
    mounted = f"mount -t proc proc {shlex.quote(str(root / 'proc'))}"
    entered = f"exec chroot {shlex.quote(str(root))} /bin/sh -ec {shlex.quote(script)}"
    quietly(
        *("unshare", "--mount", "--pid", "--fork", "--kill-child"),
        *("sh", "-ec", f"{mounted}; cd /; {entered}"),
        environment=_environment(),
    )
    (root / _TRUSTED).unlink(missing_ok=True)


def copied(root: Path, target: Path) -> None:
    """Copy a root, with owners, modes and links."""
    quietly("cp", "--archive", "--reflink=auto", str(root), str(target))


def packed(root: Path, image: Path, mebibytes: int) -> None:
    """Make a disk image of that size with the root on it, as ext4."""
    options = ("-q", "-F", "-t", "ext4", "-L", "root", "-E", "root_owner=0:0")
    quietly("mke2fs", *options, "-d", str(root), str(image), f"{mebibytes}M")


def _environment() -> dict[str, str]:
    """Return what is the same on every machine, and whom this one trusts to bring packages."""
    trusted = f"/{_TRUSTED}"
    authorities = {"PIP_CERT": trusted, "SSL_CERT_FILE": trusted} if _AUTHORITIES.is_file() else {}
    return authorities | {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LC_ALL": "C.UTF-8",
        "DEBIAN_FRONTEND": "noninteractive",
        "SYSTEMD_OFFLINE": "1",  # nothing runs there that systemctl could talk to
    }
