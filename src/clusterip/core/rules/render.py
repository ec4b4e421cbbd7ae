"""Rules as text, in the layouts of iptables 1.8.9: `-S`, which can be fed back, and `-L`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Network
from itertools import zip_longest
from typing import Final

from clusterip.core.packets.model import (
    ANY_PROTOCOL,
    ANY_SOURCE,
    Comment,
    Mac,
    Match,
    PortRange,
    Ports,
    Rule,
    ServiceAction,
)
from clusterip.core.packets.state import Chain, Entry
from clusterip.core.rules.matches import COMMENT, MULTIPORT, unrestricted
from clusterip.core.rules.options import CHAIN
from clusterip.core.rules.protocols import NAMES
from clusterip.core.rules.target import TARGET

Count = tuple[int, int]
"""Packets and bytes."""

Counters = Mapping[tuple[int, int], Count]
"""(interface index, slot of the rule) to what the rule has counted; what is missing is zero."""

ServiceNames = Callable[[int, str], str | None]
"""From a port and a protocol's name to the service's name, None if it has none."""

NOTHING: Final[Count] = (0, 0)
_PLAIN: Final = re.compile("[A-Za-z0-9_-]+")


def rule_line(rule: Rule, count: Count | None = None, *, by_daemon: bool = False) -> str:
    """Return the rule as iptables-save prints it; `parse` reads it back.

    With `count` it carries `-c PACKETS BYTES`, as `-S -v` prints it. A rule `by_daemon` is without
    what is the daemon's to say, the buckets and the address; what a service does other than balance
    is said by `--action`, which no command takes.
    """
    match = rule.match
    words = [f"-A {CHAIN}"]
    if match.source != ANY_SOURCE or match.source_negated:
        words.append(f"{_not(match.source_negated)}-s {match.source}")
    words.append(f"-d {rule.vip}/{rule.vip.max_prefixlen} -i {rule.interface}")
    if match.protocol != ANY_PROTOCOL:
        words.append(f"{_not(match.protocol_negated)}-p {_protocol(match.protocol)}")
    saved = [f"-m {COMMENT} --comment {quoted(one)}" for one in map(_text, rule.comments)]
    words.extend(_in_place(rule.comments, saved, [*_plain_matches(match), *_lists_saved(match)]))
    if count is not None:
        words.append("-c {} {}".format(*count))
    words.append(f"-j {TARGET}")
    if rule.action is not ServiceAction.BALANCE:
        words.append(f"--action {rule.action.value}")
        if rule.bucket:
            words.append(f"--bucket {rule.bucket}")
    elif rule.sharing is not None:
        words.append(
            f"--new --hashmode {rule.sharing.mode.value} --clustermac {_mac(rule.sharing.mac)}"
            f" --total-nodes {rule.sharing.total}"
            f"{'' if by_daemon else f' --local-node {rule.local_node}'}"
            f" --hash-init {rule.sharing.hash_init}"
        )
    if rule.manage_address and not by_daemon:
        words.append("--manage-address")
    return " ".join(words)


def list_rules(
    chain: Chain,
    *,
    number: int | None = None,
    counters: Counters | None = None,
    policy: Count = NOTHING,
) -> str:
    """Return what `-S` prints: the policy and the rules, or the one rule with that number.

    With `counters` it is what `-S -v` prints; `policy` then counts what the chain let pass.
    """
    lines = []
    if number is None:
        passed = "" if counters is None else " -c {} {}".format(*policy)
        lines.append(f"-P {CHAIN} ACCEPT{passed}")
    for place, interface, entry in numbered(chain):
        if number in {None, place}:
            count = None if counters is None else counters.get((interface, entry.slot), NOTHING)
            lines.append(rule_line(entry.rule, count))
    return "".join(f"{line}\n" for line in lines)


def table(
    chain: Chain,
    counters: Counters | None = None,
    *,
    verbose: bool = False,
    numeric: bool = False,
    exact: bool = False,
    line_numbers: bool = False,
    number: int | None = None,
    policy: Count = NOTHING,
    services: ServiceNames | None = None,
) -> str:
    """Return what `-L` prints: the chain, or the one rule with that number and no header.

    `verbose` adds `counters` and the device, `exact` prints counts unrounded, `numeric` prints
    numbers for protocols and ports; without it ports are named where `services` knows a name.
    Addresses are never looked up.
    """
    lines = []
    if number is None:
        total = " {} packets, {} bytes".format(*(scaled(one, exact).strip() for one in policy))
        lines.append(f"Chain {CHAIN} (policy ACCEPT{total if verbose else ''})")
        lines.append(_header(verbose, exact, line_numbers))
    for place, interface, entry in numbered(chain):
        if number not in {None, place}:
            continue
        line = f"{place:<4} " if line_numbers else ""
        if verbose:
            count = (counters or {}).get((interface, entry.slot), NOTHING)
            line += "".join(f"{scaled(one, exact)} " for one in count)
        lines.append(line + _row(entry.rule, verbose, numeric, services))
    return "".join(f"{line}\n" for line in lines)


def scaled(value: int, exact: bool = False) -> str:
    """Return a count as `-L -v` prints it: 5 places, with K, M, G or T from 100000 on."""
    if exact:
        return f"{value:8}"
    if value <= 99999:
        return f"{value:5}"
    for unit in "KMG":
        value = (value + 500) // 1000
        if value <= 9999:
            return f"{value:4}{unit}"
    return f"{(value + 500) // 1000:4}T"


def numbered(chain: Chain) -> Iterator[tuple[int, int, Entry]]:
    """Yield each rule with its number, counted from 1, and the index of its interface."""
    pairs = [(one.index, entry) for one in chain.interfaces for entry in one.entries]
    pairs.sort(key=lambda pair: pair[1].position)
    for place, (interface, entry) in enumerate(pairs, 1):
        yield place, interface, entry


def _not(negated: bool) -> str:
    return "! " if negated else ""


def _mac(mac: Mac) -> str:
    """Return a MAC as the old target prints it, alone of all."""
    return mac.upper


def _protocol(number: int) -> str:
    return NAMES.get(number, str(number))


def _range(ports: PortRange, name: Callable[[int], str] = str) -> str:
    first, last = ports
    return name(first) if first == last else f"{name(first)}:{name(last)}"


def _pairs(match: Match) -> Iterator[tuple[str, Ports | None, Ports | None]]:
    """Yield the plain matches: module, source and destination condition."""
    sources = [one for one in match.source_ports if one.module != MULTIPORT]
    destinations = [one for one in match.destination_ports if one.module != MULTIPORT]
    for source, destination in zip_longest(sources, destinations):
        module = (source or destination).module
        yield module, source, None if destination and unrestricted(destination) else destination


def _lists(match: Match) -> Iterator[tuple[str, Ports]]:
    """Yield the multiport matches: the word of their option and their ports."""
    groups = (
        ("sports", match.source_ports),
        ("dports", match.destination_ports),
        ("ports", match.either_ports),
    )
    for word, conditions in groups:
        for one in conditions:
            if one.module == MULTIPORT:
                yield word, one


def _plain_matches(match: Match) -> Iterator[str]:
    for module, source, destination in _pairs(match):
        words = [f"-m {module}"]
        for option, ports in (("--sport", source), ("--dport", destination)):
            if ports is not None:
                words.append(f"{_not(ports.negated)}{option} {_range(ports.ranges[0])}")
        yield " ".join(words)


def _lists_saved(match: Match) -> Iterator[str]:
    for word, ports in _lists(match):
        named = ",".join(_range(one) for one in ports.ranges)
        yield f"-m {MULTIPORT} {_not(ports.negated)}--{word} {named}"


def _in_place(comments: tuple[Comment, ...], shown: list[str], matches: list[str]) -> Iterator[str]:
    """Yield `matches` with the comments, as they are shown, among them."""
    for place in range(len(matches) + 1):
        yield from (text for one, text in zip(comments, shown, strict=True) if one.after == place)
        yield from matches[place : place + 1]


def _text(comment: Comment) -> str:
    return comment.text.decode("utf-8", "surrogateescape")


def quoted(text: str) -> str:
    """Return a text as iptables-save quotes it: plain words as they are, others in `"`."""
    if _PLAIN.fullmatch(text):
        return text
    return '"' + re.sub(r"([\"'\\])", r"\\\1", text) + '"'


def _header(verbose: bool, exact: bool, line_numbers: bool) -> str:
    counts = ""
    if verbose:
        counts = "    pkts      bytes " if exact else " pkts bytes "
    devices = "in     out     " if verbose else ""
    addresses = f"{'source':<19}  {'destination':<19} "
    return f"{'num  ' if line_numbers else ''}{counts}target     prot opt {devices}{addresses}"


def _row(rule: Rule, verbose: bool, numeric: bool, services: ServiceNames | None) -> str:
    match = rule.match
    protocol = str(match.protocol) if numeric else _protocol(match.protocol)
    if match.protocol == ANY_PROTOCOL and not numeric:
        protocol = "all"
    any_device = "*" if numeric else "any"
    devices = f" {rule.interface:<6} {any_device:<6} " if verbose else ""
    listed = [f"/* {_text(one)} */" for one in rule.comments]
    conditions = _in_place(rule.comments, listed, list(_conditions(match, numeric, services)))
    return (
        f"{TARGET:<9} {'!' if match.protocol_negated else ' '}{protocol:<4} -- {devices}"
        f"{'!' if match.source_negated else ' '}{_source(match.source, numeric):<19} "
        f" {rule.vip!s:<19} {''.join(f' {one}' for one in conditions)}{_target(rule)}"
    )


def _source(source: IPv4Network, numeric: bool) -> str:
    if source == ANY_SOURCE:
        return "0.0.0.0/0" if numeric else "anywhere"
    return str(source.network_address) if source.prefixlen == 32 else str(source)


def _conditions(match: Match, numeric: bool, services: ServiceNames | None) -> Iterator[str]:
    protocol = _protocol(match.protocol)

    def name(port: int) -> str:
        known = None if numeric or services is None else services(port, protocol)
        return known or str(port)

    for module, source, destination in _pairs(match):
        words = [module]
        for word, ports in (("spt", source), ("dpt", destination)):
            if ports is not None:
                first, last = ports.ranges[0]
                plural = "" if first == last else "s"
                negated = "!" if ports.negated else ""
                words.append(f"{word}{plural}:{negated}{_range((first, last), name)}")
        yield " ".join(words)
    for word, ports in _lists(match):
        named = ",".join(_range(one, name) for one in ports.ranges)
        yield f"{MULTIPORT} {word} {' !' if ports.negated else ''}{named}"


def _target(rule: Rule) -> str:
    if rule.sharing is None:
        return f" {TARGET}"
    return (
        f" {TARGET} hashmode={rule.sharing.mode.value} clustermac={_mac(rule.sharing.mac)}"
        f" total_nodes={rule.sharing.total} local_node={rule.local_node}"
        f" hash_init={rule.sharing.hash_init}"
    )
