"""Which worker runs which tests, so that the processors have something to do while tests wait.

There are more than two workers for each processor, for most tests wait. The first ones, as many as
processors, run the tests of labs, whose daemons and clients must be prompt, and then what is left.
The others run at a low priority what need not be prompt, and never a lab.
"""

from __future__ import annotations

import os
from typing import Final

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

_PROCESSORS: Final = len(os.sched_getaffinity(0))
_NICE: Final = 10
_PROMPT: Final = ("tests/lan/test_cluster", "tests/lan/", "tests/bpf/")
"""The longest first: whoever begins them late ends late. The kernel forgets fragments in 2 s."""
_UNHURRIED: Final = ("tests/lab/", "tests/adapters/", "tests/cli/", "tests/core/", "tests/sim/")
"""The longest last, for they are taken from the end."""
_ONE_BY_ONE: Final = ("tests/runtime/", "tests/sim/")
"""Of these each test is on its own; all others share what they build with those of their file."""


class Distribution(LoadScopeScheduling):  # type: ignore[misc]
    """Hands out files, or single tests."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid if nodeid.startswith(_ONE_BY_ONE) else nodeid.partition("::")[0]

    def _next_for(self, node: WorkerController) -> str | None:
        # Where one of the first broke down, the next takes its place.
        if sorted(self.nodes, key=_number).index(node) < _PROCESSORS:
            return next(iter(self.workqueue), None)
        return next((one for one in reversed(self.workqueue) if one.startswith(_UNHURRIED)), None)

    def _assign_work_unit(self, node: WorkerController) -> None:
        if scope := self._next_for(node):
            self.workqueue.move_to_end(scope, last=False)
            super()._assign_work_unit(node)

    def _reschedule(self, node: WorkerController) -> None:
        if self._next_for(node) is None and not node.shutting_down:
            node.shutdown()
        else:
            super()._reschedule(node)


def _number(node: WorkerController) -> int:
    return int(node.gateway.id.removeprefix("gw"))


def _place(item: pytest.Item) -> int:
    """Return what orders the tests: labs, what is left, what may take its time."""
    order = (*_PROMPT, "", *_UNHURRIED)
    return order.index(next((one for one in order if one and item.nodeid.startswith(one)), ""))


def pytest_configure(config: pytest.Config) -> None:
    worker = getattr(config, "workerinput", {}).get("workerid", "gw0")
    if int(worker.removeprefix("gw")) >= _PROCESSORS:
        os.nice(_NICE)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        items.sort(key=_place)


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    return 2 * _PROCESSORS + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Distribution:
    config.option.loadscopereorder = False
    return Distribution(config, log)
