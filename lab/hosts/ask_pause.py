"""A guest that is paused keeps its clocks where they were: it must not answer what others have."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from lab.capture import capturing, two_answers
from lab.cluster import BUCKETS
from lab.demo_watch import SYN_ACK
from lab.gaps import Hashing, SynGaps
from lab.topology import VIP

if TYPE_CHECKING:
    from lab.hosts.site import Site

PAUSES: Final = 20
_SECONDS: Final = 6.0
_SYN_INTERVAL: Final = 0.06


def pause(site: Site) -> None:
    """Pause the guest again and again under a client that sends SYNs all the while."""
    report, guest, client = site.report, site.guest, site.lab.client
    site.ready()
    ends: list[float] = []
    with capturing(client, SYN_ACK) as capture:
        syns = SynGaps(client, VIP, Hashing(BUCKETS), interval=_SYN_INTERVAL)
        for number in range(1, PAUSES + 1):
            with report.busy(f"pause {number} of {PAUSES}, {_SECONDS:g} s, under SYNs"):
                guest.machine.pause()
                time.sleep(_SECONDS)
                guest.machine.resume()
                ends.append(time.time())
                site.settled()
        asked = syns.stop().attempts
    twice = two_answers(capture, VIP)
    windows = [_window(end, [one.at for one in twice]) for end in ends]
    report.say(f"{sum(map(bool, windows))} of {PAUSES} pauses had SYNs answered twice")
    report.check_at_least("SYNs that were sent", 1, len(asked))
    report.check("SYNs answered twice", 0, len(twice))
    report.check_at_most("longest window after a pause", 0.0, max(windows))
    report.check("the daemon was not started again", "0", guest.unit("NRestarts")["NRestarts"])


def _window(end: float, times: list[float]) -> float:
    """Return for how long after a pause the guest answered what another host had answered."""
    return max((at - end for at in times if 0 <= at - end < _SECONDS), default=0.0)
