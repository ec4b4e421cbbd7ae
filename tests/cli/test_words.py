"""One thing has one name in what is printed: CONTRIBUTING.md, Words in messages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "clusterip"
AVOIDED = {
    r"owns? (no )?buckets?|(new|previous) owner": "hold, holder",
    r"versions? of clusterip|(other|another|installed) version\b": "release",
    r"config file|settings file": "the file",
    r"cluster (member|peer)|\bpeer node": "node",
    r"re-exec|hot upgrade": "planned restart",
}


def printed(path: Path) -> Iterator[str]:
    """Yield each text of a module but for its docstrings."""
    tree = ast.parse(path.read_text())
    told = {id(one.value) for one in ast.walk(tree) if isinstance(one, ast.Expr)}
    for one in ast.walk(tree):
        if isinstance(one, ast.Constant) and isinstance(one.value, str) and id(one) not in told:
            yield " ".join(one.value.split())


@pytest.mark.parametrize("avoided", AVOIDED)
def test_a_thing_has_one_name(avoided: str) -> None:
    found = [
        (path.name, text)
        for path in sorted(PACKAGE.rglob("*.py"))
        for text in printed(path)
        if re.search(avoided, text)
    ]
    assert found == [], f"say: {AVOIDED[avoided]}"
