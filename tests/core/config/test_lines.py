"""Every key path of a TOML document is located, on the line where its value is."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterip.core.config.lines import Path, locate


def paths(value: object, path: Path = ()) -> Iterator[tuple[Path, object]]:
    """Yield every path of a parsed document, with what is there."""
    yield path, value
    if isinstance(value, dict):
        for key, one in value.items():
            yield from paths(one, (*path, key))
    elif isinstance(value, list):
        for place, one in enumerate(value):
            yield from paths(one, (*path, place))


def test_all_kinds_of_keys() -> None:
    text = """\
# a comment with = and [brackets]
plain = 1
"quoted \\u0061 ] = #" = 2
'literal " key' = 3
a . "b".c = { d = 4, e.f = [5, 6] }

[table] # and a comment
x = \"\"\"two "quotes" [
lines\\\"\"\"\"\"\"
y = '''three '' lines
[no.table]
'''
z = [ 1, # ]
  [2,
   3], { k = "]" },
]
empty = []
[table.sub."dotted.key"]
date = 1979-05-27 07:32:00 # a blank in it
[[array]]
one = 1
[array.sub]
two = 2
[[array.nested]]
three = 3
[[array.nested]]
[[array]]
[[array.nested]]
four = 4
[a.other]
"""
    assert locate(text) == {
        (): 1,
        ("plain",): 2,
        ("quoted a ] = #",): 3,
        ('literal " key',): 4,
        ("a",): 5,
        ("a", "b"): 5,
        ("a", "b", "c"): 5,
        ("a", "b", "c", "d"): 5,
        ("a", "b", "c", "e"): 5,
        ("a", "b", "c", "e", "f"): 5,
        ("a", "b", "c", "e", "f", 0): 5,
        ("a", "b", "c", "e", "f", 1): 5,
        ("table",): 7,
        ("table", "x"): 8,
        ("table", "y"): 10,
        ("table", "z"): 13,
        ("table", "z", 0): 13,
        ("table", "z", 1): 14,
        ("table", "z", 1, 0): 14,
        ("table", "z", 1, 1): 15,
        ("table", "z", 2): 15,
        ("table", "z", 2, "k"): 15,
        ("table", "empty"): 17,
        ("table", "sub"): 18,
        ("table", "sub", "dotted.key"): 18,
        ("table", "sub", "dotted.key", "date"): 19,
        ("array",): 20,
        ("array", 0): 20,
        ("array", 0, "one"): 21,
        ("array", 0, "sub"): 22,
        ("array", 0, "sub", "two"): 23,
        ("array", 0, "nested"): 24,
        ("array", 0, "nested", 0): 24,
        ("array", 0, "nested", 0, "three"): 25,
        ("array", 0, "nested", 1): 26,
        ("array", 1): 27,
        ("array", 1, "nested"): 28,
        ("array", 1, "nested", 0): 28,
        ("array", 1, "nested", 0, "four"): 29,
        ("a", "other"): 30,
    }
    assert set(locate(text)) == {path for path, _ in paths(tomllib.loads(text))}


@pytest.mark.parametrize("text", ["", "\n", "# only", "a=1", "a=1\r\nb=[\r\n1]\r\n", "[a]"])
def test_ends_of_file_and_line(text: str) -> None:
    assert set(locate(text)) == {path for path, _ in paths(tomllib.loads(text))}


def test_a_header_is_the_place_of_a_table_that_an_earlier_one_implied() -> None:
    assert locate("[a.b]\n\n[a]\n")[("a",)] == 3


def test_line_ends_in_inline_tables() -> None:
    # TOML 1.1 allows them; a tomllib that reads 1.0 does not.
    assert locate("a = {\n  b = 1, # c\n  d = 2,\n}\n")[("a", "d")] == 3


# A document is drawn as text. Each value has a mark of its own, so that the line of a path must
# be one that has the mark.

GAPS = st.sampled_from(["", " ", "\t"])
KEYS = st.one_of(
    st.sampled_from(["a", "b", "c", "vip", "0", "-", "a-b_1"]),
    st.sampled_from(['"x.y"', '"]"', '"\\""', '"#"', "'='", "'\\'", '"\\u00e9"', '""']),
)


class Document:
    """A growing TOML document; values are marked v0, v1, ..."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data
        self.marks = count()

    def draw(self, strategy: st.SearchStrategy[str]) -> str:
        return self.data.draw(strategy)

    def number(self, most: int) -> int:
        return self.data.draw(st.integers(0, most))

    def keys(self) -> str:
        parts = [self.draw(KEYS) for _ in range(1 + self.number(1))]
        return f"{self.draw(GAPS)}.{self.draw(GAPS)}".join(parts)

    def pair(self, depth: int) -> str:
        return f"{self.keys()}{self.draw(GAPS)}={self.draw(GAPS)}{self.value(depth)}"

    def value(self, depth: int) -> str:
        mark = f"v{next(self.marks)};"
        plain = [
            json.dumps(mark + ' ]}"#\\ ='),
            f"'{mark} \"[{{# \\'",
            f'"""{mark}\n] = "quoted" \\""" #\n[no]\n\\\\"""',
            f'"""{mark}"""""',
            f"'''{mark} ''\nx = 1 \\'''",
        ]
        kind = self.number(len(plain) + (2 if depth else 0) - 1)
        if kind < len(plain):
            return plain[kind]
        if kind == len(plain):
            return "{ " + ", ".join(self.pair(depth - 1) for _ in range(self.number(2))) + " }"
        items = [self.value(depth - 1) for _ in range(self.number(3))]
        gap = self.draw(st.sampled_from(["", " ", "\n", " # ], v\n\t", "\r\n"]))
        comma = self.draw(st.sampled_from(["", f"{gap},"])) if items else ""
        return f"[{gap}{f'{gap},{gap}'.join(items)}{comma}{gap}]"

    def statement(self) -> str:
        kind = self.number(4)
        if kind == 0:
            return f"[{self.draw(GAPS)}{self.keys()}{self.draw(GAPS)}]"
        if kind == 1:
            return f"[[{self.draw(GAPS)}{self.keys()}{self.draw(GAPS)}]]"
        return self.pair(2)


@given(st.data())
def test_every_path_is_located(data: st.DataObject) -> None:
    document = Document(data)
    text = ""
    for _ in range(data.draw(st.integers(0, 8))):
        line = document.draw(GAPS) + document.statement()
        line += document.draw(st.sampled_from(["", " # [x] = 'y'", " "]))
        line += document.draw(st.sampled_from(["\n", "\r\n", "\n\n# z\n"]))
        try:
            tomllib.loads(text + line)
        except tomllib.TOMLDecodeError:
            continue  # a key or table named twice: one statement less
        text += line
    lines = locate(text)
    found = dict(paths(tomllib.loads(text)))
    assert set(lines) == set(found)
    rows = text.split("\n")
    for path, value in found.items():
        if isinstance(value, str):
            mark = value.partition(";")[0] + ";"
            assert mark in rows[lines[path] - 1]
        # What holds something does not begin after it.
        assert lines[path[:-1]] <= lines[path] or not _array_element(path, found)


def _array_element(path: Path, found: dict[Path, object]) -> bool:
    return bool(path) and isinstance(found[path[:-1]], list)
