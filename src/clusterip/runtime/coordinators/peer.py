"""The exchange of peers: their messages and commands over UDP, their keys, their voters."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Final

from clusterip.adapters.datagrams import Datagrams, Received, UdpDatagrams
from clusterip.adapters.telling import tell
from clusterip.core.config import digest, model
from clusterip.core.config.key_file import Keys
from clusterip.core.config.model import Config, Quorum
from clusterip.core.config.model import Node as ConfigNode
from clusterip.core.errors import ClusterIPError, RefusedError, SystemFaultError
from clusterip.core.events import CommandRefused, VotersChanged
from clusterip.core.findings import Finding
from clusterip.core.lease import contact, speech
from clusterip.core.messages.command import (
    Command,
    CommandCodec,
    Obedience,
    Refusal,
    Verb,
    is_command,
    worded,
)
from clusterip.core.messages.envelope import key_of
from clusterip.core.messages.message import Message, digest_of_name
from clusterip.core.messages.wire import Codec, UnreadableError, WireError, clock_key
from clusterip.core.serving.actions import Reception
from clusterip.core.serving.other import Other
from clusterip.core.units import SECOND
from clusterip.runtime import alarms
from clusterip.runtime.coordinators.beginning import make_node
from clusterip.runtime.coordinators.exchange import Exchange, Given, Order, Readable
from clusterip.runtime.coordinators.others import Others
from clusterip.runtime.coordinators.receptions import Receptions

_LAST_WORDS: Final = 3
"""How often the last message is said: nobody repeats it later."""
_FRESH_MESSAGES: Final = 20
"""A command that names an older message of ours is not obeyed."""
_FRESH: Final = SECOND
"""Nor one that names a message from before that time, ns: who asks repeats, and gives up later."""


def open_sockets(config: Config, me: ConfigNode) -> contextlib.AbstractContextManager[UdpDatagrams]:
    """Open what the messages of node `me` go through."""
    vips = [str(vip.address) for vip in config.vips]
    return contextlib.closing(UdpDatagrams(config.port, me.interface, vips))


class Peers(Exchange):
    """How a node of `core.lease` speaks with the others: it is what is made of `given`."""

    def __init__(self, given: Given, datagrams: Datagrams) -> None:
        self.node = make_node(given)
        super().__init__(self.node, given.names)
        # Only a node that took up its predecessor's memory has sent anything.
        self.resumed = bool(self.node.sequence)
        self._me, self._memory, self._maps = given.me.name, given.memory, given.maps
        self._clock, self._datagrams = given.clock, datagrams
        self._cluster = digest_of_name(given.config.name)
        node = self.node
        self._obedience = Obedience(
            node.me, node.incarnation, window=_FRESH_MESSAGES, lasting=_FRESH, after=node.sequence
        )
        self._last = b""
        self._remind_at: int | None = None
        self.others = Others(node, self.names, self.raised, now=given.clock())
        """What is known of the other nodes, in words."""
        self._receptions = Receptions(node, self.others, self.traffic)
        self._go_by(given.config)
        self.use_keys(given.keys)

    # ---- the file ----

    def adopt(self, config: Config, keys: Keys) -> None:
        """Go by that from now on; RefusedError where the voters cannot be those."""
        if digest.voter_ids(config) != digest.voter_ids(self._config):
            self._set_voters(config)
        self._go_by(config)
        self.use_keys(keys)
        self.node.set_quorum(alive=config.quorum is Quorum.ALIVE, now=self._clock())

    def _go_by(self, config: Config) -> None:
        self._config = config
        me = config.node(self._me)
        others = [one for one in config.nodes if one is not me]
        self.others.port = config.port
        self.others.addresses = {
            digest_of_name(one.name): tuple(map(str, one.addresses)) for one in others
        }
        self.others.ways.forget()
        self.others.doubles.own = tuple(map(str, me.addresses)) if me else ()
        self._datagrams.aim(
            (str(address) for one in others for address in one.addresses),
            broadcast=bool(me and me.interface) and not all(one.addresses for one in others),
        )

    def use_keys(self, keys: Keys) -> None:
        """Seal and open datagrams with these keys from now on."""
        secrets, sending = keys.secrets(), keys.sending.id
        self.node.use_keys(sum(1 << number for number in secrets))
        self.traffic.sealed_with[self.node.me] = sending
        config = self.node.state.config
        self._codec = Codec(self._cluster, secrets, sending, config.total, config.speaks)
        self._commands = CommandCodec(self._cluster, secrets, sending)
        if self._maps is not None:
            self._maps.trust(
                {number: clock_key(secret, self._cluster) for number, secret in secrets.items()}
            )

    def catch_up(self) -> bool:
        """Use the voters of the file, where that had to wait."""
        self.waiting_for = ""
        voters = self.node.state.votes.voters.voters
        if self.node.restarting or voters == digest.voter_ids(self._config):
            return False
        try:
            self._set_voters(self._config)
        except (RefusedError, SystemFaultError) as error:
            self.waiting_for = error.message
            return False
        return True

    def _set_voters(self, config: Config) -> None:
        voters, now = digest.voter_ids(config), self._clock()
        self.node.next_voters(voters, now=now)
        # Nothing is announced before it is written.
        self._memory.set_voters(frozenset(model.voters(config)))
        self.node.set_voters(voters, now=now)
        tell(VotersChanged(voters=list(model.voters(config))))

    # ---- what comes ----

    @property
    def readers(self) -> tuple[Readable, ...]:
        """The socket that datagrams come to."""
        return (self._datagrams,)

    def receive(self) -> Iterator[Order | Other | None]:
        """Take in what came from the network."""
        return self.take(self._datagrams.receive())

    def take(self, datagrams: Iterable[Received]) -> Iterator[Order | Other | None]:
        """Take in datagrams that came together, whoever sent them; orders first."""
        messages = []
        for raw, source in datagrams:
            opened = self._opened(raw, source)
            if isinstance(opened, Message):
                messages.append((opened, key_of(raw), source))
            elif opened is not None:
                yield opened
        if len(messages) > 1:  # of one alone its node sees to the clock before the rest
            self.node.heed([message for message, _, _ in messages], now=self._clock())
        for message, key, source in messages:
            reception = self.node.receive(message, now=self._clock())
            self._receptions.message(message, reception, source, key, now=self._clock())
            yield contact.as_other(message) if reception is Reception.ACCEPTED else None

    def _opened(self, raw: bytes, source: str) -> Message | Order | None:
        """Return what is in a datagram, whoever sent it; None for what is not to be acted upon."""
        try:
            if not is_command(raw):
                return self._codec.decode(raw)
            return self._order(self._commands.decode(raw))
        except WireError as error:
            if isinstance(error, UnreadableError):
                self.node.receive_unread(error.head, now=self._clock())
            self._receptions.refused(raw, source, error.fault, now=self._clock())
        return None

    def _order(self, command: Command) -> Order | None:
        now = self._clock()
        refusal = self._obedience.take(command, self.node.sequence, now=now)
        if refusal is not None:
            self.traffic.received[f"command refused: {refusal.value}"] += 1
            if refusal is Refusal.LATE:
                what, by = worded(command.verb, command.value), self.names(command.sender)
                tell(CommandRefused(what=what, cause="it came too late", by=by, late=True))
            return None
        if command.verb is Verb.DOUBLE:
            self.traffic.received["command"] += 1
            self.others.doubles.heard_in_our_place(command.sender, now=now)
            return None
        return Order(command.verb, command.value, command.sender)

    # ---- what goes ----

    def speak(self, *, last: bool = False) -> bool:
        """Say the message that is due, if one is."""
        message = self.node.message_to_send(now=self._clock())
        if message is None:
            return False
        self._last = self._codec.encode(message)
        if last:
            self._datagrams.send(self._last)
            return True
        traffic = self.traffic
        traffic.message_bytes = len(self._last)
        traffic.sent += 1
        now = self._clock()
        self._obedience.spoke(message.sequence, now=now)
        loud = speech.in_vain(self.node.state, now) or now < self.others.doubles.told_until
        loud = self._datagrams.send(self._last, everybody=loud)
        self.others.ways.said(message.sequence, everybody=loud, now=now)
        missing = self._datagrams.without_source
        alarms.say_source(self.raised, missing, traffic.without_source, now=now)
        traffic.without_source = missing
        self._tell_rivals(now)
        if self._remind_at is None:
            self._see_who_is_silent(now)
        return True

    def _tell_rivals(self, now: int) -> None:
        for command, source in self.others.doubles.commands(now=now):
            raw = self._commands.encode(command)
            self._datagrams.send(raw, everybody=True)
            self._datagrams.remind(raw, [source])

    def repeat(self) -> None:
        """Say the last message again: after it nobody will."""
        for _ in range(_LAST_WORDS - 1):
            self._datagrams.send(self._last)

    def ask(self, target: int, verb: Verb, value: int = 0) -> None:
        """Ask another node to do something; RefusedError if it is not there."""
        hearing = self.node.state.hearing
        peer = hearing.peers.all.get(target)
        if peer is None or peer.newest is None or target not in hearing.living:
            name = self.names(target)
            raise RefusedError(f"{name} is not alive, as far as this host hears", "ask it there")
        command = Command(self.node.me, target, peer.incarnation, peer.newest.sequence, verb, value)
        for _ in range(_LAST_WORDS):
            self._datagrams.send(self._commands.encode(command))

    # ---- now and then ----

    def look(self, *, now: int) -> None:
        """Say what changed with the others."""
        self.others.look(now=now)

    @property
    def remind_at(self) -> int | None:
        """When the next reminder is due, ns; None while nobody is to be reminded."""
        return self._remind_at

    def remind(self, *, now: int) -> None:
        """Say the last message again to who is silent and may hold buckets, if that is due.

        It may be on a machine that stood still: its kernel takes it from there, bpf/beat.h. Who has
        no address in the file hears all anyway.
        """
        if self._remind_at is None or now < self._remind_at:
            return
        silent = self._see_who_is_silent(now)
        addresses = self.others.addresses
        targets = [address for node in silent for address in addresses.get(node, ())]
        if targets:
            self._datagrams.remind(self._last, targets)

    def _see_who_is_silent(self, now: int) -> list[int]:
        """Return who is to be reminded; it is done again soon, as long as there is anybody.

        It is enough to see who fell silent when a message is said, which is each interval.
        """
        silent = contact.to_remind(self.node.state)
        self._remind_at = now + self.node.state.timing.reminder if silent else None
        return silent

    def declined(self, node: int, why: ClusterIPError, *, now: int) -> None:
        """Say that the restart of a node is not agreed to, for that cannot be recorded."""
        self.others.declined(node, why, now=now)

    # ---- words ----

    def wrong(self, *, now: int) -> list[tuple[str, Finding]]:
        """Return what is wrong with the others."""
        return self.others.wrong(now=now)

    def of_deaf(self, node: int, hears: int) -> Finding:
        """Return that a node does not hear this one, or this one nobody."""
        return self.others.of_deaf(node, hears)
