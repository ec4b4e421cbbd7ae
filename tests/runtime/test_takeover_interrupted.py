"""Another version's rules, taken over by a change that is killed at any step: on the real kernel.

Whatever is left, what is answered is what is held, a bucket that is given away afterwards is given
away, and the next change finishes what was begun.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from clusterip.core.checksum import checksum
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import Mac, Match, Rule, Sharing
from clusterip.core.rules.statefile import Change
from clusterip.runtime.rule_table import RuleTable
from tests.layouts import Running, newer
from tests.namespaces import own_namespace, send, tc, traces
from tests.runtime.worlds import Fault, Killed, watched

pytestmark = pytest.mark.root("BPF and network namespaces")

VIP = IPv4Address("10.9.0.100")
SHARED = Sharing(HashMode.SOURCEIP, Mac("01005e000020"), 1)
FIRST = Rule(VIP, "eth0", Match(17), SHARED, 1, manage_address=True)
SECOND = Rule(VIP, "eth0", Match(6))
PORT = 5000
GIVEN, TAKEN = Change(add=False, bucket=1), Change(add=True, bucket=1)
RULES = (
    "from clusterip.core.packets.model import *;"
    "from clusterip.core.packets.hashing import HashMode;"
    "from ipaddress import IPv4Address; from clusterip.runtime.rule_table import RuleTable;"
    f"first = Rule(IPv4Address('{VIP}'), 'eth0', Match(17),"
    " Sharing(HashMode.SOURCEIP, Mac('01005e000020'), 1), 1, manage_address=True)"
)


@pytest.fixture(scope="module")
def another(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return newer(tmp_path_factory.mktemp("newer"))


@pytest.fixture
def folder() -> Iterator[Path]:
    with own_namespace() as one:
        yield one


def datagram() -> bytes:
    content = struct.pack(">HHHH", 4000, PORT, 8, 0)
    head = struct.pack(">BBHHHBB", 0x45, 0, 28, 1, 0, 64, 17)
    ends = IPv4Address("10.9.0.7").packed + VIP.packed
    return (
        bytes(SHARED.mac) + bytes.fromhex("020000000001 0800") + head
        + struct.pack(">H", checksum(head + b"\0\0" + ends)) + ends + content
    )  # fmt: skip


def answers(server: socket.socket) -> bool:
    """Tell whether a datagram that comes now is let in."""
    with contextlib.suppress(BlockingIOError):
        while True:
            server.recv(100)
    send(datagram())
    with contextlib.suppress(BlockingIOError):
        server.recv(100)
        return True
    return False


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_step(folder: Path, another: Path, after: bool) -> None:
    pristine = traces(folder)
    program = Running(another)
    program.do(RULES)
    program.do("host = RuleTable.open()")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.setsockopt(socket.IPPROTO_IP, 15, 1)  # IP_FREEBIND
        server.bind((str(VIP), PORT))
        server.setblocking(False)
        for at in range(100):
            program.do("host.add((first,), None, None)")
            assert answers(server)
            fault = Fault(at, after)
            with contextlib.suppress(Killed):
                watched(RuleTable.open(), fault).add((SECOND,), None, None)
            assert answers(server), fault.calls
            table = RuleTable.open()
            seen = table.view()[0]
            assert sum(seen.rules[1].packets.values()) >= 1, fault.calls
            table.change_bucket(VIP, GIVEN)
            assert not answers(server), fault.calls
            # Either version goes on from there.
            if at % 2:
                program.do(f"host.add((Rule(first.vip, 'eth0', Match({at}+50)),), None, None)")
            else:
                table.add((Rule(VIP, "eth0", Match(at + 50)),), None, None)
            assert not answers(server), fault.calls
            assert not list(folder.glob("other-*"))
            assert tc("filter show dev eth0 ingress").count("handle 0x") == 1
            counted = sum(table.view()[0].rules[1].packets.values())
            table.change_bucket(VIP, TAKEN)
            assert answers(server), fault.calls
            assert sum(table.view()[0].rules[1].packets.values()) == counted + 1
            table.flush()
            assert traces(folder) == pristine
            if not fault.dead:
                break
        assert not fault.dead
        assert {"renew", "heed", "level", "attach", "unheed", "settle"} <= set(fault.calls)
    program.end()
