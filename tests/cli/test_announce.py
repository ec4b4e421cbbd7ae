"""`clusterip announce`: how often, and what is refused. What is on the wire is for tests/lan."""

from __future__ import annotations

import errno
from ipaddress import ip_address

import pytest

from clusterip.adapters.announcer import FakeAnnouncer
from clusterip.cli import announce
from clusterip.core.errors import SystemFaultError
from clusterip.core.hashing import HashMode
from clusterip.core.model import Mac, Sharing
from clusterip.core.state import Group
from tests.cli.conftest import Commands

VIP, MAC = ip_address("10.9.0.100"), Mac("01005e000020")
GROUP = Group(0, VIP, Sharing(HashMode.SOURCEIP, MAC, 3))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "nothing is shared in this network namespace"),
        (("10.9.0.7",), "10.9.0.7 is not shared here"),
    ],
)
def test_refused(cli: Commands, words: tuple[str, ...], said: str) -> None:
    assert said in cli.refused(1, "announce", *words)


def test_each_as_often_as_it_says() -> None:
    announcer = FakeAnnouncer()
    announce.send(
        announcer,
        [
            announce.Announced(7, "eth0", GROUP, 3, 0.001),
            announce.Announced(8, "eth1", GROUP, 1, 0.001),
        ],
    )
    assert announcer.sent == [(7, VIP, MAC), (8, VIP, MAC), (7, VIP, MAC), (7, VIP, MAC)]


def test_what_cannot_be_sent() -> None:
    announcer = FakeAnnouncer(error=OSError(errno.ENETDOWN, "Network is down"))
    one = announce.Announced(7, "eth0", GROUP, 3, 0.001)
    with pytest.raises(SystemFaultError, match="cannot be announced on eth0: Network is down"):
        announce.send(announcer, [one])
