"""Health: results counted in a row, held against an oracle that looks at the whole past."""

from __future__ import annotations

import json
from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterip.core.config.model import TcpCheck
from clusterip.core.health import Health
from clusterip.core.units import SECOND


def check(name: str = "a", rise: int = 2, fall: int = 3) -> TcpCheck:
    return TcpCheck(
        name=name,
        interval=2 * SECOND,
        timeout=SECOND,
        rise=rise,
        fall=fall,
        address=IPv4Address("127.0.0.1"),
        port=80,
    )


def is_good(health: Health) -> bool:
    """Return whether it is healthy; a type checker would remember it of the property."""
    return health.healthy


def tell(health: Health, name: str, results: str) -> None:
    """Count results: `+` is good, `-` is bad."""
    for one in results:
        health.result(name, one == "+", one)


def verdict(results: list[bool], rise: int, fall: int) -> bool | None:
    """Return what the past comes to: the last run that was long enough, else the first result."""
    for end in range(len(results), 0, -1):
        for good, needed in ((True, rise), (False, fall)):
            if end >= needed and all(one is good for one in results[end - needed : end]):
                return good
    return results[0] if results else None


CHECKS = st.builds(check, st.sampled_from("abc"), st.integers(1, 5), st.integers(1, 5))
SETS = st.lists(CHECKS, max_size=3, unique_by=lambda one: one.name)


@given(SETS, st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=40), st.data())
def test_any_results(
    checks: list[TcpCheck], results: list[tuple[str, bool]], data: st.DataObject
) -> None:
    health = Health(checks)
    restart = data.draw(st.integers(0, len(results)))
    for number, (name, good) in enumerate(results):
        if number == restart:
            document = json.loads(json.dumps(health.standing()))
            health = Health(checks)
            health.restore(document)
        health.result(name, good, f"{number}")
    expected = []
    for one in checks:
        past = [good for name, good in results if name == one.name]
        stands = verdict(past, one.rise, one.fall)
        run = next((n for n, before in enumerate(reversed(past)) if before != past[-1]), len(past))
        expected.append((one.name, stands, past[-1] if past else None, run))
    found = health.reports()
    assert [(one.name, one.good, one.latest, one.in_a_row) for one in found] == expected
    assert health.healthy is all(stands for _, stands, _, _ in expected)
    for report in found:
        numbers = [str(number) for number, (name, _) in enumerate(results) if name == report.name]
        assert report.detail == (numbers[-1] if numbers else "")


@pytest.mark.parametrize(
    ("results", "healthy"),
    [
        ("", False),
        ("+", True),
        ("-", False),
        ("-+", False),
        ("-++", True),
        ("+--", True),
        ("+---", False),
        ("+--+--", True),
        ("+---+-+", False),
    ],
)
def test_rise_and_fall(results: str, healthy: bool) -> None:
    health = Health([check()])
    tell(health, "a", results)
    assert health.healthy is healthy


def test_without_checks() -> None:
    assert Health(()).healthy
    assert Health(()).reports() == ()


def test_every_check_must_be_good() -> None:
    health = Health([check("a"), check("b")])
    tell(health, "a", "+")
    assert not is_good(health)
    tell(health, "b", "+")
    assert is_good(health)
    tell(health, "b", "---")
    assert not is_good(health)


# Reload.


@given(SETS, SETS, st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=12))
def test_a_reload_keeps_what_did_not_change(
    old: list[TcpCheck], new: list[TcpCheck], results: list[tuple[str, bool]]
) -> None:
    health = Health(old)
    for name, good in results:
        health.result(name, good, "")
    before = {one.name: one for one in health.reports()}
    healthy = health.healthy
    health.changed(new)
    for report, one in zip(health.reports(), new, strict=True):
        assert report == before[one.name] if one in old else report.good is None
    if healthy or not new:
        assert is_good(health)
    elif any(one not in old for one in new):
        assert not is_good(health)


@pytest.mark.parametrize("new", [check("b"), check("a", rise=9)])
def test_a_reload_moves_no_bucket_for_want_of_a_result(new: TcpCheck) -> None:
    health = Health([check("a")])
    tell(health, "a", "+")
    health.changed([new])
    assert is_good(health)
    assert health.reports()[0].good is None
    tell(health, new.name, "-")
    assert not is_good(health)


def test_the_checks_of_a_start_must_show_that_they_are_good() -> None:
    health = Health([check()])
    assert not is_good(health)
    health.changed([check(), check("b")])
    assert not is_good(health)


def test_the_first_checks_of_a_node_that_serves() -> None:
    health = Health(())
    health.changed([check()])
    assert is_good(health)
    tell(health, check().name, "-")
    assert not is_good(health)


def test_a_check_that_is_gone() -> None:
    health = Health([check("a"), check("b")])
    tell(health, "a", "+")
    tell(health, "b", "-")
    health.changed([check("a")])
    assert is_good(health)
    tell(health, "b", "-")
    assert is_good(health)


# A planned restart.


def successor(health: Health, checks: list[TcpCheck]) -> Health:
    after = Health(checks)
    after.restore(json.loads(json.dumps(health.standing())))
    return after


def test_a_successor_goes_on_counting() -> None:
    health = Health([check("a"), check("b")])
    tell(health, "a", "+--")
    after = successor(health, [check("a"), check("b")])
    assert after.reports() == health.reports()
    assert not is_good(after)
    tell(after, "b", "+")
    assert is_good(after)
    tell(after, "a", "-")
    assert not is_good(after)


def test_a_successor_with_other_checks() -> None:
    health = Health([check("a")])
    tell(health, "a", "+")
    for checks in ([check("a", fall=9)], [check("a"), check("b")]):
        after = successor(health, checks)
        assert is_good(after)
        assert after.reports()[-1].good is None
        tell(after, checks[-1].name, "-")
        assert not is_good(after)
    tell(health, "a", "---")
    assert not successor(health, [check("b")]).healthy


@pytest.mark.parametrize(
    "document",
    [{}, {"healthy": True}, {"healthy": True, "checks": {"a": 3}}, {"healthy": 1, "checks": {}}],
)
def test_what_is_no_standing(document: dict[str, Any]) -> None:
    health = Health([check()])
    health.restore(document)
    assert not is_good(health)
