"""Where the programs run: tc ingress and egress (clsact), and XDP where it can be.

Ours are the first filters at their hooks (priority 1): a filter before them could let a packet
in that another host answers too. So another's filter in that place is an error, not a neighbour.

The guards of a shared interface run on the other interfaces of the namespace (bpf/guard.h), with
the same priority and a handle that tells whose they are: so each shared interface has its own.
"""

from __future__ import annotations

import errno
import os
from typing import Final, Protocol

import msgspec

from clusterip.adapters import libbpf, qdisc, tcx
from clusterip.adapters.links import Link
from clusterip.adapters.qdisc import Filter
from clusterip.core.errors import RefusedError
from clusterip.core.packets.state import XdpMode

PRIORITY: Final = 1
HANDLE: Final = 1
_HEED_HANDLE: Final = 2
_GUARD_HANDLE: Final = 1 << 16
"""To this the ifindex of the shared interface is added."""
NO_PROGRAM: Final = -1
"""In place of a descriptor: the version that pinned the programs had none of that name."""
_NAME: Final = "clusterip_"


class Programs(msgspec.Struct, frozen=True):
    """Descriptors of the programs of one interface, and of those that guard the others.

    `heed` runs beside programs with other maps, until `ingress` has their place.
    """

    ingress: int
    egress: int
    xdp: int
    guard_ingress: int
    guard_egress: int
    heed: int = NO_PROGRAM


class _Side(msgspec.Struct, frozen=True):
    """One direction of clsact: what libbpf and netlink call it, and tcx's attach type."""

    name: str
    point: int
    parent: int
    tcx: int


# The parents are those of linux/pkt_sched.h.
_INGRESS: Final = _Side("ingress", libbpf.TC_INGRESS, 0xFFFFFFF2, tcx.INGRESS)
_SIDES: Final = (_INGRESS, _Side("egress", libbpf.TC_EGRESS, 0xFFFFFFF3, tcx.EGRESS))


class Attached(msgspec.Struct, frozen=True):
    """What runs on an interface now: whether tc is complete, whether XDP is ours."""

    tc: bool
    xdp: bool


class Hooks(Protocol):
    """Putting the programs in place and taking them away."""

    def has_clsact(self, link: Link) -> bool:
        """Tell whether the qdisc is there; RefusedError if a foreign one is in its place."""

    def refuse_foreign(self, link: Link) -> None:
        """Raise RefusedError if something else is in the way of `attach`; nothing is changed."""

    def attach(self, link: Link, programs: Programs, mode: XdpMode) -> str:
        """Make them run; nothing happens where they do.

        Returns why XDP is not used, empty if it is or shall not be. RefusedError where a foreign
        filter is in the way, or if XDP is required and cannot be had.
        """

    def attached(self, link: Link, programs: Programs) -> Attached:
        """Tell what runs now."""

    def detach(self, link: Link, programs: Programs, *, clsact: bool) -> None:
        """Take them away, and with `clsact` the qdisc, unless other filters use it."""

    def clear(self, link: Link, shared: int, *, clsact: bool) -> None:
        """Take away what any version has run on `link` for the interface with ifindex `shared`."""

    def heed(self, link: Link, programs: Programs) -> None:
        """Have `heed` see all that comes, beside whatever runs there, if anything does."""

    def unheed(self, link: Link) -> None:
        """Take `heed` away, whosever it is."""

    def guard(self, link: Link, programs: Programs, shared: int) -> None:
        """Have the guards of the interface with ifindex `shared` run on another one, `link`.

        Nothing happens where they do. RefusedError or OSError where that cannot be.
        """

    def guarded(self, link: Link, programs: Programs, shared: int) -> bool:
        """Tell whether they run there."""

    def unguard(self, link: Link, programs: Programs, shared: int, *, clsact: bool) -> None:
        """Take them away, as `detach` does."""


