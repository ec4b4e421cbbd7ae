"""The client for Python: its examples, in a cluster with daemons, and what it promises."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.wait import eventually
from tests.lan.clusters import Site, site

if TYPE_CHECKING:
    from collections.abc import Iterator

GROUP = "daemon"
"""One that every system has."""
PAGE = Path(__file__).parents[2] / "docs" / "api.md"
_EXAMPLE = r"^## ([^\n]*)\n(?:(?!^## ).)*?^```python\n(.*?)^```$"
EXAMPLES = re.findall(_EXAMPLE, PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
FLOW = ("--vip", "10.9.0.100", "--src", "10.9.1.1", "--sport", "1", "--dport", "80")
SAYS = {
    "Looking": r"h1 holds \d+ of 12 buckets\n(h[123] alive 100 \d+\n){3}",
    "What happens": r"(\d+ (info|warning) [a-z-]+ .+\n){2,10}",
    "Changing": r"h3 has weight 50\nh2 is drained.* in \d+\.\d s\n",
    "Where a flow goes": r"bucket \d+ of 12: h[123] answers, by [a-z-]+\nnot open here\n",
    "In an event loop": r"(.+\n)+h1: lease 0\.\d\d s\n",
    "What goes wrong": r"no daemon of cluster mail runs in this network namespace\n  cure: .*\n",
}


@pytest.fixture(scope="module")
def web() -> Iterator[Site]:
    with site(status_group=GROUP) as one:
        yield one


def python(web: Site, program: str, *, within: float = 30.0) -> str:
    """Run a program on the first host, and return what it prints."""
    file = web.lan.directory / "program.py"
    file.write_text(program)
    return web.lan.hosts[0].run(sys.executable, str(file), within=within).stdout


def test_every_section_is_tried() -> None:
    assert [heading for heading, _ in EXAMPLES] == list(SAYS)


@pytest.mark.parametrize(("heading", "program"), EXAMPLES, ids=[heading for heading, _ in EXAMPLES])
def test_the_examples(web: Site, heading: str, program: str) -> None:
    web.cluster.settled()
    said = python(web, re.sub(r'"web([1-3])"', r'"h\1"', program))
    assert re.fullmatch(SAYS[heading], said), said
    web.cluster.settled()


FOLLOWED = """
import asyncio, json, threading
from clusterip.api import AsyncClient, Client

def plain():
    with Client().events(last=0, follow=True) as events:
        ready.set()
        for entry in events:
            seen.append(entry.seq)
            if entry.kind == "restarted":
                return

async def looping(begun):
    async with AsyncClient().events(last=0, follow=True) as events:
        begun.set()
        async for entry in events:
            heard.append(entry.seq)
            if entry.kind == "restarted":
                return

async def main():
    begun = asyncio.Event()
    task = asyncio.create_task(looping(begun))
    await begun.wait()
    await asyncio.to_thread(ready.wait)
    await AsyncClient().restart()
    await asyncio.wait_for(task, 20)

seen, heard, ready = [], [], threading.Event()
thread = threading.Thread(target=plain)
thread.start()
asyncio.run(main())
thread.join(20)
print(json.dumps([seen, heard]))
"""


def test_events_go_on_over_a_restart(web: Site) -> None:
    seen, heard = json.loads(python(web, FOLLOWED))
    assert seen
    assert seen == heard == list(range(seen[0], seen[0] + len(seen)))
    web.cluster.settled()


POSITIONED = """
from clusterip.api import Client
client = Client()
with client.events() as events:
    whole = [entry.seq for entry in events]
    position = events.position
client.weight(100)
with client.events(position) as events:
    print(whole[-1], *(entry.seq for entry in events))
"""


def test_a_position_is_gone_on_from(web: Site) -> None:
    first, *others = map(int, python(web, POSITIONED).split())
    assert others
    assert others[0] == first + 1


def test_what_cannot_be(web: Site) -> None:
    program = """
from clusterip.api import Client, RefusedError, UsageError
client = Client()
for call in (lambda: client.weight(256), lambda: client.drain("nobody"),
             lambda: client.which("10.9.0.9", "10.9.1.1"), lambda: client.which("x", "10.9.1.1")):
    try:
        call()
    except (RefusedError, UsageError) as error:
        print(type(error).__name__, error.message)
"""
    lines = python(web, program).splitlines()
    assert lines[0] == "UsageError 256 is not a weight"
    assert lines[1].startswith("RefusedError the daemon here knows no node 'nobody'")
    assert lines[2].startswith("RefusedError 10.9.0.9 is not shared here")
    assert lines[3] == "UsageError 'x' is not an IP address"


def test_who_may_only_look(web: Site) -> None:
    program = """
from clusterip.api import Client, ClusterIPError
client = Client()
print(client.status().node)
with client.events(last=1) as events:
    print(len(list(events)))
flow = client.which("10.9.0.100", "10.9.1.1", source_port=1, destination_port=80)
print(flow.node, flow.service, flow.connection)
try:
    client.drain()
except ClusterIPError as error:
    print(error.message)
"""
    root = json.loads(web.lan.hosts[0].clusterip("which", *FLOW, "--json").stdout)
    file = web.lan.directory / "program.py"
    file.write_text(program)
    for one in (web.lan.directory, *web.lan.directory.parents):
        one.chmod(one.stat().st_mode | 0o555)
    nobody = ("setpriv", "--reuid", "65534", "--regid", GROUP, "--clear-groups", "--")
    said = web.lan.hosts[0].run(*nobody, sys.executable, str(file)).stdout
    assert said.splitlines() == ["h1", "1", f"{root['node']} all False", "this needs root"]
    told = json.loads(web.lan.hosts[0].run(*nobody, "clusterip", "which", *FLOW, "--json").stdout)
    assert told == root
    stranger = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--")
    refused = web.lan.hosts[0].run(*stranger, "clusterip", "which", *FLOW, check=False)
    assert refused.returncode == 4
    assert "this needs root" in refused.stderr


def test_one_that_is_told_to_stop_ends_the_events(web: Site) -> None:
    program = """
from clusterip.api import Client
with Client().events(last=0, follow=True) as events:
    print("ready", flush=True)
    for entry in events:
        pass
print("over", flush=True)
"""
    host = web.lan.hosts[2]
    file = web.lan.directory / "ends.py"
    file.write_text(program)
    one = host.start(sys.executable, str(file))
    one.wait_output("ready", within=10.0)
    web.cluster.stop(host)
    eventually(lambda: "over" in one.output, within=10.0)
