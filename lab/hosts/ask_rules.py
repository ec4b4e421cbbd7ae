"""By hand: a rule on each host, what it counts, and what its deletion leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from clusterip import bucket
from lab import frames, traffic
from lab.capture import answering_hosts, capturing
from lab.hosts.site import guest_state
from lab.servers import HTTP_PORT
from lab.topology import CLUSTER_MAC, VIP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.hosts.site import Site

_REQUESTS: Final = 120
_MODE: Final = "sourceip-sourceport"
_HASH_INIT: Final = 1234
_TOTAL: Final = 3


def rules(site: Site) -> None:
    """Share the VIP by `clusterip iptables`, as with CLUSTERIP."""
    report, guest, client = site.report, site.guest, site.lab.client
    site.end()
    with report.busy("a rule on each host"):
        for host in site.hosts:
            host.clusterip("iptables", "-A", *_rule(host.number))
        client.run("ip", "neighbour", "flush", "dev", "eth0", "nud", "all")
    report.xdp = guest.xdp
    report.check("XDP on virtio-net", "native", report.xdp)
    flows = traffic.flows(client, VIP, HTTP_PORT, _REQUESTS)
    with report.busy(f"{_REQUESTS} web requests"), capturing(client, "tcp") as capture:
        told = traffic.web_answers(client, flows)
    predicted = [f"h{_bucket(flow.source, flow.source_port)}" for flow in flows]
    exact = sum(one == other for one, other in zip(predicted, told, strict=True))
    report.check("web requests answered by the host of their bucket", _REQUESTS, exact)
    wire = answering_hosts(site.lab, capture, VIP).values()
    report.check("SYNs answered", _REQUESTS, sum(map(bool, wire)))
    report.check("SYNs answered twice", 0, sum(len(set(hosts)) > 1 for hosts in wire))
    report.check("the MAC that the client found", CLUSTER_MAC, client.neighbour(VIP))
    with report.busy("the guest's counters"):
        (interface,) = guest.show()["interfaces"]
        (rule,) = interface["rules"]
    seen = [frame for frame in capture.seen() if isinstance(frame, frames.Packet)]
    mine, all_of_them = _sent(seen, guest.number)
    verdicts = rule["verdicts"]
    report.check("packets of its bucket, accepted on the guest", mine, verdicts["accept_owned"])
    others = all_of_them - mine
    report.check("packets of others, discarded on the guest", others, verdicts["drop_not_owned"])
    listed = guest.clusterip("iptables", "-S").stdout
    report.check("rules that -S lists on the guest", 1, listed.count("-j CLUSTERIP"))
    with report.busy("the rules are deleted"):
        for host in site.hosts:
            host.clusterip("iptables", "-D", *_rule(host.number))
    left = sorted(set(guest_state(guest)) ^ set(site.bare))
    report.check("what the rule left on the guest", [], left)


def _rule(number: int) -> Sequence[str]:
    return (
        *("INPUT", "-p", "tcp", "-d", VIP, "-i", "eth0", "--dport", str(HTTP_PORT)),
        *("-j", "CLUSTERIP", "--new", "--hashmode", _MODE, "--clustermac", CLUSTER_MAC),
        *("--total-nodes", str(_TOTAL), "--local-node", str(number)),
        *("--hash-init", str(_HASH_INIT), "--manage-address"),
    )


def _bucket(source: str, port: int) -> int:
    return bucket(_MODE, _TOTAL, _HASH_INIT, source, port)


def _sent(seen: Sequence[frames.Packet], number: int) -> tuple[int, int]:
    """Return how many packets the client sent to that bucket, and how many to all."""
    buckets = [
        _bucket(packet.source, packet.source_port) for packet in seen if packet.destination == VIP
    ]
    return buckets.count(number), len(buckets)
