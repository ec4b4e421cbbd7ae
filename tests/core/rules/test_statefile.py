"""The grammar of the state files: CLUSTERIP's table of writes, and what its source adds."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterip.core.rules.statefile import BucketChangeError, Change, check, parse, render

HELD = frozenset({1, 3})
TOTAL = 4

ACCEPTED = [
    (b"+2", Change(True, 2)),
    (b"+2\n", Change(True, 2)),
    (b"+03", Change(True, 3)),
    (b"++3", Change(True, 3)),
    (b"-+3", Change(False, 3)),
    (b"-3\n", Change(False, 3)),
    (b"+0000002\n", Change(True, 2)),
    (b"+00000002", Change(True, 2)),
    (b"-00000002\n"[:10], Change(False, 2)),
    (b"+2\0junk", Change(True, 2)),
    (b"+256", Change(True, 256)),
    (b"+257", Change(True, 257)),
    (b"-999999999", Change(False, 999_999_999)),
]

NO_CHANGE = [
    (b"", errno.EIO),
    (b"\n", errno.EIO),
    (b"x", errno.EIO),
    (b"2", errno.EIO),
    (b" +2", errno.EIO),
    (b"\0+2", errno.EIO),
    (b"+0000000002", errno.EIO),
    (b"+x23456789a", errno.EIO),
    (b"\xff\xfe", errno.EIO),
    (b"+", errno.EINVAL),
    (b"-", errno.EINVAL),
    (b"+\n", errno.EINVAL),
    (b"+3 ", errno.EINVAL),
    (b"+ 3", errno.EINVAL),
    (b"+3x", errno.EINVAL),
    (b"+0x3", errno.EINVAL),
    (b"+-3", errno.EINVAL),
    (b"--3", errno.EINVAL),
    (b"+++3", errno.EINVAL),
    (b"+3\n\n", errno.EINVAL),
    (b"+3\r\n", errno.EINVAL),
    (b"+2\n+4\n", errno.EINVAL),
    (b"+1_0", errno.EINVAL),
    (b"+\xc2\xb2", errno.EINVAL),  # a digit in Unicode only
]

REFUSED = [
    (b"+0", errno.ENOMEM),
    (b"+5", errno.ENOMEM),
    (b"+3", errno.ENOMEM),
    (b"+300", errno.ENOMEM),
    (b"+65537", errno.ENOMEM),
    (b"-0", errno.ENOENT),
    (b"-9", errno.ENOENT),
    (b"-2", errno.ENOENT),
    (b"-65537", errno.ENOENT),
]


@pytest.mark.parametrize(("written", "change"), ACCEPTED)
def test_accepted(written: bytes, change: Change) -> None:
    assert parse(written) == change


@pytest.mark.parametrize(("written", "number"), NO_CHANGE)
def test_no_change(written: bytes, number: int) -> None:
    with pytest.raises(BucketChangeError) as refused:
        parse(written)
    assert refused.value.errno == number
    assert "\n" not in refused.value.message
    assert refused.value.cure


@pytest.mark.parametrize(("written", "number"), REFUSED)
def test_refused_by_what_is_held(written: bytes, number: int) -> None:
    with pytest.raises(BucketChangeError) as refused:
        check(parse(written), HELD, TOTAL)
    assert refused.value.errno == number


@pytest.mark.parametrize("written", [b"+2", b"+4\n", b"-1", b"-3\n"])
def test_fits_what_is_held(written: bytes) -> None:
    check(parse(written), HELD, TOTAL)


@pytest.mark.parametrize(
    ("owned", "text"),
    [((), b""), ((1,), b"1\n"), ((3, 1, 2), b"1,2,3\n"), ((256, 10, 9), b"9,10,256\n")],
)
def test_render(owned: tuple[int, ...], text: bytes) -> None:
    assert render(owned) == text


def test_messages_are_for_people() -> None:
    with pytest.raises(BucketChangeError) as refused:
        check(Change(True, 5), HELD, TOTAL)
    assert str(refused.value) == ("there is no bucket 5\n  cure: the buckets of this VIP are 1..4")
    with pytest.raises(BucketChangeError, match="bucket 3 is held here already"):
        check(Change(True, 3), HELD, TOTAL)
    with pytest.raises(BucketChangeError, match=r"not held here\n  cure: this host holds 1,3"):
        check(Change(False, 2), HELD, TOTAL)
    with pytest.raises(BucketChangeError, match="this host holds no bucket"):
        check(Change(False, 2), frozenset(), TOTAL)


def kstrtoul(text: bytes) -> int | None:
    """Read a number as lib/kstrtox.c does, a byte at a time; None for EINVAL."""
    at = 1 if text[:1] == b"+" else 0
    value, digits = 0, 0
    while at < len(text) and 0x30 <= text[at] <= 0x39:
        value, digits, at = value * 10 + text[at] - 0x30, digits + 1, at + 1
    if digits == 0:
        return None
    if text[at : at + 1] == b"\n":
        at += 1
    return value if at == len(text) else None


def by_the_module(written: bytes, held: set[int], total: int) -> int:
    """Do what clusterip_proc_write does, line by line; return 0 or the errno."""
    if len(written) > 10:
        return errno.EIO
    text = written.split(b"\0")[0]
    if text[:1] == b"+":
        number = kstrtoul(text[1:])
        if number is None:
            return errno.EINVAL
        if number == 0 or number > total or number in held:
            return errno.ENOMEM
        held.add(number)
    elif text[:1] == b"-":
        number = kstrtoul(text[1:])
        if number is None:
            return errno.EINVAL
        if number == 0 or number > total or number not in held:
            return errno.ENOENT
        held.remove(number)
    else:
        return errno.EIO
    return 0


WRITES = st.one_of(
    st.binary(max_size=12),
    st.text("+-0123456789 x\n\0", max_size=12).map(str.encode),
    st.builds(
        "{}{}{}".format, st.sampled_from("+-"), st.integers(0, 300), st.sampled_from(["", "\n"])
    ).map(str.encode),
)


@given(st.lists(WRITES, max_size=20), st.integers(1, 256))
def test_like_the_module(writes: list[bytes], total: int) -> None:
    ours: set[int] = set()
    theirs: set[int] = set()
    for written in writes:
        try:
            change = parse(written)
            check(change, frozenset(ours), total)
            (ours.add if change.add else ours.remove)(change.bucket)
            result = 0
        except BucketChangeError as error:
            result = error.errno
        assert result == by_the_module(written, theirs, total)
        assert ours == theirs


@given(st.sets(st.integers(1, 256)))
def test_what_is_read_names_what_is_held(owned: set[int]) -> None:
    text = render(owned)
    assert [int(one) for one in text.decode().strip().split(",") if one] == sorted(owned)
    assert text.endswith(b"\n") == bool(owned)


@given(st.booleans(), st.integers(0, 256))
def test_a_change_reads_as_it_prints(add: bool, bucket: int) -> None:
    change = Change(add, bucket)
    assert parse(str(change).encode()) == change
