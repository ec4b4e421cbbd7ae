"""Reading what iptables-save wrote: which lines are CLUSTERIP rules, and why the others are not.

No line is dropped unseen: each is structure, or rules, or left out with the reason.
The order of the file is kept, since a rule that joins a VIP needs the one that introduced it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from itertools import pairwise
from typing import Final

import msgspec

from clusterip.core.errors import UsageError
from clusterip.core.packets.model import Rule
from clusterip.core.rules.grammar import parse
from clusterip.core.rules.options import CHAIN, TABLE
from clusterip.core.rules.target import TARGET
from clusterip.core.rules.values import Services, no_services


class Kind(Enum):
    """What a line is: the file's framework, CLUSTERIP rules, or something not read."""

    STRUCTURE = "structure"
    RULES = "rules"
    LEFT_OUT = "left out"


class Line(msgspec.Struct, frozen=True):
    """One line of the file. `number` counts from 1; `left_out` is the reason, "" for none.

    A CLUSTERIP rule that is left out has a `cure`; what is none of ours needs none, and has "".
    """

    number: int
    text: str
    kind: Kind
    rules: tuple[Rule, ...] = ()
    left_out: str = ""
    cure: str = ""


_SPACE: Final = " \t\r\v\f"
"""What separates words, beside the line feed: isspace(3) in the C locale."""

_COMPRESSED: Final = {b"\x1f\x8b": "zcat", b"BZh": "bzcat", b"\xfd7zXZ\0": "xzcat"}
_BOM: Final = b"\xef\xbb\xbf"
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")

_COUNTS: Final = re.compile(r"\[[0-9]+:[0-9]+\]\s*(.*)", re.DOTALL)
_OURS: Final = re.compile(rf'\s(-[jg]\s*|--(jump|goto)[\s=]\s*)"?{TARGET}\b')
"""A rule of ours, in a line that has no words."""
_POLICY: Final = re.compile(r":\S+\s+\S+(\s+\[[0-9]+:[0-9]+\])?")


def decode(raw: bytes) -> str:
    """Return the text of a file: bytes that are no characters are kept, as os.fsdecode keeps them.

    UsageError for what is no text at all.
    """
    for magic, program in _COMPRESSED.items():
        if raw.startswith(magic):
            raise UsageError("it is compressed", f"{program} FILE | clusterip import -")
    if raw.startswith(_UTF16):
        raise UsageError("it is UTF-16", "iconv -f UTF-16 -t UTF-8 FILE | clusterip import -")
    return raw.removeprefix(_BOM).decode("utf-8", "surrogateescape")


def read(text: str, services: Services = no_services) -> tuple[Line, ...]:
    """Return every line of an iptables-save file with what it is; `services` as in `parse`."""
    lines: list[Line] = []
    # What `iptables -S` prints is one table without its name.
    table: str | None = TABLE
    for number, ended in enumerate(text.removesuffix("\n").split("\n"), 1):
        raw = ended.removesuffix("\r")
        line = raw.strip(_SPACE)
        if not line or line.startswith("#"):
            lines.append(Line(number, raw, Kind.STRUCTURE))
        elif line.startswith("*") and len(line.split()) == 1:
            table = line[1:]
            lines.append(Line(number, raw, Kind.STRUCTURE))
        elif line == "COMMIT":
            table = None
            lines.append(Line(number, raw, Kind.STRUCTURE))
        elif _POLICY.fullmatch(line) or line.startswith("-P "):
            lines.append(Line(number, raw, Kind.STRUCTURE))
        else:
            lines.append(_rule(number, raw, table, services))
    return tuple(lines)


