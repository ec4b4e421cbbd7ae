"""What a daemon answers: to whom a request is brought, and what is refused."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
from typing import Any

import pytest

from clusterip.adapters.controlserver import Begin, GivenUpError
from clusterip.core.config.reading import read
from clusterip.core.config.reload import Reloaded
from clusterip.core.errors import RefusedError, UsageError
from clusterip.core.findings import Code, Finding
from clusterip.core.messages.answer import Answer, Changes, Done
from clusterip.core.units import SECOND
from clusterip.runtime.requests import Requests
from tests.cli.answering import document, status
from tests.runtime.agents import TEXT, Cluster, sharing

WITNESS = read(TEXT.replace('"web3"', '"web3"\nwitness = true'))
SEEN = status(document())
UNWISE = Finding.of(Code.BOTH_ALONE, "unwise", cure="better")


class Asked:
    """The requests to web1, and what became of them."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.host = cluster["web1"]
        self.weights = [host.node.own.weight for host in cluster.hosts]
        self.log: list[str] = []
        self.fault: RefusedError | None = None
        self.given_up = False
        self.requests = Requests(
            "web1",
            self.host.agent,
            lambda: self.host.config,
            self.after,
            lambda: SEEN,
            self.reload,
            self.restart,
        )

    def after(self, work: Any) -> None:
        work()
        self.log.append("after")

    def reload(self) -> Reloaded:
        if self.fault:
            raise self.fault
        return Reloaded(["stop: release -> drain"], [UNWISE])

    async def restart(self, begin: Begin) -> None:
        begin()
        self.log.append("restart")

    def ask(self, verb: object, **values: Any) -> Answer:
        raw = json.dumps({"verb": verb, **values}).encode()
        return asyncio.run(self.requests.answer(raw, self.begin))

    def begin(self) -> None:
        if self.given_up:
            raise GivenUpError

    def leaving(self) -> list[str]:
        return [host.name for host in self.cluster.hosts if host.node.own.leaving]

    def refused(self, verb: object, **values: Any) -> str:
        with pytest.raises((RefusedError, UsageError)) as refused:
            self.ask(verb, **values)
        assert refused.value.cure
        assert self.log == []
        assert self.leaving() == []
        assert [host.node.own.weight for host in self.cluster.hosts] == self.weights
        return refused.value.message


@pytest.fixture
def asked() -> Asked:
    return Asked(sharing(WITNESS))


def test_show_reload_restart(asked: Asked) -> None:
    assert asked.ask("show") is SEEN
    assert asked.ask("reload") == Changes(["stop: release -> drain"], [UNWISE])
    assert asked.ask("restart") == Done()
    assert asked.log == ["restart"]


