"""Packets as rows of a CSV, and their answers: the fields, the reading, the writing.

One row is read, answered and written before the next, so that a pipe without end works too.
What is no column of ours comes out byte for byte, in any locale.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Address
from typing import Final, Self, TextIO

from clusterip.cli import output
from clusterip.core.address import Address, address_of
from clusterip.core.errors import ClusterIPError, UsageError
from clusterip.core.packets.lookup import Packet
from clusterip.core.rules import values as rule_values
from clusterip.core.rules.whereabouts import Whereabouts

NOBODY: Final[Address] = IPv4Address(0)
"""The VIP of a packet of which only the hash is asked."""

_QUIET_SECONDS: Final = 2.0


Row = Mapping[str, str]
Judge = Callable[[Packet, Row], Whereabouts]
"""From a packet, and the row it came from, to the answer; raises ClusterIPError."""


def answer_many(
    arguments: argparse.Namespace, vip: Address | None, judge: Judge, added: tuple[str, ...]
) -> None:
    """Answer for each row of the file `arguments.csv`, to standard output.

    `added` are the fields of the answer that become columns.
    Ends at the first row that cannot be answered, with a UsageError that names its line; the
    rows before it have been answered.
    """
    if not arguments.json:
        output.keep_bytes(sys.stdout)
    with _opened(arguments.csv) as file, _Progress() as progress:
        reader = csv.DictReader(file, strict=True)
        columns = _columns(reader, arguments.csv, added)
        writer = csv.writer(sys.stdout, lineterminator="\n")
        if not arguments.json:
            writer.writerow((*columns, *added))
        for row in _rows(reader, arguments.csv):
            with _located(arguments.csv, reader):
                found = judge(_packet(row, arguments, vip), row)
            if arguments.json:
                told = {**row, **{name: getattr(found, name) for name in added}}
                print(output.as_json(told))
            else:
                writer.writerow((*row.values(), *(getattr(found, name) for name in added)))
            progress.advance()


def _packet(row: Row, arguments: argparse.Namespace, vip: Address | None) -> Packet:
    """Read a row's packet; an empty field is as good as none."""
    destination = address(row["dst"]) if row.get("dst") else vip
    if vip is not None and destination != vip:
        raise UsageError(
            f"dst {destination} is not the VIP {vip}",
            "leave the row out, or ask for that VIP with --vip",
        )
    if not row["src"]:
        raise UsageError("src is empty", "give each row the address of a client")
    source = address(row["src"])
    refuse_mixed(source, destination or arguments.dst)
    return Packet(
        vip or NOBODY,
        source,
        port(row["sport"]) if row.get("sport") else arguments.sport,
        port(row["dport"]) if row.get("dport") else arguments.dport,
        rule_values.protocol(row["proto"]) if row.get("proto") else arguments.proto,
    )


def refuse_mixed(source: Address, destination: Address | None) -> None:
    """Raise UsageError where no packet goes from one to the other."""
    if destination is not None and source.version != destination.version:
        raise UsageError(
            f"no packet goes from {source} to {destination}",
            f"give an IPv{destination.version} address as its source",
        )


@contextlib.contextmanager
def _opened(name: str) -> Iterator[TextIO]:
    if name == "-":
        output.keep_bytes(sys.stdin)
        yield sys.stdin
        return
    try:
        file = open(name, newline="", **output.KEPT)  # noqa: PTH123, SIM115 - closed below
    except OSError as error:
        raise UsageError(
            f"{name} cannot be read: {error.strerror}", "give a CSV file, or - for standard input"
        ) from error
    with file:
        yield file


def _columns(reader: csv.DictReader[str], name: str, added: tuple[str, ...]) -> list[str]:
    with _located(name, reader):
        columns = list(reader.fieldnames or ())
        if columns:
            columns[0] = columns[0].removeprefix("\ufeff")
            reader.fieldnames = columns
        if not columns:
            raise UsageError("the file is empty: it has no header", "its first line names columns")
        if "src" not in columns:
            raise UsageError("the header has no column src", "its first line names the columns")
        every = [*columns, *added]
        twice = sorted({column for column in every if every.count(column) > 1})
        if twice:
            raise UsageError(
                f"there would be two columns {twice[0]}", "rename or remove the input's"
            )
    return columns


def _rows(reader: csv.DictReader[str], name: str) -> Iterator[dict[str, str]]:
    while True:
        with _located(name, reader):
            row = next(reader, None)
            if row is None:
                return
            # DictReader puts what is too much under the key None, and None for what is missing.
            if None in row or None in row.values():
                raise UsageError(
                    "the row has not as many fields as the header",
                    "give each row all fields, empty ones where nothing is known",
                )
        yield row


@contextlib.contextmanager
def _located(name: str, reader: csv.DictReader[str]) -> Iterator[None]:
    """Say of an error in which line it is."""
    try:
        yield
    except ClusterIPError as error:
        raise UsageError(f"{_line(name, reader)}: {error.message}", error.cure) from error
    except csv.Error as error:
        raise UsageError(
            f"{_line(name, reader)}: {error}", "give a file of comma-separated values (RFC 4180)"
        ) from error


def _line(name: str, reader: csv.DictReader[str]) -> str:
    # DictReader's own line_num lags behind when a row cannot be read.
    # Of an empty file it is 0.
    number = max(1, reader.reader.line_num)
    return f"{'standard input' if name == '-' else name}, line {number}"


class _Progress:
    """A count of rows on standard error: only for a person, and only if it takes a while."""

    def __init__(self) -> None:
        self._rows = 0
        self._next = time.monotonic() + _QUIET_SECONDS
        self._shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            print(f"\r{self._rows:,} packets", file=sys.stderr)

    def advance(self) -> None:
        """Count a row."""
        self._rows += 1
        if self._rows % 1024 == 0 and sys.stderr.isatty() and time.monotonic() >= self._next:
            self._next = time.monotonic() + 0.2
            self._shown = True
            print(f"\r{self._rows:,} packets", end="", file=sys.stderr, flush=True)


def address(text: str) -> Address:
    """Read an IPv4 or IPv6 address; UsageError for anything else."""
    try:
        return address_of(text)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is not an IP address", "give it as 192.0.2.7 or 2001:db8::7"
        ) from error


def port(text: str) -> int:
    """Read a port, 0..65535, as iptables reads numbers; UsageError for anything else."""
    value = rule_values.number(text, 0, 0xFFFF)
    if value is None:
        raise UsageError(f"{text!r} is not a port, 0..65535", "give a number, 80 or 0x50")
    return value


def number(text: str) -> int:
    """Read a number, 0..4294967295, decimal or 0x; UsageError for anything else."""
    value = rule_values.number(text, 0, 0xFFFFFFFF)
    if value is None:
        raise UsageError(f"{text!r} is not a number, 0..4294967295", "give it as 1234 or 0x4d2")
    return value
