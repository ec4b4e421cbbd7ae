"""What the kernel says no to is an OSError, whatever the library calls it."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from pyroute2.netlink.exceptions import NetlinkDecodeError, NetlinkDumpInterrupted

from clusterip.adapters.netlink import rtnetlink


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (lambda route: route.link("get", index=9999), errno.ENODEV),
        (lambda route: route.link("set", index=2, mtu=1), errno.EINVAL),
        (lambda route: route.addr("del", index=1, address="192.0.2.1"), errno.EADDRNOTAVAIL),
    ],
)
def test_a_refusal_of_the_kernel(folder: Path, command: object, code: int) -> None:
    assert callable(command)
    with pytest.raises(OSError, match="purpose: ") as error, rtnetlink("purpose") as route:
        command(route)
    assert error.value.errno == code


@pytest.mark.parametrize("fault", [NetlinkDumpInterrupted(), NetlinkDecodeError(KeyError("x"))])
def test_classes_of_the_library(folder: Path, fault: Exception) -> None:
    with pytest.raises(OSError, match="purpose: ") as error, rtnetlink("purpose"):
        raise fault
    assert error.value.__cause__ is fault


def test_other_errors_go_through(folder: Path) -> None:
    with pytest.raises(LookupError), rtnetlink("purpose"):
        raise LookupError
