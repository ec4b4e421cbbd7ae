"""A host of the lab with a kernel of its own, as a scenario sees it."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lab.hosts.channel import Refused
from lab.hosts.qemu import Machine, Size
from lab.servers import nginx_configuration
from lab.wait import eventually

if TYPE_CHECKING:
    import subprocess

    from lab.hosts.images import Image
    from lab.topology import Lab

SITE: Final = Size(768)
DEMO: Final = Size(2048, os.cpu_count() or 1)
"""The demonstration runs all of its hosts and clients in one guest."""
BOOTS_WITHIN: Final = 300.0
"""Seconds; ten times what it takes on two cores of our own, in software emulation."""
_WEB: Final = Path("/var/lib/web")
_NETWORK: Final = """\
[Match]
Name=eth0

[Network]
Address={address}/16
Gateway={gateway}
LinkLocalAddressing=no
IPv6AcceptRA=no
"""
_WEB_UNIT: Final = """\
[Unit]
After=network.target

[Service]
ExecStart=/usr/sbin/nginx -e {web}/error -c {web}/nginx.conf
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
"""


class Guest:
    """A virtual machine `h3`, say, at the lab's switch; nothing but its agent needs the network.

    Its number, name, MAC and address are given as those of the lab's other hosts are. The lab's
    client is its gateway.
    """

    def __init__(self, lab: Lab, image: Image, number: int, size: Size = SITE) -> None:
        self.number = number
        self.name = f"h{number}"
        self.mac = f"02:00:00:00:00:{number:02x}"
        self.addresses = [f"10.9.0.{number}"]
        self._gateway = lab.client.address
        lab.add_tap(self.name, self.mac)
        lab.switch.run("ip", "link", "set", self.name, "up")
        self.machine = Machine(lab.switch, self.name, self.mac, image, size)

    @property
    def address(self) -> str:
        """Its address."""
        return self.addresses[0]

    def boot(self) -> None:
        """Switch it on for the first time, and have it be a web server with its name and address.

        Raises TimeoutError with what it wrote last to its console.
        """
        self.machine.start()
        self._answers()
        self.write(
            {
                "/etc/hostname": f"{self.name}\n",
                "/etc/systemd/network/10-eth0.network": _NETWORK.format(
                    address=self.address, gateway=self._gateway
                ),
                "/etc/systemd/system/web.service": _WEB_UNIT.format(web=_WEB),
                f"{_WEB}/nginx.conf": nginx_configuration(self.name, _WEB / "files"),
            }
        )
        self.sh(f"hostname {self.name}; truncate -s 64M {_WEB}/files.large; networkctl reload")
        self.sh("systemctl daemon-reload; systemctl enable --now web.service")

    def run(
        self, *command: str, check: bool = True, within: float = 120.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end; with `check`, raises RuntimeError unless it exits with 0."""
        done = self.machine.agent.run(command, within)
        if check and done.returncode:
            told = f"{done.stdout}{done.stderr}".strip()
            raise RuntimeError(
                f"{self.name}# {shlex.join(command)}: exit status {done.returncode}: {told}"
            )
        return done

    def sh(self, line: str, *, check: bool = True, within: float = 120.0) -> str:
        """Run a line of shell, as root types it; returns what it printed, without the end of it."""
        return self.run("/bin/sh", "-c", line, check=check, within=within).stdout.strip()

    def clusterip(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the `clusterip` command that was installed there."""
        return self.run("/usr/bin/clusterip", *arguments, check=check)

    def show(self) -> Any:
        """Return what `clusterip show --json` says."""
        return json.loads(self.clusterip("show", "--json", check=False).stdout)

    def write(self, files: dict[str, str]) -> None:
        """Write files, readable by root only."""
        lines = ["umask 077"]
        for name, text in files.items():
            lines.append(f"mkdir -p {shlex.quote(str(Path(name).parent))}")
            lines.append(f"printf %s {shlex.quote(text)} > {shlex.quote(name)}")
            if "/systemd/" in name:
                lines.append(f"chmod 644 {shlex.quote(name)}")  # networkd is not root
        self.sh("\n".join(lines))

    @property
    def kernel(self) -> str:
        """The release of its kernel."""
        return self.sh("uname -r")

    @property
    def xdp(self) -> str:
        """How the interface runs an XDP program now: "native", "generic" or "off"."""
        (link,) = json.loads(self.sh("ip -json link show dev eth0"))
        mode: int = link.get("xdp", {}).get("mode", 0)
        return {0: "off", 1: "native", 2: "generic"}.get(mode, str(mode))

    def reboot(self, within: float = BOOTS_WITHIN) -> None:
        """Have it boot again, as its administrator does; returns when it answers anew."""
        before = self._boot_id()
        # Its agent may be gone before it can tell, and the next one knows of no such command.
        with contextlib.suppress(TimeoutError, Refused):
            self.sh("systemctl reboot")

        def anew() -> bool:
            return self._boot_id() not in ("", before)

        eventually(anew, within=within, what=f"{self.name} to boot again")

    def unit(self, *names: str) -> dict[str, str]:
        """Return properties of the unit clusterip.service, such as "MainPID"."""
        told = self.sh(f"systemctl show clusterip --property={','.join(names)}")
        return dict(line.split("=", 1) for line in told.splitlines())

    def log(self) -> str:
        """Return what the unit's journal says since this boot."""
        return self.sh("journalctl --boot --unit=clusterip --output=cat --no-pager")

    def _boot_id(self) -> str:
        try:
            done = self.machine.agent.run(("/bin/cat", "/proc/sys/kernel/random/boot_id"), 10.0)
        except (TimeoutError, RuntimeError):
            return ""
        return done.stdout.strip()

    def _answers(self) -> None:
        try:
            self.machine.agent.wait(BOOTS_WITHIN)
        except TimeoutError as late:
            raise TimeoutError(
                f"{self.name} did not boot: {self.machine.console[-2000:]}"
            ) from late
