"""Taking away what another version left, of whose rules nothing can be read.

A document beside the rules says what was brought to the interface: every version since 0.1.0 reads
that much. Of one before it is not known; then addresses go that are as only this tool adds them.

Nothing filters packets once the filters are gone. So the addresses go first: without them this host
answers nothing that others do. The pins go last: killed before, the next one begins again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from clusterip.adapters.kernel_maps import OtherVersionError
from clusterip.adapters.links import Link
from clusterip.core.address import Address, order
from clusterip.core.packets.state import Record
from clusterip.runtime.guarding import Guarding, unless_it_goes
from clusterip.runtime.namespace import Namespace


@dataclass(frozen=True)
class Clearing:
    """Clears interfaces of a network namespace whose rules cannot be read."""

    netns: Namespace

    def records(self) -> tuple[Record, ...]:
        """Return what is recorded of all interfaces, as far as it can be read."""
        found = map(self.netns.maps.record, self.netns.maps.indices())
        return tuple(record for record in found if record is not None)

    def unreadable(self) -> tuple[int, ...]:
        """Return the ifindices of such interfaces; some may be gone."""
        found = []
        for index in self.netns.maps.indices():
            try:
                self.netns.state(index)
            except OtherVersionError:
                found.append(index)
            except FileNotFoundError:
                pass
        return tuple(found)

    def clear(self, index: int, vips: Iterable[Address] = ()) -> str:
        """Take everything away, `vips` too if they are there; returns what was done, in words."""
        links = self.netns.by_index()
        record = self.netns.maps.record(index)
        taken = (record or Record()).taken
        said = "took away the rules of another release"
        if index in links:
            said = f"{links[index].name}: {said}{self._strip(links[index], record, vips)}"
        guarding = Guarding(self.netns, tuple(links.values()))
        qdiscs = {guard.index for guard in taken.guards if guard.clsact}
        qdiscs |= {index} if taken.clsact else set()
        for one in links.values():
            if one.index in qdiscs:
                guarding.bequeath(index, one.index)
            with unless_it_goes():
                self.netns.hooks.clear(one, index, clsact=one.index in qdiscs)
        self.netns.maps.remove(index)
        return said

    def _strip(self, link: Link, record: Record | None, vips: Iterable[Address]) -> str:
        """Take addresses and MACs off an interface; returns what is not known of it, in words."""
        if record is not None:
            for address in {*record.taken.addresses, *vips}:
                self.netns.links.remove_address(link.index, address)
            for mac in record.taken.macs:
                self.netns.links.remove_mac(link, mac)
            return ""
        found = self.netns.links.as_added(link.index)
        for address in {*found, *vips}:
            self.netns.links.remove_address(link.index, address)
        off = ", ".join(map(str, sorted(found, key=order))) or "none"
        macs = ", ".join(map(str, sorted(self.netns.links.macs(link.index)))) or "none"
        return (
            f"; what it had added is not known here; addresses taken off: {off};"
            f" left in the MAC filter: {macs}"
        )
