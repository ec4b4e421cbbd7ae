"""What is unwise is said, and what is not is passed over."""

from __future__ import annotations

import pytest

from clusterip.core.config.advice import advised
from clusterip.core.config.reading import read
from clusterip.core.findings import Severity
from tests.core.config.texts import SMALL, with_lines

SERVICE = '[[vip.service]]\nprotocol = "{}"\n'
CHECK = '[[check]]\ntype = "tcp"\nport = 80'


def said(text: str) -> list[str]:
    found = advised(read(text))
    assert all(one.cure for one in found)
    assert {one.severity for one in found} <= {Severity.WARNING}
    return [one.sentence for one in found]


def nodes(count: int, more: str = "") -> str:
    """Return a good file with that many nodes and a check."""
    each = "".join(f'[[node]]\nname = "n{number}"\n{more}\n' for number in range(count))
    return f"{SMALL[: SMALL.index('[[node]]')]}{each}{CHECK}\n"


def test_nothing_to_say() -> None:
    assert said(with_lines(rest=CHECK)) == []
    assert said(nodes(5)) == []


def test_no_check() -> None:
    assert said(SMALL) == ["no health check: a host whose server is down goes on answering"]


@pytest.mark.parametrize(
    ("text", "begin"),
    [
        (nodes(1), "only one node serves: nothing takes over when it dies"),
        (nodes(2), "two voters, and one may go on alone"),
        (
            nodes(2).replace("[cluster]", '[cluster]\nquorum = "majority"'),
            "two voters are a majority only together",
        ),
        (nodes(4), "4 voters survive no more deaths than 3 would"),
        (
            nodes(3).replace("[cluster]", '[cluster]\nquorum = "alive"'),
            'quorum = "alive" is for two voters: of 3 a majority is needed all the same',
        ),
        (nodes(3, "weight = 0"), "every weight is 0: nobody takes a bucket"),
        (nodes(3).replace("[cluster]", "[cluster]\nbuckets = 8"), "the smallest share is 2.7 of 8"),
        (
            nodes(17).replace("[cluster]", '[cluster]\nprofile = "fast"\nbuckets = 256'),
            'profile = "fast" with 17 nodes: each hears 566 messages a second',
        ),
        (
            nodes(3).replace("[cluster]", '[cluster]\ndrain_timeout = "2h"'),
            "drain_timeout is 2h: one idle connection holds up a drain until then",
        ),
        (
            nodes(3).replace("[cluster]", '[cluster]\nstop = "drain"\ndrain_timeout = "90m"'),
            "drain_timeout is 90m: a stopping host waits that long",
        ),
        (
            nodes(3).replace('"n1"', '"n1"\naddress = "127.0.1.1"'),
            "n1: a loopback address cannot be reached from another host",
        ),
        (
            nodes(3).replace("[cluster]", '[cluster]\nmac = "01:00:5e:00:00:12"'),
            "01:00:5e:00:00:12 of 10.9.0.100 is the MAC of 224.0.0.18 (VRRP)",
        ),
        (
            nodes(3).replace("[cluster]", '[cluster]\nmac = "01:00:5e:01:02:03"'),
            "01:00:5e:01:02:03 of 10.9.0.100 is subject to IGMP snooping",
        ),
        (
            nodes(3).replace('"10.9.0.100"\n', '"2001:db8::100"\n' + SERVICE.format("icmp")),
            "2001:db8::100 has a service for icmp, which does not go over IPv6",
        ),
        (
            nodes(3).replace('"10.9.0.100"\n', '"10.9.0.100"\n' + SERVICE.format("ipv6-icmp")),
            "10.9.0.100 has a service for ipv6-icmp, which does not go over IPv4",
        ),
    ],
)
def test_one_thing(text: str, begin: str) -> None:
    first = said(text)[0]
    assert first.startswith(begin)


@pytest.mark.parametrize("count", [2, 4])
def test_a_witness_cures_an_even_number_of_voters(count: int) -> None:
    found = advised(read(nodes(count)))
    assert [one.cure.partition(":")[0] for one in found] == ["add a witness"]
    assert said(nodes(count + 1).replace('"n1"', '"n1"\nwitness = true')) == []


def test_fast_and_alive() -> None:
    found = said(nodes(2).replace("[cluster]", '[cluster]\nprofile = "fast"'))
    assert len(found) == 2
    assert found[1].startswith('profile = "fast" with quorum = "alive"')


def test_one_server_with_witnesses() -> None:
    text = nodes(3).replace('"n2"', '"n2"\nwitness = true').replace('"n1"', '"n1"\nwitness = true')
    assert said(text) == ["only one node serves: nothing takes over when it dies"]
