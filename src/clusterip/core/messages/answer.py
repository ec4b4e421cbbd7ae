"""What the daemon of a host answers to a command: one JSON object, typed by the request.

Names of files in it may have bytes that are no characters, which JSON has no place for: they are
written as Python has them (PEP 383), and read back.
"""

from __future__ import annotations

import json
from typing import Final, TypeVar

import msgspec

from clusterip.core.errors import ClusterIPError, RefusedError, SystemFaultError, UsageError
from clusterip.core.findings import Finding
from clusterip.core.messages.request import Request
from clusterip.core.status import Status

_KINDS: Final = {kind.exit_status: kind for kind in (RefusedError, UsageError, SystemFaultError)}


class Changes(msgspec.Struct, frozen=True):
    """What a reload changed, a line each, and what is unwise since then."""

    changes: list[str]
    warnings: list[Finding] = []


class Done(msgspec.Struct, frozen=True):
    """It is done, and there is no more to say."""


class Fault(msgspec.Struct, frozen=True):
    """Why it is not done: an error of `core.errors`, by its exit status."""

    message: str
    cure: str
    status: int


class Failed(msgspec.Struct, frozen=True):
    """It is not done."""

    error: Fault


Answer = Status | Changes | Done
Kind = TypeVar("Kind", Status, Changes, Done, Failed)
# So that msgspec knows them with the module, for the reason that `core.packets.state` gives.
_KNOWN: Final = [msgspec.json.Decoder(kind) for kind in (Status, Changes, Done, Failed)]


def failed(error: ClusterIPError) -> Failed:
    """Return what is answered where an error was raised."""
    return Failed(Fault(error.message, error.cure, error.exit_status))


def encode(said: Request | Answer | Failed) -> bytes:
    """Return a request or an answer as a line."""
    return json.dumps(msgspec.to_builtins(said, str_keys=True)).encode() + b"\n"


def read(line: bytes, kind: type[Kind]) -> Kind:
    """Return the answer in a line; what it says went wrong is raised, as a ClusterIPError.

    ValueError for what is no such answer.
    """
    try:
        document = json.loads(line)
        if isinstance(document, dict) and "error" in document:
            fault = msgspec.convert(document, Failed).error
        else:
            return msgspec.convert(document, kind, str_keys=True)
    except (msgspec.ValidationError, RecursionError) as error:
        raise ValueError(str(error)) from error
    raise _KINDS.get(fault.status, SystemFaultError)(fault.message, fault.cure)
