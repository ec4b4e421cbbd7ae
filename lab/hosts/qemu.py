"""A virtual machine: its devices, its power, its cable and its clock."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lab.hosts.channel import Agent, Channel, Refused
from lab.hosts.images import KEPT
from lab.processes import Process
from lab.wait import eventually

if TYPE_CHECKING:
    from lab.hosts.images import Image
    from lab.namespace import Namespace

_KVM: Final = Path("/dev/kvm")
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_PROVED_WITHIN: Final = 10.0
_NIC: Final = "nic"
_KERNEL: Final = (
    "root=/dev/vda rw console=ttyS0 net.ifnames=0 panic=-1 fsck.mode=skip random.trust_cpu=on"
)
_QUICKER: Final = "quiet mitigations=off"


@dataclass(frozen=True, slots=True)
class Accelerator:
    """How QEMU computes what the guest does, and as which processor."""

    name: str
    options: tuple[str, ...]


KVM: Final = Accelerator("kvm", ("-accel", "kvm", "-cpu", "max"))
# The processor is the least that today's builds of numpy run on: emulating more is slower.
EMULATION: Final = Accelerator(
    "tcg", ("-accel", "tcg,thread=multi", "-cpu", "Nehalem,+rdrand,+rdseed")
)


@dataclass(frozen=True, slots=True)
class Size:
    """How much of this machine a guest has: MiB of memory, and processors."""

    memory: int
    processors: int = 1


def accelerator(image: Image) -> Accelerator:
    """Return KVM where a guest's kernel really begins with it; found out once after each boot.

    That /dev/kvm is there proves nothing: what cannot run the guest's kernel may take it all the
    same, and hang.
    """
    if not _KVM.exists():
        return EMULATION
    note = KEPT / "accelerator.json"
    now = {"boot": _BOOT_ID.read_text().strip(), "kernel": image.kernel.name}
    if note.exists():
        kept = json.loads(note.read_text())
        if kept.items() >= now.items():
            return KVM if kept["kvm"] else EMULATION
    works = _begins(image, KVM)
    note.write_text(json.dumps(now | {"kvm": works}))
    return KVM if works else EMULATION


def _begins(image: Image, how: Accelerator) -> bool:
    command = (
        *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-machine", "pc"),
        *(*how.options, "-m", "512", "-display", "none", "-serial", "stdio", "-no-reboot"),
        *("-kernel", str(image.kernel), "-append", "console=ttyS0 panic=-1"),
    )
    try:
        done = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROVED_WITHIN,
        )
        told = done.stdout
    except subprocess.TimeoutExpired as late:
        told = late.stdout or b""
    return b"Linux version" in told


class Machine:
    """A guest of QEMU with one network interface, whose tap is in the namespace of the switch.

    It ends with the lab at the latest, as everything that was started in the namespace.
    """

    def __init__(self, where: Namespace, tap: str, mac: str, image: Image, size: Size) -> None:
        self._where = where
        self._tap = tap
        self._mac = mac
        self._image = image
        self._size = size
        self._base = where.directory / f"{tap}-machine"
        self._process: Process | None = None
        self.accelerator = accelerator(image)

    @property
    def console(self) -> str:
        """What it wrote to its serial line so far."""
        return Path(f"{self._base}.console").read_text(errors="replace")

    def start(self) -> None:
        """Switch it on, with a disk as it was built."""
        base = self._base
        overlay = ("-f", "qcow2", "-b", str(self._image.disk), "-F", "raw", f"{base}.qcow2")
        self._where.run("qemu-img", "create", "-q", *overlay)
        how = self.accelerator
        self._process = self._where.start(
            *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-machine", "pc"),
            *(*how.options, "-m", str(self._size.memory)),
            *("-smp", str(self._size.processors), "-display", "none"),
            *("-serial", f"file:{base}.console"),
            *("-kernel", str(self._image.kernel), "-initrd", str(self._image.initrd)),
            *("-append", f"{_KERNEL} {_QUICKER}"),
            *("-drive", f"file={base}.qcow2,if=virtio,cache=unsafe"),
            *("-device", "virtio-rng-pci", "-device", "virtio-serial-pci"),
            *("-chardev", f"socket,id=agent,path={base}.agent,server=on,wait=off"),
            *("-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"),
            *("-qmp", f"unix:{base}.qmp,server=on,wait=off"),
            *("-netdev", f"tap,id=net,ifname={self._tap},script=no,downscript=no"),
            *("-device", f"virtio-net-pci,id={_NIC},netdev=net,mac={self._mac},romfile="),
        )
        self._monitor = Channel(Path(f"{base}.qmp"))
        self._monitor.ask("qmp_capabilities")
        self.agent = Agent(Channel(Path(f"{base}.agent")))

    @property
    def running(self) -> bool:
        """Whether QEMU runs."""
        return self._process is not None and self._process.running

    def pause(self) -> None:
        """Stop its processors and its clocks."""
        self._monitor.ask("stop")

    def resume(self) -> None:
        """Let it go on where it was."""
        self._monitor.ask("cont")

    def plug(self, *, into: bool) -> None:
        """Plug its network cable in, or pull it."""
        self._monitor.ask("set_link", name=_NIC, up=into)

    def remove_interface(self, within: float = 60.0) -> None:
        """Take the network card out; returns when the guest has let it go."""
        self._monitor.ask("device_del", id=_NIC)

        def gone() -> bool:
            try:
                self._monitor.ask("qom-list", path=f"/machine/peripheral/{_NIC}")
            except Refused:
                return True
            return False

        eventually(gone, within=within, what="the network card to be let go")

    def add_interface(self) -> None:
        """Put the network card back."""
        self._monitor.ask(
            "device_add",
            driver="virtio-net-pci",
            id=_NIC,
            netdev="net",
            mac=self._mac,
            romfile="",
        )


def installed() -> bool:
    """Whether the programs are there that make and run machines."""
    programs = ("qemu-system-x86_64", "qemu-img", "debootstrap", "unshare", "mke2fs")
    return all(shutil.which(program) for program in programs)
