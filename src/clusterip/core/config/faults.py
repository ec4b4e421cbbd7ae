"""What is wrong with a configuration file, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from clusterip.core.errors import UsageError


class Fault(msgspec.Struct, frozen=True, order=True):
    """One fault. `line` counts from 1; `message` is one sentence, `cure` says what to do."""

    line: int
    message: str
    cure: str = ""


class ConfigError(UsageError):
    """A file that cannot be used: all its faults, by line. `file` is its name, if known."""

    def __init__(self, faults: Sequence[Fault], file: str = "") -> None:
        self.faults = tuple(sorted(set(faults)))
        self.file = file
        super().__init__("\n".join(_lines(self.faults, file)))

    def within(self, file: str) -> ConfigError:
        """Return the same error with the file's name before each line number."""
        return ConfigError(self.faults, file)


def _lines(faults: Sequence[Fault], file: str) -> list[str]:
    lines: list[str] = []
    for fault in faults:
        place = f"{file}:{fault.line}" if file else f"line {fault.line}"
        lines.append(f"{place}: {fault.message}")
        if fault.cure:
            lines.append(f"  cure: {fault.cure}")
    return lines
