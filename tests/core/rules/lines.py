"""Command lines for the tests of the rule grammar, and how they are read."""

from __future__ import annotations

import shlex
from ipaddress import IPv4Address

import pytest

from clusterip.core.errors import UsageError
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import Mac, Rule, Sharing
from clusterip.core.rules.grammar import Command, parse

VIP = IPv4Address("10.9.0.100")
SHARING = Sharing(HashMode.SOURCEIP, Mac("01005e000020"), 4)
HEAD = "-A INPUT -d 10.9.0.100 -i eth0"
NEW = "--new --hashmode sourceip --clustermac 01:00:5e:00:00:20 --total-nodes 4"
RULE = f"{HEAD} -j CLUSTERIP {NEW} --local-node 1"
LIST = "-m multiport --dports"


def read(line: str) -> Command:
    return parse(shlex.split(line))


def one(line: str) -> Rule:
    (rule,) = read(line).rules
    return rule


def fault(line: str) -> str:
    with pytest.raises(UsageError) as caught:
        read(line)
    assert caught.value.exit_status == 2
    assert caught.value.cure
    return caught.value.message


def services(name: str, protocol: str) -> int | None:
    return {("http", "tcp"): 80, ("domain", "udp"): 53, ("domain", "tcp"): 53}.get((name, protocol))
