"""What an error prints, and the exit status it gives."""

from __future__ import annotations

import pytest

from clusterip.core.errors import ClusterIPError, RefusedError, SystemFaultError, UsageError


@pytest.mark.parametrize(
    ("kind", "status"),
    [(ClusterIPError, 1), (RefusedError, 1), (UsageError, 2), (SystemFaultError, 4)],
)
def test_exit_status(kind: type[ClusterIPError], status: int) -> None:
    assert issubclass(kind, ClusterIPError)
    assert kind("it is so", "do that").exit_status == status


def test_text() -> None:
    assert str(RefusedError("it is so", "do that")) == "it is so\n  cure: do that"
