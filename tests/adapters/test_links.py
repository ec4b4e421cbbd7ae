"""Real interfaces: what there is, and addresses. Whose address it is decides."""

from __future__ import annotations

import contextlib
import errno
import socket
import subprocess
import sys
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest

from clusterip.adapters.configured import Configured
from clusterip.adapters.links import FakeLinks, Link, Links, NetlinkLinks, as_ours
from clusterip.core.errors import RefusedError
from clusterip.core.packets.model import Mac
from lab.wait import eventually
from tests.namespaces import ip, run

VIP = IPv4Address("10.9.0.100")
VIP6 = IPv6Address("2001:db8::100")
MAC = Mac("01005e000020")


def test_what_is_there(folder: Path, links: NetlinkLinks) -> None:
    ip("link set wire down")
    found = {link.name: link for link in links.all()}
    assert set(found) == {"lo", "eth0", "wire"}
    assert (found["eth0"].ethernet, found["eth0"].up) == (True, True)
    assert (found["wire"].ethernet, found["wire"].up) == (True, False)
    assert found["lo"].ethernet is False
    for name, link in found.items():
        assert link.index == socket.if_nametoindex(name)


def test_what_is_below_and_above(folder: Path, links: NetlinkLinks) -> None:
    ip("link add over type bridge")
    ip("link set wire master over")
    ip("link add copy link eth0 type macvlan")
    ip("link add away link eth0 type macvlan")
    found = {link.name: link for link in links.all()}
    assert (found["wire"].kind, found["wire"].master) == ("veth", "over")
    assert (found["over"].kind, found["over"].master) == ("bridge", "")
    assert (found["copy"].kind, found["copy"].parent) == ("macvlan", "eth0")
    # The other end of a veth is not below it.
    assert (found["eth0"].parent, found["eth0"].master) == ("", "")
    assert (found["lo"].kind, found["lo"].parent) == ("", "")
    beside = subprocess.Popen(("unshare", "--net", "sleep", "60"))
    try:
        moved_to(beside.pid, "away")
        told = run("nsenter", f"--net=/proc/{beside.pid}/ns/net", sys.executable, "-c", _AWAY)
        assert told.split() == ["macvlan"]
    finally:
        beside.kill()
        beside.wait()


_AWAY = """
from clusterip.adapters.links import NetlinkLinks
(away,) = (one for one in NetlinkLinks().all() if one.name == "away")
print(away.kind, away.parent, away.master)
"""


def moved_to(process: int, device: str) -> None:
    """Move a device to the namespace of a process, once it has one of its own."""
    own = Path("/proc/thread-self/ns/net").readlink()
    eventually(lambda: Path(f"/proc/{process}/ns/net").readlink() != own)
    ip(f"link set {device} netns {process}")


def test_an_address_comes_and_goes(eth0: Link, links: NetlinkLinks) -> None:
    before = ip("address show dev eth0")
    for _ in range(2):
        links.add_address(eth0.index, VIP)
        assert links.addresses(eth0.index) == {VIP, IPv4Address("10.9.0.1")}
    assert "10.9.0.100/32" in ip("address show dev eth0")
    for _ in range(2):
        links.remove_address(eth0.index, VIP)
        assert links.addresses(eth0.index) == {IPv4Address("10.9.0.1")}
    assert ip("address show dev eth0") == before


def test_an_ipv6_address_comes_and_goes(eth0: Link, links: NetlinkLinks) -> None:
    Path("/proc/sys/net/ipv6/conf/eth0/disable_ipv6").write_text("0")
    before = links.addresses(eth0.index)
    for _ in range(2):
        links.add_address(eth0.index, VIP6)
        assert links.addresses(eth0.index) == before | {VIP6}
    # No look for duplicates, for the whole cluster has it; and no source of what begins here.
    shown = ip(f"address show dev eth0 to {VIP6}/128")
    assert "nodad" in shown
    assert "deprecated" in shown
    assert "valid_lft forever preferred_lft 0sec" in shown
    for _ in range(2):
        links.remove_address(eth0.index, VIP6)
        assert links.addresses(eth0.index) == before


