"""The benchmarks: `python -m bench`, as root. Prints a table, writes bench/results.json."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from bench import daemon, failover, moves
from bench.results import Result, machine, ratios

BENCHMARKS: Final = {"failover": failover.run, "moves": moves.run, "daemon": daemon.run}
_TOOLS: Final = ("ip", "nsenter", "nginx", "tcpdump", "keepalived", "iptables", "nft")
_WIDTH: Final = 120
_FILE: Final = Path(__file__).with_name("results.json")


def main() -> int:
    """Run those asked for; return the exit status."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("benchmarks", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--runs", type=int, default=20, help="deaths of each kind, default 20")
    parser.add_argument("--peers", action="store_true", help="measure only what we compare with")
    parser.add_argument("--output", type=Path, default=_FILE, help="default %(default)s")
    arguments = parser.parse_args()
    chosen = arguments.benchmarks or list(BENCHMARKS)
    if unknown := set(chosen) - set(BENCHMARKS):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    if os.geteuid() != 0:
        return _cannot("network namespaces need root: sudo make bench")
    if missing := [tool for tool in _TOOLS if shutil.which(tool) is None]:
        return _cannot(f"not installed: {', '.join(missing)} (scripts/install does it)")
    ours = not arguments.peers
    results: list[Result] = []
    for name in chosen:
        results += BENCHMARKS[name](arguments.runs, lambda line: print(line, flush=True), ours=ours)
        _write(arguments.output, arguments.runs, results)
    _show(results)
    print(f"written to {arguments.output}")
    return 0


def _cannot(why: str) -> int:
    print(f"bench: {why}", file=sys.stderr)
    return 2


def _write(file: Path, runs: int, results: list[Result]) -> None:
    document = {
        "machine": machine(),
        "runs": runs,
        "results": [one.as_json() for one in results],
        "ratios": ratios(results),
    }
    file.write_text(json.dumps(document, indent=1) + "\n")


def _show(results: list[Result]) -> None:
    table = Table("benchmark", "measure", "of", title="less is better", title_justify="left")
    for heading in ("median", "worst", "values"):
        table.add_column(heading, justify="right")
    table.add_column("unit")
    for one in results:
        numbers = (f"{one.median:.3f}", f"{one.worst:.3f}", str(len(one.values)))
        table.add_row(one.benchmark, one.measure, one.subject, *numbers, one.unit)
    terminal = Console()
    console = terminal if terminal.is_terminal else Console(width=_WIDTH)
    console.print(table)
    peers = Table("benchmark", "measure", "peer", "ours", title="peer / ours", title_justify="left")
    for heading in ("median", "worst"):
        peers.add_column(heading, justify="right")
    for ratio in ratios(results):
        texts = [str(ratio[key]) for key in ("benchmark", "measure", "peer", "ours")]
        peers.add_row(*texts, *(str(ratio[key] or "-") for key in ("median", "worst")))
    if peers.row_count:
        console.print(peers)


if __name__ == "__main__":
    sys.exit(main())
