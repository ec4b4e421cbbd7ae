"""The benchmarks: `python -m bench`, as root.

Prints tables, and writes bench/results.json and the figures of docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bench import accept, attack, commands, daemon, discard, failover, lookup, moves, pages, scale
from bench.results import Comparison, Result, compared, machine, merged, ratios

BENCHMARKS: Final = {
    "discard": discard,
    "accept": accept,
    "lookup": lookup,
    "scale": scale,
    "attack": attack,
    "failover": failover,
    "moves": moves,
    "daemon": daemon,
    "commands": commands,
}
_TOOLS: Final = ("ip", "nsenter", "nginx", "tcpdump", "keepalived", "iptables", "nft", "wrk")
_WIDTH: Final = 120


def main() -> int:
    """Run those asked for; return the exit status."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("benchmarks", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument(
        "--runs", type=int, default=20, help="deaths of each kind, or rounds; default 20"
    )
    parser.add_argument("--peers", action="store_true", help="measure only what we compare with")
    parser.add_argument("--output", type=Path, default=pages.FILE, help="default %(default)s")
    arguments = parser.parse_args()
    chosen = arguments.benchmarks or list(BENCHMARKS)
    if unknown := set(chosen) - set(BENCHMARKS):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    if os.geteuid() != 0:
        return _cannot("network namespaces need root: sudo make bench")
    if missing := [tool for tool in _TOOLS if shutil.which(tool) is None]:
        return _cannot(f"not installed: {', '.join(missing)} (scripts/install does it)")
    width = None if Console().is_terminal else _WIDTH
    console = Console(width=width, highlight=False, markup=False, emoji=False)
    for name in chosen:
        found = BENCHMARKS[name].run(arguments.runs, _say, ours=not arguments.peers)
        if not found:
            _say(f"{name}: there is nothing of others to measure")
            continue
        _write(arguments.output, name, _section(name, arguments.runs, found))
        if arguments.output == pages.FILE:
            pages.write()
        _show(console, name, found)
        print(f"written to {arguments.output}", flush=True)
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


def _cannot(why: str) -> int:
    print(f"bench: {why}", file=sys.stderr)
    return 2


def _comparisons(name: str) -> tuple[Comparison, ...]:
    """Return what a benchmark compares in each round; without, medians are compared."""
    return getattr(BENCHMARKS[name], "COMPARISONS", ())


def _section(name: str, runs: int, results: list[Result]) -> dict[str, Any]:
    wanted = _comparisons(name)
    return {
        "machine": machine(),
        "runs": runs,
        "results": [one.as_json() for one in results],
        "ratios": compared(results, wanted) if wanted else ratios(results),
    }


def _write(file: Path, name: str, section: dict[str, Any]) -> None:
    """Replace what the file says of one benchmark; what it says of others stays."""
    document = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(merged(document, name, section), indent=1) + "\n")


def _show(console: Console, name: str, results: list[Result]) -> None:
    table = Table("measure", "of", title=name, title_justify="left")
    for heading in ("median", "worst", "values"):
        table.add_column(heading, justify="right")
    table.add_column("unit")
    for one in results:
        numbers = (f"{one.median:.3f}", f"{one.worst:.3f}", str(len(one.values)))
        table.add_row(one.measure, one.subject, *numbers, one.unit)
    console.print(table)
    if rows := compared(results, _comparisons(name)):
        _show_compared(console, rows)
    elif not _comparisons(name):
        _show_ratios(console, ratios(results))


def _show_compared(console: Console, rows: list[dict[str, Any]]) -> None:
    table = Table("measure", "of", "to", title="ratio, round by round", title_justify="left")
    for heading in ("median", "lowest", "highest", "aim"):
        table.add_column(heading, justify="right")
    table.add_column("met")
    met = {True: "yes", False: "NO", None: ""}
    for row in rows:
        texts = [str(row[key]) for key in ("measure", "subject", "base")]
        numbers = [str(row[key]) for key in ("ratio", "lowest", "highest", "aim")]
        table.add_row(*texts, *numbers, met[row["met"]])
    console.print(table)


def _show_ratios(console: Console, rows: list[dict[str, Any]]) -> None:
    table = Table("measure", "peer", "ours", title="peer / ours", title_justify="left")
    for heading in ("median", "worst"):
        table.add_column(heading, justify="right")
    for row in rows:
        texts = [str(row[key]) for key in ("measure", "peer", "ours")]
        table.add_row(*texts, *(str(row[key] or "-") for key in ("median", "worst")))
    if rows:
        console.print(table)


if __name__ == "__main__":
    sys.exit(main())
