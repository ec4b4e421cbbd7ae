"""Signals that wait until they are read: signalfd(2).

They are blocked from the first moment, so none is lost or kills anybody between two programs: what
came and was not read outlives an execve(2), and the successor reads it. Threads inherit that; a
program that is started must not (sigprocmask(2)).

What else is ignored or blocked is inherited from whoever starts a daemon: nohup, a background job
of a script, a supervisor. None of that counts: a daemon that could not be ended, or could not see
how its checks end (SIGCHLD), would be nobody's wish.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
from collections.abc import Iterator
from typing import Final

HELD: Final = frozenset(
    {
        *(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2),
        # Of no meaning here, and no reason to die.
        *(signal.SIGUSR1, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF),
        *(signal.SIGIO, signal.SIGPWR),
    }
)
"""What is waited for. SIGQUIT and SIGABRT end a daemon that does not listen, as SIGKILL does."""
_AS_PYTHON_HAS_THEM: Final = frozenset({signal.SIGPIPE, signal.SIGXFSZ})
_OF_TERMINALS: Final = frozenset({signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})
"""What these stop is no daemon any more: where they are ignored they stay so."""
_MASK_BYTES: Final = 128  # sigset_t of the C library
_INFO_BYTES: Final = 128  # struct signalfd_siginfo
_NUMBER: Final = struct.Struct("=I")  # what it begins with
_AT_ONCE: Final = 16
_libc = ctypes.CDLL(None, use_errno=True)


def hold() -> None:
    """Have these signals wait, in this thread and all that it starts, and all others do their work.

    For the main thread. What waits already goes on waiting.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, HELD)
    for number in signal.valid_signals() - _AS_PYTHON_HAS_THEM - _OF_TERMINALS:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


class Signals:
    """The signals that came since `hold`; becomes readable when there are any."""

    def __init__(self) -> None:
        mask = ctypes.create_string_buffer(_MASK_BYTES)
        _libc.sigemptyset(mask)
        for number in HELD:
            _libc.sigaddset(mask, int(number))
        self._fd: int = _libc.signalfd(-1, mask, os.O_CLOEXEC | os.O_NONBLOCK)
        if self._fd < 0:
            code = ctypes.get_errno()
            raise OSError(code, f"waiting for signals: {os.strerror(code)}")

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._fd

    def read(self) -> Iterator[signal.Signals]:
        """Take and yield each signal that came; of several of one kind the kernel keeps one."""
        while True:
            try:
                taken = os.read(self._fd, _AT_ONCE * _INFO_BYTES)
            except BlockingIOError:
                return
            for at in range(0, len(taken), _INFO_BYTES):
                yield signal.Signals(_NUMBER.unpack_from(taken, at)[0])

    def close(self) -> None:
        """Close it; what comes from now on waits for the next one."""
        os.close(self._fd)
