"""Rules that another version pinned: refused in words by all that reads them, and flushed."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from clusterip.adapters import libbpf
from clusterip.adapters.abi import ABI_VERSION
from clusterip.adapters.kernel_maps import OtherVersionError
from clusterip.adapters.packing import pack
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import Mac, Rule, Sharing
from clusterip.runtime.rule_table import RuleTable
from tests.namespaces import own_namespace, tc, traces
from tests.runtime.served import entered
from tests.runtime.worlds import ETH0

VIP = IPv4Address("10.9.0.100")
OTHER = Rule(
    IPv4Address("10.9.0.9"), "eth1", sharing=Sharing(HashMode.SOURCEIP, Mac("01005e000021"), 4)
)
RULE = Rule(VIP, "eth0", sharing=Sharing(HashMode.SOURCEIP, Mac("01005e000020"), 4), local_node=1)


@pytest.fixture
def folder() -> Iterator[Path]:
    with own_namespace() as one:
        yield one


def make_it_of_another_version(folder: Path, table: RuleTable, *, known: bool = True) -> None:
    """Put the same rules in force, as of a next version that continues none.

    Its record is where it always is, unless it is not `known`.
    """
    (state,) = table.chain().interfaces
    content = bytearray(pack(state))
    content[:8] = (ABI_VERSION + 1).to_bytes(4, "little") * 2
    if not known:
        content[8:16] = bytes(8)
    with (
        libbpf.pinned(str(folder / str(state.index) / "config")) as config,
        libbpf.new_array(len(content)) as inner,
    ):
        libbpf.update(inner, 0, bytes(content))
        libbpf.update(config, 0, inner.to_bytes(4, "little"))


@pytest.mark.parametrize("alive", [True, False])
def test_what_a_living_daemon_has_open_is_left_to_it(alive: bool) -> None:
    """Its successor exchanges the maps: it would go on to write the old ones."""
    world = entered(serving=True)
    world.maps.outdated = {ETH0.index}
    table = world.table(None, "web") if alive else world.table()
    table.add((OTHER,), None, None)
    assert world.maps.outdated == ({ETH0.index} if alive else set())
    assert not world.maps.lagging


def test_refused_by_all_but_flush(folder: Path) -> None:
    table = RuleTable.open()
    table.add((RULE,), None, None)
    make_it_of_another_version(folder, table)
    for read in (table.chain, table.view, table.vips, lambda: table.add((RULE,), None, None)):
        with pytest.raises(OtherVersionError, match="another release"):
            read()
    table.flush()
    assert table.chain().interfaces == ()
    assert traces(folder).pins == ("none",)
    assert tc("filter show dev eth0 ingress") == ""
    assert tc("filter show dev eth0 egress") == ""
    table.add((RULE,), None, None)
    assert table.buckets(VIP) == (1,)