class KernelHooks:
    """The hooks of the network namespace this process is in."""

    def has_clsact(self, link: Link) -> bool:
        """Tell whether the qdisc is there; RefusedError if a foreign one is in its place."""
        kinds = qdisc.qdiscs(link)
        if kinds - {"clsact"}:
            raise RefusedError(
                f"{link.name} has an ingress qdisc, where clsact must be",
                f"tc qdisc del dev {link.name} ingress (clsact takes the same filters)",
            )
        return bool(kinds)

    def refuse_foreign(self, link: Link) -> None:
        """Raise RefusedError if something else is in the way."""
        self.has_clsact(link)
        for side in _SIDES:
            self._refuse_foreign(link, side)

    def attach(self, link: Link, programs: Programs, mode: XdpMode) -> str:
        """Make them run; see `Hooks.attach`."""
        if not self.has_clsact(link):
            libbpf.tc_hook_create(link.index)
        for side, fd in zip(_SIDES, (programs.ingress, programs.egress), strict=True):
            self._refuse_foreign(link, side)
            _put(link, side, fd, HANDLE)
        # Where a later version had them, they ran until now: no packet goes past both.
        _leave_tcx(link)
        return self._set_xdp(link, programs.xdp, mode)

    def attached(self, link: Link, programs: Programs) -> Attached:
        """Tell what runs now."""
        tc = _both_run(link, (programs.ingress, programs.egress), HANDLE)
        tc = tc and not any(tcx.ours(link.index, side.tcx) for side in _SIDES)
        return Attached(tc, libbpf.xdp_program(link.index) == _id(programs.xdp))

    def detach(self, link: Link, programs: Programs, *, clsact: bool) -> None:
        """Take them away; see `Hooks.detach`."""
        self._set_xdp(link, programs.xdp, XdpMode.OFF)
        _leave_tcx(link)
        _take(link, (programs.ingress, programs.egress), HANDLE, clsact=clsact)

    def clear(self, link: Link, shared: int, *, clsact: bool) -> None:
        """Take away what runs for an interface, which may be `link`; see `Hooks.clear`."""
        own = link.index == shared
        if own:
            _leave_tcx(link)
        if own and _is_named(libbpf.xdp_program(link.index)):
            libbpf.xdp_detach(link.index)
        for handle in (HANDLE, _HEED_HANDLE) if own else (_GUARD_HANDLE + shared,):
            for side in _SIDES:
                if _is_named(_program_at(link, side, handle)):
                    libbpf.tc_detach(link.index, side.point, handle=handle, priority=PRIORITY)
        _leave(link, clsact=clsact)

    def heed(self, link: Link, programs: Programs) -> None:
        """Have `heed` see all that comes, beside whatever runs there, if anything does."""
        if programs.heed != NO_PROGRAM and self.has_clsact(link):
            _put(link, _INGRESS, programs.heed, _HEED_HANDLE)

    def unheed(self, link: Link) -> None:
        """Take `heed` away, whosever it is."""
        if _is_named(_program_at(link, _INGRESS, _HEED_HANDLE)):
            libbpf.tc_detach(link.index, _INGRESS.point, handle=_HEED_HANDLE, priority=PRIORITY)

    def guard(self, link: Link, programs: Programs, shared: int) -> None:
        """Have the guards of `shared` run on `link`; see `Hooks.guard`."""
        if not self.has_clsact(link):
            libbpf.tc_hook_create(link.index)
        for side, fd in zip(_SIDES, _guards(programs), strict=True):
            _put(link, side, fd, _GUARD_HANDLE + shared)

    def guarded(self, link: Link, programs: Programs, shared: int) -> bool:
        """Tell whether they run there."""
        return _both_run(link, _guards(programs), _GUARD_HANDLE + shared)

    def unguard(self, link: Link, programs: Programs, shared: int, *, clsact: bool) -> None:
        """Take them away, as `detach` does."""
        _take(link, _guards(programs), _GUARD_HANDLE + shared, clsact=clsact)

    @staticmethod
    def _refuse_foreign(link: Link, side: _Side) -> None:
        for one in qdisc.filters(link, side.parent):
            if one.priority > PRIORITY or _is_ours(link, side, one):
                continue
            raise RefusedError(
                f"a foreign {one.kind} filter with priority {PRIORITY} is in the way"
                f" on {link.name} {side.name}",
                "ours must be the first: add that filter with a higher priority number"
                f" (tc filter show dev {link.name} {side.name})",
            )
        for name in tcx.foreign(link.index, side.tcx):
            raise RefusedError(
                f"a foreign tcx program ({name}) is in the way on {link.name} {side.name}",
                "tcx programs run before tc filters, and ours must be the first:"
                " detach it, or share another interface",
            )

    @staticmethod
    def _set_xdp(link: Link, fd: int, mode: XdpMode) -> str:
        """Attach or detach; returns why it is not used although it should be."""
        ours = _id(fd)
        current = libbpf.xdp_program(link.index)
        if mode is XdpMode.OFF:
            if current == ours:
                libbpf.xdp_detach(link.index)
            return ""
        if current == ours:
            return ""
        note = ""
        name = libbpf.program_name(current) if current else ""
        if current and not name.startswith(_NAME):
            note = f"another XDP program is there ({name or 'unnamed'}, id {current})"
        else:
            try:
                if current:
                    # Of an earlier installation, or of a life whose pins are lost. In one step:
                    # where a driver goes from none to one, or back, packets may be lost.
                    libbpf.xdp_replace(link.index, fd, current)
                else:
                    libbpf.xdp_attach(link.index, fd)
            except OSError as error:
                note = f"the driver has no native XDP here: {os.strerror(error.errno or 0)}"
        if note and mode is XdpMode.REQUIRE:
            raise RefusedError(
                f"XDP is required on {link.name}, but {note}",
                "use --xdp auto: the tc hooks do the same, later in the stack",
            )
        return note


def _id(fd: int) -> int:
    return libbpf.program_info(fd)[0]


def _guards(programs: Programs) -> tuple[int, int]:
    return programs.guard_ingress, programs.guard_egress


def _runs(link: Link, side: _Side, fd: int, handle: int) -> bool:
    return fd != NO_PROGRAM and _program_at(link, side, handle) == _id(fd)


def _both_run(link: Link, programs: tuple[int, int], handle: int) -> bool:
    return all(_runs(link, side, fd, handle) for side, fd in zip(_SIDES, programs, strict=True))


