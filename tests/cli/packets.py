"""`clusterip which` within the test and as a process, and a host that it asks."""

from __future__ import annotations

import argparse
import sys
from ipaddress import IPv4Address

import pytest

from clusterip import bucket
from clusterip.adapters.abi import BucketState
from clusterip.adapters.diag import FakeSockets, Sockets
from clusterip.adapters.statefs import FakeBuckets
from clusterip.cli import which
from clusterip.core.address import Address
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import Mac, Match, Ports, Rule, Sharing
from clusterip.core.packets.state import Chain, Entry, Group, InterfaceState
from clusterip.runtime.whereabouts import Finder, Rules, from_rules

VIP = IPv4Address("10.9.0.100")
SHARED = Sharing(HashMode.SOURCEIP_SOURCEPORT, Mac("01005e000020"), 4, 1234)
BARE = ["--hashmode", "sourceip-sourceport", "--total-nodes", "4", "--hash-init", "1234"]


class Web(FakeBuckets):
    """A host that shares one VIP by two rules, UDP and TCP to port 80, and holds bucket 1 and 2."""

    def __init__(self) -> None:
        super().__init__({VIP: {1, 2}})

    def states(self, vip: Address) -> tuple[BucketState, ...]:
        held = self.buckets(vip)
        return tuple(
            BucketState.OWNED if one in held else BucketState.NONE
            for one in range(1, SHARED.total + 1)
        )

    def chain(self) -> Chain:
        web = Match(6, destination_ports=(Ports("tcp", ((80, 80),)),))
        rules = (Rule(VIP, "eth0", Match(17), SHARED, 1), Rule(VIP, "eth0", web))
        entries = tuple(Entry(place, place + 1, rule) for place, rule in enumerate(rules))
        groups = (Group(0, VIP, SHARED),)
        return Chain((InterfaceState(1, "eth0", groups=groups, entries=entries),))


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    which.add_to(parser.add_subparsers())
    return parser.parse_args(["which", *words])


def ask(*words: str) -> int:
    return answer(Web(), *words)


def answer(rules: Rules, *words: str, sockets: Sockets | None = None) -> int:
    """Run it with the rules of another host, and its connections."""
    return which.answer(
        parse(*words),
        lambda vip: Finder(vip, lambda vip: from_rules(rules, vip), sockets or FakeSockets()),
    )


def told(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert ask(*words) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    return shown.out


def source_in(number: int) -> str:
    """Return a source address that falls to that bucket with source port 1000."""
    addresses = (f"192.0.2.{last}" for last in range(256))
    return next(a for a in addresses if bucket("sourceip-sourceport", 4, 1234, a, 1000) == number)


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "clusterip.cli.main", "which", *words]
