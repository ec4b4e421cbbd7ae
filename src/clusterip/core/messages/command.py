"""Asking another node: one authenticated datagram that says "do this".

What makes it safe:

1. A command is obeyed by the one node it names, and only in the incarnation it names.
2. It names the newest message of its target that its sender had heard. The target obeys only if
   that is among the last few it sent: whoever speaks has just been listening. A recording grows
   old with every message that the target sends, and never becomes fresh again, for sequences of
   one incarnation do not come back.
3. Of all that is obeyed in one incarnation, that sequence rises strictly. So a command that arrives
   twice is obeyed once; and if two arrive in the other order, the one spoken later in the time of
   the target has the last word, the earlier does nothing.
4. A command says what is to be, not what is to change: drained, not drained, this weight. Given
   again it makes no difference. No command makes a node answer for a bucket: it only changes what
   the planner wants, and the leases decide.

5. It is obeyed only while the message that it names is young, on the clock of its target, which
   says nothing while it is stopped: a command that waited in its socket until its asker had
   reported a failure does nothing when the target goes on.

What is left to who holds a recording of a command that never arrived, is to deliver it late:
while it is fresh, and unless a later one was obeyed. That is a slow network, no more.

Of two commands spoken upon the same message of the target one is obeyed. Whoever gives a command
repeats it, upon newer messages, until the target is seen to have done it, or tells that it was not.

All numbers are big-endian. `seal` says what is around the body, under the magic b"CLIC".
The body begins with 34 bytes:

    offset  bytes  meaning
    0       8      sender, not 0
    8       8      target, not 0
    16      8      incarnation of the target, not 0
    24      8      sequence of the target's newest message that the sender heard, not 0
    32      1      verb: 1 drain, 2 undrain, 3 weight, 4 double
    33      1      weight, 0..255; 0 for other verbs

Fields may follow (`fields`): none is known so far.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Mapping
from enum import Enum, IntEnum
from typing import Final, NamedTuple

from clusterip.core.messages import fields
from clusterip.core.messages.envelope import MAGIC_BYTES, OVERHEAD, Envelope, Fault, WireError

_MAGIC: Final = b"CLIC"
_BODY: Final = struct.Struct("!QQQQBB")
COMMAND_BYTES: Final = OVERHEAD + _BODY.size
"""How long a datagram with a command is, without fields that may come."""
_LONGEST: Final = 512
_VERSION: Final = 1


class Verb(IntEnum):
    """What is to be done. The numbers are those on the wire."""

    DRAIN = 1
    UNDRAIN = 2
    WEIGHT = 3
    DOUBLE = 4
    """To know that another daemon runs as the target, and is heard in its place; to say all to
    everybody on the interface meanwhile, which is how that one learns of it, too."""


def worded(verb: Verb, value: int) -> str:
    """Return what is to be done as the command line has it: `drain`, `weight 7`."""
    return f"weight {value}" if verb is Verb.WEIGHT else verb.name.lower()


class Command(NamedTuple):
    """What `sender` asks of `target`.

    Node and incarnations and sequences are 1..2**64-1. `target_sequence` is that of the newest
    message of the target, in incarnation `target_boot`, that the sender heard. `value` is the
    weight, 0..255, and 0 for other verbs.
    """

    sender: int
    target: int
    target_incarnation: int
    target_sequence: int
    verb: Verb
    value: int = 0


def is_command(datagram: bytes) -> bool:
    """Whether a datagram is for `CommandCodec`, by its magic; it may still be anybody's."""
    return datagram[:MAGIC_BYTES] == _MAGIC


class CommandCodec:
    """Makes and reads the commands of one cluster; the arguments are as `Seal` has them.

    `keys` are the keys accepted, by key id; `key` is the id of the one used to send.
    """

    def __init__(self, cluster: int, keys: Mapping[int, bytes], key: int) -> None:
        self._seal = Envelope(_MAGIC, cluster, keys, key)

    def encode(self, command: Command) -> bytes:
        """Return the datagram; raises ValueError for a command with a field out of range."""
        if not _sound(command):
            raise ValueError(f"a field is out of range: {command}")
        try:
            return self._seal.close(_BODY.pack(*command), version=_VERSION)
        except struct.error as error:
            raise ValueError(f"a field is out of range: {error}") from error

    def decode(self, datagram: bytes) -> Command:
        """Return the command; raises WireError for anything that is not exactly one."""
        # Before the MAC: what cannot be a command costs no hashing.
        if len(datagram) < COMMAND_BYTES:
            raise WireError(Fault.TRUNCATED)
        if len(datagram) > _LONGEST:
            raise WireError(Fault.OVERSIZED)
        version, body = self._seal.open(datagram)
        if version != _VERSION:
            raise WireError(Fault.VERSION)
        sender, target, incarnation, sequence, verb, value = _BODY.unpack_from(body)
        fields.decode(body[_BODY.size :])
        try:
            command = Command(sender, target, incarnation, sequence, Verb(verb), value)
        except ValueError as error:
            raise WireError(Fault.MALFORMED) from error
        if not _sound(command):
            raise WireError(Fault.MALFORMED)
        return command


def _sound(command: Command) -> bool:
    """Whether the fields mean something; their upper bounds are those of the body's format."""
    numbers = (command.sender, command.target, command.target_incarnation, command.target_sequence)
    return all(numbers) and (command.verb is Verb.WEIGHT or command.value == 0)


class Refusal(Enum):
    """Why a command is not obeyed; each is to be counted."""

    TARGET = "another target"
    INCARNATION = "another incarnation"
    UNSENT = "not yet sent"
    STALE = "stale"
    REPLAYED = "replayed or overtaken"
    LATE = "too late"


class Obedience:
    """Which commands node `me` obeys in incarnation `incarnation`: see the rules at the top.

    `window` is how many of our last messages a command may name, 1 or more: as many as we may
    send while it is on its way; `lasting` is how old that message may be, ns. `after` is the
    sequence of the newest message sent before now: 0 in a new incarnation, and what the predecessor
    handed over after a planned restart. It may have obeyed commands upon its messages, so those
    are refused.
    """

    def __init__(self, me: int, incarnation: int, *, window: int, lasting: int, after: int) -> None:
        if window < 1:
            raise ValueError(f"window {window} is below 1")
        self._me = me
        self._incarnation = incarnation
        self._window = window
        self._lasting = lasting
        self._spoken: deque[tuple[int, int]] = deque(maxlen=window)
        self._obeyed = after

    def spoke(self, sequence: int, *, now: int) -> None:
        """Note that we send the message of that sequence."""
        self._spoken.append((sequence, now))

    def take(self, command: Command, sent: int, *, now: int) -> Refusal | None:
        """Return None if `command` is to be done, now and once, else why it is not to be.

        `sent` is the sequence of the newest message we sent.
        """
        if command.target != self._me:
            return Refusal.TARGET
        if command.target_incarnation != self._incarnation:
            return Refusal.INCARNATION
        if command.target_sequence > sent:
            return Refusal.UNSENT
        if command.target_sequence <= sent - self._window:
            return Refusal.STALE
        if command.target_sequence <= self._obeyed:
            return Refusal.REPLAYED
        if now > dict(self._spoken).get(command.target_sequence, now) + self._lasting:
            return Refusal.LATE
        self._obeyed = command.target_sequence
        return None
