"""What the audience sees: steps, commands as typed, tables, and at the end what came out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lab.namespace import Namespace

T = TypeVar("T")

_WIDTH = 100
_TEXT_WIDTH = 88


@dataclass(frozen=True, slots=True)
class Check:
    """A claim of the demonstration: what it should be and what it was."""

    claim: str
    expected: str
    seen: str
    right: bool


class Stage:
    """Prints; colours appear on a terminal only. Collects the checks on the way."""

    def __init__(self) -> None:
        terminal = Console(highlight=False)
        width = min(terminal.width, _WIDTH) if terminal.is_terminal else _WIDTH
        self._console = Console(highlight=False, markup=False, emoji=False, width=width)
        self._step = 0
        self.checks: list[Check] = []

    def title(self, title: str, text: str) -> None:
        """Open the demonstration."""
        self._console.print(Panel(text, title=title, title_align="left", expand=False))

    def step(self, title: str) -> None:
        """Begin the next numbered step."""
        self._step += 1
        self._console.print()
        self._console.rule(Text(f"{self._step}. {title}", "bold"), align="left")

    def say(self, text: str) -> None:
        """Explain, in a sentence or two."""
        self._console.print()
        self._console.print(text, width=min(self._console.width, _TEXT_WIDTH))

    def shell(self, node: Namespace, line: str) -> str:
        """Run a command line in a node, shown as typed there, with what it prints; returns that.

        Its exit status is not looked at: whatever must hold is checked by its effect.
        """
        self._prompt(node, line)
        done = node.run("sh", "-c", f"{{ {line}\n}} 2>&1", check=False)
        if done.stdout.strip():
            self._console.print(done.stdout.rstrip(), soft_wrap=True)
        return done.stdout

    def started(self, node: Namespace, line: str) -> None:
        """Show a command line that runs in the background."""
        self._prompt(node, f"{line} &")

    def table(self, title: str, headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Show a table; all columns but the first hold numbers."""
        table = Table(title=title, title_justify="left", title_style="italic")
        for number, heading in enumerate(headings):
            table.add_column(heading, justify="right" if number else "left")
        for row in rows:
            table.add_row(*(str(cell) for cell in row))
        self._console.print()
        self._console.print(table)

    def progress(self, title: str, total: int, work: Callable[[Callable[[int], None]], Any]) -> Any:
        """Do `work`, which is given a function to report how far it is; returns its result."""
        bar = Progress(console=self._console, transient=True, disable=not self._console.is_terminal)
        with bar:
            task = bar.add_task(title, total=total)
            return work(lambda done: bar.update(task, completed=done))

    def wait(self, title: str, work: Callable[[], T]) -> T:
        """Do `work`, of which nobody knows how long it takes; returns its result."""
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        with bar:
            bar.add_task(title, total=None)
            return work()

    def check(self, claim: str, expected: object, seen: object) -> None:
        """Note a claim and how it came out; one that failed is also said at once."""
        self._note(Check(claim, str(expected), str(seen), expected == seen))

    def check_at_least(self, claim: str, least: int, seen: int) -> None:
        """Note a claim about a number that may be larger."""
        self._note(Check(claim, f"{least} or more", str(seen), seen >= least))

    def check_at_most(self, claim: str, most: float, seen: float, unit: str) -> None:
        """Note a claim about a number that may be smaller."""
        self._note(Check(claim, f"{most:g} {unit} or less", f"{seen:.2f} {unit}", seen <= most))

    def _note(self, check: Check) -> None:
        self.checks.append(check)
        if not check.right:
            self._console.print(
                f"WRONG: {check.claim}: expected {check.expected}, seen {check.seen}", style="red"
            )

    def summary(self) -> bool:
        """Show all checks; returns whether all were right."""
        table = Table(title_justify="left")
        for heading in ("what was claimed", "expected", "seen", ""):
            table.add_column(
                heading, justify="right" if heading in ("expected", "seen") else "left"
            )
        for check in self.checks:
            verdict = Text("ok", "green") if check.right else Text("WRONG", "red")
            table.add_row(check.claim, check.expected, check.seen, verdict)
        self._console.print()
        self._console.print(table)
        return all(check.right for check in self.checks)

    def tell(self, text: str, style: str = "") -> None:
        """Print a line as it is."""
        self._console.print(text, style=style)

    def _prompt(self, node: Namespace, line: str) -> None:
        prompt = Text.assemble((f"{node.name}# ", "bold cyan"), (line, "bold"))
        self._console.print(prompt, soft_wrap=True)
