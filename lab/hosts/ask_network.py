"""The guest's network under the daemon: it comes late, is configured anew, flaps."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from lab.capture import capturing
from lab.frames import Packet
from lab.hosts.guest import BOOTS_WITHIN
from lab.hosts.site import ELSEWHERE, LIMIT
from lab.wait import eventually

if TYPE_CHECKING:
    from lab.hosts.site import Site

_STEADY: Final = 10.0
"""Seconds for which nothing may happen while an interface is waited for."""
_OUTAGES: Final = (0.01, 0.1, 1.0, 10.0)
_AFTERWARDS: Final = 2.0
_MASKED: Final = "systemd-networkd-wait-online.service"


def late(site: Site) -> None:
    """Boot the guest without its network card, and plug that in when the daemon waits for it."""
    report, guest = site.report, site.guest
    site.ready()
    guest.sh(f"systemctl mask --now {_MASKED}")
    with report.busy("the network card is taken out, and the guest boots again"):
        guest.machine.remove_interface()
        guest.reboot()
        # The first line is systemd's.
        eventually(
            lambda: len(guest.log().splitlines()) > 1,
            within=BOOTS_WITHIN,
            what="the daemon to say what it waits for",
        )
    with report.busy(f"{_STEADY:g} s without the interface"):
        time.sleep(_STEADY)
    state = guest.unit("NRestarts", "MainPID")
    report.check("restarts by systemd", "0", state["NRestarts"])
    report.check("a daemon waits", True, state["MainPID"] != "0")
    report.check_at_most("lines in its log", 5, len(guest.log().splitlines()), "lines")
    with report.busy("the network card comes, under clients"), site.watching() as watch:
        guest.machine.add_interface()
        held = site.settled()
        time.sleep(_AFTERWARDS)
    report.check_at_least("buckets that the guest has", 1, len(held[guest.name]))
    site.check_unbroken(watch)
    _leaves_from_its_own(site, "the interface came late")
    guest.sh(f"systemctl unmask {_MASKED}")


def networkd(site: Site) -> None:
    """Have systemd-networkd read its files again, start again, and configure the interface anew."""
    for line in (
        "networkctl reload",
        "systemctl restart systemd-networkd",
        "networkctl reconfigure eth0",
        "ip address del {own} dev eth0; networkctl reconfigure eth0",
    ):
        site.ready()
        typed = line.format(own=f"{site.guest.address}/16")
        with site.report.busy(f"{typed}, under clients"), site.watching() as watch:
            site.guest.sh(typed)
            time.sleep(_AFTERWARDS)
            held = site.settled()
        site.report.check_at_least("buckets that the guest has", 1, len(held[site.guest.name]))
        site.check_once(watch)
        others = watch.seen.broken_with(site.others)
        site.report.check("connections to the others, broken", 0, len(others))
        longest = watch.seen.gaps.longest
        site.report.check_at_most("a bucket is silent for", LIMIT, longest)
        _leaves_from_its_own(site, typed)


def flaps(site: Site) -> None:
    """Pull the guest's cable for moments."""
    report, guest = site.report, site.guest
    for seconds in _OUTAGES:
        site.ready()
        with report.busy(f"no link for {seconds:g} s, under clients"), site.watching() as watch:
            guest.machine.plug(into=False)
            time.sleep(seconds)
            guest.machine.plug(into=True)
            held = site.settled()
        report.check_at_least("buckets that the guest has", 1, len(held[guest.name]))
        report.check_at_most("a bucket is silent for", LIMIT, watch.seen.gaps.longest)
        others = watch.seen.broken_with(site.others)
        report.check("connections to the others, broken", 0, len(others))
        site.check_once(watch)


def _leaves_from_its_own(site: Site, when: str) -> None:
    """Claim that what the guest begins itself does not come from the VIP, as the client sees it.

    Neither to the segment, where the route names the source, nor elsewhere, where none does.
    """
    guest, client = site.guest, site.lab.client
    with capturing(client, f"icmp and ether src {guest.mac}") as capture:
        answered = [
            guest.run("/bin/ping", "-c", "3", "-W", "2", to, check=False).returncode
            for to in (client.address, ELSEWHERE)
        ]
    sources = {frame.source for frame in capture.seen() if isinstance(frame, Packet)}
    site.report.check(f"the guest's own pings, {when}, come from", {guest.address}, sources)
    site.report.check("and are answered, on the segment and elsewhere", [0, 0], answered)
