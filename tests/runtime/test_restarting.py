"""What is tried before a planned restart ends nobody who serves."""

from __future__ import annotations

import pytest

from clusterip.core.config.reading import read
from clusterip.core.errors import RefusedError, SystemFaultError
from clusterip.runtime import restarting
from clusterip.runtime.startup import Options
from tests.core.config.texts import SMALL


@pytest.mark.parametrize("error", [ValueError("40"), MemoryError(), RecursionError()])
def test_what_nobody_foresaw_is_a_refusal(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr(restarting, "_try", broken)
    with pytest.raises(SystemFaultError, match="whether a successor would start") as refused:
        restarting.refuse(Options(), read(SMALL), "web1", {}, None)
    assert "this daemon goes on" in refused.value.cure


def test_what_was_refused_stays_that(monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(*_: object) -> None:
        raise RefusedError("not now", "later")

    monkeypatch.setattr(restarting, "_try", refusing)
    with pytest.raises(RefusedError, match="not now"):
        restarting.refuse(Options(), read(SMALL), "web1", {}, None)
