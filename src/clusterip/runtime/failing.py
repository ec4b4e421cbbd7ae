"""What nobody foresaw ends a daemon: at once, and so that another one may begin.

The event loop goes on after whatever a callback or a task raises, without what should have followed
it: a daemon that is dead to its cluster, and alive to systemd. So whatever is raised there comes
here: first the kernel answers nothing any more, then the others are told, then the process ends.
Where even that fails, the kernel's deadline is at work, and the watchdog.
"""

from __future__ import annotations

import asyncio
import os
import threading
import traceback
from collections.abc import Callable, Coroutine
from typing import Any, Final

from clusterip.adapters.telling import note, tell
from clusterip.core.errors import FAULT, ClusterIPError
from clusterip.core.events import Failed, Level

_END_SECONDS: Final = 10.0


class Failing:
    """Starts tasks, and takes what is raised anywhere; `close` is called then, once."""

    def __init__(self, close: Callable[[], object]) -> None:
        self.fault: BaseException | None = None
        self.ended = asyncio.Event()
        self._close = close
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task, what it raises is a fault."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def cancel(self) -> None:
        """Cancel all tasks."""
        for task in self._tasks:
            task.cancel()

    def fail(self, error: BaseException) -> None:
        """End because of `error`; of several the first is the reason."""
        if self.fault is not None:
            return
        self.fault = error
        try:
            self._close()
        except Exception:  # noqa: BLE001 - whatever it is, the process ends
            tell(
                Failed(
                    cause="could not close: the kernel does, when the lease is over",
                    detail=traceback.format_exc(),
                )
            )
        finally:
            self.ended.set()
        if not isinstance(error, ClusterIPError):
            detail = "".join(traceback.format_exception(error))
            tell(Failed(cause="a fault of clusterip, please report it", detail=detail))

    def caught(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Be the exception handler of the loop."""
        error = context.get("exception")
        if error is None:
            note(str(context["message"]), Level.WARNING)
        else:
            self.fail(error)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(error)


def end_soon() -> None:
    """End this process in some seconds, whatever still waits in it for what never comes."""

    def end() -> None:
        tell(Failed(cause="something does not end: ending without it"))
        os._exit(FAULT)

    timer = threading.Timer(_END_SECONDS, end)
    timer.daemon = True
    timer.start()
