"""The verdict of `make test-hosts`: nothing wrong, and something right."""

from __future__ import annotations

from lab.hosts.report import Report


def test_something_must_have_come_as_asked() -> None:
    report = Report()
    assert not report.summary()
    report.skipped("a claim", "no time")
    assert not report.summary()
    report.check("a claim", 1, 1)
    assert report.summary()


def test_one_claim_that_failed_is_enough() -> None:
    report = Report()
    report.check_at_least("a number", 1, 1)
    report.check_at_most("a time", 1.0, 1.5)
    assert not report.summary()


def test_a_scenario_that_ended_early_failed() -> None:
    report = Report()
    report.check("a claim", 1, 1)
    report.failed("no guest")
    assert not report.summary()
