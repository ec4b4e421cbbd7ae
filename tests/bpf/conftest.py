"""The loaded object, once for each test module: its maps start empty."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.bpf.loaded import Loaded


@pytest.fixture(scope="module")
def loaded() -> Iterator[Loaded]:
    one = Loaded()
    yield one
    one.close()
