"""Which file has a VIP added to an interface at boot: the usual ones are searched for it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from clusterip.adapters import plainfiles
from clusterip.core.address import Address

_ADDRESS: Final = re.compile(r"[0-9A-Fa-f:.]+")
_FILES: Final = (
    ("systemd-networkd", "{etc,run,usr/lib,usr/local/lib}/systemd/network/**/*.network"),
    ("systemd-networkd", "{etc,run,usr/lib,usr/local/lib}/systemd/network/*.network.d/*.conf"),
    ("ifupdown", "etc/network/interfaces"),
    ("ifupdown", "etc/network/interfaces.d/*"),
    ("NetworkManager", "{etc,run,usr/lib}/NetworkManager/system-connections/*"),
    ("netplan", "{etc,run,usr/lib}/netplan/*.yaml"),
    ("cloud-init", "etc/cloud/cloud.cfg"),
    ("cloud-init", "etc/cloud/cloud.cfg.d/*.cfg"),
    ("cloud-init", "var/lib/cloud/seed/*/network-config"),
    ("cloud-init", "boot/{,firmware/}network-config"),
    ("network scripts", "etc/sysconfig/network-scripts/ifcfg-*"),
    ("wicked", "etc/sysconfig/network/ifcfg-*"),
    ("netctl", "etc/netctl/*"),
    ("netifrc", "etc/conf.d/net"),
    ("dhcpcd", "etc/dhcpcd.conf"),
    ("keepalived", "etc/keepalived/**/*.conf"),
    ("ucarp or a script of ifupdown", "etc/network/if-up.d/*"),
    ("rc.local", "etc/rc.local"),
    ("Pacemaker", "var/lib/pacemaker/cib/cib.xml"),
)
"""Who reads it, and the files, below the root; `{a,b}` as in a shell."""


@dataclass(frozen=True)
class Origin:
    """Line `line` of `file`, counted from 1, has the address; `reader` is who reads the file."""

    reader: str
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line} ({self.reader})"


def find(vips: Collection[Address], root: Path = Path("/")) -> dict[Address, list[Origin]]:
    """Return where each of the VIPs stands; a file that cannot be read says nothing."""
    found: dict[Address, list[Origin]] = {}
    for reader, pattern in _FILES:
        for file in sorted({file for one in _spread(pattern) for file in root.glob(one)}):
            for number, address in _addresses(file):
                if address in vips:
                    name = f"/{file.relative_to(root)}"
                    found.setdefault(address, []).append(Origin(reader, name, number))
    return found


def _spread(pattern: str) -> Iterator[str]:
    before, brace, rest = pattern.partition("{")
    if not brace:
        yield pattern
        return
    choices, _, after = rest.partition("}")
    for one in choices.split(","):
        yield from _spread(f"{before}{one}{after}")


def _addresses(file: Path) -> Iterator[tuple[int, Address]]:
    """Yield the addresses of a file outside of comments, with their lines."""
    try:
        text = plainfiles.beginning(file).decode("utf-8", "replace")
    except OSError:
        return
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith(("#", ";", "!")):
            continue
        for word in _ADDRESS.findall(line):
            for spelt in {word, word.rstrip(".:"), word.lstrip(":")}:
                try:
                    yield number, ip_address(spelt)
                except ValueError:
                    continue
                break
