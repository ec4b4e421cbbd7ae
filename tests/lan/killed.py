"""Commands killed between any two of the steps by which they change something.

strace lists the system calls of a command, and kills it as it is about to make the Nth.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.topology import Host

_CALLS = "bpf,sendto,sendmsg,ioctl,mkdir,rename,renameat2,unlink,unlinkat,rmdir"
_KILLED = 128 + 9
# No byte code is written: that is mkdir and rename, too.
_QUIET = ("env", "PYTHONDONTWRITEBYTECODE=1")


@dataclass(frozen=True, slots=True)
class Step:
    """The system call `call`, made for the `number`th time; `what` tells it from its like."""

    call: str
    number: int
    what: str


def changing_steps(host: Host, command: list[str]) -> list[Step]:
    """Run the command to its end; returns the steps by which it changed something.

    Of a run of like steps, such as pinning one object after the other, the first and the last.
    """
    log = host.directory / "steps.strace"
    # Much faster, but strace 6.1 injects nothing that way.
    tracing = ("strace", "--seccomp-bpf", "-f", "-o", str(log), "-e", f"trace={_CALLS}")
    host.run(*tracing, *_QUIET, "clusterip", *command)
    steps = list(_changing(log.read_text().splitlines()))
    return [
        step
        for before, step, after in zip([None, *steps], steps, [*steps[1:], None], strict=False)
        if before is None or after is None or not before.what == step.what == after.what
    ]


def kill_at(host: Host, command: list[str], step: Step) -> None:
    """Run the command, and kill it at that step; raises RuntimeError if it lives to its end."""
    injection = f"inject={step.call}:signal=KILL:when={step.number}"
    tracing = ("strace", "-f", "-o", "/dev/null", "-e", f"trace={step.call}", "-e", injection)
    done = host.run(*tracing, *_QUIET, "clusterip", *command, check=False)
    if done.returncode not in (_KILLED, -9):
        raise RuntimeError(f"not killed at {step}: {done}")


def _changing(lines: list[str]) -> Iterator[Step]:
    made: Counter[str] = Counter()
    for line in lines:
        call = re.match(r"\d+ +(\w+)\(", line)
        if call is None:
            continue
        made[call[1]] += 1
        what = _change(call[1], line)
        if what:
            yield Step(call[1], made[call[1]], what)


def _change(call: str, line: str) -> str:
    """Return what kind of change the call makes, "" if it only reads."""
    if call == "bpf":
        found = re.search(r"BPF_(OBJ_PIN|MAP_UPDATE_ELEM|LINK_\w+|PROG_ATTACH)", line)
        return found[0] if found else ""
    if call == "ioctl":
        found = re.search(r"SIOC(ADD|DEL)MULTI", line)
        return found[0] if found else ""
    if call.startswith("send"):
        return _netlink_change(line)
    return call


def _netlink_change(line: str) -> str:
    """Return the netlink message's type; every fourth, beginning with RTM_GETLINK, reads."""
    found = re.search(r"nlmsg_type=(?:(RTM_\w+)|(0x[0-9a-f]+))", line)
    if found is None or (found[1] or "").startswith("RTM_GET"):
        return ""
    return "" if found[2] and int(found[2], 16) % 4 == 2 else found[0]
