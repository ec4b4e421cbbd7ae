"""A planned restart: this program again, as it is installed by now, in the same process."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import Any

from clusterip.adapters import scheduling
from clusterip.adapters.runfiles import Memory
from clusterip.core.errors import SystemFaultError
from clusterip.core.lease.node import Node
from clusterip.runtime.member import Member

_log = logging.getLogger("clusterip")


def replace(
    member: Member,
    memory: Memory,
    more: dict[str, Any],
    tell: Callable[[Callable[..., object]], None],
) -> None:
    """Hand over to a successor, which also gets `more`; `tell` brings a verb to the node.

    Signals that come meanwhile wait for the successor. Returns only if there is none: then the
    hand-over is taken back, and all goes on as before.
    """
    try:
        memory.put_handover({**member.hand_over(), **more})
        _log.info("handing over to a successor")
        scheduling.lower_process()
        os.execvp(sys.orig_argv[0], sys.orig_argv)  # noqa: S606 - ourselves
    except SystemFaultError as error:
        member.stay(str(error))
    except OSError as error:
        member.stay(f"cannot start {sys.orig_argv[0]}: {error.strerror}")
    scheduling.raise_process()
    memory.take_handover()
    tell(Node.cancel_restart)
