"""What an administrator is told, on each host, of what is wrong on one of them: in show and log."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from clusterip.core.findings import Finding
from lab.cluster import BUCKETS
from lab.wait import eventually
from tests.lan.clusters import Site, site
from tests.lan.drops import dropping

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.topology import Host

PORT = 5407


@pytest.fixture(scope="module")
def web() -> Iterator[Site]:
    with site() as one:
        yield one


def shown(host: Host) -> tuple[int, str]:
    """Return how `show` ends, and what it says, in one line."""
    done = host.clusterip("show", check=False)
    return done.returncode, " ".join(done.stdout.split())


def faults(host: Host) -> list[str]:
    (cluster,) = host.show()["clusters"]
    if cluster["fault"]:
        return [cluster["fault"]]
    return [msgspec.convert(one, Finding).line for one in cluster["faults"]]


def log(web: Site, host: Host) -> str:
    return "".join(one.read_text() for one in web.lan.directory.glob(f"{host.name}-*clusterip.log"))


def logged(web: Site, host: Host, pattern: str) -> list[str]:
    """Wait until the log of a host has it: moves are said together, up to a second later."""
    try:
        return eventually(lambda: re.findall(pattern, log(web, host)))
    except TimeoutError:
        raise AssertionError(f"{host.name} said no {pattern!r}:\n{log(web, host)}") from None


def told(web: Site, hosts: list[Host], pattern: str) -> None:
    """Wait until the hosts say it in show, as a fault, and had it in the log once."""
    for host in hosts:

        def says(host: Host = host) -> bool:
            return any(re.search(pattern, one) for one in faults(host))

        eventually(says, within=15.0, what=f"{host.name} to say {pattern}")
        status, text = shown(host)
        assert status == 1
        assert re.search(pattern, text)
        assert len(logged(web, host, pattern)) == 1


def well(web: Site) -> None:
    web.cluster.settled()
    for host in web.lan.hosts:
        eventually(lambda: shown(host)[0] == 0, within=20.0, what=f"{host.name} to be well")  # noqa: B023
        assert faults(host) == []


def test_a_daemon_that_is_dead(web: Site) -> None:
    well(web)
    dead = web.lan.hosts[2]
    others = web.others(dead)
    web.cluster.kill(dead)
    try:
        web.cluster.settled(others)
        told(web, others, rf"{dead.name} is silent for [\d.]+ s: does its daemon run")
        for host in others:
            logged(web, host, rf"serving .*, taken over from {dead.name}, which is silent")
        eventually(lambda: "this host answers nothing" in faults(dead)[0], what="the lease to end")
        status, text = shown(dead)
        assert status == 1
        assert (
            "no daemon of cluster web runs in this network namespace; this host answers nothing"
            in text
        )
        assert "cure: start it: systemctl start clusterip" in text
        assert "left by the daemon of cluster web" in text
        (interface,) = dead.show()["interfaces"]
        assert [one["held"] for one in interface["vips"]] == [[]]
    finally:
        web.cluster.start(dead)
    well(web)
    for host in others:
        logged(web, host, rf"{dead.name} is back after [\d.]+ s, started anew")
        given = logged(web, host, rf"giving (\d+) buckets? \(.*\) to {dead.name}, as planned")
        assert 0 < sum(map(int, given)) < BUCKETS


def test_a_daemon_that_hangs(web: Site) -> None:
    well(web)
    host = web.lan.hosts[0]
    web.cluster.pause(host)
    try:
        status, text = shown(host)
    finally:
        web.cluster.resume(host)
    assert status == 1
    assert "the daemon of cluster web does not answer; " in text
    assert "this host answers nothing" in text


def test_what_a_daemon_that_hangs_is_asked_is_not_done_later(web: Site) -> None:
    well(web)
    host, other = web.lan.hosts[:2]
    web.cluster.pause(host)
    try:
        # It is alive yet, as far as the other one hears.
        passed_on = other.clusterip("weight", "9", host.name, check=False)
        weighted = host.clusterip("weight", "10", check=False)
        drained = host.clusterip("drain", check=False)
    finally:
        web.cluster.resume(host)
    assert passed_on.returncode == 1
    assert weighted.returncode == drained.returncode == 4
    assert "what was asked is not done, nor will be" in weighted.stderr
    # Before a drain is asked for, it is looked whether there is another host.
    assert "the daemon of cluster web does not answer" in drained.stderr
    logged(web, host, r'not done, for who asked has given up: {"verb": "weight".*"value": 10}')
    logged(web, host, r"not done, for it came too late: \S+ asks this node: weight 9")
    well(web)
    for one in web.lan.hosts:
        nodes = {node["name"]: node for node in one.show()["clusters"][0]["nodes"]}
        assert nodes[host.name]["weight"] == 100
        assert not nodes[host.name]["leaving"]


def test_who_has_no_key_says_nothing_in_the_log_but_one_line(web: Site) -> None:
    # Before another key is tried: the log has this line once in ten minutes.
    well(web)
    host, client = web.lan.hosts[0], web.lan.client
    before = len(log(web, host).splitlines())
    flood = (
        "import os, socket, sys\n"
        "for at in range(3000):\n"
        "    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:\n"
        "        one.bind((sys.argv[1 + at % (len(sys.argv) - 2)], 0))\n"
        f"        one.sendto(b'CLIP' + os.urandom(at % 1500), (sys.argv[-1], {PORT}))\n"
    )
    client.run("python3", "-c", flood, *client.addresses, host.address)
    told(web, [host], r"\d+ datagrams were refused lately, the last from 10\.9\.")
    new = log(web, host).splitlines()[before:]
    assert len([one for one in new if "refused" in one]) == 1
    well(web)


def test_another_key(web: Site) -> None:
    well(web)
    odd = web.lan.hosts[1]
    file = web.lan.directory / "other.toml"
    key = web.lan.directory / "other.key"
    odd.clusterip("keygen", str(key))
    text = web.cluster.file.read_text()
    file.write_text(re.sub(r'key_file = ".*"', f'key_file = "{key}"', text))
    with instead(web, odd, file):
        for host in web.others(odd):
            told(
                web,
                [host],
                rf"{odd.name} .*: \d+ datagrams? w[a-z]+ refused that came in its name, from"
                rf" {odd.address} \((bad MAC|unknown key)\): .*the key file of the majority",
            )
        assert sum("were refused" in one for one in faults(odd)) == 2
    well(web)


def test_a_node_that_the_others_do_not_know(web: Site) -> None:
    well(web)
    odd = web.lan.hosts[1]
    file = web.lan.directory / "renamed.toml"
    text = web.cluster.file.read_text().replace(f'"{odd.address}"', '"10.9.0.250"')
    file.write_text(f'{text}\n[[node]]\nname = "newcomer"\naddress = "{odd.address}"\n')
    with instead(web, odd, file, "newcomer"):
        told(
            web,
            web.others(odd),
            rf"[0-9a-f]{{16}} at {odd.address} has a key of this cluster and is not in the file",
        )
        # What it is told there: the others are heard, and it is not in their files.
        deaf = eventually(lambda: odd.show()["clusters"][0]["deaf"], what="it to be told")
        assert all("in its file?" in one["why"] for one in deaf.values())
        assert shown(odd)[0] == 1
    well(web)


def test_a_port_that_is_blocked_between_two(web: Site) -> None:
    well(web)
    here, there = web.lan.hosts[0], web.lan.hosts[2]
    third = web.lan.hosts[1]
    with dropping(here, "inet", "input", f"ip saddr {there.address} udp dport {PORT}"):
        told(
            web,
            [here],
            rf"{there.name} is silent for [\d.]+ s: {third.name} can hear it: is UDP port {PORT}"
            " open from it to this host",
        )
        eventually(lambda: here.name in there.show()["clusters"][0]["deaf"], what="the other side")
        assert faults(third) == []
    well(web)
    logged(web, here, f"{there.name} is back after ")
    logged(web, there, f"{here.name} hears this node again")


@contextlib.contextmanager
def instead(web: Site, host: Host, file: Any, node: str = "") -> Iterator[None]:
    """Have the daemon of a host run with another file meanwhile."""
    web.cluster.stop(host)
    daemon = host.start("clusterip", "run", "--config", str(file), "--node", node or host.name)
    try:
        eventually(lambda: web.cluster.answers(host), within=30.0, what="it to answer")
        yield
    finally:
        daemon.stop(within=15.0)
        web.cluster.start(host)
