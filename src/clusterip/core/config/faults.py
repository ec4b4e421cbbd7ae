"""What is wrong with a configuration file, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from clusterip.core.errors import UsageError

WHOLE: Final = 0
"""The line of a fault that is the whole file's: it is not there, say."""


class Fault(msgspec.Struct, frozen=True, order=True):
    """One fault. `line` counts from 1; `message` is one sentence, `cure` says what to do."""

    line: int
    message: str
    cure: str

    def place(self, file: str) -> str:
        """Return where it is, in a file of that name if it is not empty; a colon at the end."""
        if not file:
            return f"line {self.line}:"
        return f"{file}:" if self.line == WHOLE else f"{file}:{self.line}:"


class ConfigError(UsageError):
    """A file that cannot be used: all its faults, by line. `file` is its name, if known."""

    def __init__(self, faults: Sequence[Fault], file: str = "") -> None:
        self.faults = tuple(sorted(set(faults)))
        self.file = file
        # Each fault has its own, which is with it.
        super().__init__("\n".join(_lines(self.faults, file)), "")

    def within(self, file: str) -> ConfigError:
        """Return the same error with the file's name before each line number."""
        return ConfigError(self.faults, file)


def _lines(faults: Sequence[Fault], file: str) -> list[str]:
    lines: list[str] = []
    for fault in faults:
        lines.append(f"{fault.place(file)} {fault.message}")
        lines.append(f"  cure: {fault.cure}")
    return lines
