"""Every packet that was sent to the real ipt_CLUSTERIP falls to the same node here."""

from __future__ import annotations

import csv
from ipaddress import IPv4Address
from itertools import groupby
from pathlib import Path

from clusterip.adapters.abi import BucketState, Reason
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import Mac, Rule, Sharing
from clusterip.core.packets.state import Chain, InterfaceState
from clusterip.core.rules import chain as chains
from tests.bpf.frames import plain_frame
from tests.bpf.loaded import TC_ACT_UNSPEC, Loaded
from tests.bpf.reference import World

VECTORS = Path(__file__).parents[1] / "vectors" / "ipt_clusterip_linux_6.1.csv"
PROTOCOLS = {"udp": 17, "sctp": 132, "icmp": 1}
Row = dict[str, str]


def parameters(row: Row) -> tuple[str, str, str]:
    return row["hashmode"], row["total_nodes"], row["hash_init"]


def rules_for(rows: list[Row]) -> InterfaceState:
    mode, total, init = parameters(rows[0])
    sharing = Sharing(HashMode(mode), Mac("01005e000020"), int(total), int(init, 0))
    chain = Chain()
    for vip in sorted({row["dst"] for row in rows}):
        chain = chains.append(chain, Rule(IPv4Address(vip), "eth0", sharing=sharing), 7)
    return chain.interfaces[0]


def test_every_packet_of_the_real_module(loaded: Loaded) -> None:
    with VECTORS.open(encoding="ascii") as file:
        rows = sorted(csv.DictReader(file), key=parameters)
    done = 0
    for _, several in groupby(rows, parameters):
        group_rows = list(several)
        rules = rules_for(group_rows)
        owned = {group.index: [BucketState.OWNED] * 256 for group in rules.groups}
        loaded.put(World(rules, owned))
        for row in group_rows:
            vip = IPv4Address(row["dst"])
            group = rules.group(vip)
            assert group is not None
            loaded.maps.zero_traffic(group.index)
            frame = plain_frame(
                row["src"], int(row["sport"]), vip, int(row["dport"]), PROTOCOLS[row["proto"]]
            )
            assert loaded.ingress(frame) == TC_ACT_UNSPEC
            counts = [packets for packets, _ in loaded.maps.traffic(group.index)]
            assert counts.index(1) + 1 == int(row["node"]), row
            assert sum(counts) == 1
            done += 1
        accepted = sum(
            loaded.maps.count(entry.slot).packets[Reason.ACCEPT_OWNED] for entry in rules.entries
        )
        assert accepted == len(group_rows)
    assert done == 2772
