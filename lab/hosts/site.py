"""A cluster of two namespaces and a guest, and a client that says who answers."""

from __future__ import annotations

import contextlib
import itertools
import json
from typing import TYPE_CHECKING, Final

from lab.cluster import BUCKETS, Cluster, Member, cluster_file, is_fair
from lab.demo_watch import SLOW, Watch, watching
from lab.gaps import Hashing, flows_by_bucket
from lab.hosts.guest import Guest
from lab.servers import HTTP_PORT, UDP_PORT, nginx
from lab.topology import VIP, lab
from lab.traffic import Flow, udp_answers
from lab.wait import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lab.hosts.images import Image
    from lab.hosts.report import Report
    from lab.topology import Host, Lab

LIMIT: Final = SLOW.limit
"""Seconds within which others serve the buckets of a host that is gone."""
SETTLED_WITHIN: Final = 180.0
"""Seconds; long, for it only ends what would never come. What clients may feel has limits."""
ELSEWHERE: Final = "192.0.2.1"
"""An address of the client that is not on the segment: what goes there is by the default route."""
_WITHIN: Final = 0.5
_FILE: Final = "/etc/clusterip.toml"
_KEY: Final = "/etc/clusterip.key"


class Site:
    """Hosts h1 and h2 as namespaces, h3 as a guest, and a client; all are web servers.

    `report` is where scenarios say what they found.
    """

    def __init__(self, made: Lab, guest: Guest, report: Report) -> None:
        self.lab = made
        self.guest = guest
        self.report = report
        self.bare = guest_state(guest)
        """What the guest had on its interface and in its kernel before clusterip was there."""
        self._cluster: Cluster | None = None

    @property
    def hosts(self) -> list[Host | Guest]:
        """All three hosts, for commands."""
        return [*self.lab.hosts, self.guest]

    @property
    def members(self) -> list[Member]:
        """All three hosts, for who only wants to know them."""
        return [*self.lab.hosts, self.guest]

    @property
    def others(self) -> list[Member]:
        """All but the guest."""
        return list(self.lab.hosts)

    @property
    def cluster(self) -> Cluster:
        """The daemons in namespaces; that of the guest is systemd's."""
        if self._cluster is None:
            check = {"type": "tcp", "port": HTTP_PORT}
            file = cluster_file(self.lab, hosts=self.members, profile=SLOW.profile, checks=[check])
            self._cluster = Cluster(self.lab, file)
        return self._cluster

    def configure(self) -> None:
        """Give the guest the file and the key of the others, where the README has them."""
        text = self.cluster.file.read_text()
        key = self.lab.directory / "cluster.key"
        self.guest.write(
            {_FILE: text.replace(json.dumps(str(key)), json.dumps(_KEY)), _KEY: key.read_text()}
        )

    def begin(self) -> None:
        """Have a daemon on each host, where there is none yet."""
        idle = [host for host in self.cluster.hosts if not self.cluster.running(host)]
        if self.guest.sh("systemctl is-active clusterip", check=False) != "active":
            self.configure()
            # Whoever waits for the start waits for what a client sees, not for systemd's patience.
            self.guest.sh("systemctl enable --now --no-block clusterip")
        for host in idle:
            self.cluster.start(host)

    def end(self) -> None:
        """Stop all daemons."""
        self.guest.sh("systemctl disable --now clusterip", within=60.0)
        if self._cluster is not None:
            self._cluster.stop_all()

    def held(self) -> dict[str, list[int]]:
        """Return the buckets that each host answers for the client: one datagram to each.

        A bucket that several hosts answer is with each of them.
        """
        client, hashing = self.lab.client, Hashing(BUCKETS)
        ports = iter(client.fresh_port, None)
        found = flows_by_bucket(client.addresses, ports, hashing, UDP_PORT)
        asked = [Flow(*flow, VIP, UDP_PORT) for flow in itertools.islice(found, BUCKETS)]
        answers = udp_answers(client, asked, within=_WITHIN)
        held: dict[str, list[int]] = {member.name: [] for member in self.members}
        for number, names in enumerate(answers, 1):
            for name in names:
                held[name].append(number)
        return held

    def settled(
        self, *sharing: Member, weights: Mapping[str, int] | None = None, within: float = 0.0
    ) -> dict[str, list[int]]:
        """Wait until these hosts, by default all, answer fair shares and nobody else anything.

        As a client sees it. Returns the buckets of each host; TimeoutError with what it saw last.
        """
        shares = {one.name: 100 for one in sharing or self.members} | dict(weights or {})
        last: dict[str, list[int]] = {}

        def fair() -> bool:
            nonlocal last
            last = self.held()
            return is_fair(last, shares, BUCKETS)

        within = within or SETTLED_WITHIN
        with contextlib.suppress(TimeoutError):
            eventually(fair, within=within)
            return last
        raise TimeoutError(f"shares are not fair within {within:g} s; the client sees {last}")

    def ready(self) -> None:
        """Have all three hosts share, whatever was before."""
        with self.report.busy("three hosts are to share"):
            self.begin()
            self.settled()
        self.report.xdp = self.guest.xdp

    @contextlib.contextmanager
    def watching(self) -> Iterator[Watch]:
        """Have clients at work for the body: open connections, new ones, datagrams."""
        with watching(self.lab, SLOW) as watch:
            yield watch

    def check_once(self, watch: Watch) -> None:
        """Claim that nothing was answered twice."""
        self.report.check("SYNs answered twice", 0, watch.twice)
        self.report.check("datagrams answered twice", 0, watch.seen.gaps.excess)

    def check_unbroken(self, watch: Watch) -> None:
        """Claim that clients noticed nothing."""
        seen = watch.seen
        self.report.check_at_least("connections alive", 1, len(seen.load.connections))
        self.report.check("connections broken", 0, len(seen.load.broken))
        self.report.check("new connections refused", 0, len(seen.syns.failed))
        self.check_once(watch)


def guest_state(guest: Guest) -> list[str]:
    """Return, in lines, all that clusterip could leave on a host."""
    asked = (
        "ip -oneline address show dev eth0",
        "ip -details link show dev eth0 | grep -o 'prog/xdp' || true",
        "tc qdisc show dev eth0",
        "tc filter show dev eth0 ingress",
        "tc filter show dev eth0 egress",
        "ip -oneline maddress show dev eth0",
        "grep -r . /proc/sys/net/ipv4/conf /proc/sys/net/ipv6/conf 2>/dev/null",
        "find /sys/fs/bpf | grep clusterip || true",
        # Not the lock, and not what a voter has promised, which outlives its daemon.
        "find /run -path '*clusterip*' ! -name clusterip.lock ! -path '*/clusterip-peer*'",
    )
    told = guest.sh("\n".join(asked))
    return [line.strip() for line in told.splitlines() if line.strip()]


@contextlib.contextmanager
def site(image: Image, report: Report) -> Iterator[Site]:
    """Build the lab, boot the guest, and have web servers on all hosts; no clusterip runs."""
    with lab(hosts=2) as made:
        guest = Guest(made, image, number=3)
        with report.busy(f"{guest.name} boots ({guest.machine.accelerator.name})"):
            guest.boot()
        for host in made.hosts:
            nginx(host)
        made.client.run("ip", "address", "add", f"{ELSEWHERE}/32", "dev", "lo")
        yield Site(made, guest, report)
