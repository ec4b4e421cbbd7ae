"""A VIP that somebody else puts on a host: no daemon starts, and none leaves it behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clusterip.core.errors import NOT_AGAIN
from lab.cluster import Cluster, cluster_file
from lab.topology import VIP
from lab.wait import eventually
from tests.lan.traces import addresses, traces

if TYPE_CHECKING:
    from lab.topology import Host, Lab


def add(host: Host, prefix: int) -> None:
    host.run("ip", "address", "add", f"{VIP}/{prefix}", "dev", "eth0")


def test_it_is_refused_and_then_taken_off(lan: Lab) -> None:
    host = lan.hosts[0]
    before = traces(host)
    file = cluster_file(lan, hosts=[host])
    add(host, 16)
    there = traces(host)
    for status, *command in (
        (1, "check", str(file), "--node", host.name),
        # Refused, and another start would be, too: systemd leaves it at that.
        (NOT_AGAIN, "run", "--config", str(file), "--node", host.name),
    ):
        done = host.clusterip(*command, check=False)
        assert done.returncode == status, done.stderr
        assert f"{VIP} is on eth0 already, as {VIP}/16" in done.stderr
        assert f"ip address del {VIP}/16 dev eth0" in done.stderr
    assert traces(host) == there
    host.run("ip", "address", "del", f"{VIP}/16", "dev", "eth0")
    assert host.clusterip("check", str(file), "--node", host.name).returncode == 0

    cluster = Cluster(lan, file)
    cluster.hosts = [host]
    cluster.start(host)
    cluster.settled(within=30.0)
    serving = set(addresses(host))
    assert host.clusterip("check", str(file), "--node", host.name).returncode == 0
    add(host, 16)
    eventually(lambda: set(addresses(host)) == serving, what="it to be taken off")
    (log,) = sorted(lan.directory.glob(f"{host.name}-*-clusterip.log"))[-1:]
    eventually(lambda: "a VIP that others added was taken off" in log.read_text())
    # A daemon that cannot do anything about it any more: its filter goes on, and the next one
    # says what is there.
    cluster.kill(host)
    add(host, 16)
    done = host.clusterip("run", "--config", str(file), "--node", host.name, check=False)
    assert (done.returncode, f"as {VIP}/16" in done.stderr) == (NOT_AGAIN, True)
    host.run("ip", "address", "del", f"{VIP}/16", "dev", "eth0")
    cluster.start(host)
    cluster.settled(within=30.0)
    cluster.stop(host)
    assert traces(host) == before
