"""A link that flaps: the host is back with it, and no bucket is silent for longer than promised.

One cluster has a VIP of each kind: IPv4 and IPv6, with the default MAC and with one that hosts join
a group for. A client asks each bucket of each VIP all the time, and a host's own address beside:
that is how long the link was gone, as far as it could tell.

With FLAPS=all in the environment each way of flapping is tried for 10 ms to 10 s.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import itertools
import json
import os
import time
from typing import TYPE_CHECKING, Final

import pytest

from clusterip import bucket
from lab.cluster import BUCKETS, cluster_file
from lab.gaps import Gaps, Hashing
from lab.servers import UDP_PORT, nginx
from lab.topology import VIP, lab
from lab.wait import eventually
from tests.lan.asked import Asked
from tests.lan.cluster import MODES, ask
from tests.lan.clusters import AnsweredTwiceError, Site, in_time, patiently, say
from tests.lan.test_ipv6 import CLIENT6, HOST6, VIP6, predicted, with_ipv6
from tests.lan.test_snooping import ipv6
from tests.lan.traces import traces
from tests.second_tries import TooSlowError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lab.gaps import Stream
    from lab.topology import Host

IGMP_VIP, IGMP_VIP6, IGMP_MAC = "10.9.0.101", "2001:db8::101", "01:00:5e:01:02:03"
MLD_VIP, MLD_MAC = "10.9.0.102", "33:33:80:00:00:21"
MLD_VIP6, MLD_MAC6 = "2001:db8::102", "33:33:80:00:00:20"
GROUPS = {"239.1.2.3", "ff15::8000:20", "ff15::8000:21"}
SOLICITED = {"ff02::1:ff00:100", "ff02::1:ff00:101", "ff02::1:ff00:102"}
"""Where clients ask for the MACs of the IPv6 VIPs."""
MACS = {IGMP_VIP: IGMP_MAC, IGMP_VIP6: IGMP_MAC, MLD_VIP: MLD_MAC, MLD_VIP6: MLD_MAC6}
VIPS = (VIP, VIP6, *MACS)
SERVED_WITHIN: Final = 1.0
"""What the default profile promises, in seconds."""
LEASE: Final = 0.7
"""A flap of half of it moves no bucket, in seconds."""
EACH: Final = 0.04
"""From one datagram to a bucket of a VIP to the next, in seconds."""
SECOND_INTERFACE = """\
for i in 1 2 3 4 5 6 7 8 9 10; do
    ip link add eth1 type veth peer name other
    ip link set eth1 up; ip link set other up; ip link set other down
    ip link del eth1
done
"""
"""It comes and goes, as those of containers do, while its guards are put there."""
ALL = os.environ.get("FLAPS") == "all"


@pytest.fixture(scope="module")
def web() -> Iterator[Site]:
    """Three hosts that share the VIPs, and a client."""
    with lab() as lan:
        with_ipv6(lan)
        for host in lan.hosts:
            nginx(host)
        file = cluster_file(lan, vips=VIPS)
        text = file.read_text()
        for vip, mac in MACS.items():
            line = f'address = "{vip}"'
            assert line in text
            text = text.replace(line, f'{line}\nmac = "{mac}"')
        file.write_text(text)
        cluster = Asked(lan, file)
        cluster.start_all()
        cluster.settled(within=30.0)
        yield Site(lan, cluster)
        for log in sorted(lan.directory.glob("h*-clusterip.log")):
            say(f"---- {log.name}\n{log.read_text()}")
        cluster.stop_all()


def addresses(host: Host) -> None:
    """Give a host its own addresses, as whatever manages its network does when the link is back."""
    host.run(*f"ip address replace {host.address}/16 dev eth0".split())
    host.run(*f"ip address replace {HOST6}{host.number}/32 dev eth0 nodad".split())


def whole(host: Host) -> tuple[object, ...]:
    """Return all of ours that is there, which groups it lacks, and which VIPs are not fit for use.

    Linux forgets the addresses of IPv6 groups when a link goes, and remains a member.
    """
    seen = traces(host)
    plain = {one for one in seen.addresses if one.partition("/")[0] not in GROUPS}
    (told,) = json.loads(host.run("ip", "-json", "maddress", "show", "dev", "eth0").stdout)
    joined = {one.get("address", one.get("link")) for one in told["maddr"]}
    (link,) = json.loads(host.run("ip", "-6", "-json", "address", "show", "dev", "eth0").stdout)
    unfit = {
        one["local"]
        for one in link["addr_info"]
        if one["local"] in VIPS and (one.get("tentative") or one.get("dadfailed"))
    }
    return (
        dataclasses.replace(seen, addresses=frozenset(plain)),
        (GROUPS | SOLICITED) - joined,
        unfit,
    )


# ---- what the client sees ----


def flows(web: Site, targets: Sequence[str]) -> list[tuple[int, str, int, str]]:
    """Return a flow for each bucket of each VIP, and one, of bucket 0, for each of `targets`."""
    client = web.lan.client
    found = []
    for vip in VIPS:
        sources = itertools.cycle(CLIENT6 if ":" in vip else client.addresses)
        missing = set(range(1, BUCKETS + 1))
        while missing:
            flow = (next(sources), client.fresh_port())
            number = bucket(MODES[1], BUCKETS, 0, *flow, UDP_PORT)
            if number in missing:
                missing.remove(number)
                found.append((number, *flow, vip))
    return found + [(0, client.addresses[0], client.fresh_port(), one) for one in targets]


@dataclasses.dataclass
class Seen:
    """What the client saw: streams of VIPs, and of hosts' own addresses."""

    shared: list[Stream]
    links: list[Stream]

    @property
    def link(self) -> float:
        """For how long a link was gone."""
        return max(one.longest for one in self.links)

    @property
    def longest(self) -> float:
        """For how long any bucket of any VIP was silent."""
        return max(one.longest for one in self.shared)


