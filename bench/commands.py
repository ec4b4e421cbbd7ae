"""What commands take, as multiples of a Python that does nothing, one after the other.

h1 runs a daemon, the only one of three; h2 has rules by hand. Counted is processor time, of each
round the best of three, for other programs are at work meanwhile. What commands do in bulk, and a
start of the daemon, are in seconds, by the clock and of a processor; the verifier's part, which is
the kernel's, is measured beside, and not in what a start takes.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from bench.daemon import spent
from bench.results import Comparison, Result
from clusterip.adapters import bpfobject
from lab.cluster import cluster_file
from lab.topology import CLUSTER_MAC, VIP, lab

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lab.topology import Host, Lab

_TIME: Final = "processor of a command"
_BASE: Final = "python -c pass"
_BULK: Final = "time"
_SPENT: Final = "processor"
_SECOND: Final = "one second"
_BEST_OF: Final = 3
_RULES: Final = 1000
_VIPS: Final = 10
_PORT: Final = 5407
_PATIENCE: Final = 30.0
_PROGRAM: Final = str(Path(sys.executable).with_name("clusterip"))
_SHARING: Final = (
    f"CLUSTERIP --new --hashmode sourceip --clustermac {CLUSTER_MAC}"
    " --total-nodes 3 --local-node 1 --hash-init 0"
)
_OTHER_VIP: Final = "10.9.0.101"

_WITH_DAEMON: Final = {
    "show": 6.0,
    "show --json": 6.0,
    "events": 6.0,
    f"which --vip {VIP} --src 10.9.1.1": 6.0,
}
_BY_HAND: Final = {
    "iptables -S": 5.0,
    f"bucket {_OTHER_VIP}": 5.0,
    f"which --vip {_OTHER_VIP} --src 10.9.1.1": 6.0,
    "which --hashmode sourceip --total-nodes 3 --src 10.9.1.1": 6.0,
    "--version": 6.0,
    "--help": 6.0,
    "shwo": 6.0,
}
"""Commands, and how many times as long as the base they may take; the last is a mistake."""
_FIRST, _VERIFIER = "clusterip: the first -A", "clusterip: of it the verifier"
_IMPORT, _START = "clusterip: import --apply of 1000 rules", "clusterip: start to first message"
_AIMS: Final = {_FIRST: 0.7, _VERIFIER: None, _IMPORT: 2.0, _START: 0.5}


class Took(NamedTuple):
    """By the clock, and of a processor, in seconds."""

    seconds: float
    processor: float


COMPARISONS: Final = (
    *(
        Comparison(_TIME, f"clusterip {words}", _BASE, at_most=most)
        for words, most in (_WITH_DAEMON | _BY_HAND).items()
    ),
    *(Comparison(_BULK, words, _SECOND, at_most=most) for words, most in _AIMS.items()),
    *(Comparison(_SPENT, words, _SECOND) for words in _AIMS),
)


def run(runs: int, say: Callable[[str], None], *, ours: bool) -> list[Result]:
    """Measure each command in each round."""
    if not ours:
        return []
    values: dict[str, list[float]] = {_BASE: []}
    bulk: dict[str, list[Took]] = {words: [] for words in (*_AIMS, _SECOND)}
    with lab(hosts=3) as lan:
        file = cluster_file(lan)
        for number in range(runs):
            _round(lan, file, values, bulk)
            base = values[_BASE][-1]
            told = ", ".join(
                f"{name.partition(' ')[2]} {values[name][-1] / base:.1f}"
                for name in values
                if name != _BASE
            )
            say(f"commands: round {number + 1} of {runs}: base {base * 1000:.0f} ms; {told}")
            say(
                f"commands: {', '.join(f'{name} {bulk[name][-1].seconds:.2f} s' for name in _AIMS)}"
            )
    return [
        *(Result("commands", _TIME, name, "s", found) for name, found in values.items()),
        *(
            Result("commands", measure, name, "s", [one[at] for one in found])
            for at, measure in enumerate((_BULK, _SPENT))
            for name, found in bulk.items()
        ),
    ]


def _round(
    lan: Lab, file: Path, values: dict[str, list[float]], bulk: dict[str, list[Took]]
) -> None:
    served, by_hand, _ = lan.hosts
    verifier = by_hand.call(_verifier)
    bulk[_SECOND].append(Took(1.0, 1.0))
    bulk[_VERIFIER].append(verifier)
    bulk[_FIRST].append(_timed(by_hand, (_PROGRAM, *_rule(_OTHER_VIP).split())))
    started, daemon = _start(served, file)
    bulk[_START].append(Took(*(a - b for a, b in zip(started, verifier, strict=True))))
    try:
        _settle(served)
        measured: list[tuple[str, Host, Sequence[str]]] = [
            (_BASE, served, (sys.executable, "-c", "pass"))
        ]
        for host, some in ((served, _WITH_DAEMON), (by_hand, _BY_HAND)):
            measured += [(f"clusterip {one}", host, (_PROGRAM, *one.split())) for one in some]
        best: dict[str, float] = {}
        for _ in range(_BEST_OF):
            for name, host, words in measured:
                best[name] = min(best.get(name, _PATIENCE), _timed(host, words).processor)
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(_PATIENCE)
    for name, seconds in best.items():
        values.setdefault(name, []).append(seconds)
    by_hand.clusterip("flush")
    rules = lan.directory / "rules.v4"
    rules.write_text(_saved())
    bulk[_IMPORT].append(_timed(by_hand, (_PROGRAM, "import", "--apply", str(rules))))
    by_hand.clusterip("flush")


def _rule(vip: str) -> str:
    return f"iptables -A INPUT -d {vip} -i eth0 -j {_SHARING}"


def _saved() -> str:
    """Return what iptables-save would have written."""
    lines = ["*filter", ":INPUT ACCEPT [0:0]"]
    for number in range(_RULES):
        vip, port = f"10.9.2.{1 + number % _VIPS}/32", 1000 + number // _VIPS
        lines.append(f"-A INPUT -d {vip} -i eth0 -p tcp -m tcp --dport {port} -j {_SHARING}")
    return "\n".join([*lines, "COMMIT", ""])


def _verifier() -> Took:
    """Return how long the kernel takes to load the programs."""
    began, before = time.perf_counter(), time.thread_time()
    bpfobject.try_loading()
    return Took(time.perf_counter() - began, time.thread_time() - before)


def _timed(host: Host, words: Sequence[str]) -> Took:
    """Return what a command takes, from its start to its end, whatever comes of it."""

    def timed() -> Took:
        began = time.perf_counter()
        child = _begun(host, words)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        return Took(time.perf_counter() - began, used.ru_utime + used.ru_stime)

    return host.call(timed)


def _begun(host: Host, words: Sequence[str]) -> subprocess.Popen[bytes]:
    nothing = subprocess.DEVNULL
    return subprocess.Popen(words, env=host.env, stdin=nothing, stdout=nothing, stderr=nothing)


def _start(host: Host, file: Path) -> tuple[Took, subprocess.Popen[bytes]]:
    """Start the daemon; return what it took until its first message left."""

    def started() -> tuple[Took, subprocess.Popen[bytes]]:
        everything = socket.htons(3)  # ETH_P_ALL: what leaves, too
        with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, everything) as wire:
            wire.bind(("eth0", 3))
            wire.settimeout(_PATIENCE)
            began = time.perf_counter()
            words = (_PROGRAM, "run", "--config", str(file), "--node", host.name)
            daemon = _begun(host, words)
            while True:
                packet, (_, _, kind, *_) = wire.recvfrom(2048)
                ours = kind == socket.PACKET_OUTGOING and packet[9:10] == b"\x11"
                if ours and int.from_bytes(packet[22:24], "big") == _PORT:
                    lasted = time.perf_counter() - began
                    return Took(lasted, spent(daemon.pid)), daemon

    return host.call(started)


def _settle(host: Host) -> None:
    """Wait until the daemon answers commands and serves."""
    gives_up = time.monotonic() + _PATIENCE
    while time.monotonic() < gives_up:
        told = host.show()
        clusters = told.get("clusters", [])
        if clusters and clusters[0].get("daemon") == "answers" and told.get("interfaces"):
            return
        time.sleep(0.2)
    raise TimeoutError("the daemon does not answer")
