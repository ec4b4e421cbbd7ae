"""The real kernel, where a kind of call is refused whenever it is made: nothing is left behind.

An error in place of one call is in test_host_kernel; here what would undo it is refused, too.
"""

from __future__ import annotations

import errno
import fcntl
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Any

import pytest

from clusterip.adapters import libbpf, links, macfilter
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import Mac, Match, Rule, Sharing
from clusterip.core.packets.state import XdpMode
from clusterip.runtime.rule_table import RuleTable
from tests.namespaces import own_namespace, traces

pytestmark = pytest.mark.root("BPF and network namespaces")

# A group is joined for the MAC, and the address added for the rule.
SHARED = Sharing(HashMode.SOURCEIP, Mac("01005e7f0021"), 4)
RULE = Rule(IPv4Address("10.9.0.100"), "eth0", Match(6), SHARED, 1, manage_address=True)
CALLS = (
    ("bpf_object__load",),
    ("bpf_map_create",),
    ("bpf_map_update_elem",),
    ("bpf_obj_pin",),
    ("bpf_tc_hook_create", "bpf_tc_hook_destroy"),
    ("bpf_tc_attach", "bpf_tc_detach"),
    ("bpf_xdp_attach", "bpf_xdp_detach"),
)


def refusing(function: Callable[..., Any], *names: object) -> Callable[..., Any]:
    """Return the function, but for calls with one of these as the first argument."""

    def call(first: object, *others: Any) -> Any:
        if first in names:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        return function(first, *others)

    return call


def check_nothing_is_left() -> None:
    with own_namespace() as folder:
        before, table = traces(folder), RuleTable.open()
        with pytest.raises(Exception, match=r"not permitted|refused|no native XDP"):
            table.add((RULE,), None, XdpMode.REQUIRE)
        assert table.view() == ()
        assert traces(folder) == before


@pytest.mark.parametrize("names", CALLS, ids=lambda names: names[0])
def test_of_libbpf(names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libbpf, "call", refusing(libbpf.call, *names))
    check_nothing_is_left()


def test_of_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "_asked", refusing(links._asked, "add", "del"))
    check_nothing_is_left()


def test_of_macs(monkeypatch: pytest.MonkeyPatch) -> None:
    def ioctl(one: Any, request: int, frame: bytes) -> object:
        if request in (macfilter._SIOCADDMULTI, macfilter._SIOCDELMULTI):
            raise PermissionError(errno.EPERM, "Operation not permitted")
        return real(one, request, frame)

    real = fcntl.ioctl
    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    check_nothing_is_left()


def test_nothing_is_refused() -> None:
    with own_namespace() as folder:
        table = RuleTable.open()
        table.add((RULE,), None, XdpMode.REQUIRE)
        assert [view.attached.tc for view in table.view()] == [True]
        assert folder.is_dir()
