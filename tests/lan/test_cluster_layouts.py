"""Programs whose maps are laid out otherwise: upgraded by a restart under load, and put back."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

import pytest

from clusterip.core import limits
from lab.wait import eventually
from tests.lan.clusters import site, watching
from tests.lan.test_cluster_versions import install
from tests.lan.unbroken import nothing_lost, pinged
from tests.layouts import NEWER, RULES, newer, package

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.topology import Host
    from tests.lan.clusters import Site

VIP, MAC = "10.9.0.100", "01:00:5e:00:00:c4"
ROOM = (
    "from clusterip.adapters import bpffs, libbpf\n"
    "place = next(one for one in bpffs.namespace_folder().iterdir() if one.name.isdigit())\n"
    "with libbpf.pinned(str(place / 'verdicts')) as fd: print(libbpf.map_info(fd).max_entries)"
)


def room(host: Host) -> int:
    """Return how many rules the maps of a host have room for."""
    return int(host.run("python3", "-c", ROOM).stdout)


def counted(host: Host) -> tuple[dict[str, int], int]:
    """Return what the rules of a host counted: packets by reason, and those of its buckets."""
    (interface,) = host.show()["interfaces"]
    by_reason: dict[str, int] = {}
    for rule in interface["rules"]:
        for reason, packets in rule["verdicts"].items():
            by_reason[reason] = by_reason.get(reason, 0) + packets
    buckets: list[dict[str, Any]] = interface["vips"][0]["buckets"]
    return by_reason, sum(one["packets"] for one in buckets)


def ahead(host: Host, other: Host) -> tuple[int, int]:
    """Return how many more packets a host counted than another, by rule and by bucket.

    Each sees all that comes. It is quiet meanwhile, but for what comes between the two looks.
    """
    (one, of_one), (two, of_two) = counted(host), counted(other)
    return sum(one.values()) - sum(two.values()), of_one - of_two


def replaced(web: Site, host: Host, program: Path, folder: Path, rules: int) -> None:
    """Have the daemon of a host be that program, whose maps have room for so many rules."""
    install(host, program, folder)
    before, held = counted(host), web.cluster.held()
    with nothing_lost(web):
        said = host.clusterip("restart").stdout
        web.cluster.settled()
        assert room(host) == rules, said
        assert web.cluster.held() == held
        after = counted(host)
        assert all(after[0][reason] >= packets for reason, packets in before[0].items())
        assert after[1] >= before[1]
    last = {
        reason: number - before[0].get(reason, 0) for reason, number in counted(host)[0].items()
    }
    assert not last.get("drop_expired")
    assert not list(host.pins.glob("other-*"))


@contextlib.contextmanager
def site_with(program: Path, folder: Path) -> Iterator[tuple[Site, Host]]:
    """Build a cluster, and have its first host run that program."""
    with site() as web:
        host = web.lan.hosts[0]
        web.cluster.stop(host)
        install(host, program, folder)
        web.cluster.start(host)
        web.cluster.settled()
        yield web, host


def test_upgraded_under_load_and_put_back(tmp_path: Path) -> None:
    older, later = package(tmp_path / "older"), newer(tmp_path / "newer")
    with site_with(older, tmp_path) as (web, host):
        other = web.lan.hosts[1]
        lead = ahead(host, other)
        replaced(web, host, later, tmp_path, RULES)
        # Nothing that came meanwhile was left uncounted, and nothing was counted twice.
        eventually(lambda: ahead(host, other) == lead, what="equal counts")
        replaced(web, host, older, tmp_path, limits.RULES)
        eventually(lambda: ahead(host, other) == lead, what="equal counts")


def test_started_beside_what_a_killed_one_left(tmp_path: Path) -> None:
    older, later = package(tmp_path / "older"), newer(tmp_path / "newer")
    with site_with(older, tmp_path) as (web, host):
        counted_before, _ = counted(host)
        web.cluster.kill(host)
        install(host, later, tmp_path)
        # What is only read is read as it is.
        assert counted(host)[0].keys() == counted_before.keys()
        assert room(host) == limits.RULES
        web.cluster.start(host)
        web.cluster.settled()
        assert room(host) == RULES
        assert sum(counted(host)[0].values()) >= sum(counted_before.values())
        with pinged(web), watching(web, 50) as watch:
            pass
        watch.seen.nothing_broke()


def test_one_that_cannot_go_on_is_refused(tmp_path: Path) -> None:
    older, another = package(tmp_path / "older"), newer(tmp_path / "another", lowest=NEWER)
    with site_with(older, tmp_path) as (web, host):
        held, pins = web.cluster.held(), sorted(host.pins.rglob("*"))
        install(host, another, tmp_path)
        with watching(web, 50) as watch:
            refused = host.clusterip("restart", check=False)
            shown = host.clusterip("iptables", "-S", check=False)
        install(host, older, tmp_path)
        assert refused.returncode != 0
        assert "cannot go on with what this one has in the kernel" in refused.stderr
        assert "of another release of clusterip" in shown.stderr
        watch.seen.nothing_broke()
        assert web.cluster.held() == held
        assert sorted(host.pins.rglob("*")) == pins


def killed_and_exchanged(web: Site, host: Host, program: Path, folder: Path) -> None:
    """Kill the daemon of a host, and install another program when the others have taken over."""
    web.cluster.kill(host)
    web.cluster.settled()
    install(host, program, folder)


@pytest.mark.parametrize("lowest", [None, NEWER], ids=["related", "unrelated"])
def test_what_a_killed_one_left_is_flushed(tmp_path: Path, lowest: int | None) -> None:
    older = package(tmp_path / "older")
    later = newer(tmp_path / "newer", **({} if lowest is None else {"lowest": lowest}))
    with site_with(older, tmp_path) as (web, host):
        for program in (later, older):
            killed_and_exchanged(web, host, program, tmp_path)
            with watching(web, 50) as watch:
                host.clusterip("flush")
            watch.seen.nothing_broke()
            assert not host.pins.exists()
            assert VIP not in host.run("ip", "address", "show", "dev", "eth0").stdout
            assert MAC not in host.run("ip", "maddress", "show", "dev", "eth0").stdout
            for hook in ("ingress", "egress"):
                assert not host.run("tc", "filter", "show", "dev", "eth0", hook).stdout
            web.cluster.start(host)
            web.cluster.settled()


@pytest.mark.parametrize("lowest", [None, NEWER], ids=["related", "unrelated"])
def test_started_on_another_interface_than_a_killed_one(tmp_path: Path, lowest: int | None) -> None:
    """Nothing stays on the first, and no guard of it on the second."""
    older = package(tmp_path / "older")
    later = newer(tmp_path / "newer", **({} if lowest is None else {"lowest": lowest}))
    with site_with(older, tmp_path) as (web, host):
        host.run("ip", "link", "add", "eth1", "type", "veth", "peer", "name", "far1")
        for name in ("eth1", "far1"):
            host.run("ip", "link", "set", name, "up")
        eventually(lambda: filters(host, "eth1", "ingress"), what="a guard on eth1")
        killed_and_exchanged(web, host, later, tmp_path)
        moved = web.cluster.file.with_name("moved.toml")
        text = web.cluster.file.read_text()
        assert 'interface = "eth0"' in text
        moved.write_text(text.replace('interface = "eth0"', 'interface = "eth1"'))
        daemon = host.start("clusterip", "run", "--config", str(moved), "--node", host.name)
        eventually(
            lambda: VIP in host.run("ip", "address", "show", "dev", "eth1").stdout,
            what="the VIP on eth1",
        )
        assert daemon.running
        assert VIP not in host.run("ip", "address", "show", "dev", "eth0").stdout
        assert MAC not in host.run("ip", "maddress", "show", "dev", "eth0").stdout
        (index,) = (one.name for one in host.pins.iterdir())
        assert filters(host, "eth0", "ingress") == [f"{0x10000 + int(index):#x}"]
        assert filters(host, "eth1", "ingress") == ["0x1"]


def filters(host: Host, name: str, hook: str) -> list[str]:
    """Return the handles of the filters at a hook of an interface."""
    shown = host.run("tc", "filter", "show", "dev", name, hook).stdout
    return re.findall(r"handle (0x[0-9a-f]+) ", shown)
