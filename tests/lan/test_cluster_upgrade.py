"""The last release and this tree in one cluster: upgraded host by host under load, and put back.

Each host has an installation of its own, in which `pip` exchanges the program below a daemon that
runs, as docs/operations.md says.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from clusterip.core.buckets import spans
from lab.topology import VIP
from tests import released
from tests.lan.clusters import patiently, site, watching
from tests.lan.unbroken import nothing_lost

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.topology import Host, Lab
    from tests.lan.clusters import Site


@dataclass(frozen=True)
class Wheels:
    """The two programs."""

    last: Path
    tree: Path


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Wheels:
    last = released.of_last_release()
    return Wheels(last, released.build(released.ROOT, tmp_path_factory.mktemp("tree")))


def version_of(wheel: Path) -> str:
    """Return the release that a wheel is of, as its name says."""
    return wheel.name.split("-")[1]


@dataclass(frozen=True)
class Installed:
    """A cluster, and what each of its hosts has installed."""

    web: Site
    on: dict[str, released.Installation]


@pytest.fixture(scope="module")
def there(wheels: Wheels, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """A cluster whose hosts have all installed the last release."""
    on: dict[str, released.Installation] = {}

    def install(lan: Lab) -> None:
        for host in lan.hosts:
            on[host.name] = released.Installation(tmp_path_factory.mktemp(host.name))
            on[host.name].install(wheels.last)
            on[host.name].of(host)

    with site(installed=install) as web:
        yield Installed(web, on)


def runs(there: Installed, host: Host, wheel: Path) -> None:
    """Have a host run a program, if it does not."""
    if there.web.cluster.status(host)["program"] != version_of(wheel):
        there.on[host.name].install(wheel)
        host.clusterip("restart")
        assert there.web.cluster.status(host)["program"] == version_of(wheel)
        there.web.cluster.settled()


def replaced(there: Installed, host: Host, wheel: Path) -> None:
    """Upgrade a host, or put it back, and have no client notice."""
    web = there.web
    before, held = web.cluster.status(host), web.cluster.held()
    with nothing_lost(web):
        there.on[host.name].install(wheel)
        # The command that is installed now asks the daemon that still runs.
        (seen,) = host.show()["clusters"]
        assert (seen["held"], seen["boot"]) == (held[host.name], before["boot"])
        host.clusterip("restart")
        web.cluster.settled()
        assert web.cluster.held() == held
    after = web.cluster.status(host)
    assert version_of(wheel) == after["program"] != before["program"]
    assert after["boot"] == before["boot"]


def test_upgraded_host_by_host_and_put_back(there: Installed, wheels: Wheels) -> None:
    for before, wheel in ((wheels.last, wheels.tree), (wheels.tree, wheels.last)):
        for host in there.web.lan.hosts:

            def scenario(host: Host = host, before: Path = before, wheel: Path = wheel) -> None:
                runs(there, host, before)
                replaced(there, host, wheel)

            patiently(there.web, scenario)


def obeyed(web: Site, host: Host, command: Path, program: Path) -> None:
    """Have the daemon of a host, which is of `program`, asked by a command of another release."""
    other = web.others(host)[0]

    def run(*words: str) -> str:
        return host.run(str(command), *words).stdout

    held = web.cluster.held()
    shown = run("show")
    assert all(one.name in shown for one in web.lan.hosts)
    assert f"held here: {spans(held[host.name])};" in shown
    (told,) = json.loads(run("show", "--json"))["clusters"]
    assert told["held"] == held[host.name]
    assert told.get("program", version_of(program)) == version_of(program)
    run("drain")
    web.cluster.settled(web.others(host))
    run("undrain")
    web.cluster.settled()
    # The daemon passes these on to that of another host.
    run("weight", "50", other.name)
    web.cluster.settled(weights={other.name: 50})
    run("weight", "100", other.name)
    web.cluster.settled()
    run("drain", other.name)
    web.cluster.settled(web.others(other))
    run("undrain", other.name)
    web.cluster.settled()
    run("reload")
    run("announce")
    assert run("bucket", VIP) == f"{','.join(map(str, web.cluster.held()[host.name]))}\n"


def test_commands_of_one_release_and_daemons_of_the_other(there: Installed, wheels: Wheels) -> None:
    web = there.web
    first, second, third = web.lan.hosts
    for host, wheel in ((first, wheels.last), (second, wheels.tree), (third, wheels.last)):
        runs(there, host, wheel)
    of_last, of_tree = there.on[first.name].command, there.on[second.name].command

    # While there are connections none of these would end.
    for host, command in ((first, of_tree), (second, of_last)):
        host.run(str(command), "drain", "--wait")
        host.run(str(command), "undrain")
        web.cluster.settled()

    def all_obeyed() -> None:
        with watching(web, 100) as watch:
            obeyed(web, first, of_tree, wheels.last)
            obeyed(web, second, of_last, wheels.tree)
        watch.seen.nothing_broke()

    patiently(web, all_obeyed)


def test_one_is_killed_and_the_other_started(there: Installed, wheels: Wheels) -> None:
    web, host = there.web, there.web.lan.hosts[0]
    for one in web.lan.hosts:
        runs(there, one, wheels.last)
    for wheel in (wheels.tree, wheels.last):
        there.on[host.name].install(wheel)
        web.cluster.kill(host)
        web.cluster.start(host)
        web.cluster.settled()
        assert web.cluster.status(host)["program"] == version_of(wheel)
        with nothing_lost(web):
            pass
