"""The others, set up as their own documentation says."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from lab.cluster import Cluster, cluster_file
from lab.topology import CLUSTER_MAC, VIP

if TYPE_CHECKING:
    from collections.abc import Collection

    from lab.processes import Process
    from lab.topology import Host, Lab

_SEED: Final = "0xdeadbeef"

_KEEPALIVED: Final = """\
global_defs {{
    router_id {name}
}}
vrrp_instance web {{
    state {state}
    interface eth0
    virtual_router_id 51
    priority {priority}
    advert_int 1
    virtual_ipaddress {{
        {vip}/16
    }}
}}
"""


def keepalived(host: Host, *, master: bool) -> Process:
    """Start keepalived with its defaults: it gives the VIP to the master, then to the backup."""
    base = host.directory / f"{host.name}-keepalived"
    config = base.with_suffix(".conf")
    state, priority = ("MASTER", 150) if master else ("BACKUP", 100)
    config.write_text(_KEEPALIVED.format(name=host.name, state=state, priority=priority, vip=VIP))
    return host.start(
        *("keepalived", "--dont-fork", "--log-console", "--vrrp", "--use-file", str(config)),
        *("--pid", f"{base}.pid", "--vrrp_pid", f"{base}-vrrp.pid"),
    )


def kill_keepalived(process: Process) -> None:
    """Kill it with its child at once: a child that outlives its parent says farewell."""
    os.killpg(process.pid, signal.SIGKILL)
    process.stop()


class Sharing(Protocol):
    """A way to share the VIP among three hosts, and to give the third host's share away."""

    name: str

    def share(self, lan: Lab) -> None:
        """Set it up; each host has its share when it returns."""

    def move(self, lan: Lab) -> None:
        """Give what h3 has to others."""


def _announce(lan: Lab) -> None:
    """Bring the VIP's packets to every host; the client is told the cluster MAC by hand."""
    for host in lan.hosts:
        host.run("ip", "maddress", "add", CLUSTER_MAC, "dev", "eth0")
        host.add_address(VIP)
    neighbour = ("ip", "neighbour", "replace", VIP, "lladdr", CLUSTER_MAC)
    lan.client.run(*neighbour, "dev", "eth0", "nud", "permanent")


def xt_cluster_rule(host: Host, *command: str, shares: Collection[int]) -> None:
    """Add or change the rule of iptables-extensions(8) that marks a host's shares, of 0, 1, 2."""
    mask = str(sum(1 << share for share in shares or (0, 1, 2)))
    # A mask may not be empty: nothing is "not any of the three", at the same price.
    which = (*(() if shares else ("!",)), "--cluster-local-nodemask", mask)
    host.run(
        *("iptables", "-t", "mangle", *command, "-i", "eth0", "-d", VIP, "-m", "cluster"),
        *("--cluster-total-nodes", "3", *which, "--cluster-hash-seed", _SEED),
        *("-j", "MARK", "--set-mark", "0xffff"),
    )


def xt_cluster(host: Host, shares: Collection[int]) -> None:
    """Mark what is this host's, drop the rest, as in iptables-extensions(8)."""
    # The page: "the pickup facility has to be disabled".
    loose = Path("/proc/sys/net/netfilter/nf_conntrack_tcp_loose")
    host.call(lambda: loose.write_text("0"))
    xt_cluster_rule(host, "-A", "PREROUTING", shares=shares)
    not_marked = ("-m", "mark", "!", "--mark", "0xffff")
    mangle = ("iptables", "-t", "mangle", "-A", "PREROUTING", "-i", "eth0", "-d", VIP)
    host.run(*mangle, *not_marked, "-j", "DROP")


def nft_jhash(host: Host, shares: Collection[int], hook: str = "prerouting priority -300") -> None:
    """Drop what is not this host's; Linux answers no TCP in a frame that is not for it."""
    numbers = ", ".join(map(str, sorted({0, 1, 2} - set(shares))))
    family = "netdev" if hook.startswith("ingress") else "ip"
    file = host.directory / f"{host.name}.nft"
    file.write_text(
        f"add table {family} shared\n"
        f"delete table {family} shared\n"
        f"table {family} shared {{\n"
        "  chain pre {\n"
        f"    type filter hook {hook};\n"
        f"    ip daddr {VIP} meta mark set jhash ip saddr mod 3 seed {_SEED}\n"
        f"    ip daddr {VIP} meta mark {{ {numbers} }} drop\n"
        f"    ip daddr {VIP} meta pkttype set host\n"
        "  }\n"
        "}\n"
    )
    host.run("nft", "--file", str(file))


class XtCluster:
    """`iptables -m cluster` as in iptables-extensions(8), a bit of the mask for each share."""

    name = "xt_cluster"

    def share(self, lan: Lab) -> None:
        """Mark what is this host's, drop the rest."""
        _announce(lan)
        for host in lan.hosts:
            xt_cluster(host, {host.number - 1})

    def move(self, lan: Lab) -> None:
        """First take it from h3, then let h2 have it."""
        _, taker, giver = lan.hosts
        giver.run("iptables", "-t", "mangle", "-D", "PREROUTING", "1")
        xt_cluster_rule(taker, "-R", "PREROUTING", "1", shares={1, 2})


class NftJhash:
    """A hash of the source in nftables, as in Pacemaker's IPaddr2 since 2026."""

    name = "nft jhash"

    def share(self, lan: Lab) -> None:
        """Drop what is not this host's; Linux answers no TCP in a frame that is not for it."""
        _announce(lan)
        for host in lan.hosts:
            nft_jhash(host, {host.number - 1})

    def move(self, lan: Lab) -> None:
        """First take it from h3, then let h2 have it."""
        _, taker, giver = lan.hosts
        nft_jhash(giver, set())
        nft_jhash(taker, {1, 2})


class Ours:
    """Daemons on three hosts, and `clusterip drain` on the third."""

    name = "clusterip"

    def __init__(self) -> None:
        self.cluster: Cluster | None = None

    def share(self, lan: Lab) -> None:
        """Start the daemons and wait until each has its share."""
        self.cluster = Cluster(lan, cluster_file(lan))
        self.cluster.start_all()
        self.cluster.settled()

    def move(self, lan: Lab) -> None:
        """Drain h3."""
        lan.hosts[2].clusterip("drain")