@contextlib.contextmanager
def watched(web: Site, hosts: Sequence[Host]) -> Iterator[Callable[[], Seen]]:
    """Have the client ask during the body, which is given what ends that; once at most answers."""
    asked = flows(web, [host.address for host in hosts])
    gaps = Gaps(web.lan.client, VIP, Hashing(BUCKETS), interval=EACH, flows=asked)
    ended: list[Seen] = []

    def end() -> Seen:
        if not ended:
            streams = gaps.stop().streams
            many = len(VIPS) * BUCKETS
            ended.append(Seen(streams[:many], streams[many:]))
        return ended[0]

    try:
        yield end
    finally:
        end()
    twice = {one.bucket: one.excess for one in ended[0].shared if one.excess}
    if twice:
        raise AnsweredTwiceError(f"datagrams: {twice}")


def stayed(web: Site, held: dict[str, list[int]]) -> None:
    """Raise TooSlowError if a bucket moved: then a lease ended, of which the flap was half."""
    now = web.cluster.settled()
    if now != held:
        raise TooSlowError(f"buckets moved: {held}, and then {now}")


# ---- what happens to a link ----


def _administrator(_web: Site, host: Host, down: float) -> None:
    """Somebody sets the interface down: Linux forgets IPv6 addresses, and routes."""
    host.run("ip", "link", "set", "eth0", "down")
    time.sleep(down)
    host.run("ip", "link", "set", "eth0", "up")
    addresses(host)


def _carrier(web: Site, host: Host, down: float) -> None:
    """The cable, or the port of the switch."""
    web.lan.switch.run("ip", "link", "set", host.name, "down")
    time.sleep(down)
    web.lan.switch.run("ip", "link", "set", host.name, "up")


def _path(web: Site, host: Host, down: float) -> None:
    """Something between two switches: the hosts are told nothing."""
    web.lan.switch.run("bridge", "link", "set", "dev", host.name, "state", "0")
    time.sleep(down)
    web.lan.switch.run("bridge", "link", "set", "dev", host.name, "state", "3")


def _networkd(web: Site, host: Host, down: float) -> None:
    """The carrier goes, and who manages the network takes all addresses off meanwhile."""
    web.lan.switch.run("ip", "link", "set", host.name, "down")
    for scope in ("global", "host"):
        host.run("ip", "address", "flush", "dev", "eth0", "scope", scope)
    time.sleep(down)
    web.lan.switch.run("ip", "link", "set", host.name, "up")
    addresses(host)


