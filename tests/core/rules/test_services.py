"""A service in a few words."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from clusterip.core.config.reading import read
from clusterip.core.config.state import interface_state
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import Match, Ports, Rule, ServiceAction
from clusterip.core.rules import services

VIP = IPv4Address("10.9.0.100")


@pytest.mark.parametrize(
    ("match", "words"),
    [
        (Match(), "all"),
        (Match(6), "tcp"),
        (Match(6, destination_ports=(Ports("tcp", ((80, 80),)),)), "tcp 80"),
        (Match(17, destination_ports=(Ports("udp", ((8000, 8080),)),)), "udp 8000-8080"),
        (Match(250), "250"),
    ],
)
def test_what_it_is_about(match: Match, words: str) -> None:
    assert services.named(Rule(VIP, "eth0", match)) == words


def test_what_decides() -> None:
    def decided(action: ServiceAction, bucket: int = 0) -> str:
        rule = Rule(VIP, "eth0", action=action, bucket=bucket)
        return services.decided_by(rule, HashMode.SOURCEIP)

    assert decided(ServiceAction.BALANCE) == "sourceip"
    assert decided(ServiceAction.SINGLE, 7) == "all to bucket 7"
    assert decided(ServiceAction.DROP) == "dropped"


def test_those_of_a_file() -> None:
    config = read(
        """
        [cluster]
        name = "web"
        interface = "eth0"
        [[vip]]
        address = "10.9.0.100"
        service = [
          { protocol = "udplite", ports = [9] },
          { protocol = "all" },
          { protocol = "tcp", ports = ["80-89", 443] },
        ]
        [[node]]
        name = "web1"
        [[node]]
        name = "web2"
        [[node]]
        name = "web3"
        """
    )
    entries = interface_state(config, 1, "eth0").entries
    assert {services.named(one.rule) for one in entries} == {
        "udplite 9",
        "tcp 443",
        "tcp 80-89",
        "all",
    }
