"""`clusterip check`: whether a configuration file can be used here, and what in it is unwise."""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from clusterip.adapters import configfiles, runfiles
from clusterip.cli import output, show_cluster, statuses, tables
from clusterip.core.config import advice, digest, model, reading
from clusterip.core.config.faults import ConfigError
from clusterip.core.config.model import Config, Node
from clusterip.core.errors import UsageError
from clusterip.core.findings import Code, Finding, plain
from clusterip.core.status import Cluster, Silent, Status
from clusterip.runtime import preflight
from clusterip.runtime.preflight import Looked, Skipped

_OF_DAEMON: Final = "what the daemon runs with"
_KILLED: Final = Finding.of(
    Code.NO_ANSWER,
    "the daemon of this cluster was killed here",
    "its VIPs and filters may be left, and answer nothing",
    cure="systemctl start clusterip takes them over; clusterip flush takes them away",
).as_warning()
_OF_DAEMONS: Final = {Code.FILE_NOT_IN_USE, Code.NO_ANSWER}
"""What is told as a warning, and is not of the file."""
_EXAMPLES: Final = """\
examples:
  clusterip check                     # /etc/clusterip.toml, and this host
  clusterip check --node web2         # ... as `clusterip run --node web2` does
  clusterip check new.toml --file-only --node web2
                                      # anywhere: what the file means for web2
  clusterip check new.toml && cp new.toml /etc/clusterip.toml

Every fault is printed as FILE:LINE: FAULT, with its cure below. What is unwise is printed as a
warning; the file can be used all the same. Hosts serve together if the hash digest is equal.
Of this host it looks at what a daemon needs, says what that was, and changes nothing; without
root it cannot look at all of it, and says so. Where the daemon of the cluster runs here, it says
what that one finds wrong now.

"""
_STATUSES: Final = {
    statuses.DONE: "the file can be used, perhaps with warnings",
    statuses.REFUSED: "not on this host as it is, for a daemon would not start, not be heard or"
    " never serve, or the one that runs says that something is wrong",
    statuses.WRONG: f"{statuses.FILE}, or has no node for this host",
}


