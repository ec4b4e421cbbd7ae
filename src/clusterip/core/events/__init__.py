"""What happens to a daemon, as its journal has it: a kind, a cause, numbers, and a line for people.

One kind of value for each thing that happens. The log prints its `text`, the journal keeps the
event, `clusterip events` and the API give it to programs. A kind stays what it is from release to
release, and its fields are only added to; the words are for people, and may change. docs/events.md
lists the kinds. One of a kind that a reader does not know is an `Unknown`, with all its fields.

Buckets are lists, ascending, of 1..256; nodes are names; times are s.
"""

from __future__ import annotations

import contextlib
from typing import Any, Final

import msgspec

from clusterip.core.events.around import (
    ControlBack,
    ControlLost,
    HealthChanged,
    LinkChanged,
    PeerBack,
    PeerHeard,
    PeerSilent,
    PutBack,
    VotersChanged,
)
from clusterip.core.events.event import Event, Level
from clusterip.core.events.life import (
    Failed,
    HandingOver,
    Restarted,
    RestartRefused,
    Started,
    StopCutShort,
    Stopping,
    Waiting,
)
from clusterip.core.events.moves import (
    BucketsGiven,
    BucketsLost,
    BucketsTaken,
    ConnectionsCut,
    DrainBegan,
    DrainEnded,
)
from clusterip.core.events.said import (
    AlarmCleared,
    AlarmRaised,
    Commanded,
    CommandRefused,
    ConfigChanged,
    ConfigRefused,
    Noted,
    Repeated,
)

__all__ = [
    "KINDS",
    "AlarmCleared",
    "AlarmRaised",
    "BucketsGiven",
    "BucketsLost",
    "BucketsTaken",
    "CommandRefused",
    "Commanded",
    "ConfigChanged",
    "ConfigRefused",
    "ConnectionsCut",
    "ControlBack",
    "ControlLost",
    "DrainBegan",
    "DrainEnded",
    "Event",
    "Failed",
    "HandingOver",
    "HealthChanged",
    "Level",
    "LinkChanged",
    "Noted",
    "PeerBack",
    "PeerHeard",
    "PeerSilent",
    "PutBack",
    "Repeated",
    "RestartRefused",
    "Restarted",
    "Started",
    "StopCutShort",
    "Stopping",
    "Unknown",
    "VotersChanged",
    "Waiting",
    "read",
]


class Unknown(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a kind that a newer program says: `fields` are all of it but the kind."""

    kind: str
    fields: dict[str, Any]


KINDS: Final[tuple[type[Event], ...]] = (
    *(Started, Waiting, HandingOver, Restarted, RestartRefused, Stopping, StopCutShort, Failed),
    *(BucketsTaken, BucketsGiven, BucketsLost, DrainBegan, DrainEnded, ConnectionsCut),
    *(PeerHeard, PeerSilent, PeerBack, VotersChanged),
    *(HealthChanged, LinkChanged, ControlLost, ControlBack, PutBack),
    *(AlarmRaised, AlarmCleared),
    *(ConfigChanged, ConfigRefused, Commanded, CommandRefused, Noted, Repeated),
)
"""All of them, as docs/events.md has them."""
# Made with the module, for the reason that `core.packets.state` gives.
_KNOWN: Final[dict[str, type[Event]]] = {str(one.__struct_config__.tag): one for one in KINDS}


def read(said: dict[str, Any]) -> Event | Unknown:
    """Return the event in an object as JSON has it; ValueError for what is none.

    One that is newer in a way that this program cannot read is unknown, too.
    """
    kind = said.get("kind")
    if not isinstance(kind, str):
        raise ValueError("an event has a kind, which is text")  # noqa: TRY004 - of what was read
    if kind in _KNOWN:
        with contextlib.suppress(msgspec.ValidationError):
            return msgspec.convert(said, _KNOWN[kind])
    return Unknown(kind=kind, fields={key: one for key, one in said.items() if key != "kind"})
