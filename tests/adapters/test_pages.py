"""The pages that cures name are where it is said."""

from __future__ import annotations

import re
from pathlib import Path

from clusterip.adapters import pages

SOURCE = Path(__file__).parents[2]


def test_of_the_source() -> None:
    assert pages.place("operations.md") == str(SOURCE / "docs" / "operations.md")
    assert pages.place("none.md") == "docs/none.md of the source"


def test_no_message_names_a_page_by_where_the_source_has_it() -> None:
    """An installed host has no docs/ beside it."""
    for module in (SOURCE / "src").rglob("*.py"):
        if module.name != "pages.py":
            code = re.sub(r'""".*?"""', "", module.read_text(), flags=re.DOTALL)
            code = re.sub(r"^\s*#.*$", "", code, flags=re.MULTILINE)
            assert not re.search(r"docs/(operations|configuration|network|trouble)\.md", code), (
                module
            )


def test_a_section_that_is_named_is_there() -> None:
    text = (SOURCE / "docs" / "operations.md").read_text()
    assert "\n## In a network namespace\n" in text
    assert "\n## Too few hosts are left\n" in text
    assert pages.entering().partition(" (")[0] in text
