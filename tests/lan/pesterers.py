"""Clients of a status socket that mean no good, 500 of a kind; who looks at the lease meanwhile.

`pesterers.py KIND` pesters the daemon of this network namespace until it is ended,
and says "pesters" when all have come once. `pesterers.py lease SECONDS` prints the
shortest lease, s, that the kernel was given in that time.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import sys
import time
from pathlib import Path

from clusterip.adapters import control, statuspath
from clusterip.core.messages.request import Show

COUNT = 500
NOBODY = 65534
KINDS = ("idle", "deaf", "garbage", "storm", "slow")
STATUS = b'{"ask":"status"}\n'
FOLLOW = b'{"ask":"events","follow":true}\n'


def say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


def connected(path: str) -> socket.socket | None:
    """Return a connection, None where nobody accepts it now."""
    one = socket.socket(socket.AF_UNIX)
    one.setblocking(False)
    try:
        one.connect(path)
    except OSError:
        one.close()
        return None
    return one


def step(kind: str, one: socket.socket) -> bool:
    """Do to a connection what that kind does, once; say whether it is to be kept."""
    try:
        match kind:
            case "idle":
                pass
            case "deaf":
                one.send(STATUS + FOLLOW)
            case "garbage":
                one.send(random.randbytes(2000))
            case "storm":
                one.send(STATUS)
                return False
            case "slow":
                one.send(STATUS[: random.randrange(1, len(STATUS))])
                one.recv(1)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return True


def pester(kind: str) -> None:
    path = str(statuspath.path_of("web"))
    # As somebody of the group that may read it: root has a place of its own.
    os.setgroups([Path(path).stat().st_gid])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    there: list[socket.socket | None] = [None] * COUNT
    came, said = 0, False
    while True:
        for number, one in enumerate(there):
            now = one or connected(path)
            came += one is None and now is not None
            if now is not None and not step(kind, now):
                now.close()
                now = None
            there[number] = now
        if came >= COUNT and not said:
            said = True
            say("pesters")
        time.sleep(0.01)


def shortest_lease(seconds: float) -> None:
    ends, leases = time.monotonic() + seconds, []
    while time.monotonic() < ends:
        leases.append(control.ask("web", Show()).lease_seconds)
        time.sleep(0.02)
    say(f"lease {min(leases)}")


if __name__ == "__main__":
    if sys.argv[1] == "lease":
        shortest_lease(float(sys.argv[2]))
    else:
        with contextlib.suppress(KeyboardInterrupt):
            pester(sys.argv[1])