def _put(link: Link, side: _Side, fd: int, handle: int) -> None:
    if not _runs(link, side, fd, handle):
        libbpf.tc_attach(link.index, side.point, fd, handle=handle, priority=PRIORITY)


def _take(link: Link, programs: tuple[int, int], handle: int, *, clsact: bool) -> None:
    """Detach the filters with that handle if they are these, and then perhaps the qdisc."""
    for side, fd in zip(_SIDES, programs, strict=True):
        if _runs(link, side, fd, handle):
            libbpf.tc_detach(link.index, side.point, handle=handle, priority=PRIORITY)
    _leave(link, clsact=clsact)


def _leave_tcx(link: Link) -> None:
    for side in _SIDES:
        tcx.leave(link.index, side.tcx)


def _leave(link: Link, *, clsact: bool) -> None:
    if clsact and not any(any(qdisc.filters(link, side.parent)) for side in _SIDES):
        qdisc.remove(link)


def _program_at(link: Link, side: _Side, handle: int) -> int:
    return libbpf.tc_program(link.index, side.point, handle=handle, priority=PRIORITY)


def _is_ours(link: Link, side: _Side, one: Filter) -> bool:
    """Tell whether a tc filter is one of ours, of this life or an earlier one."""
    if one.kind != "bpf":
        return False
    # Filters are listed once for their priority, with handle 0, and once for themselves.
    return not one.handle or _is_named(_program_at(link, side, one.handle))


def _is_named(number: int) -> bool:
    """Tell whether a program, by its id, is one of ours, of whatever version; 0 is none."""
    return libbpf.program_name(number).startswith(_NAME)


class FakeHooks(msgspec.Struct):
    """Hooks in memory, for tests."""

    clsact: set[int] = msgspec.field(default_factory=set)
    running: set[int] = msgspec.field(default_factory=set)
    native_xdp: bool = True
    foreign: set[int] = msgspec.field(default_factory=set)
    guards: set[tuple[int, int]] = msgspec.field(default_factory=set)
    """Which interface is guarded for which shared one."""
    heeding: set[int] = msgspec.field(default_factory=set)
    gone: set[int] = msgspec.field(default_factory=set)
    """Interfaces that went while somebody looked."""

    def _there(self, link: Link) -> None:
        if link.index in self.gone:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))

    def has_clsact(self, link: Link) -> bool:
        """Tell whether the qdisc is there."""
        self._there(link)
        return link.index in self.clsact

    def refuse_foreign(self, link: Link) -> None:
        """Raise RefusedError if something else is in the way."""
        if link.index in self.foreign:
            raise RefusedError(f"a foreign filter is in the way on {link.name}", "remove it")

    def attach(self, link: Link, programs: Programs, mode: XdpMode) -> str:
        """Make the programs run."""
        del programs
        self.refuse_foreign(link)
        self.clsact.add(link.index)
        self.running.add(link.index)
        if self.native_xdp or mode is XdpMode.OFF:
            return ""
        if mode is XdpMode.REQUIRE:
            raise RefusedError(f"XDP is required on {link.name}", "use --xdp auto")
        return "no native XDP"

    def attached(self, link: Link, programs: Programs) -> Attached:
        """Tell what runs."""
        del programs
        runs = link.index in self.running
        return Attached(runs, runs and self.native_xdp)

    def detach(self, link: Link, programs: Programs, *, clsact: bool) -> None:
        """Take the programs away."""
        del programs
        self.running.discard(link.index)
        self._leave(link, clsact=clsact)

    def clear(self, link: Link, shared: int, *, clsact: bool) -> None:
        """Take away what runs for an interface."""
        self.guards.discard((link.index, shared))
        self.running -= {shared} & {link.index}
        self.heeding -= {shared} & {link.index}
        self._leave(link, clsact=clsact)

    def heed(self, link: Link, programs: Programs) -> None:
        """Have all be seen."""
        del programs
        if link.index in self.clsact:
            self.heeding.add(link.index)

    def unheed(self, link: Link) -> None:
        """Have nothing be seen any more."""
        self.heeding.discard(link.index)

    def guard(self, link: Link, programs: Programs, shared: int) -> None:
        """Guard an interface."""
        del programs
        self._there(link)
        if link.index in self.foreign:
            raise RefusedError(f"a foreign filter is in the way on {link.name}", "remove it")
        self.clsact.add(link.index)
        self.guards.add((link.index, shared))

    def guarded(self, link: Link, programs: Programs, shared: int) -> bool:
        """Tell whether it is guarded."""
        del programs
        self._there(link)
        return link.index in self.clsact and (link.index, shared) in self.guards

    def unguard(self, link: Link, programs: Programs, shared: int, *, clsact: bool) -> None:
        """Guard it no more."""
        del programs
        self._there(link)
        self.guards.discard((link.index, shared))
        self._leave(link, clsact=clsact)

    def _leave(self, link: Link, *, clsact: bool) -> None:
        used = link.index in self.running or link.index in {one for one, _ in self.guards}
        if clsact and not used:
            self.clsact.discard(link.index)
