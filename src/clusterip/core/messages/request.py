"""What a command asks of the daemon of its host: one JSON object, checked as a whole.

`verb` says which of the classes below it is, in small letters; its other keys are their fields. A
field that has its default is left out: so a newer command asks an older daemon, which refuses what
it does not know, for what that can do.
"""

from __future__ import annotations

from typing import Final

import msgspec

from clusterip.core.errors import RefusedError, UsageError

LONGEST: Final = 1 << 12
"""How many bytes a request may have, its newline included."""
MOST_WEIGHT: Final = 255


class _Asked(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag_field="verb",
    tag=str.lower,
):
    """A request."""


class Show(_Asked, frozen=True):
    """Say what is to be seen."""


class Reload(_Asked, frozen=True):
    """Go by the file as it is now."""


class Restart(_Asked, frozen=True):
    """Hand over to the program as it is installed now."""


class _OfNode(_Asked, frozen=True):
    """What is asked of a node, None for that of this host."""

    node: str | None = None


class Drain(_OfNode, frozen=True):
    """Give all buckets up."""


class Undrain(_OfNode, frozen=True):
    """Take part again."""


class Weight(_OfNode, frozen=True, kw_only=True):
    """Take another share: `value` is 0..255."""

    value: int

    def __post_init__(self) -> None:
        if not 0 <= self.value <= MOST_WEIGHT:
            raise ValueError(f"`value` must be 0..{MOST_WEIGHT}")


Steering = Drain | Undrain | Weight
Request = Show | Reload | Restart | Steering
# Decoders are made with the module, for the reason that `core.packets.state` gives.
_VERBS: Final[dict[str, msgspec.json.Decoder[Request]]] = {
    str(one.__struct_config__.tag): msgspec.json.Decoder(one)
    for one in (Show, Reload, Restart, Drain, Undrain, Weight)
}
_CURE: Final = f'one is {{"verb": "weight", "node": "web1", "value": 0..{MOST_WEIGHT}}}'


def verb(request: Request) -> str:
    """Return the verb of a request."""
    return str(request.__struct_config__.tag)


class _Verb(msgspec.Struct):
    verb: str


_VERB: Final = msgspec.json.Decoder(_Verb)


def read(raw: bytes) -> Request:
    """Return the request; UsageError for anything else, RefusedError for a verb not known here."""
    try:
        verb = _VERB.decode(raw).verb
        if verb not in _VERBS:
            raise RefusedError(
                f"this daemon does not know {verb[:40]!r}",
                f"it knows {', '.join(_VERBS)}; `clusterip restart` it where it is an older one",
            )
        return _VERBS[verb].decode(raw)
    except RecursionError as error:
        raise UsageError("this is no request: it is nested too deeply", _CURE) from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UsageError(f"this is no request: {error}", _CURE) from error
