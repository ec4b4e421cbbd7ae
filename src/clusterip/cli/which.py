"""`clusterip which`: the bucket and the rule that a packet falls to, and the node that answers."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from clusterip.cli import output, statuses
from clusterip.cli.which_csv import (
    NOBODY,
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
from clusterip.core.packets.lookup import Packet
from clusterip.core.packets.model import TCP, Mac, ServiceAction, Sharing
from clusterip.core.rules import values as rule_values
from clusterip.core.rules.whereabouts import Whereabouts, by_hash, ports_matter
from clusterip.core.status import Status

if TYPE_CHECKING:
    from clusterip.runtime.whereabouts import Finder

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
chain, empty if no rule covers the packet; and node, where a daemon runs the
VIP: the one that answers.

"""


T = TypeVar("T")


_STATES: Final = {"none": "not held", "owned": "held", "taking": "held, and being taken"}
_WITH_PORTS: Final = frozenset({6, 17, 33, 132, 136})
"""TCP, UDP, DCCP, SCTP and UDP-Lite."""
_NO_MAC: Final = Mac(12 * "0")
"""The cluster MAC where only the hash is asked."""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "which",
        description="Say which bucket a packet falls to. With --vip, by what is in place here: "
        "also which rule or service covers it, which node answers it as the daemon here knows it, "
        "how this host has the bucket, and whether the connection is open here. With --hashmode "
        "and --total-nodes, by these parameters alone; that needs no root and no rules.",
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
    parser.add_argument("--sport", type=_argument(port), metavar="PORT", help="default 0")
    parser.add_argument(
        "--dst", type=_argument(address), metavar="ADDRESS", help="stands for --vip"
    )
    parser.add_argument("--dport", type=_argument(port), metavar="PORT", help="default 0")
    parser.add_argument(
        "--proto",
        type=_argument(rule_values.protocol),
        default=TCP,
        help="a name or 0..255, default tcp; of esp and ah the ports are the halves of the SPI",
    )
    parser.add_argument(
        "--csv", metavar="FILE", type=output.path, help="many packets, - for standard input"
    )
    output.add_json(parser, "print one JSON object; with --csv one a line")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Answer for one packet or for a file of them; return the exit status."""
    return answer(arguments, _find_on_this_host)


_PORTS: Final = ("--sport", "--dport")


def answer(arguments: argparse.Namespace, find: Callable[[Address], Finder]) -> int:
    """Do what `run` does; `find` is called only if the rules of this host matter."""
    vip = _vip(arguments)
    missing = _without_ports(arguments)
    arguments.sport, arguments.dport = arguments.sport or 0, arguments.dport or 0
    if arguments.csv is not None:
        if arguments.src is not None:
            raise UsageError("--src and --csv exclude each other", "sources are a column, src")
        _answer_many(arguments, vip, find)
        return 0
    if arguments.src is None:
        raise UsageError("--src is missing", "give the source address of the packet")
    if vip is None:
        refuse_mixed(arguments.src, arguments.dst)
    packet = Packet(vip or NOBODY, arguments.src, arguments.sport, arguments.dport, arguments.proto)
    if vip is None:
        found = _by_parameters(arguments)(packet, {})
        told: dict[str, object] = _bare(found)
        sentences = [f"bucket {found.bucket} of {found.total_nodes}"]
    else:
        finder = find(vip)
        found = finder.find_all(packet)
        told = {"vip": str(vip), **msgspec.structs.asdict(found)}
        sentences = list(_sentences(found, finder.here().said))
        matter = dict(zip(_PORTS, ports_matter(finder.here().chain, vip), strict=True))
        missing = [name for name in missing if matter[name]]
    if arguments.json:
        print(output.as_json(told))
    else:
        for sentence in sentences:
            output.line(sentence)
    if found.rule is not None:
        missing = [name for name in missing if name != "--dport"]  # it is covered without
    if missing and not arguments.json:
        output.say(
            "clusterip: warning:",
            output.WARNING,
            f"0 was taken for {' and '.join(missing)}: a connection has other ports, and may fall"
            f" to another bucket or {'service' if told.get('cluster') else 'rule'}",
            f"give {' and '.join(missing)}",
        )
    return 0


def _without_ports(arguments: argparse.Namespace) -> list[str]:
    """Return the options for ports that may matter, and were not given, of one packet."""
    if arguments.csv is not None or arguments.proto not in _WITH_PORTS:
        return []
    matter = {"--sport": arguments.sport, "--dport": arguments.dport}
    if arguments.hashmode is not None:
        mode = arguments.hashmode
        matter = {
            "--sport": arguments.sport if "sourceport" in mode else 0,
            "--dport": arguments.dport if "destport" in mode else 0,
        }
    return [name for name, given in matter.items() if given is None]


def _answer_many(
    arguments: argparse.Namespace, vip: Address | None, find: Callable[[Address], Finder]
) -> None:
    if vip is None:
        answer_many(arguments, vip, _by_parameters(arguments), ("bucket",))
        return
    finder = find(vip)
    added = ("bucket", "rule", *(("node",) if finder.here().said else ()))
    answer_many(arguments, vip, lambda packet, _row: finder.find(packet), added)


def _find_on_this_host(vip: Address) -> Finder:
    from clusterip.runtime import whereabouts  # noqa: PLC0415 - loads libbpf

    return whereabouts.Finder(vip, whereabouts.on_this_host)


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


def _by_parameters(arguments: argparse.Namespace) -> Judge:
    """Return what answers for a packet and the row it came from, by parameters alone."""
    options = {
        name: getattr(arguments, name)
        for name in ("hashmode", "total_nodes", "hash_init", "source_prefix6")
        if getattr(arguments, name) is not None
    }
    if arguments.csv is None or {"hashmode", "total_nodes"} <= options.keys():
        fixed = _parameters({"hash_init": 0, **options})
        return lambda packet, _row: by_hash(packet, fixed)
    return lambda packet, row: by_hash(packet, _parameters({**_row_options(row), **options}))


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


def _bare(found: Whereabouts) -> dict[str, object]:
    return {"bucket": found.bucket, "total_nodes": found.total_nodes}


def _sentences(found: Whereabouts, said: Status | None) -> Iterator[str]:
    if found.rule is None:
        what = "service" if said or found.cluster else "rule"
        yield f"no {what} covers the packet: every host discards it"
        return
    if found.bucket is None:
        yield _rule(found)
        yield "a service drops the packet: every host discards it"
        return
    yield f"bucket {found.bucket} of {found.total_nodes}"
    yield _rule(found)
    if found.cluster:
        yield _who(found, said)
        if found.keeps:
            keep = "keeps" if len(found.keeps) == 1 else "keep"
            yield f"{', '.join(found.keeps)} {keep} the connections from before the bucket moved"
        over = "" if found.held or found.state in {"none", "draining"} else ", and no lease left"
        yield f"here the bucket is {_STATES.get(found.state or '', found.state)}{over}"
    else:
        yield f"this host {'holds' if found.held else 'does not hold'} the bucket now"
    if found.connection is not None:
        yield f"{'a' if found.connection else 'no'} connection of this flow is open here"


def _who(found: Whereabouts, said: Status | None) -> str:
    """Return who answers: it is known to a daemon that runs."""
    if found.node is None or said is None:
        return f"who answers is not known: the daemon of cluster {found.cluster} does not answer"
    if not found.node:
        return "no node that is heard here answers"
    return f"{found.node} answers{', which is this host' if found.node == said.node else ''}"


def _rule(found: Whereabouts) -> str:
    """Return the rule, or the service of a daemon: its rules no command takes."""
    if found.cluster:
        return f"service {found.service} of cluster {found.cluster}, {_decided(found)}"
    return f"rule {found.rule}: {found.rule_text}"


def _decided(found: Whereabouts) -> str:
    by_hash_mode = found.action == ServiceAction.BALANCE.value
    return f"decided by {found.decided_by}" if by_hash_mode else str(found.decided_by)


def _argument(read: Callable[[str], T]) -> Callable[[str], T]:
    """Let argparse name the option whose value `read` refuses."""

    def checked(text: str) -> T:
        try:
            return read(text)
        except ClusterIPError as error:
            raise argparse.ArgumentTypeError(error.message) from error

    return checked
