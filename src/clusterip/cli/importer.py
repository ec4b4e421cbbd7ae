"""`clusterip import`: take the CLUSTERIP rules over from an iptables-save file."""

from __future__ import annotations

import argparse
import contextlib
import sys
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from clusterip.adapters.packing import pack
from clusterip.cli import output, statuses
from clusterip.cli.iptables import say_warnings, service_port, warnings
from clusterip.core.errors import ClusterIPError, RefusedError, UsageError
from clusterip.core.findings import Finding
from clusterip.core.packets.state import Chain
from clusterip.core.rules import chain as chains
from clusterip.core.rules import render, savefile
from clusterip.core.rules.savefile import Kind, Line
from clusterip.core.rules.target import TARGET
from clusterip.core.words import amount
from clusterip.runtime.rule_table import RuleTable

_EXAMPLES: Final = """\
examples:
  clusterip import /etc/iptables/rules.v4            # show what would be done
  clusterip import /etc/iptables/rules.v4 --apply    # do it
  iptables-save | clusterip import -

"""
_MOST: Final = 5
"""How many lines are shown of a file that is none of ours."""
_WRONG: Final = f"{statuses.FILE}, or no CLUSTERIP rules, or some are left out"
_MEND: Final = "mend the lines as said above"


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "import",
        description="Show the CLUSTERIP rules of an iptables-save file as commands, and every "
        "line left out with the reason; with --apply, put the rules in force as well. All of them "
        "or, if one is refused, none. Rules that are in force already stay as they are. CLUSTERIP "
        "rules that are left out, for they have what is not known here, are told with a cure; the "
        "others are put in force all the same, and the exit status is 2.",
        epilog=_EXAMPLES + statuses.told({statuses.WRONG: _WRONG}),
        formatter_class=output.HelpFormatter,
    )
    parser.add_argument(
        "file",
        metavar="FILE",
        type=output.path,
        help="what iptables-save wrote, - for standard input",
    )
    parser.add_argument("--apply", action="store_true", help="put the rules in force")
    output.add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show, and with --apply do; return the exit status."""
    text = _text(arguments.file)
    lines = savefile.read(text, service_port)
    savefile.refuse_cut(text, lines)
    if arguments.json:
        return _tell(arguments, lines)
    try:
        if not any(line.rules for line in lines):
            everything, lines = lines, _few(lines)
            _refuse_none(everything, arguments.file)
        said, found = _judge(lines, apply=arguments.apply)
        say_warnings(arguments, found)
    finally:
        # Only now: whoever stops reading in the middle must not stop the change.
        _show(lines)
    out = _ours_left_out(lines)
    if out:
        again = ", and import the file again: what is in force stays" if arguments.apply else ""
        output.say("clusterip:", output.BAD, f"{said}; left out: {_numbers(out)}", _MEND + again)
        return statuses.WRONG
    output.line(said, err=True)
    return statuses.DONE


def _tell(arguments: argparse.Namespace, lines: Sequence[Line]) -> int:
    """Do what `run` does, and print all of it as an object."""
    out = [
        {"line": line.number, "text": line.text, "reason": str(line.left_out), "cure": line.cure}
        for line in lines
        if line.kind is Kind.LEFT_OUT
    ]
    try:
        if not any(line.rules for line in lines):
            _refuse_none(lines, arguments.file)
        said, found = _judge(lines, apply=arguments.apply)
    except ClusterIPError as error:
        error.told["left_out"] = out
        raise
    output.done(
        arguments,
        said,
        applied=arguments.apply,
        rules=[
            {"line": line.number, "rule": rendered, "command": _command(rendered)}
            for line in lines
            for rendered in map(render.rule_line, line.rules)
        ],
        left_out=out,
        warnings=found,
    )
    return statuses.WRONG if _ours_left_out(lines) else statuses.DONE


def _ours_left_out(lines: Sequence[Line]) -> list[Line]:
    return [line for line in lines if line.kind is Kind.LEFT_OUT and line.cure]


def _numbers(lines: Sequence[Line]) -> str:
    """Return which lines they are, and no more of them than can be read."""
    more = f" and {len(lines) - _MOST} more" if len(lines) > _MOST else ""
    word = "line" if len(lines) == 1 else "lines"
    return f"{word} {', '.join(str(line.number) for line in lines[:_MOST])}{more}"


def _refuse_none(lines: Sequence[Line], name: str) -> None:
    """Raise UsageError for a file none of whose rules can be used; `-` is standard input."""
    name = "standard input" if name == "-" else name
    out = _ours_left_out(lines)
    if out:
        raise UsageError(
            f"no CLUSTERIP rule of {name} can be used; left out: {_numbers(out)}",
            _MEND,
        )
    raise UsageError(
        f"no CLUSTERIP rules in {name}",
        "give a file that iptables-save wrote on a host with CLUSTERIP rules",
    )


def _few(lines: tuple[Line, ...]) -> tuple[Line, ...]:
    """Say of a file without rules how many lines are left out; return the few to be shown."""
    out = [line for line in lines if line.kind is Kind.LEFT_OUT]
    # Those that were meant first.
    few = sorted(out, key=lambda line: (not line.cure, TARGET not in line.text))
    few = few[: max(_MOST, len(_ours_left_out(out)))]
    if len(out) > len(few):
        output.line(f"{len(out)} lines left out, among them:", err=True)
    return tuple(sorted(few, key=lambda line: line.number))


def _show(lines: tuple[Line, ...]) -> None:
    for line in lines:
        if line.kind is Kind.LEFT_OUT:
            output.line(f"line {line.number} left out: {line.left_out}\n  {line.text}", err=True)
            output.below(line.cure, err=True)
    for line in lines:
        for rule in line.rules:
            print(_command(render.rule_line(rule)))


def _command(rule: str) -> str:
    """Return a rule as a command for a shell, which knows other quotes than iptables-restore."""
    return f"clusterip iptables {output.shell_words(savefile.split(rule))}"


def _judge(lines: Sequence[Line], *, apply: bool) -> tuple[str, list[Finding]]:
    """Apply the rules, or try whether they would be taken; return what is to be said of it."""
    table = RuleTable.open()
    ours = [line for line in lines if line.rules]
    number = sum(len(line.rules) for line in ours)
    left_out = len(_ours_left_out(lines))
    whole = amount(number + left_out, "CLUSTERIP rule")
    count = f"{number} of {whole}" if left_out else amount(number, "rule")
    if apply:
        try:
            table.edit(lambda chain: _with_rules(table, chain, ours))
        except RefusedError as error:
            error.message += "; no rule of this file was put in force"
            raise
        found = warnings(table, [rule.vip for line in ours for rule in line.rules])
        return f"{count} in force", found
    _with_rules(table, table.chain(), ours)
    return f"{count} would be put in force; do it with --apply", []


def _with_rules(table: RuleTable, chain: Chain, lines: Sequence[Line]) -> Chain:
    """Return the chain with the rules of those lines; an error that names the line to blame."""
    steps = []
    indices: dict[str, int] = {}
    for line in lines:
        with _named(line):
            for rule in line.rules:
                name = rule.interface
                if name not in indices:
                    indices[name] = table.netns.link(name).index
                chain = chains.append(chain, rule, indices[name])
        steps.append(chain)
    if not _fits(chain):
        first = bisect_left(steps, True, key=lambda one: not _fits(one))
        with _named(lines[first]):
            _compile(steps[first])
    return chain


def _compile(chain: Chain) -> None:
    for state in chain.interfaces:
        pack(state)  # refuses what does not fit


def _fits(chain: Chain) -> bool:
    try:
        _compile(chain)
    except ClusterIPError:
        return False
    return True


@contextlib.contextmanager
def _named(line: Line) -> Iterator[None]:
    try:
        yield
    except ClusterIPError as error:
        error.message = f"line {line.number}: {error.message}"
        raise


def _text(name: str) -> str:
    try:
        raw = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise UsageError(
            f"cannot read {name}: {error.strerror}", "give a file that iptables-save wrote"
        ) from error
    try:
        return savefile.decode(raw)
    except UsageError as error:
        raise UsageError(f"cannot read {name}: {error.message}", error.cure) from error
