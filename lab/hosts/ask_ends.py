"""How it ends: killed, stopped, rebooted, unplugged. Others serve, and it comes back by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lab.hosts.guest import BOOTS_WITHIN
from lab.hosts.site import LIMIT, guest_state

if TYPE_CHECKING:
    from lab.demo_watch import Watch
    from lab.hosts.site import Site

_DRAINED_WITHIN: Final = 120.0


def kill(site: Site) -> None:
    """Kill the guest's daemon; systemd starts it again."""
    report, guest = site.report, site.guest
    site.ready()
    before = guest.unit("MainPID", "NRestarts")
    with report.busy("kill -9, under clients"), site.watching() as watch:
        guest.sh(f"kill -9 {before['MainPID']}")
        site.settled(*site.others)
    _died(site, watch)
    with report.busy("systemd starts it again"):
        site.settled()
        now = guest.unit("MainPID", "NRestarts", "ActiveState")
    report.check("the unit", "active", now["ActiveState"])
    report.check("restarts by systemd", int(before["NRestarts"]) + 1, int(now["NRestarts"]))
    report.check("another process", True, now["MainPID"] not in ("0", before["MainPID"]))


def stop(site: Site) -> None:
    """Stop the unit: the others have all, and nothing is left on the guest."""
    report, guest = site.report, site.guest
    site.ready()
    with report.busy("systemctl stop clusterip, under clients"), site.watching() as watch:
        guest.sh("systemctl stop clusterip")
        site.settled(*site.others)
    _died(site, watch)
    state = guest.unit("ActiveState", "Result", "NRestarts")
    report.check("the unit", "inactive, success", f"{state['ActiveState']}, {state['Result']}")
    left = sorted(set(guest_state(guest)) ^ set(site.bare))
    report.check("what it left on the guest", [], left)


def reboot(site: Site) -> None:
    """Drain the guest and boot it again: it serves, without a command."""
    report, guest = site.report, site.guest
    site.ready()
    # Clients of an earlier scenario went without a word while the guest had no link.
    guest.sh("systemctl restart web")
    with report.busy("clusterip drain --wait h3"):
        guest.run("/usr/bin/clusterip", "drain", "--wait", guest.name, within=_DRAINED_WITHIN)
    with report.busy("systemctl reboot, under clients"), site.watching() as watch:
        guest.reboot()
        held = site.settled(within=BOOTS_WITHIN)
    site.check_unbroken(watch)
    report.check_at_least("buckets that the guest has", 1, len(held[guest.name]))
    report.check("XDP on virtio-net", "native", guest.xdp)


def unplug(site: Site) -> None:
    """Pull the guest's cable, and put it back."""
    report, guest = site.report, site.guest
    site.ready()
    with report.busy("the cable is pulled, under clients"), site.watching() as watch:
        guest.machine.plug(into=False)
        site.settled(*site.others)
    _died(site, watch)
    with report.busy("and put back, under clients"), site.watching() as watch:
        guest.machine.plug(into=True)
        site.settled()
    site.check_unbroken(watch)


def _died(site: Site, watch: Watch) -> None:
    """Claim what holds when the guest goes without warning."""
    report, guest, seen = site.report, site.guest, watch.seen
    silences = [seconds for _, seconds in seen.taken_from(guest).values()]
    report.check_at_least("buckets that it had", 1, len(silences))
    report.check_at_most("nobody answers for them for", LIMIT, max(silences, default=0.0))
    report.check_at_least("connections to the others", 1, seen.had(site.others))
    report.check("of these, broken", 0, len(seen.broken_with(site.others)))
    site.check_once(watch)
