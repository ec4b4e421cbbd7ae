"""The releases of Debian whose kernels and programs the guests have, and where they come from."""

from __future__ import annotations

import platform
import subprocess
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Release:
    """One release: `kernel` is the series of its Linux, by which a user asks for it."""

    kernel: str
    number: int
    codename: str
    libfuse: str
    """The package of FUSE's library, which is named after its ABI."""


RELEASES: Final = (
    Release("6.1", 12, "bookworm", "libfuse3-3"),
    Release("6.12", 13, "trixie", "libfuse3-4"),
)


def source() -> str:
    """Return the address of the archive that this machine has its own packages from.

    Each release of Debian is found below it. RuntimeError where apt names none.
    """
    codename = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    targets = ("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)")
    done = subprocess.run(targets, check=True, capture_output=True, text=True)
    for line in done.stdout.splitlines():
        address, release, component = line.split()
        if (release, component) == (codename, "main"):
            return address
    raise RuntimeError(
        f"apt has no source for {codename or 'this system'}, component main, on this machine:"
        " debootstrap takes the guests' packages from there; add one and run `apt-get update`"
    )
