"""What all tests need: root where the kernel is asked, and said so where it is missing."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import Phase, settings

from tests.served import Served, Start, children

pytest_plugins = ["tests.distribution", "tests.second_tries"]

# What the tests start, they start many times: it need not be compiled each time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# How long an example takes says more about the machine than about the code.
settings.register_profile("clusterip", deadline=None)
settings.load_profile("clusterip")
# For `make test-fast`.
settings.register_profile("fast", deadline=None, max_examples=25)
# For tests.bpf.mutants, which asks for it: a failure is all that it wants to know.
settings.register_profile(
    "mutants", deadline=None, derandomize=True, phases=[Phase.generate], max_examples=20
)

_NEED_ROOT = {
    "bpf",
    "lan",
    *(
        f"adapters/test_{name}.py"
        for name in ("bpffs", "hooks", "kernel_maps", "libbpf", "links", "pinned_maps")
    ),
    *(f"cli/test_{name}.py" for name in ("bucket", "everywhere", "importer", "iptables", "show")),
    "runtime/test_rule_table_kernel.py",
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs root, and skip it, with the reason, where that is missing."""
    here = Path(__file__).parent
    for item in items:
        path = item.path.relative_to(here)
        if {path.parts[0], str(path)} & _NEED_ROOT:
            item.add_marker(pytest.mark.root("BPF and network namespaces"))
        needed = item.get_closest_marker("root")
        if needed and os.geteuid():
            item.add_marker(pytest.mark.skip(reason=f"needs root: {needed.args[0]}"))


def pytest_collection_finish() -> None:
    """What is there by now stays: the collector need not look at it again and again."""
    gc.freeze()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with children(tmp_path) as function:
        yield function


@pytest.fixture
def served(start: Start) -> Served:
    child = start()
    assert child.await_line("serving") == f"clusterip: serving 2 VIPs at {child.directory}"
    return child