def test_the_log_has_what_was_asked(asked: Asked, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    asked.ask("show")
    asked.ask("reload")
    asked.ask("restart")
    asked.ask("drain")
    asked.ask("undrain", node="web1")
    asked.ask("weight", value=7)
    asked.ask("weight", value=8, node="web2")
    assert [one for one in caplog.messages if "asked: " in one] == [
        "this node was asked: reload",
        "this node was asked: restart",
        "this node was asked: drain",
        "this node was asked: undrain",
        "this node was asked: weight 7",
        "web2, through this node, was asked: weight 8",
    ]


def test_a_reload_says_what_this_host_lacks(asked: Asked) -> None:
    lacking = Finding.of(Code.GROUP_MISSING, "no such group", cure="groupadd")

    def late() -> tuple[Finding, ...]:
        raise OSError

    for lacks, more in ((lambda: (lacking,), [lacking]), (late, [])):
        requests = dataclasses.replace(asked.requests, lacks=lacks)
        answer = asyncio.run(requests.answer(b'{"verb": "reload"}', lambda: None))
        assert answer == Changes(["stop: release -> drain"], [UNWISE, *more])


def test_a_reload_that_is_refused(asked: Asked) -> None:
    asked.fault = RefusedError("port: no", "put it back")
    assert asked.refused("reload") == "port: no"


@pytest.mark.parametrize("values", [{}, {"node": None}, {"node": "web1"}, {"node": "WEB1"}])
def test_this_node(asked: Asked, values: dict[str, Any]) -> None:
    assert asked.ask("drain", **values) == Done()
    assert asked.leaving() == ["web1"]
    assert asked.log == ["after"]
    asked.ask("undrain", **values)
    asked.ask("weight", value=7, **values)
    assert asked.leaving() == []
    assert (asked.host.node.own.weight, asked.host.agent.weight) == (7, 7)
    assert len(asked.log) == 3


def test_another_node(asked: Asked) -> None:
    second = asked.cluster["web2"]
    asked.ask("drain", node="web2")
    asked.cluster.run(0.2)
    assert asked.leaving() == ["web2"]
    asked.ask("weight", node="Web2", value=9)
    asked.cluster.run(0.2)
    assert second.node.own.weight == 9
    assert asked.host.node.own.weight == 100


@pytest.mark.parametrize(
    ("verb", "values", "said"),
    [
        ("drain", {"node": "web9"}, "there is no node 'web9'"),
        ("drain", {"node": ""}, "there is no node ''"),
        ("undrain", {"node": ""}, "there is no node ''"),
        ("weight", {"node": "", "value": 3}, "there is no node ''"),
        ("drain", {"node": "web3"}, "web3 is a witness: it holds nothing"),
        ("weight", {"node": "web3", "value": 3}, "web3 is a witness"),
        ("boil", {}, "this daemon does not know 'boil'"),
        ("", {}, "this daemon does not know ''"),
        ("x" * 900, {}, f"this daemon does not know '{'x' * 40}'"),
        (None, {}, "Expected `str`, got `null` - at `$.verb`"),
        (17, {}, "Expected `str`, got `int` - at `$.verb`"),
        ("weight", {"value": -1}, "`value` must be 0..255"),
        ("weight", {"value": 256}, "`value` must be 0..255"),
        ("weight", {"value": -1, "node": "web2"}, "`value` must be 0..255"),
        ("weight", {}, "missing required field `value`"),
        ("drain", {"value": 3}, "unknown field `value`"),
    ],
)
def test_what_is_refused(asked: Asked, verb: object, values: dict[str, Any], said: str) -> None:
    assert said in asked.refused(verb, **values)


def test_one_that_is_not_there(asked: Asked) -> None:
    asked.cluster["web2"].runs = False
    asked.cluster.run(1)
    assert "web2 is not alive" in asked.refused("drain", node="web2")


@pytest.mark.parametrize("name", ["web1", "web2"])
def test_while_it_is_being_replaced(asked: Asked, name: str) -> None:
    asked.host.agent.tell(asked.host.node.prepare_restart)
    assert "the daemon is being restarted" in asked.refused("drain", node=name)


@pytest.mark.parametrize(
    ("verb", "values"),
    [
        ("reload", {}),
        ("restart", {}),
        ("drain", {}),
        ("drain", {"node": "web2"}),
        ("undrain", {}),
        ("weight", {"value": 7}),
        ("weight", {"value": 7, "node": "web2"}),
    ],
)
def test_nothing_is_done_for_who_has_given_up(
    asked: Asked, verb: str, values: dict[str, Any]
) -> None:
    if verb == "undrain":
        asked.host.agent.tell(asked.host.node.drain)
    before = asked.leaving()
    asked.given_up = True
    asked.fault = RefusedError("it was read", "not at all")
    with pytest.raises(GivenUpError):
        asked.ask(verb, **values)
    asked.cluster.run(0.2)
    assert asked.log == []
    assert asked.leaving() == before
    assert [host.node.own.weight for host in asked.cluster.hosts] == asked.weights


@pytest.mark.parametrize(("verb", "values"), [("undrain", {}), ("weight", {"value": 7})])
def test_a_stop_is_not_taken_back(asked: Asked, verb: str, values: dict[str, Any]) -> None:
    asked.host.agent.ends_by = asked.cluster.now + 30 * SECOND
    assert asked.refused(verb, **values) == "this node is stopping, and ends in 30 s at the latest"
    # What it does anyway is no fault, and another node is none of this one's.
    asked.ask("drain")
    assert asked.leaving() == ["web1"]
    asked.ask(verb, node="web2", **values)


def test_the_log_has_what_was_refused(asked: Asked, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    asked.host.agent.ends_by = asked.cluster.now + 30 * SECOND
    asked.fault = RefusedError("port: no", "put it back")
    asked.refused("weight", value=7)
    asked.refused("reload")
    asked.cluster["web2"].runs = False
    asked.cluster.run(1)
    asked.refused("drain", node="web2")
    told = [one for one in caplog.messages if "asked: " in one or one.startswith("refused: ")]
    assert told == [
        "this node was asked: weight 7",
        "refused: weight 7: this node is stopping, and ends in 30 s at the latest",
        "this node was asked: reload",
        "refused: reload: port: no",
        "web2, through this node, was asked: drain",
        "refused: drain: web2 is not alive, as far as this host hears",
    ]
