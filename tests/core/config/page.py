"""The tables of docs/configuration.md, from what is declared of the keys.

`python -m tests.core.config.page`, which `make format` runs, writes them between their markers.
"""

from __future__ import annotations

from typing import Any, Final

from clusterip.core.config.declared import TABLES
from clusterip.core.config.declaring import Key, Reader
from clusterip.core.config.table import Table
from tests.core.config.texts import DOCS

PAGE: Final = DOCS / "configuration.md"
_HEAD: Final = "| key | default | what it is | reload |\n|---|---|---|---|\n"


def rows(table: type[Table]) -> str:
    """Return the rows of a table, a line for each key."""
    return "".join(f"| `{key.name}` | {' | '.join(_cells(key))} |\n" for key in table.keys)


def _cells(key: Key[Any]) -> tuple[str, str, str]:
    default = "required" if key.example else key.absent
    if not default:
        default = "none" if key.default is None else f"`{_value(key, key.text(key.default))}`"
    types = f"{', '.join(key.of)}: " if key.of else ""
    return default, types + _says(key), key.takes.effect.value.removeprefix("all hosts ")


def _says(key: Key[Any]) -> str:
    if not isinstance(key.read, Reader):
        return key.sentence
    low, high = _value(key, key.read.low), _value(key, key.read.high)
    both = f"{low}..{high}" if low.isdecimal() else f"`{low}`..`{high}`"
    return key.sentence.format(low=low, high=high, range=both)


def _value(key: Key[Any], text: str) -> str:
    """Return a text as the file would say it, with quotation marks where it takes them."""
    return text if text.isdecimal() or isinstance(key.default, bool) else f'"{text}"'


def written(text: str) -> str:
    """Return the page with the rows of all tables put between their markers."""
    for table in TABLES:
        if table.title:
            begin, end = f"<!-- keys of {table.place()} -->\n", "<!-- end -->\n"
            before, after = text.split(begin)
            text = f"{before}{begin}{_HEAD}{rows(table)}{end}{after.partition(end)[2]}"
    return text


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