def test_the_administrators_address_is_seen_with_any_mask(eth0: Link, links: NetlinkLinks) -> None:
    ip(f"address add {VIP}/24 dev eth0")
    assert VIP in links.addresses(eth0.index)
    # Ours is the /32; that one is another.
    links.remove_address(eth0.index, VIP)
    assert VIP in links.addresses(eth0.index)


def test_an_address_with_a_peer_is_the_local_one(eth0: Link, links: NetlinkLinks) -> None:
    ip(f"address add {VIP} peer 192.0.2.1 dev eth0")
    assert VIP in links.addresses(eth0.index)
    assert IPv4Address("192.0.2.1") not in links.addresses(eth0.index)


def test_addresses_of_another_interface_are_not_seen(eth0: Link, links: NetlinkLinks) -> None:
    ip(f"address add {VIP}/32 dev wire")
    assert VIP not in links.addresses(eth0.index)


def test_an_address_for_what_is_not_there(folder: Path, links: NetlinkLinks) -> None:
    with pytest.raises(OSError, match=r"ip address add 10\.9\.0\.100: ") as error:
        links.add_address(9999, VIP)
    assert error.value.errno == errno.ENODEV


@pytest.mark.parametrize(
    ("address", "mac"),
    [("239.127.0.32", "01:00:5e:7f:00:20"), ("ff15::8000:20", "33:33:80:00:00:20")],
)
def test_a_group_is_joined_and_left(
    eth0: Link, links: NetlinkLinks, address: str, mac: str
) -> None:
    Path("/proc/sys/net/ipv6/conf/eth0/disable_ipv6").write_text("0")
    group = ip_address(address)
    before = links.addresses(eth0.index)
    for _ in range(2):
        links.add_address(eth0.index, group)
        assert links.addresses(eth0.index) == before | {group}
        now = ip("maddress show dev eth0")
        assert address in now
        assert mac in now
        # It is the join's, and not an entry that was made by hand.
        assert links.macs(eth0.index) == frozenset()
    for _ in range(2):
        links.remove_address(eth0.index, group)
        assert links.addresses(eth0.index) == before
        now = ip("maddress show dev eth0")
        assert address not in now
        assert mac not in now


def test_nothing_is_sent_from_a_group(eth0: Link, links: NetlinkLinks) -> None:
    Path("/proc/sys/net/ipv6/conf/eth0/disable_ipv6").write_text("0")
    ip("address flush dev eth0")
    links.add_address(eth0.index, IPv4Address("239.127.0.32"))
    links.add_address(eth0.index, IPv6Address("ff15::8000:20"))
    ip("address add 10.9.0.1/24 dev eth0")
    ip("address add 2001:db8::1/64 dev eth0 nodad")
    for target in ("10.9.0.2", "2001:db8::2", "224.0.0.5"):
        with contextlib.closing(
            socket.socket(socket.AF_INET6 if ":" in target else socket.AF_INET, socket.SOCK_DGRAM)
        ) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
            one.connect((target, 9))
            assert one.getsockname()[0] in ("10.9.0.1", "2001:db8::1")


def test_more_groups_than_the_kernel_joins(eth0: Link, links: NetlinkLinks) -> None:
    Path("/proc/sys/net/ipv4/igmp_max_memberships").write_text("1")
    links.add_address(eth0.index, IPv4Address("239.1.0.1"))
    with pytest.raises(RefusedError, match=r"239\.1\.0\.2 cannot be joined") as error:
        links.add_address(eth0.index, IPv4Address("239.1.0.2"))
    assert error.value.cure == (
        "sysctl net.ipv4.igmp_max_memberships=256, or give VIPs the default MACs"
    )


def test_ipv6_that_is_off(eth0: Link, links: NetlinkLinks) -> None:
    with pytest.raises(
        RefusedError, match="the address 2001:db8::100 cannot be added: IPv6 is off"
    ):
        links.add_address(eth0.index, VIP6)
    with pytest.raises(RefusedError, match="the group ff15::1 cannot be joined: IPv6 is off"):
        links.add_address(eth0.index, IPv6Address("ff15::1"))


