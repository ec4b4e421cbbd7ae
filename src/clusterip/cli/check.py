"""`clusterip check`: whether a configuration file can be used here, and what in it is unwise."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

import msgspec

from clusterip.adapters import bpffs, configfiles, control, runfiles
from clusterip.adapters.dataplane import OtherVersionError
from clusterip.adapters.links import NetlinkLinks
from clusterip.adapters.planes import PinnedPlanes
from clusterip.cli import output
from clusterip.core import config
from clusterip.core.config import Advice, Config, ConfigError, Node
from clusterip.core.errors import ClusterIPError, RefusedError, UsageError
from clusterip.core.state import InterfaceState
from clusterip.runtime import presence
from clusterip.runtime.presence import Finding

_PATIENCE_SECONDS: Final = 2.0
_EXAMPLES: Final = """\
examples:
  clusterip check                              # /etc/clusterip.toml
  clusterip check new.toml --node web2         # and what it means for web2
  clusterip check new.toml && cp new.toml /etc/clusterip.toml

Every fault is printed as FILE:LINE: FAULT, with its cure below. What is unwise is printed as a
warning; the file can be used all the same. Hosts serve together if the hash digest is equal.

exit status: 0 the file can be used; 1 not on this host as it is, for a VIP is on an interface
already; 2 it has faults; 4 it cannot be read
"""


class Result(msgspec.Struct, frozen=True):
    """What was found. `error` and `config` exclude each other, but for faults of the key file."""

    file: str
    config: Config | None
    error: ConfigError | None
    advice: tuple[Advice, ...]
    host: tuple[Finding, ...] = ()
    """What of this host is in the way."""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "check",
        help="check a configuration file",
        description="Check a configuration file and the key file that it names: "
        "all faults with their lines, and what is unwise.",
        epilog=_EXAMPLES,
        formatter_class=output.HelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", nargs="?", default=config.FILE)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--node", metavar="NAME", help="also say what this node is to do")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Check; return the exit status."""
    result = examine(arguments.file)
    node = _node(result, arguments.node)
    if arguments.json:
        print(json.dumps(_as_json(result, node), indent=2))
    else:
        _print(result, node)
    if result.error:
        return ConfigError.exit_status
    return RefusedError.exit_status if any(one.grave for one in result.host) else 0


def examine(file: str) -> Result:
    """Check a configuration file and its key file; SystemFaultError if it cannot be read."""
    try:
        found = configfiles.load(file)
    except ConfigError as error:
        return Result(file, None, error, ())
    advice = config.advice(found)
    try:
        advice = (*advice, *configfiles.key_advice(found.key_file), *_from_peers(found))
        return Result(file, found, None, advice, _host(found))
    except ConfigError as error:
        return Result(file, found, error, advice)


def _host(found: Config) -> tuple[Finding, ...]:
    """Return what of the VIPs is on this host without a daemon of ours."""
    ours: presence.Ours | None = None
    if os.geteuid() == 0:
        states: list[InterfaceState] = []
        planes = PinnedPlanes(bpffs.namespace_folder())
        for index in planes.indices():
            # What another version left cannot be read; without the lock, one may go.
            with suppress(OtherVersionError, FileNotFoundError), planes.open(index) as plane:
                states.append(plane.state())
        ours = presence.added(states)
    return presence.findings(NetlinkLinks(), {vip.address for vip in found.vips}, ours)


def _from_peers(found: Config) -> Iterator[Advice]:
    """Yield what the daemon of the cluster, where one runs here, tells of unequal files."""
    if not runfiles.is_running(found.name):
        return
    try:
        told = control.ask(found.name, {"verb": "show"}, patience=_PATIENCE_SECONDS)
    except ClusterIPError as error:
        yield Advice(error.message, error.cure)
        return
    digest = f"{config.hash_digest(found):016x}"
    if told["digest"] != digest:
        yield Advice(
            f"the daemon here runs with another configuration: digest {told['digest']}, and this"
            f" file has {digest}",
            "hosts serve together only with the same one: change it on all, then restart all",
        )
    for node in told["nodes"]:
        if not node["agrees"]:
            yield Advice(
                f"{node['name']} runs with another configuration than the daemon here",
                f"compare the files: on {node['name']}, clusterip check",
            )


def _node(result: Result, name: str | None) -> Node | None:
    if name is None or result.config is None:
        return None
    node = result.config.node(name)
    if node is None:
        names = ", ".join(one.name for one in result.config.nodes)
        raise UsageError(f"{result.file} has no node {name!a}", f"it has {names}")
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
        "host": [msgspec.to_builtins(one) for one in result.host],
        "warnings": [{"message": one.message, "cure": one.cure} for one in result.advice],
        "cluster": found
        and {
            "name": found.name,
            "profile": found.profile.value,
            "quorum": found.quorum.value,
            "buckets": found.buckets,
            "hash_digest": f"{config.hash_digest(found):016x}",
            "voters": list(config.voters(found)),
            "vips": [{"vip": str(vip.address), "clustermac": str(vip.mac)} for vip in found.vips],
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
        output.say(f"{name}:{fault.line}:", output.BAD, fault.message, fault.cure)
    for one in result.advice:
        output.say(f"{result.file}: warning:", output.WARNING, one.message, one.cure)
    for here in result.host:
        word, style = ("", output.BAD) if here.grave else (" warning:", output.WARNING)
        output.say(f"this host:{word}", style, here.message, here.cure)
    found = result.config
    if found is not None and not faults:
        votes = len(config.voters(found))
        print(
            f"{result.file}: can be used: cluster {found.name}, VIPs {len(found.vips)}, "
            f"nodes {len(found.nodes)}, voters {votes} ({found.quorum.value}), "
            f"buckets {found.buckets}, hash digest {config.hash_digest(found):016x}"
        )
    if found is not None and node is not None:
        print(_node_line(found, node))


def _node_line(found: Config, node: Node) -> str:
    where = f" on {node.interface}" if node.interface else ""
    if node.witness:
        return f"{node.name}: a witness{where}: votes, owns no bucket"
    weights = sum(one.weight for one in found.servers())
    share = found.buckets * node.weight / weights if weights else 0.0
    return (
        f"{node.name}: serves{where}, weight {node.weight}: {share:.1f} of {found.buckets} buckets"
    )
