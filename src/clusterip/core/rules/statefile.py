"""The grammar of the old per-VIP files: what is read from them and what may be written.

The files were /proc/net/ipt_CLUSTERIP/VIP. Scripts and other programs write `+N` and `-N`
and look at errno, so each refusal has the errno it had there (clusterip_proc_write of
net/ipv4/netfilter/ipt_CLUSTERIP.c, Linux 6.1), in the order in which it was found there:

    1. more than 10 bytes            EIO
    2. neither + nor - first         EIO
    3. not a decimal number          EINVAL   (kstrtoul of lib/kstrtox.c)
    4. + out of range, or held       ENOMEM
       - out of range, or not held   ENOENT
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable
from typing import Final

import msgspec

from clusterip.core.errors import RefusedError

MAX_BYTES: Final = 10
"""The longest write that is looked at; PROC_WRITELEN of the module."""

# kstrtoul: one optional +, decimal digits, at most one newline; no blanks and no sign.
_NUMBER: Final = re.compile(rb"\+?([0-9]+)\n?")

_GRAMMAR: Final = "write +N to take a bucket, -N to give it up"


class BucketChangeError(RefusedError):
    """A change of buckets that is refused; `errno` is what a write to the state file gets."""

    def __init__(self, errno: int, message: str, cure: str) -> None:
        super().__init__(message, cure)
        self.errno = errno


class Change(msgspec.Struct, frozen=True):
    """One bucket to take (`add`) or to give up. `bucket` is not negative, else unchecked."""

    add: bool
    bucket: int

    def __str__(self) -> str:
        return f"{'+' if self.add else '-'}{self.bucket}"


def parse(written: bytes) -> Change:
    """Read the bytes of one write.

    Raises BucketChangeError with EIO or EINVAL for what is no change at all; whether the
    bucket exists is for `check` to say.
    """
    if len(written) > MAX_BYTES:
        raise BucketChangeError(
            errno.EIO, f"{len(written)} bytes are more than a change can have", _GRAMMAR
        )
    # The module read a C string: what follows a zero byte was never seen.
    text = written.partition(b"\0")[0]
    if text[:1] not in (b"+", b"-"):
        raise BucketChangeError(errno.EIO, f"{_shown(text)} is no change of a bucket", _GRAMMAR)
    number = _NUMBER.fullmatch(text, 1)
    if number is None:
        said = text[1:].strip()
        wrong = f"{_shown(text[1:])} is not a decimal number" if said else "no number follows"
        raise BucketChangeError(errno.EINVAL, wrong, _GRAMMAR)
    return Change(add=text[:1] == b"+", bucket=int(number[1]))


def check(change: Change, owned: frozenset[int], total: int) -> None:
    """Raise BucketChangeError unless `change` fits a host that holds `owned` of 1..`total`.

    ENOMEM for a bucket that cannot be taken, ENOENT for one that cannot be given up. The
    module cut numbers to 16 bits first, so that +65537 took bucket 1; here it is refused.
    """
    refusal = errno.ENOMEM if change.add else errno.ENOENT
    if not 1 <= change.bucket <= total:
        raise BucketChangeError(
            refusal,
            f"there is no bucket {change.bucket}",
            f"the buckets of this VIP are 1..{total}",
        )
    if change.add and change.bucket in owned:
        raise BucketChangeError(
            refusal,
            f"bucket {change.bucket} is held here already",
            f"nothing is to be done: this host holds {','.join(map(str, sorted(owned)))}",
        )
    if not change.add and change.bucket not in owned:
        held = ",".join(map(str, sorted(owned))) or "no bucket"
        raise BucketChangeError(
            refusal, f"bucket {change.bucket} is not held here", f"this host holds {held}"
        )


def render(owned: Iterable[int]) -> bytes:
    """Return what the file reads: the buckets ascending, `1,2,3` and a newline, or nothing."""
    text = ",".join(map(str, sorted(owned)))
    return f"{text}\n".encode() if text else b""


def _shown(text: bytes) -> str:
    return repr(text.decode("ascii", "backslashreplace"))
