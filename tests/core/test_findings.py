"""Findings as lines and as JSON; the catalogue of their codes."""

from __future__ import annotations

import json
import re

import msgspec
import pytest

from clusterip.core.findings import Code, Finding, Severity, plain


@pytest.mark.parametrize(
    ("why", "sentence", "line"),
    [
        ("", "eth0 is down", "eth0 is down: do this"),
        ("so it is", "eth0 is down: so it is", "eth0 is down: so it is; do this"),
        ("is it up?", "eth0 is down: is it up?", "eth0 is down: is it up?"),
    ],
)
def test_words(why: str, sentence: str, line: str) -> None:
    found = Finding.of(Code.INTERFACE_DOWN, "eth0 is down", why, cure="do this")
    assert (found.sentence, found.line) == (sentence, line)


def test_severities() -> None:
    fault = Finding.of(Code.INTERFACE_DOWN, "eth0 is down", cure="do this")
    assert fault.is_fault
    lighter = fault.as_warning()
    assert (lighter.is_fault, lighter.severity) == (False, Severity.WARNING)
    assert (lighter.code, lighter.line) == (fault.code, fault.line)
    assert not Finding.of(Code.NO_CHECK, "no check", cure="add one").is_fault


def test_json() -> None:
    found = Finding.of(Code.INTERFACE_DOWN, "eth0 is down", "who knows", cure="do this")
    assert json.loads(json.dumps(plain([found]))) == [
        {
            "severity": "fault",
            "code": "interface-down",
            "what": "eth0 is down",
            "why": "who knows",
            "cure": "do this",
        }
    ]


def test_codes_are_kebab_case_and_unique() -> None:
    # An alias would be the second of two members with one value.
    assert list(Code.__members__.values()) == list(Code)
    for code in Code:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", code.value), code.value
        assert code.name == code.value.upper().replace("-", "_")


def test_each_code_has_one_line_of_meaning() -> None:
    meanings = [code.meaning for code in Code]
    assert len(set(meanings)) == len(meanings)
    for meaning in meanings:
        assert re.fullmatch(r"[^\n]{10,100}[^.\n]", meaning), meaning


def test_what_a_daemon_told() -> None:
    found = Finding.of(Code.SILENT, "web2 is silent", "does it run?", cure="see its log")
    (told,) = plain([found])
    assert msgspec.convert(told, Finding) == found
    # A newer program may know more.
    newer = msgspec.convert({**told, "code": "sulking", "since": 3}, Finding)
    assert (newer.code, newer.line) == ("sulking", found.line)
