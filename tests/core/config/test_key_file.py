"""The key file: reading it, and the three steps by which a key is changed."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterip.core.config.faults import ConfigError
from clusterip.core.config.key_file import (
    MAX_KEYS,
    Key,
    Keys,
    added,
    changes,
    dropped,
    new_file,
    promoted,
    read_keys,
)
from clusterip.core.errors import RefusedError

ONE = Key(26, bytes(range(32)))
TWO = Key(255, bytes(range(1, 33)))
THREE = Key(3, bytes(range(2, 34)))


def line(key: Key) -> str:
    return f"{key.id}:{key.secret.hex()}"


def faults(text: str) -> list[tuple[int, str]]:
    with pytest.raises(ConfigError) as caught:
        read_keys(text)
    assert caught.value.exit_status == 2
    return [(fault.line, fault.message) for fault in caught.value.faults]


def test_a_file() -> None:
    text = f"# keys\r\n\n  {line(TWO).upper()}  # sent with\n{line(ONE)}"
    keys = read_keys(text)
    assert keys == Keys((TWO, ONE))
    assert keys.sending == TWO
    assert keys.find(26) == ONE
    assert keys.find(0) is None


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ((ONE,), (ONE,), []),
        ((ONE,), (ONE, TWO), ["keys accepted: 26 -> 26, 255"]),
        ((ONE, TWO), (TWO, ONE), ["key used: 26 -> 255"]),
        ((TWO, ONE), (TWO,), ["keys accepted: 26, 255 -> 255"]),
        ((ONE,), (TWO,), ["keys accepted: 26 -> 255", "key used: 26 -> 255"]),
        ((ONE,), (Key(26, TWO.secret),), ["key 26: another secret"]),
    ],
)
def test_what_changed(old: tuple[Key, ...], new: tuple[Key, ...], told: list[str]) -> None:
    assert changes(Keys(old), Keys(new)) == told


def test_a_new_file() -> None:
    assert read_keys(new_file(ONE)) == Keys((ONE,))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [(1, "there is no key")]),
        ("# only\n\n", [(1, "there is no key")]),
        (f"256:{ONE.secret.hex()}", [(1, "this line is not a key")]),
        ("26:00", [(1, "this line is not a key")]),
        (f"\n{line(ONE)[:-1]}", [(2, "this line is not a key")]),
        (f"\n{line(ONE)}0\n", [(2, "this line is not a key")]),
        (f"{line(ONE)}\n{line(TWO)} {line(THREE)}", [(2, "this line is not a key")]),
        (f"{line(ONE)}\n\n{line(ONE)}", [(3, "key 26 is there twice")]),
        (
            f"{line(ONE)}\n5:{ONE.secret.hex()}",
            [(2, "key 5 is the same as one above")],
        ),
        (
            "".join(f"{n}:{bytes([n] * 32).hex()}\n" for n in range(9)),
            [(9, "9 keys, and at most 8 can be")],
        ),
    ],
)
def test_faults(text: str, expected: list[tuple[int, str]]) -> None:
    assert faults(text) == expected


def test_a_key_is_never_shown() -> None:
    assert repr(Keys((ONE,))) == "Keys(every=(Key(26),))"
    assert ONE.secret.hex()[:8] not in f"{ONE} {ONE!r} {Keys((ONE,))}"
    for text in (line(ONE)[:-1], f"{line(ONE)}\n{line(ONE)}"):
        with pytest.raises(ConfigError) as caught:
            read_keys(text)
        assert ONE.secret.hex()[:8] not in str(caught.value)


def test_the_steps_of_a_change() -> None:
    text = f"# ours\n{line(ONE)} # of 2024\n# end"
    both = added(text, TWO)
    assert read_keys(both) == Keys((ONE, TWO))
    used = promoted(both, 255)
    assert read_keys(used) == Keys((TWO, ONE))
    assert promoted(used, 255) == used
    done = dropped(used, 26)
    assert read_keys(done) == Keys((TWO,))
    assert done.startswith("# ours\n")
    assert "# end" in done


def test_refusals() -> None:
    text = new_file(ONE)
    with pytest.raises(RefusedError, match="key 26 is there already"):
        added(text, Key(ONE.id, TWO.secret))
    with pytest.raises(RefusedError, match="key 26 is the only one") as only:
        dropped(text, ONE.id)
    assert only.value.cure == "first put another in, with --add"
    with pytest.raises(RefusedError, match="key 26 is the one for sending"):
        dropped(added(text, TWO), 26)
    for step in (promoted, dropped):
        with pytest.raises(RefusedError, match="there is no key 7"):
            step(text, 7)
    for number in range(MAX_KEYS - 1):
        text = added(text, Key(100 + number, bytes([number] * 32)))
    with pytest.raises(RefusedError, match="there are 8 keys already"):
        added(text, TWO)


@given(
    st.lists(
        st.one_of(
            st.text(max_size=9).map(lambda one: "#" + one.replace("\n", "")),
            st.sampled_from(["", " ", line(ONE), line(TWO), f"\t{line(THREE)}\x0b#\u2028"]),
        )
    ),
    st.sampled_from([ONE, TWO, THREE]),
)
def test_changes_keep_the_rest(rows: list[str], key: Key) -> None:
    text = "\n".join(rows)
    try:
        before = read_keys(text)
    except ConfigError:
        return
    if before.find(key.id) is None:
        assert read_keys(added(text, key)).every == (*before.every, key)
        return
    after = promoted(text, key.id)
    others = tuple(one for one in before.every if one != key)
    assert read_keys(after).every == (key, *others)
    assert sorted(after.split("\n")) == sorted(rows)
    if key != before.sending:
        assert read_keys(dropped(text, key.id)).every == others


@given(st.text())
def test_any_text(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert read_keys(text).every
