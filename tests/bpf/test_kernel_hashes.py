"""`-m cluster` and nft's jhash of the running kernel choose the node that our modes choose.

Packets from many sources go into a namespace where xt_cluster and jhash mark each with its node,
and a set of nftables notes source and mark. Nothing is stored: the kernel is asked anew each time.
"""

from __future__ import annotations

import json
import random
import socket
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import numpy as np
import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from clusterip import bucket, buckets
from clusterip.adapters.abi import BucketState
from clusterip.core.address import Address
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import Mac, Rule, Sharing
from clusterip.core.packets.state import Entry, Group, InterfaceState
from tests.bpf.loaded import TC_ACT_UNSPEC, Loaded
from tests.bpf.reference import World
from tests.namespaces import ip, own_namespace, run

MAC = "02:00:00:00:00:01"
VIPS: dict[int, Address] = {4: IPv4Address("10.9.0.1"), 6: IPv6Address("2001:db8::1")}
PARAMETERS = [(1, 7), (3, 0), (7, 0xDEADBEEF), (32, 0xFFFFFFFF)]  # total nodes, seed
COUNT = 150

Nodes = dict[Address, int]
"""From a source to its node, counted from 1."""


@pytest.fixture(scope="module", autouse=True)
def namespace() -> Iterator[None]:
    with own_namespace(f"link set eth0 address {MAC}"):
        Path("/proc/sys/net/ipv6/conf/eth0/disable_ipv6").write_text("0")
        ip(f"address add {VIPS[6]}/64 dev eth0 nodad")
        yield


def sources(version: int, seed: int) -> list[Address]:
    """Draw sources. IPv6: of one network, of many in one /32, and of anywhere."""
    rnd = random.Random(seed)
    if version == 4:
        drawn = [
            IPv4Address(rnd.randrange(1, 127) << 24 | rnd.getrandbits(24)) for _ in "x" * COUNT
        ]
        return [*drawn, IPv4Address("1.0.0.1"), IPv4Address("223.255.255.254")]
    prefixes = ((0x20010DB8 << 96, 64), (0x20010DB8 << 96, 96), (1 << 125, 125))
    return [
        IPv6Address(prefix | rnd.getrandbits(bits))
        for prefix, bits in prefixes
        for _ in range(COUNT // 3)
    ]


def frame(source: Address) -> bytes:
    layer = IP if source.version == 4 else IPv6
    packet = layer(src=str(source), dst=str(VIPS[source.version])) / UDP(sport=1000, dport=9)
    return bytes(Ether(dst=MAC, src="02:00:00:00:00:09") / packet)


def chosen(version: int, total: int, seed: int, asked: list[Address]) -> tuple[Nodes, Nodes]:
    """Return what xt_cluster and what jhash of this kernel choose for each source."""
    family, command = ("ip", "iptables") if version == 4 else ("ip6", "ip6tables")
    mangle = (command, "-t", "mangle")
    run(*mangle, "-F", "PREROUTING")
    for node in range(1, total + 1):
        run(
            *(*mangle, "-A", "PREROUTING", "-i", "eth0", "-d", str(VIPS[version])),
            *("-m", "cluster", "--cluster-total-nodes", str(total)),
            *("--cluster-local-node", str(node), "--cluster-hash-seed", str(seed)),
            *("-j", "MARK", "--set-mark", str(node)),
        )
    noted = f"typeof {family} saddr . meta mark; flags dynamic; size 65535;"
    from_wire = f"iifname eth0 {family} daddr {VIPS[version]}"
    rules = f"""
add table inet seen
delete table inet seen
table inet seen {{
  set by_match {{ {noted} }}
  set by_nft {{ {noted} }}
  chain pre {{
    type filter hook prerouting priority 0
    {from_wire} add @by_match {{ {family} saddr . meta mark }}
    {from_wire} meta mark set jhash {family} saddr mod {total} seed {seed}
    {from_wire} add @by_nft {{ {family} saddr . meta mark }}
  }}
}}
"""
    subprocess.run(["nft", "--file", "-"], input=rules, text=True, check=True)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind(("wire", 0))
        for source in asked:
            wire.send(frame(source))
    # xt_cluster counts nodes from 1, jhash from 0.
    return noted_in("by_match", 0), noted_in("by_nft", 1)


def noted_in(name: str, first: int) -> Nodes:
    """Return the content of one of the sets, `first` added to the marks."""
    listed = json.loads(run("nft", "--json", "list", "set", "inet", "seen", name))
    (content,) = (one["set"] for one in listed["nftables"] if "set" in one)
    pairs = [one["concat"] for one in content["elem"]]
    return {ip_address(source): int(mark) + first for source, mark in pairs}


def in_bpf(loaded: Loaded, mode: HashMode, total: int, seed: int, asked: list[Address]) -> Nodes:
    """Return the node that the loaded program chooses for each source."""
    vip = VIPS[asked[0].version]
    sharing = Sharing(mode, Mac("01005e000020"), total, seed)
    rules = InterfaceState(
        7, "eth0", groups=(Group(0, vip, sharing),), entries=(Entry(1, 1, Rule(vip, "eth0")),)
    )
    loaded.put(World(rules, {0: [BucketState.OWNED] * total}))
    found = {}
    for source in asked:
        loaded.maps.zero_traffic(0)
        assert loaded.ingress(frame(source)) == TC_ACT_UNSPEC
        counts = [packets for packets, _ in loaded.maps.traffic(0)]
        found[source] = counts.index(1) + 1
    return found


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("parameters", PARAMETERS)
def test_the_nodes_are_those_of_the_kernel(
    loaded: Loaded, version: int, parameters: tuple[int, int]
) -> None:
    total, seed = parameters
    asked = sources(version, seed)
    kernels = dict(
        zip(("xt-cluster", "nft-jhash"), chosen(version, *parameters, asked), strict=True)
    )
    for mode, nodes in kernels.items():
        assert nodes.keys() == set(asked)
        assert {one: bucket(mode, total, seed, str(one)) for one in asked} == nodes
        assert in_bpf(loaded, HashMode(mode), total, seed, asked) == nodes
        if version == 4:
            numbers = np.array([int(one) for one in asked], np.uint32)
            assert buckets(mode, total, seed, numbers).tolist() == [nodes[one] for one in asked]
    assert (kernels["xt-cluster"] == kernels["nft-jhash"]) is (version == 4 or total == 1)


def test_xt_cluster_has_one_node_for_an_ipv6_network_of_32_bits() -> None:
    """What the documentation warns of: a site whose clients are in one /32 has one busy node."""
    one_network = [one for one in sources(6, 1) if int(one) >> 96 == 0x20010DB8]
    assert len(one_network) > COUNT / 2
    xt, nft = chosen(6, 7, 1, one_network)
    assert len(set(xt.values())) == 1
    assert len(set(nft.values())) == 7
