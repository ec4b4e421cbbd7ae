"""Whether the addresses of the file and those of this host fit."""

from __future__ import annotations

from ipaddress import ip_address

from clusterip.adapters.configured import Configured
from clusterip.adapters.links import FakeLinks, Link
from clusterip.core.config.reading import read
from clusterip.core.findings import Finding
from clusterip.runtime import reach
from tests.core.config.texts import with_lines

TEXT = with_lines("buckets = 6")


def found(name: str, own: str, *, of: dict[str, str]) -> list[Finding]:
    """Return what is found on node `name`, which has the address `own`; all are loopback ones."""
    text = TEXT
    for node, address in of.items():
        text = text.replace(f'"{node}"', f'"{node}"\naddress = "{address}"')
    config = read(text)
    me = config.node(name)
    assert me is not None
    links = FakeLinks([Link(2, "eth0")])
    links.strange = {Configured(2, ip_address(own), 24)}
    return [one for one in reach.findings(config, me, links) if "sent" not in one.sentence]


def test_all_is_well() -> None:
    assert found("web1", "10.9.0.1", of={"web1": "10.9.0.1", "web2": "10.9.0.2"}) == []


def test_another_address() -> None:
    (one,) = found("web1", "10.9.0.1", of={"web1": "10.9.0.7"})
    assert one.is_fault
    assert one.sentence.startswith(
        "10.9.0.7, the address of web1 in the file, is none of this host"
    )
    assert "give it one of 10.9.0.1;" in one.cure


def test_the_address_of_another() -> None:
    first, second = found("web2", "10.9.0.1", of={"web1": "10.9.0.1", "web2": "10.9.0.2"})
    assert first.sentence.startswith("10.9.0.2, the address of web2 in the file, is none")
    assert second.sentence == (
        "10.9.0.1, the address of web1 in the file, is this host's, which is web2"
    )


def test_a_vip_that_is_in_no_network() -> None:
    """As where it is mistyped; a router may have a route for it all the same."""
    links = FakeLinks([Link(2, "eth0")])
    config = read(TEXT)
    assert list(reach.of_vips(config, 2, "eth0", links)) == []
    links.strange = {Configured(2, ip_address("10.9.0.1"), 24)}
    assert list(reach.of_vips(config, 2, "eth0", links)) == []
    links.strange = {Configured(2, ip_address("10.8.0.1"), 24)}
    (one,) = reach.of_vips(config, 2, "eth0", links)
    assert not one.is_fault
    assert one.sentence == "VIP 10.9.0.100 is in no network of eth0 (10.8.0.0/24)"
