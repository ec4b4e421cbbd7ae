"""What is planned: the cluster begins, a drain, a restart, a weight. No client notices any."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from clusterip.core.config.declared import PORT
from clusterip.core.lease.timing import PROFILES
from clusterip.core.units import SECOND
from lab import traffic
from lab.capture import answering_hosts, capturing
from lab.cluster import BUCKETS
from lab.demo_watch import SLOW
from lab.frames import clocks
from lab.servers import HTTP_PORT
from lab.topology import VIP

if TYPE_CHECKING:
    from pathlib import Path

    from lab.hosts.site import Site

_REQUESTS: Final = 120
_AFTERWARDS: Final = 2.0
"""Seconds for which the clients go on when all is over."""
_TIMING: Final = PROFILES[SLOW.profile]
_BACK_WITHIN: Final = (_TIMING.restart - _TIMING.interval) / SECOND
"""Seconds of silence after which a restart still breaks nothing: it is heard, and answered."""
_DRAINED_WITHIN: Final = 120.0


def serve(site: Site) -> None:
    """Start `clusterip run` by systemd, beside two namespaces; all three serve."""
    report, guest, client = site.report, site.guest, site.lab.client
    site.end()
    site.configure()
    with report.busy("clusterip check"):
        checked = guest.clusterip("check", check=False)
    report.check("exit status of `clusterip check`", 0, checked.returncode)
    with report.busy("systemctl enable --now clusterip"):
        site.begin()
        held = site.settled()
    report.xdp = guest.xdp
    report.check("XDP on virtio-net", "native", report.xdp)
    shares = {name: len(buckets) for name, buckets in held.items()}
    report.check("buckets that each answers", dict.fromkeys(shares, BUCKETS // 3), shares)
    flows = traffic.flows(client, VIP, HTTP_PORT, _REQUESTS)
    with report.busy(f"{_REQUESTS} web requests"), capturing(client, "tcp") as capture:
        told = traffic.web_answers(client, flows, timeout=5.0)
    report.check("web requests answered", _REQUESTS, sum(map(bool, told)))
    report.check("hosts that answered", 3, len(set(filter(None, told))))
    wire = answering_hosts(site.lab, capture, VIP).values()
    report.check("SYNs answered twice", 0, sum(len(set(hosts)) > 1 for hosts in wire))
    (interface,) = site.lab.hosts[0].show()["interfaces"]
    mac = interface["vips"][0]["clustermac"].lower()
    report.check("the MAC that the client found", mac, client.neighbour(VIP))


def drain(site: Site) -> None:
    """Drain the guest, whose clients go on; then let it take part again."""
    report, guest = site.report, site.guest
    site.ready()
    with report.busy("clusterip drain h3, under clients"), site.watching() as watch:
        guest.clusterip("drain", guest.name)
        site.settled(*site.others)
        time.sleep(_AFTERWARDS)
    report.check_at_least("connections that the guest had", 1, watch.at[guest.name])
    site.check_unbroken(watch)
    with report.busy("clusterip drain --wait h3, its clients are gone"):
        done = guest.run(
            "/usr/bin/clusterip", "drain", "--wait", guest.name, within=_DRAINED_WITHIN
        )
    report.check("what it said", f"{guest.name} is drained", done.stdout.strip())
    with report.busy("clusterip undrain h3, under clients"), site.watching() as watch:
        guest.clusterip("undrain", guest.name)
        held = site.settled()
        time.sleep(_AFTERWARDS)
    report.check("buckets of the guest", BUCKETS // 3, len(held[guest.name]))
    site.check_unbroken(watch)


def restart(site: Site) -> None:
    """Restart the guest's daemon as after an upgrade: nothing is lost.

    Others keep their promise to it for 5 seconds and no longer. Where it takes longer to begin, in
    emulation, they have its buckets meanwhile; nothing is answered twice, and it goes on later.
    """
    report, guest = site.report, site.guest
    site.ready()
    # A daemon that restarts finds its files in memory, too.
    guest.clusterip("check", "--file-only")
    before = guest.unit("MainPID", "NRestarts")
    held = site.held()
    own = f"udp port {PORT} and ether src {guest.mac}"
    with (
        report.busy("clusterip restart, under clients"),
        capturing(site.lab.switch, own, guest.name) as cable,
        site.watching() as watch,
    ):
        done = guest.clusterip("restart", check=False)
        site.settled()
        time.sleep(_AFTERWARDS)
    silent = _silence(cable.file)
    if silent > _BACK_WITHIN:
        report.skipped(
            "a restart breaks no connection",
            f"emulated, it said nothing for {silent:.1f} s, and others wait for"
            f" {_TIMING.restart / SECOND:g} s",
        )
        site.check_once(watch)
        left = len(site.held()[guest.name])
        report.check("buckets of the guest", BUCKETS // 3, left)
    else:
        report.check("exit status", 0, done.returncode)
        site.check_unbroken(watch)
        owners = watch.seen.gaps.owners
        mine = sorted(number for number, name in owners.items() if name == guest.name)
        report.check("buckets of the guest", held[guest.name], mine)
    report.check("systemd's view of the daemon", before, guest.unit("MainPID", "NRestarts"))


def _silence(cable: Path) -> float:
    """Return the longest time, in seconds, between two messages."""
    times = [at for at, _, _ in clocks(cable, PORT)]
    return max(later - earlier for earlier, later in itertools.pairwise(times))


def weight(site: Site) -> None:
    """Give the guest half the weight of the others, and back."""
    report, guest = site.report, site.guest
    site.ready()
    for percent in (50, 100):
        line = f"clusterip weight {percent} {guest.name}"
        with report.busy(f"{line}, under clients"), site.watching() as watch:
            # Both at once: the command may return when all is done.
            with ThreadPoolExecutor(1) as pool:
                commanded = pool.submit(guest.clusterip, "weight", str(percent), guest.name)
                held = site.settled(weights={guest.name: percent})
                commanded.result()
            time.sleep(_AFTERWARDS)
        fair = BUCKETS * percent / (200 + percent)
        away = abs(len(held[guest.name]) - fair)
        report.check_at_most(f"{line}: buckets away from its share", 0.99, away, "buckets")
        site.check_unbroken(watch)
