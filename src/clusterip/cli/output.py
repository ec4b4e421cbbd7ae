"""How things are said: errors on stderr, tables by rich, colour only on a terminal."""

from __future__ import annotations

import sys

from rich.console import Console

from clusterip.core.errors import ClusterIPError


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
