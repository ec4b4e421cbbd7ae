"""What a running daemon makes of a changed file: all of it, or nothing."""

from __future__ import annotations

import msgspec
import pytest

from clusterip.core.config.declaring import Effect
from clusterip.core.config.model import Config, Quorum
from clusterip.core.config.reading import read
from clusterip.core.config.reload import reloadable, reloaded
from clusterip.core.errors import RefusedError
from tests.core.config.texts import SMALL, config_with

OLD = read(SMALL)
CHECK = '[[check]]\nname = "c"\ntype = "tcp"\nport = 80\n'


@pytest.mark.parametrize(
    ("new", "what"),
    [
        (read(f"# only a comment\n{SMALL}"), []),
        (config_with(cluster='stop = "drain"'), ["stop"]),
        (config_with(node="weight = 7"), ["node web3 weight"]),
        (config_with(rest=CHECK), ["check c"]),
        (config_with(node='address = "10.9.0.3"'), ["node web3 address"]),
        (config_with(rest='[[node]]\nname = "web4"'), ["node web4"]),
        (config_with(cluster='stop = "drain"', node="weight = 7"), ["stop", "node web3 weight"]),
    ],
)
def test_done_in_place(new: Config, what: list[str]) -> None:
    assert [one.what for one in reloadable(OLD, new, "web1")] == what


def test_one_node_more_is_a_change_of_the_voters() -> None:
    (change,) = reloadable(OLD, config_with(rest='[[node]]\nname = "web4"'), "web1")
    assert change.effect is Effect.VOTER


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (config_with(cluster="port = 1234"), "port: hosts with the old one and with the new"),
        (config_with(cluster="buckets = 8"), "buckets: hosts with the old and with the new file"),
        (config_with(vip='mac = "01:00:5e:00:00:21"'), "vip 10.9.0.100: hosts"),
        (
            config_with(rest='[[node]]\nname = "web4"\n[[node]]\nname = "web5"'),
            "node web4, node web5: every node votes",
        ),
    ],
)
def test_what_takes_more_is_refused(new: Config, said: str) -> None:
    with pytest.raises(RefusedError, match="^" + said) as refused:
        reloadable(OLD, new, "web1")
    assert refused.value.cure.startswith("put ")


def test_why_is_said_once_of_nodes_that_are_too_many() -> None:
    new = config_with(rest='[[node]]\nname = "web4"\n[[node]]\nname = "web5"')
    with pytest.raises(RefusedError) as refused:
        reloadable(OLD, new, "web1")
    assert refused.value.message.startswith("node web4, node web5: every node votes, ")
    assert refused.value.message.count("every node votes") == 1
    assert refused.value.cure.startswith("put the others back: one node at a time")


def test_one_change_too_many_refuses_all_and_names_each() -> None:
    new = config_with(cluster='stop = "drain"\nport = 1234\nbuckets = 8')
    with pytest.raises(RefusedError) as refused:
        reloadable(OLD, new, "web1")
    assert "port: " in refused.value.message
    assert "buckets: " in refused.value.message
    assert "stop" not in refused.value.message


def test_what_restarts_another_host_is_no_business_of_ours() -> None:
    new = config_with(node='interface = "eth9"')
    (change,) = reloadable(OLD, new, "web1")
    assert change.effect is Effect.RESTART
    with pytest.raises(RefusedError, match="node web3 interface"):
        reloadable(OLD, new, "web3")


def test_a_name_that_begins_like_ours_is_another() -> None:
    longer = SMALL.replace('"web2"', '"web31"')
    new = longer.replace('"web31"\n', '"web31"\ninterface = "eth9"\n')
    assert len(reloadable(read(longer), read(new), "web3")) == 1


def test_our_own_node_must_be_there() -> None:
    without = SMALL[: SMALL.rindex("[[node]]")]
    with pytest.raises(RefusedError, match="the file has no node web3 any more") as refused:
        reloadable(OLD, read(without), "web3")
    assert refused.value.cure
    assert reloadable(OLD, read(without), "WEB1")


def test_what_is_unwise_since_the_change_is_told() -> None:
    old = config_with(rest=CHECK)
    new = msgspec.structs.replace(old, nodes=old.nodes[:2], quorum=Quorum.ALIVE)
    told = reloaded(old, new, reloadable(old, new, "web1"), ["key 2: none -> there"])
    assert told.changes == [
        "quorum: majority -> alive",
        "node web3: removed",
        "key 2: none -> there",
    ]
    assert [one for one in told.warnings if "when the network between them splits" in one.sentence]
    # It is known by then.
    assert reloaded(new, new, (), ()).warnings == []
