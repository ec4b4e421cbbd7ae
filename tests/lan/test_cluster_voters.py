"""Hosts join and leave one by one, by a reload on each host, while connections live."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lab.wait import eventually
from tests.lan.clusters import UNNOTICED, Seen, Site, blaming_the_machine, in_time, site, watching
from tests.second_tries import twice_at_most

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.topology import Host


def reload_each(web: Site, voters: Sequence[Host]) -> None:
    """Reload on each host that runs; wait until all go by these voters, and no others are about."""
    running = [host for host in web.lan.hosts if web.cluster.running(host)]
    for host in running:
        host.clusterip("reload")
    names = [one.name for one in voters]

    def in_use() -> bool:
        seen = [web.cluster.status(host) for host in running]
        return all(
            one["voters"] == names and not one["voters_changing"] and not one["voters_waiting_for"]
            for one in seen
        )

    if {one.name for one in running} >= set(names):
        eventually(in_use, within=20.0, what=f"the voters {names} to be in use")


def unharmed(what: str, seen: Seen) -> None:
    seen.nothing_broke()
    in_time(f"{what}: longest gap", seen.gaps.longest, UNNOTICED)


def test_from_three_hosts_to_five_and_back() -> None:
    twice_at_most(from_three_to_five_and_back)


def from_three_to_five_and_back() -> None:
    with site(5, members=3) as web, blaming_the_machine(web):
        hosts = web.lan.hosts

        # Two at once: refused everywhere, and nothing changes.
        web.write(hosts[:5])
        for host in hosts[:3]:
            done = host.clusterip("reload", check=False)
            assert done.returncode == 1
            assert "one node" in done.stderr
            assert web.cluster.status(host)["voters"] == ["h1", "h2", "h3"]

        for number in (4, 5):
            new, members = hosts[number - 1], hosts[:number]
            web.write(members)
            with watching(web) as watch:
                reload_each(web, members)
                web.cluster.start(new)
                web.cluster.settled(within=30.0)
                reload_each(web, members)  # changes nothing, and waits until all agree
            assert new.name in watch.seen.gaps.owners.values()
            unharmed(f"{new.name} added", watch.seen)

        # Two at once, the other way, and a change before the last one is everywhere.
        held = web.cluster.settled()
        web.write(hosts[:3])
        assert hosts[0].clusterip("reload", check=False).returncode == 1
        web.cluster.hosts = list(hosts)
        assert web.cluster.held() == held

        for number in (5, 4):
            old, members = hosts[number - 1], hosts[: number - 1]
            old.clusterip("drain", "--wait")
            with watching(web) as watch:
                assert watch.at[old.name] == 0
                assert web.cluster.stop(old) == 0
                web.write(members)
                reload_each(web, members)
                web.cluster.settled()
            unharmed(f"{old.name} removed", watch.seen)
        assert web.cluster.status(hosts[0])["voters"] == ["h1", "h2", "h3"]

        for host in hosts[:3]:
            # Who was added is called by its name from the first line on.
            assert not re.search(r"\b[0-9a-f]{16} (was|is)", web.cluster.daemon(host).output)

        # Three voters again: two of them are a majority, which they would not be of five.
        web.cluster.kill(hosts[2])
        web.cluster.settled()


def test_a_second_change_waits_for_the_first() -> None:
    twice_at_most(two_changes)


def two_changes() -> None:
    with site(4, members=2) as web, blaming_the_machine(web):
        hosts = web.lan.hosts
        web.write(hosts[:3])
        hosts[0].clusterip("reload")
        # hosts[1] was not told yet.
        web.write(hosts[:4])
        done = hosts[0].clusterip("reload", check=False)
        assert done.returncode == 1
        assert "every node" in done.stderr
        assert "h2 runs with the voters h1, h2" in " ".join(done.stderr.split())
        for host, words in (
            (hosts[0], "h2 still runs with the voters h1, h2: "),
            (hosts[1], "h1 already runs with other voters, some of them not known here: "),
        ):
            told = host.clusterip("show", check=False)
            assert told.returncode == 1
            assert words in " ".join(told.stdout.split())
        web.write(hosts[:3])
        with watching(web) as watch:
            reload_each(web, hosts[:3])
            web.cluster.start(hosts[2])
            web.cluster.settled()
        unharmed("the third of three", watch.seen)


def test_a_removal_of_which_one_host_was_not_told() -> None:
    twice_at_most(forgotten)


def forgotten() -> None:
    with site(3) as web, blaming_the_machine(web):
        first, second, third = web.lan.hosts
        web.cluster.settled()
        third.clusterip("drain", "--wait")
        web.cluster.stop(third)
        web.write([first, second])
        first.clusterip("reload")

        def says(host: Host, words: str) -> bool:
            told = host.clusterip("show", check=False)
            return told.returncode == 1 and words in " ".join(told.stdout.split())

        here = "this host runs with the voters h1, h2"
        assert says(first, f"h2 still runs with the voters h1, h2, h3: {here}")
        assert "h3 is silent" not in first.clusterip("show", check=False).stdout
        eventually(
            lambda: says(second, f"h1 already runs with the voters h1, h2: {here}, h3"),
            what="the one that was forgotten to say so",
        )
        second.clusterip("reload")
        eventually(
            lambda: first.clusterip("show", check=False).returncode == 0, what="all to be well"
        )
        assert second.clusterip("show", check=False).returncode == 0
