"""Whatever the text, reading it gives a Config or a ConfigError, and nothing else."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from clusterip.core.config.advice import advised
from clusterip.core.config.changes import differences
from clusterip.core.config.declared import KEYS
from clusterip.core.config.digest import hash_digest, voters_digest
from clusterip.core.config.faults import ConfigError
from clusterip.core.config.model import Config
from clusterip.core.config.reading import decode, read
from tests.core.config.texts import EXAMPLE, SMALL, with_lines


def outcome(text: str) -> Config | ConfigError:
    try:
        return read(text)
    except ConfigError as error:
        return error


def attempt(text: str) -> None:
    config = outcome(text)
    if isinstance(config, ConfigError):
        assert config.faults
        lines = text.count("\n") + 1
        for fault in config.faults:
            assert 1 <= fault.line <= lines
            assert fault.message
            assert fault.cure
            # Nothing from the file gets to a terminal or a log raw.
            assert (fault.message + fault.cure).isprintable()
        return
    assert 0 < hash_digest(config) < 1 << 64
    assert 0 < voters_digest(config) < 1 << 64
    assert differences(config, config) == ()
    assert all(one.sentence and one.cure for one in advised(config))
    assert all(one.name.isprintable() for one in config.checks)


@given(st.integers(0, len(EXAMPLE)))
def test_a_truncated_file(length: int) -> None:
    attempt(EXAMPLE[:length])


PIECES = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        [
            *(
                "\n",
                '"',
                "'",
                "[",
                "]",
                "[[",
                "]]",
                "{",
                "}",
                "=",
                ".",
                ",",
                "#",
                "-",
                "\\",
                "\x00",
            ),
            *(" true ", " 0 ", " -1", " 99999999999999999999", " 1e400 ", " nan ", " 1.5 "),
            *(" 1979-05-27 ", "[]", "{}", "[[1]]", '""', '"\\u0000"', '"\\uFFFF"', '"\\u001b"'),
            *(
                "\n[vip]\n",
                "\n[[vip]]\n",
                "\n[[cluster]]\n",
                "\n[[vip.service]]\n",
                "\nvip = [1]\n",
            ),
            *("\n[[check]]\n", "\ntype = 3\n", "\nunknown = 1\n", '\n"\x7f" = 1\n', '"::1"'),
        ]
    ),
)


@given(st.lists(st.tuples(st.integers(0, len(EXAMPLE)), st.integers(0, 12), PIECES), max_size=4))
def test_a_mutated_file(changes: list[tuple[int, int, str]]) -> None:
    text = EXAMPLE
    for at, length, piece in changes:
        text = text[:at] + piece + text[at + length :]
    attempt(text)


VALUES = st.recursive(
    st.one_of(
        st.booleans().map(lambda one: "true" if one else "false"),
        st.integers().map(str),
        st.sampled_from(["1.5", "inf", "1979-05-27", "07:32:00", "[]", "{}", "'x'"]),
        st.sampled_from(['"1s"', '"10.9.0.1"', '"tcp"', '"80-90"', '"/a"', '"sourceip"', "80"]),
        st.text(st.characters(codec="utf-8", exclude_categories=["C"], exclude_characters='"\\'))
        .filter(lambda one: len(one) < 100)
        .map(lambda one: f'"{one}"'),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        inner.map(lambda one: f"{{ protocol = {one}, x = 1 }}"),
    ),
    max_leaves=4,
)


@given(st.data())
def test_any_value_for_any_key(data: st.DataObject) -> None:
    title = data.draw(st.sampled_from(sorted(KEYS)))
    key = data.draw(st.sampled_from(KEYS[title]))
    line = f"{key} = {data.draw(VALUES)}\n"
    if not title:
        text = line + SMALL
    else:
        header = f"[{title}]" if title == "cluster" else f"[[{title}]]"
        text = f"{header}\n{line}{SMALL[SMALL.index('[[node]]') :] if title == 'vip' else ''}"
        text = text if title in {"cluster", "vip"} else with_lines(rest=text)
    attempt(text)


@given(st.text())
@example("\ud800")
@example("a = " + "[" * 20000)
@example("a = " + "[" * 300 + "]" * 300)
@example("\na = " + "1" * 5000)
@example("a = 0x" + "f" * 5000)
@example('[cluster]\nname = "a"\nport = 0x' + "f" * 5000)
@example("\ufeff[cluster]")
@example("[cluster]\rname = 1")
def test_any_text(text: str) -> None:
    attempt(text)


@given(st.binary())
@example(b'[cluster]\nname = "\xff"')
def test_any_bytes(raw: bytes) -> None:
    try:
        text = decode(raw)
    except ConfigError as error:
        (fault,) = error.faults
        text = f"{fault.message}: no TOML"
    attempt(text)
