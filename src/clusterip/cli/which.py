"""`clusterip which`: the bucket, and the rule, that a packet falls to."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Protocol, TypeVar

import msgspec

from clusterip.cli import output, statuses
from clusterip.cli.which_csv import (
    NOBODY,
    Answer,
    Judge,
    Row,
    address,
    answer_many,
    number,
    port,
    refuse_mixed,
)
from clusterip.core.address import Address
from clusterip.core.errors import ClusterIPError, UsageError
from clusterip.core.packets.hashing import SOURCE_PREFIX6, HashMode, check_parameters
from clusterip.core.packets.lookup import Packet, packet_bucket, which
from clusterip.core.packets.model import TCP, Mac, ServiceAction, Sharing
from clusterip.core.packets.state import Chain
from clusterip.core.rules import values as rule_values
from clusterip.core.rules.render import rule_line

_EXAMPLES: Final = """\
examples:
  clusterip which --vip 10.9.0.100 --src 192.0.2.7 --sport 40000 --dport 80
  clusterip which --hashmode sourceip --total-nodes 3 --src 192.0.2.7
  clusterip which --vip 10.9.0.100 --csv packets.csv > answered.csv
  tail -n +1 -f packets.csv | clusterip which --vip 10.9.0.100 --csv - --json

A CSV has a header and the columns src, sport, dst, dport, proto; where one of them but src is
missing or empty, the option or its default holds. Without --vip, what --hashmode, --total-nodes
and --hash-init do not say, columns of these names (hash_init may be missing) say for each row.
Other columns are kept. Added are bucket and, with --vip, rule: the number of the rule in the
chain, empty if no rule covers the packet.

"""


class Rules(Protocol):
    """What is asked of the host; `runtime.rule_table.RuleTable` is the real one."""

    def chain(self) -> Chain:
        """Return the rules as they are now."""

    def buckets(self, vip: Address) -> tuple[int, ...]:
        """Return the buckets of `vip` held here; RefusedError if it is not shared here."""


T = TypeVar("T")


_NO_MAC: Final = Mac(12 * "0")
"""The cluster MAC where only the hash is asked."""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "which",
        help="say which bucket and which rule a packet falls to",
        description="Say which bucket a packet falls to. With --vip, by the rules in place here: "
        "also which rule covers it and whether this host answers. With --hashmode and "
        "--total-nodes, by these parameters alone; that needs no root and no rules.",
        epilog=_EXAMPLES
        + statuses.told(
            {statuses.REFUSED: "the VIP is not shared here", statuses.WRONG: statuses.FILE}
        ),
        formatter_class=output.HelpFormatter,
    )
    parser.add_argument("--vip", type=_argument(address), help="a VIP shared here")
    parser.add_argument("--hashmode", choices=[mode.value for mode in HashMode], metavar="MODE")
    parser.add_argument("--total-nodes", type=_argument(number), metavar="N", help="1..256")
    parser.add_argument(
        "--hash-init", type=_argument(number), metavar="I", help="default 0; decimal or 0x"
    )
    parser.add_argument(
        "--source-prefix6",
        type=_argument(number),
        metavar="BITS",
        help="how many bits of an IPv6 source are hashed, 1..128, default 64",
    )
    parser.add_argument(
        "--src", type=_argument(address), metavar="ADDRESS", help="the packet's source"
    )
    parser.add_argument(
        "--sport", type=_argument(port), metavar="PORT", default=0, help="default 0"
    )
    parser.add_argument(
        "--dst", type=_argument(address), metavar="ADDRESS", help="stands for --vip"
    )
    parser.add_argument(
        "--dport", type=_argument(port), metavar="PORT", default=0, help="default 0"
    )
    parser.add_argument(
        "--proto",
        type=_argument(rule_values.protocol),
        default=TCP,
        help="a name or 0..255, default tcp; of esp and ah the ports are the halves of the SPI",
    )
    parser.add_argument(
        "--csv", metavar="FILE", type=output.path, help="many packets, - for standard input"
    )
    parser.add_argument("--json", action="store_true", help="with --csv, one object a line")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Answer for one packet or for a file of them; return the exit status."""
    return answer(arguments, _open_host)


def answer(arguments: argparse.Namespace, open_host: Callable[[], Rules]) -> int:
    """Do what `run` does; `open_host` is called only if the rules of this host matter."""
    vip = _vip(arguments)
    if arguments.csv is not None:
        if arguments.src is not None:
            raise UsageError("--src and --csv exclude each other", "sources are a column, src")
        answer_many(arguments, vip, _judge(arguments, vip, open_host))
        return 0
    if arguments.src is None:
        raise UsageError("--src is missing", "give the source address of the packet")
    if vip is None:
        refuse_mixed(arguments.src, arguments.dst)
    packet = Packet(vip or NOBODY, arguments.src, arguments.sport, arguments.dport, arguments.proto)
    found = _judge(arguments, vip, open_host)(packet, {})
    if arguments.json:
        told = {"vip": str(vip), **msgspec.structs.asdict(found)} if vip else _bare(found)
        print(output.as_json(told))
    else:
        for sentence in _sentences(found):
            output.line(sentence)
    return 0