class Result(msgspec.Struct, frozen=True):
    """What was found. `error` and `config` exclude each other, but for faults of the key file."""

    file: str
    config: Config | None
    error: ConfigError | None = None
    advice: tuple[Finding, ...] = ()
    host: Looked = Looked()
    """What of this host is in the way."""
    daemon: Cluster | None = None
    """What the daemon of the cluster tells of it, None where none runs here."""

    @property
    def unnamed(self) -> bool:
        """Whether the file has no node for this host: `run` ends so, too."""
        return bool(self.host.at) and self.host.node is None

    @property
    def wrong_now(self) -> list[Finding]:
        """What the daemon that runs here says is wrong."""
        return show_cluster.faults(self.daemon) if self.daemon else []


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "check",
        description="Check a configuration file and the key file that it names: all faults with "
        "their lines, and what is unwise. Check whether this host is what the file says: its "
        "node, interface, addresses, VIPs, port, kernel and libraries.",
        epilog=_EXAMPLES + statuses.told(_STATUSES),
        formatter_class=output.HelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", nargs="?", type=output.path, default=reading.FILE)
    output.add_json(parser)
    parser.add_argument("--node", metavar="NAME", help="this host's node; default: its host name")
    parser.add_argument(
        "--file-only", action="store_true", help="check FILE alone, for whichever host"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Check; return the exit status."""
    result = examine(arguments.file, arguments.node, file_only=arguments.file_only)
    node = result.host.node or _node(result, arguments.node)
    if arguments.json:
        print(output.as_json(_as_json(result, node), indent=2))
    else:
        _print(result, node)
    if result.error or result.unnamed:
        return statuses.WRONG
    return statuses.REFUSED if _in_the_way(result) or result.wrong_now else statuses.DONE


def examine(file: str, name: str | None, *, file_only: bool) -> Result:
    """Check a configuration file and this host."""
    try:
        found = configfiles.load(file)
    except ConfigError as error:
        return Result(file, None, error)
    advised = advice.advised(found)
    if file_only:
        return Result(file, found, advice=advised)
    looked = preflight.look(found, file, name, socket.gethostname())
    daemon: Cluster | None = None
    if os.geteuid():
        skipped = (*looked.skipped, Skipped(_OF_DAEMON, preflight.NEEDS_ROOT))
        looked = msgspec.structs.replace(looked, skipped=skipped)
    elif runfiles.is_running(found.name):
        daemon = show_cluster.told(found.name)
        advised = (*advised, *_from_peers(found, daemon))
    elif found.name in runfiles.killed():
        advised = (*advised, _KILLED)
    return Result(file, found, looked.error, advised, looked, daemon)


def _in_the_way(result: Result) -> bool:
    return any(one.is_fault for one in result.host.findings)


def _from_peers(found: Config, told: Cluster) -> Iterator[Finding]:
    """Yield what the daemon of the cluster, which runs here, tells of unequal files."""
    if isinstance(told, Silent):
        return
    here = f"{digest.hash_digest(found):016x}"
    if told.digest != here:
        yield Finding.of(
            Code.FILE_NOT_IN_USE,
            "the daemon here runs with another configuration",
            f"digest {told.digest}, and this file has {here}",
            cure=_cure(told, here),
        )
    there, listed = set(told.voters), set(model.voters(found))
    if there != listed:
        more = [f"{name} is in this file only" for name in sorted(listed - there)]
        less = [f"{name} is not in this file" for name in sorted(there - listed)]
        yield Finding.of(
            Code.FILE_NOT_IN_USE,
            "the daemon here runs with other voters than this file has",
            f"{', '.join([*more, *less])}; it runs with {', '.join(sorted(there)) or 'none'}",
            cure="put this file in place and `clusterip reload`, on each host"
            if len(there ^ listed) == 1
            else "change one node at a time, and `clusterip reload` on each host before the next",
        )


def _cure(told: Status, here: str) -> str:
    """Return where the daemon is to be started anew for a file of the digest `here`."""
    others = [one for one in told.nodes if not one.me and one.digest]
    lacking = [one.name for one in others if one.digest != here]
    having = [one.name for one in others if one.digest == here]
    if not having:
        return (
            "hosts serve together only with the same one: change it on all, then"
            " systemctl restart clusterip on all"
        )
    also = f", and on {', '.join(lacking)} with the same file" if lacking else " only"
    which = "the others already run" if not lacking else f"{', '.join(having)} already run"
    return f"{which} with this file: systemctl restart clusterip on this host{also}"


def _node(result: Result, name: str | None) -> Node | None:
    if name is None or result.config is None:
        return None
    node = result.config.node(name)
    if node is None:
        names = ", ".join(one.name for one in result.config.nodes)
        raise UsageError(f"{result.file} has no node {name!r}", f"it has {names}")
    return node


def _as_json(result: Result, node: Node | None) -> dict[str, Any]:
    found = result.config
    faults = result.error.faults if result.error else ()
    return {
        "file": result.file,
        "valid": result.error is None,
        "faults": [
            {
                "file": result.error.file if result.error else "",
                "line": one.line,
                "message": one.message,
                "cure": one.cure,
            }
            for one in faults
        ],
        "host": plain(result.host.findings),
        "looked_at": list(result.host.at),
        "not_looked_at": [msgspec.to_builtins(one) for one in result.host.skipped],
        "warnings": plain(result.advice),
        "daemon": {"faults": plain(result.wrong_now)} if result.daemon else None,
        "cluster": found
        and {
            "name": found.name,
            "profile": found.profile.value,
            "quorum": found.quorum.value,
            "buckets": found.buckets,
            "hash_digest": f"{digest.hash_digest(found):016x}",
            "voters": list(model.voters(found)),
            "vips": [{"vip": str(vip.address), "clustermac": vip.mac.upper} for vip in found.vips],
        },
        "node": node
        and {
            "name": node.name,
            "interface": node.interface or None,
            "addresses": [str(one) for one in node.addresses],
            "weight": node.weight,
            "witness": node.witness,
        },
    }


def _print(result: Result, node: Node | None) -> None:
    faults = result.error.faults if result.error else ()
    name = result.error.file if result.error else result.file
    for fault in faults:
        output.say(fault.place(name), output.BAD, fault.message, fault.cure)
    for one in result.advice:
        place = "the daemon here" if one.code in _OF_DAEMONS else result.file
        output.say(f"{place}: warning:", output.WARNING, one.sentence, one.cure)
    for here in result.host.findings:
        word, style = ("", output.BAD) if here.is_fault else (" warning:", output.WARNING)
        output.say(f"this host:{word}", style, here.sentence, here.cure)
    for wrong in result.wrong_now:
        output.say("the daemon here:", output.BAD, wrong.sentence, wrong.cure)
    found = result.config
    if result.daemon:
        output.line("the daemon of this cluster runs here: see `clusterip show`")
    if found is not None and not faults:
        votes = len(model.voters(found))
        witnesses = sum(one.witness for one in found.nodes)
        which = f" (witnesses: {witnesses})" if witnesses else ""
        verdict = (
            "has no fault, but this host cannot use it" if _in_the_way(result) else "can be used"
        )
        tables.wrapped(
            f"{result.file}: {verdict}: cluster {found.name}, VIPs {len(found.vips)}, "
            f"nodes {len(found.nodes)}{which}, voters {votes} ({found.quorum.value}), "
            f"buckets {found.buckets}, hash digest {digest.hash_digest(found):016x}"
        )
    if found is not None:
        _print_looked(result.host)
    if found is not None and node is not None and not (faults or _in_the_way(result)):
        print(_node_line(found, node))


def _print_looked(looked: Looked) -> None:
    if not looked.at:
        output.line("this host: not looked at")
        return
    tables.wrapped(f"this host: looked at {', '.join(looked.at)}")
    for why in dict.fromkeys(one.why for one in looked.skipped):
        whats = ", ".join(one.what for one in looked.skipped if one.why == why)
        tables.wrapped(f"this host: not looked at, {why}: {whats}")


def _node_line(found: Config, node: Node) -> str:
    where = f" on {node.interface}" if node.interface else ""
    if node.witness:
        return f"{node.name}: a witness{where}: votes, holds no bucket"
    weights = sum(one.weight for one in found.servers())
    share = found.buckets * node.weight / weights if weights else 0.0
    return (
        f"{node.name}: serves{where}, weight {node.weight}: {share:.1f} of {found.buckets} buckets"
    )
