"""`make demo` inside a guest: all of the demonstration's namespaces on that kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lab.hosts.guest import DEMO, Guest
from lab.hosts.qemu import KVM
from lab.topology import lab

if TYPE_CHECKING:
    from lab.hosts.images import Image
    from lab.hosts.report import Report

_ENDED_WITHIN: Final = 1800.0
_TOLD: Final = "/root/told"


def demo(image: Image, report: Report) -> None:
    """Boot a guest that the repository lies on, and type `make demo`."""
    with lab(hosts=1) as made:
        guest = Guest(made, image, number=2, size=DEMO)
        with report.busy(f"{guest.name} boots ({guest.machine.accelerator.name})"):
            guest.boot()
            guest.sh("systemctl stop web")
        typed = "make demo" if guest.machine.accelerator is KVM else "make demo DEMO=--slow"
        try:
            with report.busy(typed):
                line = f"{typed} -C /root/clusterip >{_TOLD} 2>&1"
                done = guest.run("/bin/sh", "-c", line, check=False, within=_ENDED_WITHIN)
        finally:  # of one that does not end it is to be seen how far it came
            for line in guest.sh(f"cat {_TOLD}").splitlines():
                report.say(line)
    report.check(f"exit status of `{typed}`", 0, done.returncode)