def refuse_cut(text: str, lines: tuple[Line, ...]) -> None:
    """Refuse, with UsageError, a file that ends too soon: `lines` is what was read from `text`.

    iptables-restore takes no table without its COMMIT. A list of `iptables -S` has none, and ends
    each line. What is left of a rule may be another rule: `--hash-init 1234` cut to 12.
    """
    began = None
    for line in lines:
        word = line.text.strip(_SPACE)
        if line.kind is not Kind.STRUCTURE or not (word.startswith("*") or word == "COMMIT"):
            continue
        if began and word != "COMMIT":
            break
        began = line if word != "COMMIT" else None
    if began:
        table = began.text.strip(_SPACE)[1:]
        raise UsageError(
            f"line {began.number}: table {table} does not end with COMMIT: the file is cut off",
            "save the rules again: iptables-save > FILE",
        )
    if lines[-1].rules and not text.endswith("\n"):
        raise UsageError(
            f"line {lines[-1].number}: the last rule has no line end: the file may be cut off",
            "save the rules again, or end the line if the rule is whole",
        )


def _rule(number: int, raw: str, table: str | None, services: Services) -> Line:
    line = raw.strip(_SPACE)
    counted = _COUNTS.fullmatch(line)
    if "\0" in line:
        cure = "write the line again" if _OURS.search(line) else ""
        return Line(number, raw, Kind.LEFT_OUT, (), "a zero byte, which no rule can have", cure)
    try:
        words = split(counted.group(1) if counted else line)
    except UsageError as error:
        cure = error.cure if _OURS.search(line) else ""
        return Line(number, raw, Kind.LEFT_OUT, (), error.message, cure)
    try:
        _refuse_foreign(words, table)
        return Line(number, raw, Kind.RULES, parse(words, services).rules)
    except UsageError as error:
        cure = error.cure if _targets(words)[-1:] == [TARGET] else ""
        return Line(number, raw, Kind.LEFT_OUT, (), error.message, cure)


def _refuse_foreign(words: list[str], table: str | None) -> None:
    """Raise UsageError where a line is not for us to read."""
    chain = next(_values(words[:2], "A", "append"), None)
    if chain is None:
        raise UsageError(f"`{' '.join(words[:2])}' does not append a rule", f"write `-A {CHAIN}`")
    if table is None:
        raise UsageError("a rule outside any table", f"put it into the table: *{TABLE}, COMMIT")
    if table != TABLE:
        raise UsageError(f"table {table}, not {TABLE}", f"put it below *{TABLE}")
    if chain != CHAIN:
        raise UsageError(f"chain {chain}, not {CHAIN}", f"write `-A {CHAIN}`")
    if any(_values(words, "t", "table")):
        raise UsageError("a table cannot be named inside a table", "leave `-t` out")
    targets = _targets(words)
    if not targets:
        raise UsageError("a rule without a target", f"add `-j {TARGET}` if it is one of ours")
    if targets[-1] != TARGET:
        raise UsageError(f"target {targets[-1]}, not {TARGET}", "it stays with iptables")


def _targets(words: list[str]) -> list[str]:
    return [*_values(words, "j", "jump"), *_values(words, "g", "goto")]


def _values(words: list[str], short: str, name: str) -> Iterator[str]:
    for word, following in pairwise([*words, ""]):
        if word in {f"-{short}", f"--{name}"}:
            yield following
        elif word.startswith(f"--{name}="):
            yield word.partition("=")[2]
        elif word.startswith(f"-{short}"):
            yield word[2:]


def split(line: str) -> list[str]:
    """Return the words of a line as iptables-restore splits them; raise UsageError.

    Double quotes join words, a backslash inside them takes the next character as it is, and
    single quotes are ordinary characters.
    """
    words: list[str] = []
    word: str | None = None
    quoted = escaped = False
    for char in line:
        if escaped or (quoted and char not in '"\\'):
            word = (word or "") + char
            escaped = False
        elif char == "\\" and quoted:
            escaped = True
        elif char == '"':
            word = word or ""
            quoted = not quoted
        elif char in _SPACE:
            if word is not None:
                words.append(word)
            word = None
        else:
            word = (word or "") + char
    if quoted:
        raise UsageError("a quote is not closed", 'end it with "')
    return words if word is None else [*words, word]
