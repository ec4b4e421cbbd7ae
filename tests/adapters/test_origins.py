"""Which file puts an address on an interface: the usual ones, as their readers write them."""

from __future__ import annotations

import os
from ipaddress import ip_address
from pathlib import Path

import pytest

from clusterip.adapters.origins import Origin, find

VIP, VIP6 = ip_address("10.9.0.100"), ip_address("2001:db8::100")
FILES = {
    "etc/systemd/network/10-eth0.network": "[Network]\nAddress=10.9.0.100/24\n",
    "run/systemd/network/10-netplan-eth0.network": "[Network]\nAddress = 10.9.0.100/24",
    "etc/systemd/network/10-eth0.network.d/more.conf": "[Address]\nAddress=2001:DB8:0::100/64\n",
    "etc/network/interfaces": "iface eth0 inet static\n  address 10.9.0.100\n",
    "etc/network/interfaces.d/vip": "\n\n up ip address add 10.9.0.100/32 dev eth0",
    "etc/NetworkManager/system-connections/a b.nmconnection": "address1=10.9.0.100/24,10.9.0.1",
    "etc/netplan/50.yaml": 'addresses: ["10.9.0.100/24", "2001:db8::100/64"]',
    "etc/cloud/cloud.cfg.d/99-net.cfg": "- address: 10.9.0.100/24",
    "etc/sysconfig/network-scripts/ifcfg-eth0:1": "IPADDR=10.9.0.100",
    "etc/keepalived/keepalived.conf": "virtual_ipaddress {\n  10.9.0.100/32 dev eth0\n}",
}


def put(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize("name", FILES)
def test_found(tmp_path: Path, name: str) -> None:
    put(tmp_path, name, FILES[name])
    found = find({VIP, VIP6}, tmp_path)
    text = FILES[name].lower()
    vips = {VIP} if "10.9.0.100" in text else set()
    vips |= {VIP6} if "2001" in text else set()
    assert set(found) == vips
    for origins in found.values():
        (origin,) = origins
        assert origin.file == f"/{name}"
        lines = FILES[name].splitlines()
        assert "100" in lines[origin.line - 1]
        assert str(origin) == f"/{name}:{origin.line} ({origin.reader})"


@pytest.mark.parametrize(
    "line",
    [
        "# address 10.9.0.100",
        "; Address=10.9.0.100/24",
        "address 10.9.0.10",
        "address 10.9.0.1001",
        "address 110.9.0.100",
        "address 10.9.0.100.5",
        "\x00\xff 10.9.0.256 ::: ... 99999999999999999999",
    ],
)
def test_not_found(tmp_path: Path, line: str) -> None:
    put(tmp_path, "etc/network/interfaces", line)
    assert find({VIP, VIP6}, tmp_path) == {}


def test_what_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "etc/network/interfaces.d/folder").mkdir(parents=True)
    (tmp_path / "etc/network/interfaces").symlink_to("nowhere")
    (tmp_path / "etc/rc.local").write_bytes(b"\xff\xfe ip addr add 10.9.0.100/24 dev eth0\n")
    assert find({VIP}, tmp_path) == {VIP: [Origin("rc.local", "/etc/rc.local", 1)]}


def test_what_never_comes_is_not_waited_for(tmp_path: Path) -> None:
    put(tmp_path, "etc/network/interfaces.d/vip", "address 10.9.0.100")
    os.mkfifo(tmp_path / "etc/network/interfaces.d/fifo")
    assert [one.file for one in find({VIP}, tmp_path)[VIP]] == ["/etc/network/interfaces.d/vip"]
