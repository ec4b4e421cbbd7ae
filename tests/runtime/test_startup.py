"""How a daemon begins: which node it is, and what it says of itself."""

from __future__ import annotations

import logging

import pytest

from clusterip.core.config.reading import read
from clusterip.core.config.state import interface_state
from clusterip.core.errors import UsageError
from clusterip.runtime.startup import Options, introduce, own_node
from tests.core.config.texts import SMALL, config_with

CONFIG = config_with(node="witness = true")


# ---- which node ----


@pytest.mark.parametrize(
    ("options", "hostname", "name"),
    [
        (Options(), "web1", "web1"),
        (Options(), "WEB2", "web2"),
        (Options(), "web1.example.org", "web1"),
        (Options(node="web2"), "web1", "web2"),
        (Options(node="web2"), "elsewhere", "web2"),
        (Options(witness=True), "web3", "web3"),
    ],
)
def test_own_node(options: Options, hostname: str, name: str) -> None:
    assert own_node(CONFIG, options, hostname).name == name


def test_a_full_name_goes_before_a_short_one() -> None:
    config = config_with(rest='[[node]]\nname = "web1.example.org"')
    assert own_node(config, Options(), "web1.example.org").name == "web1.example.org"
    assert own_node(config, Options(), "web1.example.net").name == "web1"


@pytest.mark.parametrize(
    ("options", "hostname", "said", "cure"),
    [
        (Options("f"), "mail", "f has no node 'mail'", "it has web1, web2, web3; say which"),
        (Options("f", "mail"), "web1", "f has no node 'mail'", "--node"),
        (Options("f", ""), "web1", "f has no node ''", "--node"),
        (Options("f"), "web3", "node web3 is a witness in f", "clusterip witness"),
        (Options("f", witness=True), "web1", "node web1 is no witness in f", "clusterip run"),
    ],
)
def test_no_own_node(options: Options, hostname: str, said: str, cure: str) -> None:
    with pytest.raises(UsageError, match=said) as wrong:
        own_node(CONFIG, options, hostname)
    assert cure in wrong.value.cure


# ---- what is said ----


def test_what_it_is_about_to_do(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "clusterip"):
        introduce(CONFIG, "web1", interface_state(CONFIG, 2, "eth0"))
        introduce(CONFIG, "web3", None)
    said = [one.message for one in caplog.records if one.levelno == logging.INFO]
    assert said == [
        "cluster web: node web1, on eth0, 3 voters (majority), VIPs 10.9.0.100",
        "cluster web: node web3, witness, 3 voters (majority), VIPs 10.9.0.100",
    ]
    advice = [one.message for one in caplog.records if one.levelno == logging.WARNING]
    assert any(one.startswith("no health check") for one in advice)


def test_the_small_file_is_what_these_tests_say() -> None:
    assert [node.name for node in read(SMALL).nodes] == ["web1", "web2", "web3"]
