"""The manual page says what the code does: commands, options, keys of JSON, errors."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import Any

import msgspec
import pytest

from clusterip.adapters.abi import BucketState, Reason
from clusterip.adapters.hooks import FakeHooks
from clusterip.adapters.links import FakeLinks, Link
from clusterip.adapters.pinned_maps import FakePinnedMaps
from clusterip.cli import main, show
from clusterip.core.config.model import TcpCheck
from clusterip.core.health import Health
from clusterip.core.messages.command import Verb
from clusterip.core.packets.hashing import HashMode
from clusterip.core.rules import grammar as rules
from clusterip.core.rules import matches as rule_matches
from clusterip.core.rules import options as rule_options
from clusterip.core.rules import target as rule_target
from clusterip.core.rules.getopt import Option
from clusterip.runtime.namespace import Namespace
from clusterip.runtime.report import report
from clusterip.runtime.rule_table import RuleTable
from tests.runtime.agents import sharing
from tests.test_docs import MANUAL, ROOT, names

RULE = (
    "-A INPUT -p tcp -d 10.9.0.100 -i eth0 --dport 80 -j CLUSTERIP --new --hashmode sourceip"
    " --clustermac 01:00:5e:00:00:20 --total-nodes 3 --local-node 1"
)


def manual() -> str:
    """Return the manual page without its markup; tags of fonts and requests become blanks."""
    plain = re.sub(r"\\f[BIRP]|^\.[A-Z]+ ?", "", MANUAL.read_text(), flags=re.MULTILINE)
    return plain.replace(r"\-", "-").replace('"', "")


def subcommands() -> dict[str, argparse.ArgumentParser]:
    (action,) = (
        one for one in main.parser()._actions if isinstance(one, argparse._SubParsersAction)
    )
    return dict(action.choices)


def parsers() -> Iterator[argparse.ArgumentParser]:
    yield main.parser()
    yield from subcommands().values()


def long_options() -> set[str]:
    actions = (action for parser in parsers() for action in parser._actions)
    return {one for action in actions for one in action.option_strings if one.startswith("--")}


def rule_grammar() -> Iterator[Option]:
    yield from rule_options.OWN
    yield from rule_options.ADDED
    yield from rule_target.OPTIONS
    for options in rule_matches.OPTIONS.values():
        yield from options


def keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
        for one in value.values():
            yield from keys(one)
    elif isinstance(value, list):
        for one in value:
            yield from keys(one)


@pytest.mark.parametrize("command", subcommands())
def test_the_manual_has_the_command(command: str) -> None:
    assert f"\nclusterip {command}" in manual()


@pytest.mark.parametrize("option", sorted(long_options()))
def test_the_manual_has_the_option(option: str) -> None:
    assert names(option, manual())


@pytest.mark.parametrize(
    "option", sorted({f"--{name}" for one in rule_grammar() for name in one.names})
)
def test_the_manual_has_the_rule_option(option: str) -> None:
    assert names(option, manual())


@pytest.mark.parametrize("letter", sorted({one.short for one in rule_grammar() if one.short}))
def test_the_manual_has_the_letter(letter: str) -> None:
    assert names(f"-{letter}", manual())


@pytest.mark.parametrize("mode", [one.value for one in HashMode])
def test_the_manual_has_the_hash_mode(mode: str) -> None:
    assert names(mode, manual())


def test_the_manual_has_what_show_prints_as_json() -> None:
    table = RuleTable(Namespace(FakePinnedMaps(), FakeHooks(), FakeLinks([Link(2, "eth0")])), print)
    table.add(rules.parse(RULE.split()).rules, None, None)
    (view,) = table.view()
    told = manual()
    said = {
        "interfaces",
        *keys(msgspec.to_builtins(show._seen(view))),
        *(one.word for one in Reason),
    }
    said |= {one.name.lower() for one in BucketState}
    assert {one for one in said if not names(one, told)} == set()


def test_the_manual_has_what_show_prints_of_a_cluster() -> None:
    check = TcpCheck(
        name="c", interval=1, timeout=1, rise=1, fall=1, address=IPv4Address("127.0.0.1"), port=80
    )
    cluster = sharing()
    table = cluster["web1"]
    table.agent.do(Verb.DRAIN)
    cluster.run(1)
    said = report(table.config, table.agent, Health((check,)), now=cluster.now)
    told = msgspec.to_builtins(said, str_keys=True)
    assert all(told[part] for part in ("draining", "checks", "nodes"))
    # The keys of these are names of nodes and what was received; all others are fixed.
    told["messages"]["received"] = {}
    for node in told["nodes"]:
        node["votes"] = {}
    assert {one for one in {"clusters", "cure", *keys(told)} if not names(one, manual())} == set()


def test_the_manual_says_of_joins_and_of_udp_what_the_other_pages_say() -> None:
    description, drain = (
        MANUAL.read_text().partition(heading)[2].partition("\n.S")[0]
        for heading in (".SH DESCRIPTION\n", '.SS "clusterip drain [NODE]"\n')
    )
    assert "join" in description
    assert r"\-\-clustermac" in description
    assert "No IGMP" not in description
    for key in ("udp_watch", "udp_keep", "drain_timeout"):
        assert key in drain
        assert key in (ROOT / "docs" / "operations.md").read_text()


@pytest.mark.parametrize("errno", ["ENOMEM", "ENOENT", "EIO", "EINVAL"])
def test_the_manual_has_the_errno(errno: str) -> None:
    assert names(errno, manual())


@pytest.mark.parametrize(
    "command",
    [
        ["man", "--warnings", "-E", "UTF-8", "-l", str(MANUAL)],
        ["groff", "-t", "-man", "-ww", "-z", str(MANUAL)],
    ],
    ids=lambda command: command[0],
)
def test_the_manual_renders(command: list[str]) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr == ""