def test_the_fake_does_as_the_kernel_does(eth0: Link, links: NetlinkLinks) -> None:
    fake = FakeLinks([eth0], {eth0.index: {IPv4Address("10.9.0.1")}})

    def states(one: Links) -> list[object]:
        seen: list[object] = []
        steps: tuple[Callable[[], None], ...] = (
            lambda: one.remove_address(eth0.index, VIP),
            lambda: one.add_address(eth0.index, VIP),
            lambda: one.add_address(eth0.index, VIP),
            lambda: one.remove_mac(eth0, MAC),
            lambda: one.add_mac(eth0, MAC),
            lambda: one.add_mac(eth0, MAC),
            lambda: one.remove_address(eth0.index, VIP),
            lambda: one.remove_mac(eth0, MAC),
        )
        for step in steps:
            step()
            seen.append((one.addresses(eth0.index), one.macs(eth0.index), eth0 in one.all()))
        return seen

    assert states(fake) == states(links)


def test_an_address_is_taken_off_whatever_its_prefix_and_no_other(eth0: Link) -> None:
    """Linux would take the whole network of a first address away with it."""
    links = NetlinkLinks()
    ip("address flush dev eth0")
    for address in ("10.9.0.100/24", "10.9.0.1/24", "10.9.0.100/32"):
        ip(f"address add {address} dev eth0")
    ip("route add default via 10.9.0.7 dev eth0")
    ip("address add 10.9.0.101/24 dev eth0 valid_lft 100 preferred_lft 100")
    vip = ip_address("10.9.0.100")
    there = [one for one in links.configured() if one.index == eth0.index]
    assert Configured(eth0.index, ip_address("10.9.0.101"), 24, dynamic=True) in there
    for one in (Configured(eth0.index, vip, 24), Configured(eth0.index, vip, 32)):
        assert one in there
        for _ in range(2):
            links.take_off(one)
    assert links.addresses(eth0.index) == {ip_address("10.9.0.1"), ip_address("10.9.0.101")}
    assert "default via 10.9.0.7" in ip("route show")
    setting = Path("/proc/sys/net/ipv4/conf/eth0/promote_secondaries")
    assert setting.read_text() == "0\n"


PEERS = ["10.9.0.100 peer 10.9.0.200/32", "10.9.0.100 peer 10.7.0.1/24"]
PEERS6 = ["2001:db8::100 peer 2001:db8::200/128", "2001:db8::100 peer 2001:db8:1::1/64"]


@pytest.mark.parametrize("written", [*PEERS, *PEERS6])
def test_an_address_with_a_peer_is_taken_off_and_no_other(eth0: Link, written: str) -> None:
    Path("/proc/sys/net/ipv6/conf/eth0/disable_ipv6").write_text("0")
    links = NetlinkLinks()
    vip = ip_address(written.split(maxsplit=1)[0])
    if vip.version == 4:
        # Ours has no peer, and is beside it; IPv6 has each address once.
        links.add_address(eth0.index, vip)
    before = set(links.configured())
    ip(f"address add {written} dev eth0")
    (one,) = set(links.configured()) - before
    assert (str(one), as_ours(one)) == (written, False)
    links.take_off(one)
    assert set(links.configured()) == before
    # What is written is what ip(8) takes.
    ip(f"address add {one} dev eth0")
    ip(f"address del {one} dev eth0")
    assert set(links.configured()) == before


def test_an_ipv6_address_that_was_given_a_peer_is_not_as_added(eth0: Link) -> None:
    Path("/proc/sys/net/ipv6/conf/eth0/disable_ipv6").write_text("0")
    links = NetlinkLinks()
    links.add_address(eth0.index, VIP6)
    assert VIP6 in links.as_added(eth0.index)
    ip(f"address change {VIP6} peer 2001:db8::200/128 dev eth0 preferred_lft 0")
    assert VIP6 not in links.as_added(eth0.index)