WAYS = {"administrator": _administrator, "carrier": _carrier, "path": _path, "networkd": _networkd}
FEW = [
    ("administrator", 1, 0.01, 0.0),
    ("administrator", 6, 0.01, 0.03),  # in the middle of what puts things back
    ("administrator", 1, 0.3, 0.0),
    ("administrator", 1, 3.0, 0.0),
    ("carrier", 1, 0.3, 0.0),
    ("carrier", 10, 0.25, 0.25),
    ("path", 1, 3.0, 0.0),
    ("networkd", 1, 0.3, 0.0),
]
MANY = [(way, 1, down, 0.0) for way in WAYS for down in (0.01, 0.1, 0.3, 0.6, 1.0, 3.0, 10.0)]
TEN = [(way, 10, down, 0.5 - down) for way in WAYS for down in (0.01, 0.25, 0.4)]


@pytest.mark.parametrize(("way", "times", "down", "up"), [*MANY, *TEN] if ALL else FEW)
def test_of_one_host(web: Site, way: str, times: int, down: float, up: float) -> None:
    host = web.lan.hosts[1]

    def scenario() -> None:
        held, before = web.cluster.settled(), whole(host)
        assert before[1:] == (set(), set())
        with watched(web, [host]) as end:
            for _ in range(times):
                WAYS[way](web, host, down)
                back = time.monotonic()
                time.sleep(up)
            while whole(host) != before and time.monotonic() < back + 5.0:
                time.sleep(0.01)
            assert whole(host) == before
            put_back = time.monotonic() - back - up
            if times == 1 and down < LEASE / 2:
                stayed(web, held)
            else:
                assert web.cluster.settled()[host.name]
            seen = end()
        what = f"{way}, {times} times {down} s"
        in_time(f"{what}: put back", put_back, SERVED_WITHIN)
        in_time(f"{what}: longest gap", seen.longest, SERVED_WITHIN)

    patiently(web, scenario)


@pytest.mark.parametrize(
    ("times", "down", "up"),
    [(1, 0.2, 0.0), (1, 2.0, 0.0), (10, 0.25, 0.25)] + ([(1, 10.0, 0.0)] if ALL else []),
)
def test_of_the_switch(web: Site, times: int, down: float, up: float) -> None:
    """All hosts lose their links at once, and have them again."""
    lines = {
        state: "; ".join(f"ip link set {host.name} {state}" for host in web.lan.hosts)
        for state in ("down", "up")
    }

    def scenario() -> None:
        held = web.cluster.settled()
        with watched(web, web.lan.hosts) as end:
            for _ in range(times):
                web.lan.switch.run("sh", "-c", lines["down"])
                time.sleep(down)
                web.lan.switch.run("sh", "-c", lines["up"])
                time.sleep(up)
            if times == 1 and down < LEASE / 2:
                stayed(web, held)
            else:
                web.cluster.settled()
            seen = end()
        limit = seen.link + SERVED_WITHIN
        in_time(f"{times} times {down} s: longest gap", seen.longest, limit)

    patiently(web, scenario)


def test_of_what_it_must_let_be(web: Site) -> None:
    """Changes beside it that take addresses, or look as if they did."""
    host = web.lan.hosts[1]

    def scenario() -> None:
        held, before = web.cluster.settled(), whole(host)
        with watched(web, [host]) as end:
            for lines in (
                "ip link set eth0 address 02:00:00:00:00:77; ip link set eth0 address {mac}",
                "ip address del {VIP6}/128 dev eth0; ip address del {VIP}/32 dev eth0",
                SECOND_INTERFACE,
            ):
                done = lines.replace("{mac}", host.mac)
                done = done.replace("{VIP}", VIP).replace("{VIP6}", VIP6)
                host.run("sh", "-c", done)
                eventually(lambda: whole(host) == before, what=f"{lines}: to be mended")
            stayed(web, held)
            seen = end()
        in_time("longest gap", seen.longest, SERVED_WITHIN)

    patiently(web, scenario)


def test_without_ipv6_a_host_serves_nothing_and_then_again(web: Site) -> None:
    host = web.lan.hosts[1]
    web.cluster.settled()
    ipv6(host, on=False)
    web.cluster.settled(web.others(host))
    ipv6(host, on=True)
    addresses(host)
    held = web.cluster.settled()
    for vip in VIPS:
        client = copy.copy(web.lan.client)
        if ":" in vip:
            client.addresses = CLIENT6
        answers = ask(web.lan, vip, count=32, client=client)
        assert answers == predicted(MODES[1], answers, held)
