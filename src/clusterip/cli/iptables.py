"""`clusterip iptables`: the rule grammar of the old target, on the packet path of today."""

from __future__ import annotations

import argparse
import contextlib
import socket
import sys
import textwrap
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Final

from clusterip.adapters.kernel_maps import OtherVersionError
from clusterip.cli import output, statuses
from clusterip.cli.output import HelpFormatter
from clusterip.core.address import Address
from clusterip.core.errors import UsageError
from clusterip.core.findings import Finding
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.state import Chain, InterfaceState
from clusterip.core.rules import chain as chains
from clusterip.core.rules import grammar as rules
from clusterip.core.rules import render
from clusterip.core.rules.grammar import Command
from clusterip.core.rules.options import Action
from clusterip.core.words import amount
from clusterip.runtime.rule_table import RuleTable

NAME: Final = "iptables"

_HELP: Final = """\
  -A INPUT RULE          append a rule
  -I INPUT [N] RULE      insert it as number N (1)
  -D INPUT RULE | N      delete it
  -C INPUT RULE          tell whether it is there (exit status 0 or 1)
  -F [INPUT]             delete all rules
  -S [INPUT [N]]         print the rules as commands
  -L [INPUT [N]]         list the rules; -v with counts, -n, -x, --line-numbers
  -Z [INPUT [N]]         set the counters to zero

RULE, as iptables(8) has it (`!` negates where marked):
  -d VIP -i DEVICE [!] -p PROTOCOL [!] -s SOURCE
  [!] --sport PORTS [!] --dport PORTS
  -m tcp|udp|sctp|dccp|multiport [!] --ports|--sports|--dports P,P:P,...
  -m comment --comment TEXT
  -j CLUSTERIP [--new --hashmode MODE --clustermac MAC --total-nodes 1..256
    [--local-node 0..total] [--hash-init I]]
MODES

and beyond it:
  --manage-address       add VIP/32 to the device, remove it with the last rule
  --xdp auto|off|require use the XDP accelerator where it can be (default),
                         never, or always
  --json                 print one JSON object: what was done, or the rules

What no rule of a VIP covers is discarded and counted. -j CLUSTERIP alone joins a VIP
that another rule introduced with --new. Everything outside this grammar is refused by
name. A change that is done says nothing, as with iptables.

"""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand, for its help: its words are read by `execute`."""
    parser = commands.add_parser(
        NAME,
        usage="clusterip iptables -A|-I|-D|-C|-F|-S|-L|-Z ...",
        description="The rules of this network namespace, in the grammar of iptables -j CLUSTERIP.",
        epilog=_HELP.replace("MODES", _modes())
        + statuses.told({statuses.REFUSED: "refused, nothing changed; of -C: it is not there"}),
        formatter_class=HelpFormatter,
    )
    parser.set_defaults(run=_no_action)


def _modes() -> str:
    words = f"MODE: {', '.join(mode.value for mode in HashMode)}"
    return textwrap.fill(
        words, 76, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False
    )


def _no_action(_arguments: argparse.Namespace) -> int:
    raise UsageError("no command specified", "see clusterip iptables --help")


def execute(words: Sequence[str]) -> int:
    """Do what the words after `iptables` say; return the exit status."""
    command = rules.parse(words, service_port)
    if command.counters is not None:
        raise UsageError("-c is not supported here", "leave it out: counters start at zero")
    return _DO[command.action](RuleTable.open(), command)


def service_port(name: str, protocol: str) -> int | None:
    """Look a service's port up in services(5), None if it is not there."""
    try:
        return socket.getservbyname(name, protocol)
    except (OSError, ValueError):  # bytes that are no name, a zero byte
        return None


def _service_name(port: int, protocol: str) -> str | None:
    try:
        return socket.getservbyport(port, protocol)
    except OSError:
        return None


def warnings(table: RuleTable, vips: Collection[Address]) -> list[Finding]:
    """Return what this host's addresses lack for these VIPs, that rules share, and odd MACs."""
    found: list[Finding] = []
    for state in table.chain().static().interfaces:
        found += table.lacking(state, vips)
        found += _of_macs(state, vips)
    return found


def _of_macs(state: InterfaceState, vips: Collection[Address]) -> Iterator[Finding]:
    # What is advised of a file holds for rules; who only lists them needs none of it.
    from clusterip.core.config.advice import of_mac  # noqa: PLC0415
    from clusterip.core.config.mac import default_mac  # noqa: PLC0415

    for group in state.groups:
        if group.vip in vips:
            own = f"give every host --clustermac {default_mac(group.vip)}"
            yield from of_mac(group.vip, group.sharing.mac, own)


