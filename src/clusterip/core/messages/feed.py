"""What is said on the status socket of a daemon: lines of JSON, from the first to the last.

The daemon speaks first: a `Hello`, or that it is busy. Then each line that asks is answered: `Look`
by one `Seen`, or by `Not` where there is nothing to see; `Listen` by an `Entry` for each event that
the journal has, then by `Now`, and, where more is asked for, by one for each event as it happens.
The last line is a `Bye` where the daemon ends as it was told to, or is replaced: who listened asks
the next one, from the number on that it had last. Without it the daemon was killed, or who listened
did not read.

Within one format lines, keys and reasons are only added: who reads leaves alone what it does not
know. Nothing that is asked here changes anything.
"""

from __future__ import annotations

from typing import Final

import msgspec

from clusterip.core import journal
from clusterip.core.status import Status

FORMAT: Final = 1
"""What the lines mean. Another number is another meaning of a line that was there before."""
LONGEST_REQUEST: Final = 1 << 12
"""How many bytes a line that asks may have, its newline included."""
LONGEST: Final = 1 << 24
"""How many bytes a line that answers has at most."""

# ---- what is asked ----


class _Asked(msgspec.Struct, frozen=True, tag_field="ask"):
    """What is asked."""


class Look(_Asked, frozen=True, tag="status"):
    """Say what is to be seen."""


class Listen(_Asked, frozen=True, kw_only=True, tag="events"):
    """Say what happened after the event of that number, and what happens.

    `journal` is the name of the journal that the number is of: of another one all is said. "" means
    whatever there is. `last` is how many of the newest are wanted at most.
    """

    after: int = 0
    journal: str = ""
    last: int | None = None
    follow: bool = False


Request = Look | Listen

# ---- what is answered ----


class _Said(msgspec.Struct, frozen=True, kw_only=True, tag_field="line"):
    """A line of the daemon."""


class Hello(_Said, frozen=True, kw_only=True, tag="hello"):
    """Who speaks, and which journal it has."""

    format: int = FORMAT
    release: str = ""
    """Its version, as `clusterip --version` has it."""
    cluster: str
    node: str
    pid: int
    journal: str
    """The name of its journal: numbers of events count within it."""


class Busy(_Said, frozen=True, kw_only=True, tag="busy"):
    """Too many are served already: this is the only line."""

    message: str
    cure: str


class Seen(_Said, frozen=True, kw_only=True, tag="status"):
    """What is to be seen, as it was `age_seconds` ago."""

    age_seconds: float
    status: Status


class Not(_Said, frozen=True, kw_only=True, tag="not"):
    """What was asked cannot be answered."""

    message: str
    cure: str


class Entry(_Said, frozen=True, kw_only=True, tag="event"):
    """Something that happened."""

    entry: journal.Entry


class Now(_Said, frozen=True, kw_only=True, tag="now"):
    """All that happened until now was said; `seq` is the number of the newest."""

    seq: int
    journal: str


class Bye(_Said, frozen=True, kw_only=True, tag="bye"):
    """The daemon ends: `why` is "restart" where another one follows, "stop" or "fault"."""

    why: str


class Unknown(msgspec.Struct, frozen=True):
    """A line that a newer daemon says."""

    line: str


Said = Hello | Busy | Seen | Not | Entry | Now | Bye
# Made with the module, for the reason that `core.packets.state` gives.
_SAID: Final = msgspec.json.Decoder(Said)
_ANY: Final = msgspec.json.Decoder(Unknown)
_REQUEST: Final = msgspec.json.Decoder(Request)
_KNOWN: Final = frozenset(
    str(one.__struct_config__.tag) for one in (Hello, Busy, Seen, Not, Entry, Now, Bye)
)


def encode(said: Said | Request) -> bytes:
    """Return it as a line."""
    return msgspec.json.encode(said) + b"\n"


def read(line: bytes) -> Said | Unknown:
    """Return what a daemon says in a line; ValueError for what is nothing of the kind."""
    try:
        unknown = _ANY.decode(line)
        return _SAID.decode(line) if unknown.line in _KNOWN else unknown
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def read_request(line: bytes) -> Request:
    """Return what is asked in a line; ValueError for what is nothing of the kind."""
    try:
        return _REQUEST.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def entry_line(raw: bytes) -> bytes:
    """Return the line of an entry that was encoded before."""
    return b'{"line":"event","entry":' + raw + b"}\n"


def seen_line(status: bytes, age_seconds: float) -> bytes:
    """Return the line of a status that was encoded before."""
    return f'{{"line":"status","age_seconds":{age_seconds:.3f},"status":'.encode() + status + b"}\n"
