"""Second tries of what judges by time: each is counted, and few are borne.

Hosts that share two processors are late together, so a scenario that was right but too slow may
be tried once more. A run says at its end how often that was, over all its workers, and fails if
it was more than `BORNE` times: then it is not the machine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

BORNE: Final = 3
"""How many second tries a run may need."""
_NAME: Final = "second try"


class TooSlowError(AssertionError):
    """Right, and not in time: on a machine that is shared that can be the machine's fault."""


class SecondTries:
    """What pytest calls; in a worker of xdist its reports carry the count to the one that ends."""

    def __init__(self) -> None:
        self._running: pytest.Item | None = None
        self._told: list[tuple[str, str]] = []

    def note(self, reason: str) -> None:
        """Count a second try of the test that runs."""
        sys.stdout.write(f"once more, for the machine is shared: {reason}\n")
        if self._running is not None:
            self._running.user_properties.append((_NAME, reason))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, bool, bool]:
        self._running = item
        try:
            return (yield)
        finally:
            self._running = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "teardown":  # the last one has all
            reasons = (str(value) for name, value in report.user_properties if name == _NAME)
            self._told += [(report.nodeid, reason) for reason in reasons]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if len(self._told) > BORNE and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        many = len(self._told) > BORNE
        say = terminalreporter.write_line
        for test, reason in self._told:
            say(f"second try: {test}: {reason.splitlines()[0]}")
        verdict = f"more than {BORNE}: the run fails" if many else f"at most {BORNE} are borne"
        say(f"second tries of timing tests: {len(self._told)}, {verdict}", red=many, green=not many)


_tries = SecondTries()


def pytest_configure(config: pytest.Config) -> None:
    """Have the tries counted; in a worker the one that ends is another process."""
    config.pluginmanager.register(_tries)


def twice_at_most(scenario: Callable[[], object]) -> None:
    """Run a scenario, and once more if it was too slow. What is wrong otherwise fails at once."""
    try:
        scenario()
    except TooSlowError as error:
        _tries.note(str(error))
        scenario()
