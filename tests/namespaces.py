"""A network namespace of a test's own, which its thread is in until the test ends.

It has no name, so that the kernel removes it with the last process in it, however that ends; and
it is looked for under no name, so that tests can run side by side.

    eth0 ── wire      a veth pair, both ends in the namespace; what goes into wire
                      comes out of eth0, which is where clusterip works
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from clusterip.adapters import bpffs

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def ip(words: str) -> str:
    """Run ip(8)."""
    return run("ip", *words.split())


def tc(words: str) -> str:
    """Run tc(8)."""
    return run("tc", *words.split())


def run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    return done.stdout


@contextlib.contextmanager
def own_namespace(*more: str) -> Iterator[Path]:
    """Enter a new namespace; yields the folder that its pins are in, when there are any.

    `more` are further commands of ip(8) to lay it out.
    """
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    assert _libc.unshare(_CLONE_NEWNET) == 0
    bpffs.namespace_folder.cache_clear()
    folder = Path("/sys/fs/bpf/clusterip") / str(bpffs.namespace_cookie())
    try:
        # No chatter of IPv6: what is counted is what the test sent.
        Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
        for words in (
            "link set lo up",
            "link add eth0 type veth peer name wire",
            "link set eth0 up",
            "link set wire up",
            "address add 10.9.0.1/24 dev eth0",
            *more,
        ):
            ip(words)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        assert _libc.setns(before, _CLONE_NEWNET) == 0
        os.close(before)
        bpffs.namespace_folder.cache_clear()


@dataclass(frozen=True)
class Traces:
    """All that can be left on eth0 and in bpffs; equal if nothing has changed."""

    qdiscs: str
    filters: tuple[str, str]
    link: str
    macs: str
    addresses: str
    pins: tuple[str, ...]


def traces(folder: Path) -> Traces:
    """Return what is there now."""
    pins = tuple(sorted(str(one) for one in folder.rglob("*"))) if folder.exists() else ("none",)
    return Traces(
        tc("qdisc show dev eth0"),
        (tc("filter show dev eth0 ingress"), tc("filter show dev eth0 egress")),
        ip("-details link show dev eth0"),
        ip("maddress show dev eth0"),
        ip("-4 address show dev eth0"),
        pins,
    )


def send(frame: bytes) -> None:
    """Put a frame into the wire, so that it arrives at eth0."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as one:
        one.bind(("wire", 0))
        one.send(frame)
