"""A guest that is paused keeps its clocks where they were: it must not answer what others have."""

from __future__ import annotations

import bisect
import time
from typing import TYPE_CHECKING, Final

from clusterip.core.lease.timing import PROFILES, SECOND
from lab.capture import capturing, two_answers
from lab.cluster import BUCKETS
from lab.demo_watch import SLOW
from lab.frames import syn_times
from lab.gaps import Hashing, SynGaps
from lab.topology import VIP

if TYPE_CHECKING:
    from lab.hosts.site import Site

PAUSES: Final = 20
_SECONDS: Final = 6.0
_SYN_INTERVAL: Final = 0.06
_SYNS: Final = f"tcp[tcpflags]&tcp-syn!=0 and host {VIP}"


def pause(site: Site) -> None:
    """Pause the guest again and again under a client that sends SYNs all the while.

    What waited for it since before the first message of another host, it answers: that is of the
    first interval of the pause, by the clock of whoever sends, and not of later.
    """
    report, guest, client = site.report, site.guest, site.lab.client
    site.ready()
    interval = PROFILES[SLOW.profile].interval / SECOND
    begins: list[float] = []
    ends: list[float] = []
    with capturing(client, _SYNS) as capture:
        syns = SynGaps(client, VIP, Hashing(BUCKETS), interval=_SYN_INTERVAL)
        for number in range(1, PAUSES + 1):
            with report.busy(f"pause {number} of {PAUSES}, {_SECONDS:g} s, under SYNs"):
                begins.append(time.time())
                guest.machine.pause()
                time.sleep(_SECONDS)
                ends.append(time.time())
                guest.machine.resume()
                site.settled()
        asked = syns.stop().attempts
    twice = two_answers(capture, VIP)
    sent = syn_times(capture.file, VIP)
    pauses = [_last(ends, one.at) for one in twice]
    ages = [
        sent[one.source, one.source_port, one.isn] - begins[number]
        for one, number in zip(twice, pauses, strict=True)
    ]
    windows = [one.at - ends[number] for one, number in zip(twice, pauses, strict=True)]
    first = sum(begin <= at < begin + interval for at in sent.values() for begin in begins)
    report.check_at_least("SYNs that were sent", 1, len(asked))
    report.check_at_most("SYNs answered twice", first, len(twice), "")
    report.check_at_most("how late in a pause these were sent", interval, max(ages, default=0.0))
    report.check_at_most("longest window after a pause", interval, max(windows, default=0.0))
    report.check("the daemon was not started again", "0", guest.unit("NRestarts")["NRestarts"])


def _last(ends: list[float], at: float) -> int:
    """Return the number of the pause that was over last, the first if none was."""
    return max(0, bisect.bisect_right(ends, at) - 1)
