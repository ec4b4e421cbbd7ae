"""A guest that is paused keeps its clocks where they were: it must not answer what others have."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from clusterip.core.config.declared import PORT
from clusterip.core.lease.timing import PROFILES
from clusterip.core.units import SECOND
from lab.capture import capturing, two_answers
from lab.cluster import BUCKETS
from lab.demo_watch import SLOW
from lab.frames import clocks, syn_times
from lab.gaps import Hashing, SynGaps
from lab.topology import VIP

if TYPE_CHECKING:
    from pathlib import Path

    from lab.hosts.site import Site

PAUSES: Final = 20
_SECONDS: Final = 6.0
_SYN_INTERVAL: Final = 0.06
_SYN: Final = f"tcp[tcpflags]&tcp-syn!=0 and host {VIP}"


@dataclass(frozen=True, slots=True)
class _Pause:
    """When it began and was over, in seconds since the epoch; from `stood` on, ns, it was on."""

    begin: float
    stood: int
    end: float


def pause(site: Site) -> None:
    """Pause the guest again and again under a client that sends SYNs all the while.

    Of what waited for it, it answers what came before the first message that shows the pause, and
    nothing that came after. That message was made a quarter of an interval after the pause began or
    later, so it is there within that, an interval, and what its sender is late. While the guest
    gets through what waited its clock goes on, so a message must show more than that.
    """
    report, guest, client = site.report, site.guest, site.lab.client
    site.ready()
    pauses = []
    with (
        capturing(client, _SYN) as capture,
        capturing(site.lab.switch, f"({_SYN}) or udp port {PORT}", guest.name) as cable,
    ):
        syns = SynGaps(client, VIP, Hashing(BUCKETS), interval=_SYN_INTERVAL)
        for number in range(1, PAUSES + 1):
            with report.busy(f"pause {number} of {PAUSES}, {_SECONDS:g} s, under SYNs"):
                begin = time.time()
                guest.machine.pause()
                stood = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
                time.sleep(_SECONDS)
                pauses.append(_Pause(begin, stood, time.time()))
                guest.machine.resume()
                site.settled()
        asked = syns.stop().attempts
    twice = two_answers(capture, VIP)
    sent = syn_times(cable.file, VIP)
    came = {one: sent[one.source, one.source_port, one.isn] for one in twice}
    when = {one: max(0, sum(pause.end < one.at for pause in pauses) - 1) for one in twice}
    windows = {one: one.at - pauses[number].end for one, number in when.items()}
    longest = [
        max((windows[one] for one in twice if when[one] == number), default=0.0)
        for number in range(PAUSES)
    ]
    shown = _shown(cable.file, pauses, longest, guest.mac)
    exposed = sum(
        pause.begin <= at < told
        for at in sent.values()
        for pause, told in zip(pauses, shown, strict=True)
    )
    ages = [at - pauses[when[one]].begin for one, at in came.items()]
    timing = PROFILES[SLOW.profile]
    latest = (timing.standstill + timing.interval + timing.margin) / SECOND + max(longest)
    report.check_at_least("SYNs that were sent", 1, len(asked))
    report.check(
        "SYNs answered twice that came after the first message that shows the pause",
        0,
        sum(at >= shown[when[one]] for one, at in came.items()),
    )
    report.check_at_most("SYNs answered twice, of those before it", exposed, len(twice), "")
    report.check_at_most("how late in a pause these were sent", latest, max(ages, default=0.0))
    # As long as it takes to get through what waited, which no clock bounds but the lease.
    lease = timing.lease / SECOND
    report.check_at_most("longest window after a pause", lease, max(longest))
    report.check("the daemon was not started again", "0", guest.unit("NRestarts")["NRestarts"])


def _shown(cable: Path, pauses: list[_Pause], windows: list[float], mac: str) -> list[float]:
    """Return when the first message came to the guest's cable that shows each of the pauses.

    `windows` are how long, in seconds, the guest went through what waited after each.
    """
    timing = PROFILES[SLOW.profile]
    least = timing.standstill + timing.noise
    heard = [(at, clock) for at, sender, clock in clocks(cable, PORT) if sender != mac]
    return [
        min(
            at
            for at, clock in heard
            if at >= pause.begin and clock >= pause.stood + least + int(window * SECOND)
        )
        for pause, window in zip(pauses, windows, strict=True)
    ]