def _open_host() -> Rules:
    from clusterip.runtime.rule_table import RuleTable  # noqa: PLC0415 - loads libbpf

    table: Rules = RuleTable.open()
    return table


def _vip(arguments: argparse.Namespace) -> Address | None:
    """Return the VIP that is asked about, None for the bare form; UsageError for a muddle."""
    bare = any(
        value is not None
        for value in (
            arguments.hashmode,
            arguments.total_nodes,
            arguments.hash_init,
            arguments.source_prefix6,
        )
    )
    vip: Address | None = arguments.vip
    dst: Address | None = arguments.dst
    if vip is None:
        return None if bare else dst
    if bare:
        raise UsageError(
            "--vip excludes --hashmode, --total-nodes, --hash-init and --source-prefix6",
            "leave out --vip to try other parameters than those in place",
        )
    if dst not in (None, vip):
        raise UsageError(f"--dst {dst} is not --vip {vip}", "leave out --dst")
    return vip


def _judge(
    arguments: argparse.Namespace, vip: Address | None, open_host: Callable[[], Rules]
) -> Judge:
    """Return what answers for a packet and the row it came from."""
    if vip is not None:
        table = open_host()
        return _by_rules(table.chain(), frozenset(table.buckets(vip)))
    options = {
        name: getattr(arguments, name)
        for name in ("hashmode", "total_nodes", "hash_init", "source_prefix6")
        if getattr(arguments, name) is not None
    }
    if arguments.csv is None or {"hashmode", "total_nodes"} <= options.keys():
        fixed = _parameters({"hash_init": 0, **options})
        return lambda packet, _row: _by_hash(packet, fixed)
    return lambda packet, row: _by_hash(packet, _parameters({**_row_options(row), **options}))


def _by_rules(chain: Chain, held: frozenset[int]) -> Judge:
    def judge(packet: Packet, _row: Row) -> Answer:
        found = which(chain, packet)
        if found.entry is None:
            return Answer(None, found.total, held=False)
        rule = found.entry.rule
        dropped = rule.action is ServiceAction.DROP
        bucket = None if dropped else found.bucket
        here = bucket in held
        state = chain.find(packet.vip)
        cluster = (state and state[0].cluster) or None
        text = rule_line(rule, by_daemon=bool(cluster))
        return Answer(
            bucket, found.total, found.number, text, rule.action.value, here, cluster=cluster
        )

    return judge


def _by_hash(packet: Packet, parameters: Sharing) -> Answer:
    return Answer(packet_bucket(parameters, packet), parameters.total)


def _parameters(options: Mapping[str, str | int]) -> Sharing:
    missing = [name for name in ("hashmode", "total_nodes") if name not in options]
    if missing:
        names = " and ".join(f"--{name.replace('_', '-')}" for name in missing)
        raise UsageError(f"{names} missing", "give --vip, or --hashmode and --total-nodes")
    total, init = int(options["total_nodes"]), int(options["hash_init"])
    prefix6 = int(options.get("source_prefix6", SOURCE_PREFIX6))
    try:
        mode = check_parameters(str(options["hashmode"]), total, init, prefix6)
        return Sharing(mode, _NO_MAC, total, init, prefix6)
    except ValueError as error:
        raise UsageError(str(error), "give what the rules or the file of the hosts have") from error


def _row_options(row: Row) -> dict[str, str | int]:
    options: dict[str, str | int] = {"hash_init": number(row.get("hash_init") or "0")}
    if row.get("hashmode"):
        options["hashmode"] = row["hashmode"]
    if row.get("total_nodes"):
        options["total_nodes"] = number(row["total_nodes"])
    return options


def _bare(found: Answer) -> dict[str, int | None]:
    return {"bucket": found.bucket, "total_nodes": found.total_nodes}


def _sentences(found: Answer) -> Iterator[str]:
    if found.action == ServiceAction.DROP.value:
        yield _rule(found)
        yield "a service drops the packet: every host discards it"
        return
    if found.held is not None and found.rule is None:
        yield "no rule covers the packet: every host discards it"
        return
    yield f"bucket {found.bucket} of {found.total_nodes}"
    if found.held is None:
        return
    yield _rule(found)
    yield f"this host {'holds' if found.held else 'does not hold'} the bucket now"


def _rule(found: Answer) -> str:
    """Return the rule: what a daemon runs has no number that other commands take."""
    where = f"of the daemon of cluster {found.cluster}" if found.cluster else found.rule
    return f"rule {where}: {found.rule_text}"


def _argument(read: Callable[[str], T]) -> Callable[[str], T]:
    """Let argparse name the option whose value `read` refuses."""

    def checked(text: str) -> T:
        try:
            return read(text)
        except ClusterIPError as error:
            raise argparse.ArgumentTypeError(error.message) from error

    return checked
