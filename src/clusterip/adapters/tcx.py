"""tcx, where programs run before all filters of tc, since Linux 6.6. Nothing of ours is put there.

It would discard a frame in a tenth less time than a filter does. But release 0.1.0 refuses an
interface that has anything there: a host could not be put back to it. This version takes over from
one whose programs are there, so that a later one may use it, and be put back to this.
"""

from __future__ import annotations

import errno
import os
from typing import Final

from clusterip.adapters import libbpf

INGRESS: Final = 46
EGRESS: Final = 47
"""BPF_TCX_INGRESS and BPF_TCX_EGRESS of linux/bpf.h."""
_OURS: Final = "clusterip_"
_GUARDS: Final = "clusterip_guard"


def foreign(ifindex: int, point: int) -> list[str]:
    """Return the names of programs that are there and not ours."""
    names = map(libbpf.program_name, _programs(ifindex, point))
    return [name for name in names if not name.startswith(_OURS)]


def ours(ifindex: int, point: int) -> list[int]:
    """Return the ids of those of ours that are there for this very interface: not of guards."""
    return [
        number
        for number in _programs(ifindex, point)
        if (name := libbpf.program_name(number)).startswith(_OURS) and not name.startswith(_GUARDS)
    ]


def leave(ifindex: int, point: int) -> None:
    """Take those away."""
    for number in ours(ifindex, point):
        fd = libbpf.call("bpf_prog_get_fd_by_id", number)
        try:
            libbpf.call("bpf_prog_detach2", fd, ifindex, point)
        finally:
            os.close(fd)


def _programs(ifindex: int, point: int) -> list[int]:
    try:
        return libbpf.attached_programs(ifindex, point)
    except OSError as error:
        # Before Linux 6.6 there is no tcx.
        if error.errno == errno.EINVAL:
            return []
        raise
