"""The real kernel, killed at each step of a change: the same change again, or a flush, mends all.

What is held against the fakes in test_host is held here against what the kernel shows.
"""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from clusterip.adapters.hooks import KernelHooks
from clusterip.adapters.links import NetlinkLinks
from clusterip.adapters.pinned_maps import PinnedMaps
from clusterip.core.errors import RefusedError
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import Mac, Match, Rule, Sharing
from clusterip.core.rules import chain as chains
from clusterip.core.rules.statefile import Change
from clusterip.runtime.namespace import Namespace
from clusterip.runtime.rule_table import RuleTable
from tests.namespaces import Traces, ip, own_namespace, tc, traces
from tests.runtime.worlds import Fault, Killed, watched

VIP, SECOND = IPv4Address("10.9.0.100"), IPv4Address("10.9.0.101")
SHARED = Sharing(HashMode.SOURCEIP, Mac("01005e000020"), 4)
OTHERWISE = Sharing(HashMode.SOURCEIP, Mac("01005e000021"), 3)
FIRST = Rule(VIP, "eth0", Match(6), SHARED, 1)
TWO = Rule(SECOND, "eth0", Match(), OTHERWISE, 2, manage_address=True)

_PROGRAM = re.compile(r"xdp/id:[0-9]+|prog/xdp id .*")

Step = Callable[[RuleTable], object]


def delete(rule: Rule) -> Step:
    return lambda table: table.edit(lambda chain: chains.delete(chain, rule))


def first(table: RuleTable) -> None:
    table.add((FIRST,), None, None)
    table.change_bucket(VIP, Change(add=False, bucket=1))


def managed(table: RuleTable) -> None:
    table.add((TWO,), None, None)


@pytest.fixture
def folder() -> Iterator[Path]:
    with own_namespace() as one:
        yield one


def things_of_his_own() -> None:
    """Put there what an administrator may have."""
    tc("qdisc add dev eth0 clsact")
    tc("filter add dev eth0 ingress prio 5 protocol ip u32 match u32 0 0")
    ip(f"address add {SECOND}/32 dev eth0")
    ip("maddress add 01:00:5e:00:00:20 dev eth0")


@pytest.fixture
def table(folder: Path) -> RuleTable:
    netns = Namespace(PinnedMaps(folder), KernelHooks(), NetlinkLinks())
    return RuleTable(netns, lambda _: None)


def seen(table: RuleTable, folder: Path) -> tuple[object, Traces]:
    views = table.view()
    rules = [
        (
            [entry.rule for entry in view.state.entries],
            view.state.xdp,
            view.attached,
            view.groups,
            view.deadlines,
        )
        for view in views
    ]
    return rules, without_ids(traces(folder))


def without_ids(there: Traces) -> Traces:
    """Programs loaded again have other ids, and what is put back comes last in its list.

    That our programs run is told by `attached`.
    """
    lines = tuple(
        "\n".join(line for line in text.splitlines() if "clusterip" not in line)
        for text in there.filters
    )
    return Traces(
        there.qdiscs,
        (lines[0], lines[1]),
        _PROGRAM.sub("", there.link),
        "\n".join(sorted(there.macs.splitlines())),
        "\n".join(sorted(_PROGRAM.sub("", there.addresses).splitlines())),
        there.pins,
    )


def prepare(table: RuleTable, steps: tuple[Step, ...]) -> None:
    table.flush()
    for one in steps:
        one(table)


@pytest.mark.parametrize("own_things", [False, True])
@pytest.mark.parametrize(
    ("steps", "step"),
    [((), managed), ((first,), managed), ((first, managed), RuleTable.flush)],
    ids=["first rule", "second VIP", "flush"],
)
def test_killed_at_each_step(
    table: RuleTable, folder: Path, own_things: bool, steps: tuple[Step, ...], step: Step
) -> None:
    if own_things:
        things_of_his_own()
    own = seen(table, folder)
    prepare(table, steps)
    count = Fault()
    step(watched(table, count))
    new = seen(table, folder)
    for at in range(len(count.calls)):
        prepare(table, steps)
        with pytest.raises(Killed):
            step(watched(table, Fault(at)))
        # By turns, for a step costs a second; a flush must do without it as well.
        if at % 2 == own_things:
            step(table)
            assert seen(table, folder) == new
        table.flush()
        assert seen(table, folder) == own


@pytest.mark.parametrize(
    ("steps", "step"),
    [((first,), managed), ((first,), RuleTable.flush)],
    ids=["second VIP", "flush"],
)
def test_an_error_at_each_step(
    table: RuleTable, folder: Path, steps: tuple[Step, ...], step: Step
) -> None:
    things_of_his_own()
    prepare(table, steps)
    old, count = seen(table, folder), Fault()
    step(watched(table, count))
    prepare(table, steps)
    for at in range(len(count.calls)):
        with pytest.raises(OSError, match="no"):
            step(watched(table, Fault(at, error=OSError(errno.EIO, "no"))))
        assert seen(table, folder) == old


def test_deleted_again_after_a_kill(table: RuleTable, folder: Path) -> None:
    """The second time it is refused, for the rule is not there; what it brought goes too."""
    own = seen(table, folder)
    prepare(table, (managed,))
    count = Fault()
    delete(TWO)(watched(table, count))
    for at in range(1 + count.calls.index("commit"), len(count.calls)):
        prepare(table, (managed,))
        with pytest.raises(Killed):
            delete(TWO)(watched(table, Fault(at)))
        with pytest.raises(RefusedError, match="does a matching rule exist"):
            delete(TWO)(table)
        assert seen(table, folder) == own


def test_nothing_begins_from_a_managed_address(table: RuleTable) -> None:
    ip("address flush dev eth0")
    managed(table)
    ip("address add 10.9.0.1/24 dev eth0")
    ip("route add 198.51.100.0/24 dev eth0")
    assert source("198.51.100.1") == "10.9.0.1"
    # One that an earlier version added is brought over by the next change.
    ip("address flush dev eth0")
    ip(f"address add {SECOND}/32 dev eth0")
    ip("address add 10.9.0.1/24 dev eth0")
    ip("route add 198.51.100.0/24 dev eth0")
    assert source("198.51.100.1") == str(SECOND)
    first(table)
    assert source("198.51.100.1") == "10.9.0.1"
    table.flush()
    assert str(SECOND) not in ip("address show dev eth0")


def source(target: str) -> str:
    """Return where a connection to the target would begin."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.connect((target, 9))
        return str(one.getsockname()[0])
