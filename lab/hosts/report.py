"""What `make test-hosts` says while it goes on, and the table at its end."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator

_LEAST_WIDTH = 130
_VERDICTS = {
    True: Text("ok", "green"),
    False: Text("WRONG", "bold red"),
    None: Text("skipped", "yellow"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One claim: under which kernel and XDP mode, in which scenario, what must be, what came."""

    kernel: str
    xdp: str
    scenario: str
    claim: str
    asked: str
    came: str
    right: bool | None
    """None: it could not be judged here, and `came` says why."""


class Report:
    """Prints a line for all that takes time, and one for each claim; keeps the claims.

    `kernel`, `xdp` and `scenario` are those of the claims that come next.
    """

    def __init__(self) -> None:
        terminal = Console(highlight=False)
        width = max(terminal.width, _LEAST_WIDTH) if terminal.is_terminal else _LEAST_WIDTH
        self._console = Console(highlight=False, width=width)
        self._began = time.monotonic()
        self.kernel = ""
        self.xdp = ""
        self.scenario = ""
        self.rows: list[Row] = []

    @contextlib.contextmanager
    def busy(self, what: str) -> Iterator[None]:
        """Say what is under way; on a terminal something moves meanwhile."""
        self.say(what)
        with self._console.status(Text(what)):
            yield

    def say(self, text: str) -> None:
        """Print a line, with the seconds since the beginning and what it is about."""
        seconds = f"{time.monotonic() - self._began:6.0f} s"
        about = " ".join(word for word in (self.kernel, self.scenario) if word)
        self._console.print(Text(f"{seconds}  {about}: {text}" if about else f"{seconds}  {text}"))

    def check(self, claim: str, asked: object, came: object) -> None:
        """Note a claim, and whether what came is what was asked."""
        self._note(claim, _words(asked), _words(came), right=asked == came)

    def check_at_least(self, claim: str, least: int, came: int) -> None:
        """Note a claim about a number that may be larger."""
        self._note(claim, f"{least} or more", str(came), right=came >= least)

    def check_at_most(self, claim: str, most: float, came: float, unit: str = "s") -> None:
        """Note a claim about a number that may be smaller."""
        self._note(claim, f"{most:g} {unit} or less", f"{came:.2f} {unit}", right=came <= most)

    def failed(self, why: str) -> None:
        """Note that a scenario ended before it had come to all of its claims."""
        self._note("the scenario comes to its end", "yes", why, right=False)

    def skipped(self, claim: str, why: str) -> None:
        """Note a claim that cannot be judged on this machine, and why."""
        self.rows.append(Row(self.kernel, self.xdp, self.scenario, claim, "", why, None))
        self.say(f"  {claim}: not judged: {why}")

    def _note(self, claim: str, asked: str, came: str, *, right: bool) -> None:
        self.rows.append(Row(self.kernel, self.xdp, self.scenario, claim, asked, came, right))
        verdict = "right" if right else f"WRONG, asked was {asked}"
        self.say(f"  {claim}: {came}: {verdict}")

    def summary(self) -> bool:
        """Print the table; return whether there is anything in it and all came as asked."""
        table = Table()
        for heading in ("kernel", "XDP", "scenario", "what must hold", "asked", "came", ""):
            table.add_column(heading, overflow="fold")
        before = None
        for row in self.rows:
            group = (row.kernel, row.scenario)
            if before not in (None, group):
                table.add_section()
            before = group
            verdict = _VERDICTS[row.right]
            cells = (row.kernel, row.xdp, row.scenario, row.claim, row.asked, row.came)
            table.add_row(*(Text(cell) for cell in cells), verdict)
        self._console.print(table)
        wrong = sum(row.right is False for row in self.rows)
        right = sum(row.right is True for row in self.rows)
        took = f"{time.monotonic() - self._began:.0f} s"
        skipped = len(self.rows) - right - wrong
        unjudged = f", {skipped} could not be judged" if skipped else ""
        outcome = f"{right} came as asked, {wrong} did not{unjudged}. It took {took}."
        self._console.print(Text(outcome, "bold red" if wrong else "bold green"))
        return bool(right) and not wrong


def _words(value: object) -> str:
    """Return a value as a reader wants it."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_words(one)}" for key, one in value.items())
    if isinstance(value, (list, set)):
        return ", ".join(sorted(map(_words, value))) if value else "nothing"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
