"""Another version's rules are taken away, killed at any step: on the real kernel.

Whatever is left, only what is ruled is answered, and the next command takes the rest away.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clusterip.adapters.takeover import NoRoomError
from clusterip.core import limits
from clusterip.core.packets.model import Match, Rule
from clusterip.core.packets.state import Chain
from clusterip.core.rules import chain as chains
from clusterip.runtime.rule_table import RuleTable
from tests.layouts import ROOT, Running, newer
from tests.namespaces import ip, own_namespace, tc, traces
from tests.runtime.test_other_version import make_it_of_another_version
from tests.runtime.test_takeover_interrupted import (
    FIRST,
    GIVEN,
    PORT,
    RULES,
    TAKEN,
    VIP,
    answers,
)
from tests.runtime.worlds import Fault, Killed, watched

pytestmark = pytest.mark.root("BPF and network namespaces")

SECOND = Rule(VIP, "eth0", Match(6))
ETH1 = ("link add eth1 type veth peer name wire1", "link set eth1 up", "link set wire1 up")
INSIDE = (
    f"import sys; sys.path.append({str(ROOT)!r}); import contextlib;"
    "from tests.runtime.worlds import Fault, Killed, watched"
)
KILLED = (
    "fault = Fault({at}, {after})\n"
    "with contextlib.suppress(Killed): watched(RuleTable.open(), fault).flush()\n"
    "print(fault.dead)"
)


@pytest.fixture(scope="module")
def another(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return newer(tmp_path_factory.mktemp("newer"))


@pytest.fixture
def folder() -> Iterator[Path]:
    with own_namespace(*ETH1) as one:
        yield one


@pytest.fixture
def server(folder: Path) -> Iterator[socket.socket]:
    del folder
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.setsockopt(socket.IPPROTO_IP, 15, 1)  # IP_FREEBIND
        one.bind((str(VIP), PORT))
        one.setblocking(False)
        yield one


def everything(folder: Path) -> tuple[object, ...]:
    guards = tc("filter show dev eth1 ingress"), tc("filter show dev eth1 egress")
    return traces(folder), guards, tc("qdisc show dev eth1")


def killed(at: int, *, after: bool) -> bool:
    """Flush, and be killed; tell whether it was."""
    fault = Fault(at, after)
    with contextlib.suppress(Killed):
        watched(RuleTable.open(), fault).flush()
    return fault.dead


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("by", ["the older", "the newer"])
def test_flushed(folder: Path, another: Path, server: socket.socket, by: str, after: bool) -> None:
    pristine, program = everything(folder), Running(another)
    program.do(RULES)
    program.do(INSIDE)
    for at in range(100):
        if by == "the older":
            program.do("RuleTable.open().add((first,), None, None)")
            assert answers(server)
            dead = killed(at, after=after)
        else:
            RuleTable.open().add((FIRST,), None, None)
            assert answers(server)
            dead = program.do(f"exec({KILLED.format(at=at, after=after)!r})") == "True\n"
        table = RuleTable.open()
        chain = table.chain()
        if not chain.entries():
            assert not answers(server)
        # Whoever comes next goes on.
        if at % 2:
            table.flush()
        else:
            program.do("RuleTable.open().flush()")
        assert everything(folder) == pristine
        if not dead:
            break
    assert not dead
    program.end()


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("after", [False, True])
def test_flushed_that_cannot_be_read(
    folder: Path, server: socket.socket, after: bool, known: bool
) -> None:
    """Of a version whose record is not known either a qdisc and a MAC may be left."""
    pristine = everything(folder)
    for at in range(100):
        table = RuleTable.open()
        table.add((FIRST,), None, None)
        make_it_of_another_version(folder, table, known=known)
        assert answers(server)
        dead = killed(at, after=after)
        if str(VIP) in ip("address show dev eth0"):
            assert tc("filter show dev eth0 ingress")
        else:
            assert not answers(server)
        RuleTable.open().flush()
        if not known:
            for name in ("eth0", "eth1"):
                assert "filter" not in tc(f"filter show dev {name} ingress")
                tc(f"qdisc del dev {name} clsact")
            ip("maddress del 01:00:5e:00:00:20 dev eth0")
        assert everything(folder) == pristine
        if not dead:
            break
    assert not dead


def test_deleted_one_by_one_where_they_are_too_many(
    folder: Path, another: Path, server: socket.socket
) -> None:
    """The older version has room for fewer, and needs none for what goes."""
    pristine, program = everything(folder), Running(another)
    program.do(RULES)
    program.do("RuleTable.open().add((first,), None, None)")
    program.do(
        "from clusterip.core.packets.model import Ports;"
        "RuleTable.open().add(tuple(Rule(first.vip, 'eth0', Match(6, destination_ports="
        "(Ports(module='tcp', ranges=((n, n),)),))) for n in range(1, 1026)), None, None)"
    )
    program.end()
    table = RuleTable.open()
    assert len(table.chain().entries()) == 1026
    for left in (1025, 1024):
        table.edit(lambda chain: chains.delete_number(chain, 2))
        assert len(table.chain().entries()) == left
        assert answers(server)
    table.edit(chains.clear)
    assert everything(folder) == pristine


def test_where_there_is_no_room(
    folder: Path, another: Path, server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Buckets change where the rules lie; rules that make room are deleted, and all others stay."""
    pristine, program = everything(folder), Running(another)
    program.do(RULES)
    program.do("RuleTable.open().add((first,), None, None)")
    for protocol in (6, 17):
        program.do(
            "from clusterip.core.packets.model import Ports;"
            f"RuleTable.open().add((Rule(first.vip, 'eth0', Match({protocol}, destination_ports="
            f"(Ports(module={('tcp' if protocol == 6 else 'udp')!r}, ranges=((9, 9),)),))),),"
            " None, None)"
        )
    program.end()
    table, before = RuleTable.open(), everything(folder)
    rules = table.chain()
    monkeypatch.setattr(limits, "SERVICES", 1)
    changes: tuple[Callable[[Chain], Chain], ...] = (
        lambda chain: chains.append(chain, Rule(VIP, "eth0", Match(1)), chain.interfaces[0].index),
        lambda chain: chains.delete_number(chain, 1),
    )
    for change in changes:
        with pytest.raises(NoRoomError, match="more than the installed release has room for"):
            table.edit(change)
        assert everything(folder) == before
        assert table.chain() == rules
        assert answers(server)
    table.change_bucket(VIP, GIVEN)
    assert not answers(server)
    table.change_bucket(VIP, TAKEN)
    assert answers(server)
    assert everything(folder) == before
    monkeypatch.setattr(limits, "SERVICES", 3)
    table.edit(lambda chain: chains.delete_number(chain, 2))
    assert len(table.chain().entries()) == 2
    assert answers(server)
    assert not list(folder.glob("other-*"))
    table.flush()
    assert everything(folder) == pristine
