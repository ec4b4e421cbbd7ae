"""`clusterip import`: take the CLUSTERIP rules over from an iptables-save file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from clusterip.cli import output
from clusterip.cli.iptables import service_port
from clusterip.core.compile import compile_tables
from clusterip.core.errors import RefusedError, UsageError
from clusterip.core.model import Rule
from clusterip.core.rules import chain as chains
from clusterip.core.rules import render, savefile
from clusterip.core.rules.savefile import Kind, Line
from clusterip.core.state import Chain
from clusterip.runtime.host import Host

_EXAMPLES: Final = """\
examples:
  clusterip import /etc/iptables/rules.v4            # show what would be done
  clusterip import /etc/iptables/rules.v4 --apply    # do it
  iptables-save | clusterip import -
"""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "import",
        help="take over the CLUSTERIP rules of an iptables-save file",
        description="Show the CLUSTERIP rules of an iptables-save file as commands, and every "
        "line left out with the reason; with --apply, put the rules in force as well. All of them "
        "or, if one is refused, none. Rules that are in force already stay as they are.",
        epilog=_EXAMPLES,
        formatter_class=output.HelpFormatter,
    )
    parser.add_argument(
        "file", metavar="FILE", help="what iptables-save wrote, - for standard input"
    )
    parser.add_argument("--apply", action="store_true", help="put the rules in force")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show, and with --apply do; return the exit status."""
    lines = savefile.read(_text(arguments.file), service_port)
    rules = tuple(rule for line in lines for rule in line.rules)
    try:
        if not rules:
            raise RefusedError(
                f"no CLUSTERIP rules in {arguments.file}",
                "give a file that iptables-save wrote on a host with CLUSTERIP rules",
            )
        said = _judge(rules, apply=arguments.apply)
    finally:
        # Only now: whoever stops reading in the middle must not stop the change.
        _show(lines, rules)
    output.line(said, err=True)
    return 0


def _show(lines: tuple[Line, ...], rules: tuple[Rule, ...]) -> None:
    for line in lines:
        if line.kind is Kind.LEFT_OUT:
            output.line(f"line {line.number} left out: {line.left_out}", err=True)
            output.line(f"  {line.text}", err=True)
    for rule in rules:
        print(f"clusterip iptables {render.rule_line(rule)}")


def _judge(rules: tuple[Rule, ...], *, apply: bool) -> str:
    """Apply the rules, or try whether they would be taken; return what is to be said of it."""
    host = Host.open()
    count = f"{len(rules)} rule{'s' * (len(rules) != 1)}"
    if apply:
        host.add(rules, None, None)
        return f"{count} in force"
    chain: Chain = host.chain()
    for rule in rules:
        chain = chains.append(chain, rule, host.link(rule.interface).index)
    for state in chain.interfaces:
        compile_tables(state)  # refuses what does not fit
    return f"{count} would be put in force; do it with --apply"


def _text(name: str) -> str:
    try:
        if name == "-":
            return sys.stdin.read()
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {name}: {error}", "give a text file") from error
