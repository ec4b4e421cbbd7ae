"""`python -m lab.hosts`: ask what a site does of guests, on each kernel; print what came.

Exits with 0 if all came as asked, 1 if something did not, 2 if it could not begin.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from lab.cleanup import Interrupted
from lab.debian import RELEASES, Release
from lab.hosts import ask_ends, ask_network, ask_pause, ask_planned, ask_rules
from lab.hosts.ask_demo import demo
from lab.hosts.images import image
from lab.hosts.qemu import installed
from lab.hosts.report import Report
from lab.hosts.site import Site, site

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DEMO: Final = "demo"
ASKS: Final[dict[str, Callable[[Site], None]]] = {
    "rules": ask_rules.rules,
    "serve": ask_planned.serve,
    "drain": ask_planned.drain,
    "restart": ask_planned.restart,
    "weight": ask_planned.weight,
    "kill": ask_ends.kill,
    "stop": ask_ends.stop,
    "networkd": ask_network.networkd,
    "unplug": ask_ends.unplug,
    "flaps": ask_network.flaps,
    "reboot": ask_ends.reboot,
    "late": ask_network.late,
    "pause": ask_pause.pause,
}


def main() -> int:
    """Do what was asked for; return the exit status."""
    report = Report()
    arguments = _arguments()
    wanted = [one for one in RELEASES if not arguments.hosts or one.kernel in arguments.hosts]
    asks = arguments.ask or [*ASKS, DEMO]
    hindrance = _hindrance()
    if hindrance:
        report.say(hindrance)
        return 2
    try:
        _build(wanted, asks, report)
        for release in wanted:
            _ask(release, [name for name in ASKS if name in asks], report)
            if DEMO in asks:
                _demonstrate(release, report)
    except RuntimeError as failure:
        report.say(f"cannot begin: {failure}")
        return 2
    except KeyboardInterrupt as interruption:
        report.summary()
        report.say("interrupted; the guests are gone, their disks are kept")
        return interruption.status if isinstance(interruption, Interrupted) else 130
    report.kernel = report.scenario = ""
    return 0 if report.summary() else 1


def _build(wanted: Sequence[Release], asks: Sequence[str], report: Report) -> None:
    """Build the disks that are not there, of all releases at once."""

    def build(release: Release) -> None:
        if set(asks) & set(ASKS):
            image(release, report.say)
        if DEMO in asks:
            image(release, report.say, demo=True)

    with report.busy("disks of the guests"), ThreadPoolExecutor() as pool:
        list(pool.map(build, wanted))


def _ask(release: Release, names: Sequence[str], report: Report) -> None:
    """Go through the scenarios on one kernel, with a new guest after one that ended early."""
    report.kernel, report.scenario = release.kernel, ""
    left = list(names)
    while left:
        report.xdp, report.scenario = "", left[0]
        try:
            with site(image(release, report.say), report) as made:
                report.kernel = made.guest.kernel
                while left:
                    report.scenario = left.pop(0)
                    if not _tried(made, report):
                        break
        except (RuntimeError, OSError) as failure:
            report.failed(f"no guest: {failure}")
            return


def _tried(made: Site, report: Report) -> bool:
    """Go through one scenario; return whether the site is fit for the next."""
    try:
        ASKS[report.scenario](made)
    except (RuntimeError, OSError, ValueError, KeyError) as failure:
        report.failed(f"{type(failure).__name__}: {failure}")
        with contextlib.suppress(RuntimeError, OSError):
            report.say(f"the guest's daemon said: {made.guest.log()[-3000:]}")
        return False
    return True


def _demonstrate(release: Release, report: Report) -> None:
    report.kernel, report.xdp, report.scenario = release.kernel, "", DEMO
    try:
        demo(image(release, report.say, demo=True), report)
    except (RuntimeError, OSError) as failure:
        report.failed(str(failure))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m lab.hosts", description=__doc__)
    kernels = [release.kernel for release in RELEASES]
    parser.add_argument("--hosts", nargs="*", choices=kernels, default=[], help="kernels; all")
    parser.add_argument(
        "--ask", nargs="*", choices=[*ASKS, DEMO], default=[], help="scenarios; all"
    )
    return parser.parse_args()


def _hindrance() -> str:
    if os.geteuid() != 0:
        return "guests and namespaces need root: run it with sudo"
    if not installed():
        return "programs are missing: install them with `scripts/install guests`"
    return ""


if __name__ == "__main__":
    sys.exit(main())
