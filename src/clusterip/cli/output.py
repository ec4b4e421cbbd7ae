"""How things are said: errors on stderr, tables by rich, colour only on a terminal."""

from __future__ import annotations

import argparse
import sys

from rich.console import Console

from clusterip.core.errors import ClusterIPError


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Wraps descriptions, and leaves examples as they are: those have lines of their own."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text:
            return super()._fill_text(text, width, indent)
        return argparse.HelpFormatter._fill_text(self, text, width, indent)  # noqa: SLF001


def complain(error: ClusterIPError) -> None:
    """Print an error on stderr: the fault, and below it the cure."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print("[bold red]clusterip:[/] ", end="")
    console.print(error.message, markup=False)
    if error.cure:
        console.print("  cure: ", style="green", end="")
        console.print(error.cure, markup=False)


def console() -> Console:
    """Return what tables are printed on; as wide as they need to be where nobody looks."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 160)
