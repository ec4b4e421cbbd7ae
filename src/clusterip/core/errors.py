"""The errors of clusterip: each names the fault and the cure.

Every error carries the exit status the command line ends with; the numbers are
those of iptables(8): 1 for a refusal, 2 for a bad command line or a bad file, 4 for
a system that cannot do what was asked.
"""

from __future__ import annotations

from typing import Final

NOT_AGAIN: Final = 3
"""The exit status of a daemon that is refused, and will be again.

Not 1, with which Python ends where it cannot even begin: in the middle of an upgrade, say.
"""
FAULT: Final = 70
"""The exit status for a fault of this program: EX_SOFTWARE of sysexits.h."""


class ClusterIPError(Exception):
    """Base of all errors that a user can cause or cure.

    `message` is one sentence without a final full stop; `cure` says what to do about it.
    """

    exit_status = 1

    def __init__(self, message: str, cure: str) -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure
        self.told: dict[str, object] = {}
        """What is told with it in JSON."""

    def __str__(self) -> str:
        return f"{self.message}\n  cure: {self.cure}" if self.cure else self.message


class RefusedError(ClusterIPError):
    """The request is well formed and does not fit the present state."""


class AbsentError(RefusedError):
    """An interface is not there, and may come yet: whoever can wait does.

    `interface` is its name.
    """

    def __init__(self, interface: str, message: str, cure: str) -> None:
        super().__init__(message, cure)
        self.interface = interface


class UsageError(ClusterIPError):
    """The request itself is wrong: an option, a value, a file that is not as it must be."""

    exit_status = 2


class SystemFaultError(ClusterIPError):
    """The machine cannot do it: no root, no bpffs, no libbpf, the kernel said no."""

    exit_status = 4
