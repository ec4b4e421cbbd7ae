"""What the kernel says no to is an OSError; lists that changed meanwhile are asked for again."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest

from clusterip.adapters import configured, netlink
from clusterip.adapters.links import NetlinkLinks

HEADER = struct.Struct("=IHHII")
DONE, ERROR, LINK, GETLINK, INTERRUPTED = 3, 2, 16, 18, 0x10


def message(kind: int, body: bytes, flags: int = 2) -> bytes:
    return HEADER.pack(HEADER.size + len(body), kind, flags, 0, 0) + body


class Kernel:
    """A socket whose other end answers as told, one portion at a time."""

    def __init__(self, *portions: bytes) -> None:
        self.portions = list(portions)

    def __call__(self) -> Kernel:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def send(self, _message: bytes) -> None:
        pass

    def recv(self, _most: int) -> bytes:
        return self.portions.pop(0)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (lambda: netlink.ask(16, 0, struct.pack("=BxHiII", 0, 0, 9999, 0, 0), "x"), errno.ENODEV),
        (lambda: netlink.listed(9999, bytes(4), "x"), errno.EOPNOTSUPP),
        (
            lambda: netlink.listed(22, struct.pack("=BBBBI", 2, 0, 0, 0, 9999), "x", strict=True),
            errno.ENODEV,
        ),
    ],
)
def test_a_refusal_of_the_kernel(folder: Path, command: Callable[[], object], code: int) -> None:
    with pytest.raises(OSError, match="x: ") as error:
        command()
    assert error.value.errno == code


def test_what_is_listed_in_a_namespace_of_its_own(folder: Path) -> None:
    there = {one.name: (one.ethernet, one.kind) for one in NetlinkLinks().all()}
    assert there == {"lo": (False, ""), "eth0": (True, "veth"), "wire": (True, "veth")}
    assert {str(one) for one in configured.read()} >= {"10.9.0.1/24"}


def test_a_list_that_changed_meanwhile_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    end = message(DONE, bytes(4))
    kernel = Kernel(
        message(LINK, b"old!") + message(LINK, b"gone", 2 | INTERRUPTED),
        message(LINK, b"new!"),
        end,
    )
    monkeypatch.setattr(netlink, "_socket", kernel)
    assert netlink.listed(GETLINK, b"", "x") == [b"new!"]
    # The end may tell it, too.
    cut = message(LINK, b"old!"), message(DONE, bytes(4), 2 | INTERRUPTED)
    monkeypatch.setattr(netlink, "_socket", Kernel(*cut, message(LINK, b"new!"), end))
    assert netlink.listed(GETLINK, b"", "x") == [b"new!"]
    monkeypatch.setattr(netlink, "_socket", Kernel(*cut * 100))
    with pytest.raises(BlockingIOError, match="x: "):
        netlink.listed(GETLINK, b"", "x")


@pytest.mark.parametrize(
    "portion",
    [
        b"short",
        HEADER.pack(8, LINK, 2, 0, 0),
        HEADER.pack(100, LINK, 2, 0, 0),
        message(DONE, b"\0"),
        message(ERROR, b""),
    ],
)
def test_what_is_cut_short(monkeypatch: pytest.MonkeyPatch, portion: bytes) -> None:
    for call in (netlink.listed, lambda *some: netlink.ask(GETLINK, 0, *some[1:])):
        if portion[4] == DONE and call is not netlink.listed:
            continue
        monkeypatch.setattr(netlink, "_socket", Kernel(portion))
        with pytest.raises(OSError, match="x: ") as error:
            call(GETLINK, b"", "x")
        assert error.value.errno == errno.EBADMSG


def test_attributes() -> None:
    some = netlink.attribute(3, b"eth0\0") + netlink.attribute(0x8000 | 18, b"abcd")
    assert len(some) == 12 + 8
    assert netlink.attributes(some) == {3: b"eth0\0", 18: b"abcd"}
    assert netlink.attributes(some[:14]) == {3: b"eth0\0"}
    assert netlink.attributes(bytes(8)) == {}
    assert netlink.text(b"eth\xff\0") == "eth\udcff"
    assert (netlink.text(None), netlink.number(None)) == ("", 0)
    assert netlink.number(b"\1\2\0\0") == 0x201
