"""A VIP that the hosts of the lab share, what is sent to it, and what must be answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clusterip import bucket
from lab import frames, traffic
from lab.capture import answering_hosts, capturing
from lab.servers import HTTP_PORT, UDP_PORT
from lab.topology import CLUSTER_MAC, VIP

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lab.topology import Client, Host, Lab, Node

Answers = dict[frames.Request, list[str]]
"""For each request the names of the hosts that answered it, one for each answer."""

MODES = ("sourceip", "sourceip-sourceport", "sourceip-sourceport-destport")


@dataclass(frozen=True, slots=True)
class Sharing:
    """How a VIP is shared; as a rule it is written the same on every host, but for the node."""

    mode: str = "sourceip-sourceport"
    vip: str = VIP
    total: int = 3
    hash_init: int = 1234
    mac: str = CLUSTER_MAC

    def new(self, node: int, *match: str) -> list[str]:
        """Return the rule that founds it, without the command (-A, -D)."""
        return [
            *self.join(*match),
            *("--new", "--hashmode", self.mode, "--clustermac", self.mac),
            *("--total-nodes", str(self.total), "--local-node", str(node)),
            *("--hash-init", str(self.hash_init)),
        ]

    def join(self, *match: str) -> list[str]:
        """Return a further rule for the same VIP."""
        return ["INPUT", *match, "-d", self.vip, "-i", "eth0", "-j", "CLUSTERIP"]

    def bucket(self, request: frames.Request) -> int:
        """Return the bucket that the request falls to."""
        ported = request.protocol in (frames.TCP, frames.UDP)
        ports = (request.source_port, request.destination_port) if ported else ()
        return self.bucket_of(request.source, *ports)

    def bucket_of(self, source: str, *ports: int) -> int:
        """Return the bucket of a packet with that source and these ports."""
        return bucket(self.mode, self.total, self.hash_init, source, *ports)

    def predicted(
        self, asked: Iterable[frames.Request], owners: Mapping[int, str] | None = None
    ) -> Answers:
        """Return what must be answered: bucket N by hN unless `owners` says otherwise."""
        by_bucket = owners or {number: f"h{number}" for number in range(1, self.total + 1)}
        return {
            request: [by_bucket[number]] if (number := self.bucket(request)) in by_bucket else []
            for request in asked
        }


def append(host: Host, *rule: str) -> None:
    """Run `clusterip iptables -A` on a host."""
    host.clusterip("iptables", "-A", *rule)


def share(lan: Lab, sharing: Sharing, *match: str) -> None:
    """Give all hosts the rule that founds the sharing, node N to host hN, and the address.

    In this order: an address without a rule is announced with the host's own MAC.
    """

    def join(host: Host) -> None:
        append(host, *sharing.new(host.number, *match))
        host.add_address(sharing.vip)

    lan.on_hosts(join)
    # What a test before left open may have asked for the address in vain, for up to 3 s by now.
    forget_neighbours(lan.clients)


def forget_neighbours(nodes: Iterable[Node]) -> None:
    """Have them ask anew for every address."""
    for node in nodes:
        node.run("ip", "neighbour", "flush", "dev", "eth0", "nud", "all")


def ask(
    lan: Lab,
    vip: str,
    count: int = 64,
    *,
    expected: int = 1,
    patience: float = 2.0,
    client: Client | None = None,
) -> Answers:
    """Send the VIP pings, web requests and datagrams, `count` of each; returns the answers.

    `expected` answers are awaited to each, for `patience` seconds; what comes beyond or later is
    seen as well. The lab's first client asks unless another is given.
    """
    client = client or lan.client
    web = traffic.flows(client, vip, HTTP_PORT, count)
    udp = traffic.flows(client, vip, UDP_PORT, count)
    with capturing(client, "ip or ip6") as capture:
        traffic.ping_from_everywhere(client, vip, count // len(client.addresses), wait=patience)
        traffic.web_answers(client, web, timeout=patience)
        traffic.udp_answers(client, udp, expected=expected, within=patience)
    return answering_hosts(lan, capture, vip)


def ping_all(lan: Lab, vip: str = VIP) -> Answers:
    """Ping the VIP once from each of the client's addresses; returns the answers."""
    with capturing(lan.client, "icmp") as capture:
        traffic.ping_from_everywhere(lan.client, vip, 1, wait=0.2)
    return answering_hosts(lan, capture, vip)
