"""What the root file system of a guest has before clusterip comes, and how debootstrap makes it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from lab import debian
from lab.hosts import chroot

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


_SYSTEM: Final = (
    *("systemd-sysv", "udev", "dbus", "kmod", "iproute2", "iputils-ping", "procps", "man-db"),
    *("ca-certificates", "qemu-guest-agent", "nginx-light", "libnginx-mod-stream"),
    *("initramfs-tools", "linux-image-cloud-amd64"),
)
"""What a server of a site has before clusterip comes, and the agent that runs our commands."""
_FILES: Final[Mapping[str, str]] = {
    "etc/apt/apt.conf.d/90lab": 'APT::Get::Assume-Yes "true"; APT::Install-Recommends "false";\n',
    "etc/initramfs-tools/conf.d/lab": "MODULES=list\n",
    "etc/initramfs-tools/modules": "virtio_pci\nvirtio_blk\next4\n",
    # It says a line for each question how far a command is, several a second.
    "etc/systemd/journald.conf.d/lab.conf": "[Journal]\nStorage=volatile\nRateLimitBurst=0\n",
}
_ENABLED: Final = ("systemd-networkd.service",)
_MASKED: Final = (
    # What takes seconds in software emulation and serves nobody here.
    *("getty.target", "serial-getty@ttyS0.service", "systemd-logind.service"),
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "fstrim.timer"),
    *("man-db.timer", "e2scrub_all.timer", "e2scrub_reap.service", "systemd-pstore.service"),
    *("modprobe@drm.service", "modprobe@efi_pstore.service", "modprobe@configfs.service"),
    *("dev-hugepages.mount", "dev-mqueue.mount", "sys-kernel-debug.mount"),
    *("sys-kernel-tracing.mount", "systemd-binfmt.service", "systemd-random-seed.service"),
    "nginx.service",  # the lab's own configuration has a unit of its own
)


def debootstrapped(release: debian.Release, root: Path) -> None:
    """Make a root file system of that release that a virtual machine boots from."""
    debian.bootstrap(release, root)
    chroot.write(root, _FILES)
    packages = shlex.join(_SYSTEM)
    chroot.inside(root, f"apt-get update && apt-get install {packages} && apt-get clean")
    chroot.inside(
        root, f"systemctl enable {shlex.join(_ENABLED)} && systemctl mask {shlex.join(_MASKED)}"
    )
