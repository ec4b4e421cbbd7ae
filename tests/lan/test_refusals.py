"""What cannot be done is refused in words that name fault and cure, and changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lab.namespace import NOBODY
from lab.topology import VIP, Host
from tests.lan.cluster import Sharing, append
from tests.lan.traces import traces

if TYPE_CHECKING:
    from collections.abc import Iterator
    from subprocess import CompletedProcess

    from lab.topology import Lab

RULE = Sharing().new(1)
REFUSED, USAGE, SYSTEM = 1, 2, 4

_FOREIGN_XDP = """\
__attribute__((section("xdp"), used)) int foreign(void *context) { return 2; }
"""


@pytest.fixture
def host(lan: Lab) -> Host:
    return lan.hosts[0]


def attach_foreign_xdp(host: Host) -> None:
    """Attach somebody else's XDP program, which lets everything pass."""
    source, program = host.directory / "foreign.c", host.directory / "foreign.o"
    source.write_text(_FOREIGN_XDP)
    host.run("clang", "-O2", "-target", "bpf", "-c", str(source), "-o", str(program))
    host.run("ip", "link", "set", "dev", "eth0", "xdpdrv", "obj", str(program), "sec", "xdp")


@pytest.fixture
def foreign_xdp(host: Host) -> Iterator[None]:
    """Somebody else's XDP program."""
    attach_foreign_xdp(host)
    yield
    host.run("ip", "link", "set", "dev", "eth0", "xdpdrv", "off")


def refused(host: Host, *arguments: str) -> CompletedProcess[str]:
    """Run a command that must fail and must not change anything."""
    before = traces(host)
    done = host.clusterip(*arguments, check=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert traces(host) == before
    return done


def replaced(old: str, new: str) -> list[str]:
    return [new if word == old else word for word in RULE]


def test_no_such_device(host: Host) -> None:
    done = refused(host, "iptables", "-A", *replaced("eth0", "eth9"))
    assert done.returncode == REFUSED
    assert "eth9" in done.stderr
    assert "eth0" in done.stderr  # the cure: what there is


def test_a_device_without_ethernet(host: Host) -> None:
    done = refused(host, "iptables", "-A", *replaced("eth0", "lo"))
    assert done.returncode == REFUSED
    assert "lo " in done.stderr


@pytest.mark.parametrize("hook", ["ingress", "egress"])
def test_a_foreign_filter_before_ours(host: Host, hook: str) -> None:
    host.run("tc", "qdisc", "add", "dev", "eth0", "clsact")
    host.run(
        *f"tc filter add dev eth0 {hook} prio 1 protocol ip u32 match u32 0 0".split(),
    )
    done = refused(host, "iptables", "-A", *RULE)
    assert done.returncode == REFUSED
    assert "foreign" in done.stderr
    assert f"eth0 {hook}" in done.stderr
    assert "cure:" in done.stderr


def test_an_ingress_qdisc_in_the_place_of_clsact(host: Host) -> None:
    host.run("tc", "qdisc", "add", "dev", "eth0", "ingress")
    done = refused(host, "iptables", "-A", *RULE)
    assert done.returncode == REFUSED
    assert "ingress" in done.stderr
    assert "tc qdisc del dev eth0 ingress" in done.stderr


@pytest.mark.usefixtures("foreign_xdp")
def test_foreign_xdp_where_ours_is_required(host: Host) -> None:
    done = refused(host, "iptables", "--xdp", "require", "-A", *RULE)
    assert done.returncode == REFUSED
    assert "XDP" in done.stderr
    assert "--xdp auto" in done.stderr


@pytest.mark.usefixtures("foreign_xdp")
def test_foreign_xdp_is_left_alone(host: Host) -> None:
    before = traces(host)
    append(host, *RULE)
    (interface,) = host.show()["interfaces"]
    assert interface["tc"]
    assert not interface["xdp"]["attached"]
    assert "foreign" in interface["xdp"]["note"]
    host.clusterip("flush")
    assert traces(host) == before


def test_without_root(host: Host) -> None:
    append(host, *RULE)
    before = traces(host)
    for command in (
        ["iptables", "-A", *Sharing().join("-p", "udp")],
        ["show"],
        ["bucket", VIP, "+2"],
        ["statefiles"],
    ):
        done = host.run(*NOBODY, "clusterip", *command, check=False)
        assert done.returncode == SYSTEM, command
        assert "root" in done.stderr
        assert "Traceback" not in done.stderr
    assert traces(host) == before
    assert host.clusterip("iptables", "-S").stdout.count("CLUSTERIP") == 1


@pytest.mark.parametrize(
    ("old", "new", "status", "said"),
    [
        ("01:00:5e:00:00:20", "02:00:5e:00:00:20", USAGE, "MAC has to be a multicast ethernet"),
        ("sourceip-sourceport", "bogus", USAGE, 'Unknown hashmode "bogus"'),
        ("3", "300", USAGE, "--total-nodes"),
        ("3", "0", USAGE, "--total-nodes"),
        (VIP, "10.9.0.0/24", USAGE, "Please specify destination IP"),
        (VIP, "2001:db8::1", USAGE, "2001:db8::1"),
        ("CLUSTERIP", "DROP", USAGE, "DROP"),
        ("INPUT", "FORWARD", USAGE, "FORWARD"),
    ],
)
def test_a_rule_that_makes_no_sense(host: Host, old: str, new: str, status: int, said: str) -> None:
    done = refused(host, "iptables", "-A", *replaced(old, new))
    assert done.returncode == status
    assert said in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["iptables", "-A", *Sharing().join()], "need 'new'"),
        (["iptables", "-D", *RULE], "does a matching rule exist"),
        (["bucket", VIP, "+2"], "not shared here"),
    ],
)
def test_for_a_vip_that_is_not_shared(host: Host, arguments: list[str], said: str) -> None:
    done = refused(host, *arguments)
    assert done.returncode == REFUSED
    assert said in done.stderr


def test_for_a_vip_that_is_shared_otherwise(host: Host) -> None:
    append(host, *RULE)
    rules = host.clusterip("iptables", "-S").stdout
    for arguments, said in (
        (["iptables", "-A", *Sharing(total=4).new(1, "-p", "icmp")], "total-nodes"),
        (["iptables", "-A", *Sharing(hash_init=5).new(1, "-p", "icmp")], "hash-init"),
        (["bucket", VIP, "+1"], "held here already"),
        (["bucket", VIP, "-2"], "not held here"),
        (["bucket", VIP, "+4"], "no bucket 4"),
    ):
        done = refused(host, *arguments)
        assert done.returncode == REFUSED
        assert said in done.stderr
    assert host.clusterip("iptables", "-S").stdout == rules
    assert host.show()["interfaces"][0]["vips"][0]["held"] == [1]
