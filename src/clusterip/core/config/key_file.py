"""The key file: the secrets that authenticate the daemons' messages.

One key a line, `KEYID:KEY`: a number 0..255, which goes with each message, and 64 hexadecimal
digits. The first is the one for sending; all
are accepted. So a key is changed host by host without a gap: put the new one in on every
host, then move it to the front on every host, then drop the old one. Empty lines and what follows
a `#` are not looked at, and the changes below keep them.

No message about a key file shows any part of a key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from clusterip.core.config.faults import ConfigError, Fault
from clusterip.core.errors import RefusedError

KEY_BYTES: Final = 32
KEY_IDS: Final = 256
MAX_KEYS: Final = 8
_LINE: Final = re.compile(r"([0-9]{1,3}):([0-9a-fA-F]{64})")
_CURE: Final = (
    "write KEYID:KEY, a number 0..255 and 64 hexadecimal digits, as `clusterip keygen` does"
)
_NO_KEY: Final = (
    "copy the file from another host; where none has a key, remove this file, and make a new one"
    " with `{keygen}`"
)
_HEAD: Final = """\
# Key file of clusterip, the same on every host; see clusterip keygen --help.
# The first key is the one for sending, all are accepted.
"""


class Key(msgspec.Struct, frozen=True):
    """One key. `id` is 0..255, `secret` 32 bytes."""

    id: int
    secret: bytes

    # A key must not get into a log by way of a message that shows values.
    def __repr__(self) -> str:
        return f"Key({self.id})"


class Keys(msgspec.Struct, frozen=True):
    """The keys of a file, 1..8 with different ids, the one for sending first."""

    every: tuple[Key, ...]

    @property
    def sending(self) -> Key:
        """The key that our messages are signed with."""
        return self.every[0]

    def secrets(self) -> dict[int, bytes]:
        """Return the secrets by id, as `core.messages.wire` takes them."""
        return {key.id: key.secret for key in self.every}

    def find(self, identity: int) -> Key | None:
        """Return the key with that id, None if it is not accepted."""
        return next((key for key in self.every if key.id == identity), None)


def read_keys(text: str, path: str = "") -> Keys:
    """Read a key file; ConfigError with every fault and its line. `path` is for the cures."""
    keys: dict[int, Key] = {}
    faults: list[Fault] = []
    for number, line in _numbered(text):
        match = _LINE.fullmatch(line)
        if not match or int(match[1]) >= KEY_IDS:
            faults.append(Fault(number, "this line is not a key", _CURE))
            continue
        key = Key(int(match[1]), bytes.fromhex(match[2]))
        if key.id in keys:
            faults.append(
                Fault(number, f"key {key.id} is there twice", "drop one of the two lines")
            )
        elif any(key.secret == other.secret for other in keys.values()):
            faults.append(
                Fault(number, f"key {key.id} is the same as one above", "drop one of the two")
            )
        keys[key.id] = key
    if not keys and not faults:
        faults.append(
            Fault(1, "there is no key", _NO_KEY.format(keygen=f"clusterip keygen {path}".strip()))
        )
    if len(keys) > MAX_KEYS:
        last = _numbered(text)[-1][0]
        faults.append(
            Fault(last, f"{len(keys)} keys, and at most {MAX_KEYS} can be", "drop what is not used")
        )
    if faults:
        raise ConfigError(faults)
    return Keys(tuple(keys.values()))


def _numbered(text: str) -> list[tuple[int, str]]:
    """Return the lines that say something, without comments, with their numbers from 1."""
    lines = ((at, line.partition("#")[0].strip()) for at, line in enumerate(text.split("\n"), 1))
    return [(at, line) for at, line in lines if line]


def changes(old: Keys, new: Keys) -> list[str]:
    """Return what changed from one to the other, a line each; never a secret."""
    before, after = old.secrets(), new.secrets()
    told = [
        f"key {identity}: another secret"
        for identity in sorted(before.keys() & after.keys())
        if before[identity] != after[identity]
    ]
    if before.keys() != after.keys():
        told.append(f"keys accepted: {_ids(before)} -> {_ids(after)}")
    if old.sending.id != new.sending.id:
        told.append(f"key used: {old.sending.id} -> {new.sending.id}")
    return told


def _ids(some: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(some)))


def new_file(key: Key) -> str:
    """Return the text of a key file with one key."""
    return _HEAD + _line(key)


def added(text: str, key: Key) -> str:
    """Return the file with one more key, accepted and not yet used for sending."""
    keys = read_keys(text)
    if keys.find(key.id):
        raise RefusedError(f"key {key.id} is there already", "take another id")
    if len(keys.every) == MAX_KEYS:
        raise RefusedError(f"there are {MAX_KEYS} keys already", "drop those not used any more")
    return (text if text.endswith("\n") else f"{text}\n") + _line(key)


def promoted(text: str, identity: int) -> str:
    """Return the file with the key of that id at the front, the one for sending from now on."""
    at = _place(text, identity)
    lines = text.split("\n")
    line = lines.pop(at)
    lines.insert(_numbered(text)[0][0] - 1, line)
    return "\n".join(lines)


def dropped(text: str, identity: int) -> str:
    """Return the file without the key of that id; RefusedError if it is the one for sending."""
    at = _place(text, identity)
    if at == _numbered(text)[0][0] - 1:
        if len(_numbered(text)) == 1:
            raise RefusedError(
                f"key {identity} is the only one", "first put another in, with --add"
            )
        raise RefusedError(
            f"key {identity} is the one for sending", "first put another to the front, with --use"
        )
    lines = text.split("\n")
    del lines[at]
    return "\n".join(lines)


def _line(key: Key) -> str:
    return f"{key.id}:{key.secret.hex()}\n"


def _place(text: str, identity: int) -> int:
    """Return the index of the line with the key of that id."""
    keys = read_keys(text)
    for number, line in _numbered(text):
        if int(line.partition(":")[0]) == identity:
            return number - 1
    names = ", ".join(str(key.id) for key in keys.every)
    raise RefusedError(f"there is no key {identity}", f"the file has {names}")
