"""The configuration file /etc/clusterip.toml, the same on every host: text to values.

Reading never stops at the first fault: a ConfigError has all of them, each with its line and its
cure. docs/configuration.md has every key, its default and its range.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Final, TypeVar

from clusterip.core import limits
from clusterip.core.address import order
from clusterip.core.config import brackets, declared, sections
from clusterip.core.config.faults import ConfigError, Fault
from clusterip.core.config.lines import Path, locate
from clusterip.core.config.model import (
    MAX_CHECKS,
    MAX_NODES,
    CommandCheck,
    Config,
    HttpCheck,
    Node,
    Quorum,
    TcpCheck,
    Vip,
)
from clusterip.core.config.table import Notes, Table

FILE: Final = "/etc/clusterip.toml"

_T = TypeVar("_T")
_PLACE: Final = re.compile(r" \(at (?:line ([0-9]+), column [0-9]+|end of document)\)$")
_LONG_NUMBER: Final = re.compile("[0-9_]{4000}")
_TWICE: Final = re.compile(r"Cannot (overwrite|declare|mutate)|Duplicate")
_SYNTAX_CURE: Final = "text stands in quotation marks, tables are [cluster], [[vip]], [[node]]"


def decode(raw: bytes) -> str:
    """Return the text of a file's bytes; ConfigError with the line if it is not UTF-8."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _failed(line, "this line is not UTF-8 text", "save the file as UTF-8") from error


def read(text: str) -> Config:
    """Read a configuration; ConfigError with all its faults if it cannot be used."""
    document, lines = _parse(text)
    notes = Notes(lines)
    config = _assemble(declared.File((), document, notes))
    if notes.faults or config is None:
        raise ConfigError(notes.faults)
    return config


def _failed(line: int, message: str, cure: str) -> ConfigError:
    return ConfigError([Fault(line, message, cure)])


def _parse(text: str) -> tuple[dict[str, object], dict[Path, int]]:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise _failed(line, "this line is not Unicode text", "save the file as UTF-8") from error
    try:
        return tomllib.loads(text), locate(text)
    except tomllib.TOMLDecodeError as error:
        match = _PLACE.search(str(error))
        end = text.rstrip().count("\n") + 1
        line = int(match[1]) if match and match[1] else end
        reason = _PLACE.sub("", str(error))
        if _TWICE.match(reason):
            raise ConfigError([brackets.blamed(text, line)]) from error
        raise _failed(line, f"not TOML: {reason}", _SYNTAX_CURE) from error
    except RecursionError as error:
        raise _failed(1, "arrays are nested too deeply", "no key needs that") from error
    except ValueError as error:
        # Python refuses to read numbers of more than some thousand digits, and names no place.
        match = _LONG_NUMBER.search(text)
        line = text.count("\n", 0, match.start()) + 1 if match else 1
        raise _failed(
            line, "not TOML: a number has too many digits", "no key needs that"
        ) from error


def _assemble(top: declared.File) -> Config | None:
    notes = top.notes
    cluster = top.table(declared.Cluster)
    vips = [(one, sections.vip(one, cluster)) for one in top.tables(declared.Vip)]
    nodes = [(one, sections.node(one, cluster)) for one in top.tables(declared.Node)]
    checks = [(one, sections.check(one)) for one in top.tables(declared.Check)]
    _check_vips(top, vips)
    _check_nodes(top, nodes, vips)
    _check_reach(nodes, cluster)
    _limit(top, "check", len(checks), MAX_CHECKS, "checks")
    _unique(checks, "name", lambda check: check.name.lower())
    if notes.faults:
        return None
    return _config(cluster, _present(vips), _present(nodes), _present(checks))


def _limit(top: Table, key: str, count: int, most: int, noun: str) -> None:
    if count > most:
        top.blame(key, f"{count} {noun}, and at most {most} can be", f"name {most} or fewer")


def _unique(
    pairs: Sequence[tuple[Table, _T | None]], key: str, identity: Callable[[_T], Hashable]
) -> None:
    """Note each table whose `identity` an earlier one has too."""
    seen: dict[Hashable, Table] = {}
    for table, value in pairs:
        if value is None:
            continue
        first = seen.setdefault(identity(value), table)
        if first is not table:
            line = table.notes.line((*first.at, key))
            table.blame(
                key,
                f"{key}: the same as that of the {table.place()} in line {line}",
                f"give each {table.place()} its own {key}",
            )


def _check_vips(top: Table, pairs: list[tuple[declared.Vip, Vip | None]]) -> None:
    if not top.get("vip", []):
        top.blame("vip", "there is no [[vip]]", 'add [[vip]] and address = "10.9.0.100"')
    _limit(top, "vip", len(pairs), limits.VIPS, "VIPs")
    services = sum(len(vip.services) for vip in _present(pairs))
    _limit(top, "vip", services, limits.RULES - 1, "services (each range of ports counts)")
    _unique(pairs, "address", lambda vip: vip.address)


def _check_nodes(
    top: Table,
    pairs: list[tuple[declared.Node, Node | None]],
    vips: list[tuple[declared.Vip, Vip | None]],
) -> None:
    nodes = _present(pairs)
    if not pairs:
        if not top.get("node", []):
            top.blame(
                "node", "there is no [[node]]", 'add [[node]] and name = "web1" for each host'
            )
        return
    _limit(top, "node", len(pairs), MAX_NODES, "nodes")
    _unique(pairs, "name", lambda node: node.name.lower())
    if len(nodes) == len(pairs) and all(node.witness for node in nodes):
        top.blame("node", "every node is a witness: nobody serves", "add the nodes that serve")
    taken = {
        vip.address: f"the VIP of line {table.notes.line((*table.at, 'address'))}"
        for table, vip in vips
        if vip is not None
    }
    shared = set(taken)
    for table, node in pairs:
        for address in node.addresses if node else ():
            if address in taken:
                table.blame(
                    "address",
                    f"address: {address} is {taken[address]}",
                    "write the host's own address, by which only this host is reached"
                    + ("; or, more likely, the VIP is wrong" if address in shared else ""),
                )
            line = table.notes.line((*table.at, "address"))
            taken.setdefault(address, f"that of the node of line {line}")


def _check_reach(pairs: list[tuple[declared.Node, Node | None]], cluster: declared.Cluster) -> None:
    """Note each node that a witness without an interface, which cannot broadcast, never reaches."""
    for table, node in pairs:
        if not (node and node.witness and "address" in table):
            continue
        if sections.has_interface(table, cluster):
            continue
        for other, _ in pairs:
            if other is not table and "address" not in other:
                other.blame(
                    "address",
                    f"a node has no address, and the witness {node.name} has no interface to reach"
                    " it by broadcast",
                    f"add address to this node, or interface to {node.name}",
                )
        return


def _config(
    cluster: declared.Cluster,
    vips: list[Vip],
    nodes: list[Node],
    checks: list[TcpCheck | HttpCheck | CommandCheck],
) -> Config:
    said = sections.fields(cluster) | {
        "quorum": cluster.quorum or (Quorum.ALIVE if len(nodes) == 2 else Quorum.MAJORITY),
        "vips": tuple(sorted(vips, key=lambda vip: order(vip.address))),
        "nodes": tuple(sorted(nodes, key=lambda node: node.name)),
        "checks": tuple(checks),
    }
    return Config(**{one: said[one] for one in Config.__struct_fields__})


def _present(pairs: Iterable[tuple[Table, _T | None]]) -> list[_T]:
    return [value for _, value in pairs if value is not None]