def say_warnings(asked: argparse.Namespace | Command, some: Iterable[Finding]) -> None:
    """Say them on stderr; with `--json` they are in the object."""
    for one in () if asked.json else some:
        output.say("clusterip: warning:", output.WARNING, one.sentence, one.cure)


@contextlib.contextmanager
def noting_addresses(table: RuleTable) -> Iterator[list[Finding]]:
    """Add to the list, after the body, the VIPs that this host answers alone now, without rules."""
    before: tuple[Address, ...] = ()
    with contextlib.suppress(OtherVersionError):  # what that left is not known
        before = table.vips()
    found: list[Finding] = []
    yield found
    found += table.answering_alone(before)


def _append(table: RuleTable, command: Command) -> int:
    return _add(table, command, None)


def _insert(table: RuleTable, command: Command) -> int:
    return _add(table, command, command.number or 1)


def _add(table: RuleTable, command: Command, number: int | None) -> int:
    table.add(command.rules, number, command.xdp)
    found = warnings(table, [rule.vip for rule in command.rules])
    return _done(command, f"{amount(len(command.rules), 'rule')} in force", found)


def _done(command: Command, sentence: str, found: Sequence[Finding] = ()) -> int:
    """Say nothing of what is done, as iptables; with `--json` the sentence, rules and warnings."""
    if command.json:
        rules = [render.rule_line(rule) for rule in command.rules]
        print(output.as_json({"done": sentence, "rules": rules, "warnings": found}))
    say_warnings(command, found)
    return 0


def _delete(table: RuleTable, command: Command) -> int:
    def change(chain: Chain) -> Chain:
        if command.number is not None:
            return chains.delete_number(chain, command.number)
        for rule in command.rules:
            chain = chains.delete(chain, rule)
        return chain

    with noting_addresses(table) as found:
        table.edit(change)
    return _done(command, f"deleted {amount(len(command.rules) or 1, 'rule')}", found)


def _check(table: RuleTable, command: Command) -> int:
    chain = table.chain()
    for rule in command.rules:
        chains.delete(chain, rule)
    return _done(command, "it is there")


def _flush(table: RuleTable, command: Command) -> int:
    with noting_addresses(table) as found:
        table.edit(chains.flush)
    return _done(command, "deleted all rules", found)


def _list_rules(table: RuleTable, command: Command) -> int:
    chain = _listed(table, command)
    counters = _counters(table) if command.verbose else None
    text = render.list_rules(chain, number=command.number, counters=counters)
    output.keep_bytes(sys.stdout)  # it can be given back
    return _listing(table, command, text)


def _list(table: RuleTable, command: Command) -> int:
    text = render.table(
        _listed(table, command),
        _counters(table) if command.verbose else None,
        verbose=bool(command.verbose),
        numeric=command.numeric,
        exact=command.exact,
        line_numbers=command.line_numbers,
        number=command.number,
        services=_service_name,
    )
    return _listing(table, command, text)


def _listing(table: RuleTable, command: Command, text: str) -> int:
    """Print a listing; what is to be zeroed with it is so even if nobody reads on."""
    if command.json:
        text = output.as_json({"rules": _as_json(table, command)}) + "\n"
    if command.zero:
        table.zero(command.number)
    sys.stdout.write(text)
    return 0


def _as_json(table: RuleTable, command: Command) -> list[dict[str, object]]:
    """Return the rules that are listed, with their counts."""
    counters = _counters(table)
    return [
        {
            "number": number,
            "rule": render.rule_line(entry.rule),
            "interface": entry.rule.interface,
            "vip": str(entry.rule.vip),
            **dict(zip(("packets", "bytes"), counters.get((at, entry.slot), (0, 0)), strict=True)),
        }
        for number, at, entry in render.numbered(_listed(table, command))
        if command.number in {None, number}
    ]


def _zero(table: RuleTable, command: Command) -> int:
    table.zero(command.number)
    return _done(command, "set the counters to zero")


def _listed(table: RuleTable, command: Command) -> Chain:
    """Return the static rules; RefusedError if the one asked for is not there."""
    chain = table.chain().static()
    if command.number is not None:
        chains.numbered(chain, command.number)
    return chain


def _counters(table: RuleTable) -> render.Counters:
    return {
        (view.state.index, slot): (sum(count.packets.values()), count.bytes)
        for view in table.view()
        for slot, count in view.rules.items()
    }


_DO: Final[dict[Action, Callable[[RuleTable, Command], int]]] = {
    Action.APPEND: _append,
    Action.INSERT: _insert,
    Action.DELETE: _delete,
    Action.CHECK: _check,
    Action.FLUSH: _flush,
    Action.LIST_RULES: _list_rules,
    Action.LIST: _list,
    Action.ZERO: _zero,
}
