"""Commands: said once, obeyed once, by the right node, while they are fresh."""

from __future__ import annotations

import hmac
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterip.core.messages import fields, wire
from clusterip.core.messages.command import (
    COMMAND_BYTES,
    Command,
    CommandCodec,
    Obedience,
    Refusal,
    Verb,
    is_command,
)
from clusterip.core.messages.envelope import Fault, WireError
from clusterip.core.messages.message import Message

KEYS = {1: b"one secret of many", 7: b"another secret of many"}
CLUSTER = 77
ME, INCARNATION = 5, 1 << 63
WINDOW = 32
LASTING = 1000
ID = st.integers(1, 2**64 - 1)
WEIGHTS = st.builds(Command, ID, ID, ID, ID, st.just(Verb.WEIGHT), st.integers(0, 255))
OTHERS = st.builds(Command, ID, ID, ID, ID, st.sampled_from([Verb.DRAIN, Verb.UNDRAIN]), st.just(0))
COMMANDS = WEIGHTS | OTHERS


def codec(
    cluster: int = CLUSTER, keys: dict[int, bytes] | None = None, key: int = 1
) -> CommandCodec:
    return CommandCodec(cluster, keys or KEYS, key)


def order(
    sequence: int,
    verb: Verb = Verb.DRAIN,
    *,
    target: int = ME,
    incarnation: int = INCARNATION,
    value: int = 0,
) -> Command:
    return Command(9, target, incarnation, sequence, verb, value)


def fault_of(datagram: bytes, reader: CommandCodec | None = None) -> Fault:
    with pytest.raises(WireError) as caught:
        (reader or codec()).decode(datagram)
    return caught.value.fault


def resealed(datagram: bytes) -> bytes:
    """Return the datagram with a right MAC: what one who has the key may send."""
    return datagram[:-32] + hmac.digest(KEYS[1], datagram[:-32], "sha256")


@given(COMMANDS)
def test_round_trip(command: Command) -> None:
    datagram = codec().encode(command)
    assert len(datagram) == COMMAND_BYTES == 80
    assert is_command(datagram)
    assert codec().decode(datagram) == command


def test_the_bytes_are_as_written() -> None:
    datagram = codec().encode(Command(2, 3, 4, 5, Verb.WEIGHT, 200))
    fields = b"".join(number.to_bytes(8, "big") for number in (2, 3, 4, 5))
    assert datagram[:-32] == b"CLIC\x01\x01" + CLUSTER.to_bytes(8, "big") + fields + b"\x03\xc8"


def test_messages_and_commands_are_told_apart() -> None:
    messages = wire.Codec(CLUSTER, KEYS, 1, 8)
    said = messages.encode(Message(1, 1, 1, 1, 1))
    command = codec().encode(order(1))
    assert not is_command(said)
    assert not is_command(b"")
    assert not is_command(b"CLI")
    with pytest.raises(WireError) as caught:
        messages.decode(command)
    assert caught.value.fault is Fault.MAGIC
    # Same length, other magic: the MAC is not that of a command.
    assert fault_of(b"CLIC" + command[4:-1] + bytes((command[-1] ^ 1,))) is Fault.MAC
    assert fault_of(b"CLIP" + command[4:]) is Fault.MAGIC


@given(st.binary(max_size=200))
def test_garbage(datagram: bytes) -> None:
    fault_of(datagram)
    fault_of(b"CLIC\x01\x01" + CLUSTER.to_bytes(8, "big") + datagram)


def test_every_other_length_is_refused() -> None:
    good = codec().encode(order(1))
    for length in range(COMMAND_BYTES):
        assert fault_of(good[:length]) is Fault.TRUNCATED
    for length in (1, 2, 400):
        assert fault_of(good + bytes(length)) is Fault.MAC
    for length in (1000, 65507):
        assert fault_of(good + bytes(length)) is Fault.OVERSIZED


@given(st.dictionaries(st.integers(1, 255), st.binary(min_size=1, max_size=40), max_size=3))
def test_what_a_later_release_adds_is_skipped(more: dict[int, bytes]) -> None:
    body = codec().encode(order(1))[14:-32]
    assert codec().decode(codec()._seal.close(body + fields.encode(more))) == order(1)
    assert fault_of(codec()._seal.close(body + b"\x01")) is Fault.MALFORMED


def test_every_bit_counts() -> None:
    good = codec().encode(order(1))
    for bit in range(8 * len(good)):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        fault_of(bytes(bad))


def test_keys_and_clusters() -> None:
    good = codec().encode(order(1))
    assert fault_of(good, codec(cluster=78)) is Fault.CLUSTER
    assert fault_of(good, codec(keys={7: KEYS[7]}, key=7)) is Fault.KEY
    assert fault_of(good, codec(keys={1: bytes(32)})) is Fault.MAC
    assert codec(key=7).decode(good) == order(1)


def test_who_has_the_key_and_errs_gets_a_reason_or_a_command() -> None:
    random = Random(1)
    good = codec().encode(order(1))
    counts: Counter[Fault | None] = Counter()
    for _ in range(20_000):
        raw = bytearray(good)
        for _ in range(random.randint(1, 3)):
            raw[random.randrange(14, 48)] = random.choice((0, 1, 2, 3, 4, 255))
        try:
            command = codec().decode(resealed(bytes(raw)))
        except WireError as error:
            counts[error.fault] += 1
        else:
            counts[None] += 1
            assert isinstance(command.verb, Verb)
            assert codec().decode(codec().encode(command)) == command
    assert set(counts) == {None, Fault.MALFORMED}
    assert min(counts.values()) > 1000


@pytest.mark.parametrize(
    ("at", "what"),
    [(14, bytes(8)), (22, bytes(8)), (30, bytes(8)), (38, bytes(8))]
    + [(46, bytes((verb, 0))) for verb in (0, 5, 255)]
    + [(46, bytes((verb, 1))) for verb in (Verb.DRAIN, Verb.UNDRAIN, Verb.DOUBLE)],
)
def test_each_field_is_checked(at: int, what: bytes) -> None:
    good = codec().encode(order(1))
    assert fault_of(resealed(good[:at] + what + good[at + len(what) :])) is Fault.MALFORMED


@pytest.mark.parametrize(
    "bad",
    [
        order(1)._replace(sender=0),
        order(1)._replace(sender=1 << 64),
        order(1, target=0),
        order(1, incarnation=0),
        order(0),
        order(-1),
        order(1, value=1),
        order(1, Verb.WEIGHT, value=256),
        order(1, Verb.WEIGHT, value=-1),
    ],
)
def test_what_cannot_be_said_is_refused(bad: Command) -> None:
    with pytest.raises(ValueError, match="out of range"):
        codec().encode(bad)


def obedience(after: int = 0) -> Obedience:
    return Obedience(ME, INCARNATION, window=WINDOW, lasting=LASTING, after=after)


def test_a_command_is_obeyed_once() -> None:
    node = obedience()
    assert node.take(order(10), 10, now=0) is None
    assert node.take(order(10), 10, now=0) is Refusal.REPLAYED
    assert node.take(order(10, Verb.UNDRAIN), 11, now=0) is Refusal.REPLAYED
    assert node.take(order(11, Verb.UNDRAIN), 11, now=0) is None
    assert node.take(order(10), 11, now=0) is Refusal.REPLAYED


def test_what_is_for_another_is_not_obeyed() -> None:
    node = obedience()
    assert node.take(order(10, target=ME + 1), 10, now=0) is Refusal.TARGET
    assert node.take(order(10, incarnation=INCARNATION + 1), 10, now=0) is Refusal.INCARNATION
    assert node.take(order(11), 10, now=0) is Refusal.UNSENT
    # And costs those for us nothing.
    assert node.take(order(1), 10, now=0) is None


def test_a_command_is_fresh_for_a_window() -> None:
    for late in range(2 * WINDOW):
        refusal = obedience().take(order(100), 100 + late, now=0)
        assert refusal is (None if late < WINDOW else Refusal.STALE)


def test_a_command_is_obeyed_while_the_message_it_names_is_young() -> None:
    node = obedience()
    node.spoke(10, now=50)
    assert node.take(order(10), 10, now=50 + LASTING + 1) is Refusal.LATE
    # A newer message does not make it younger, and one that is given again is obeyed.
    node.spoke(11, now=50 + LASTING + 1)
    assert node.take(order(10), 11, now=50 + LASTING + 2) is Refusal.LATE
    assert node.take(order(11), 11, now=50 + 2 * LASTING + 1) is None


def test_the_window_is_one_message_at_least() -> None:
    with pytest.raises(ValueError, match="window 0 is below 1"):
        Obedience(ME, INCARNATION, window=0, lasting=LASTING, after=0)


def test_a_successor_does_not_obey_what_its_predecessor_may_have_obeyed() -> None:
    assert obedience().take(order(20), 21, now=0) is None
    successor = obedience(after=21)
    for sent in (21, 22, 30):
        assert successor.take(order(20), sent, now=0) is Refusal.REPLAYED
        assert successor.take(order(21), sent, now=0) is Refusal.REPLAYED
    assert successor.take(order(22), 30, now=0) is None


@given(st.data())
def test_whatever_the_network_does(data: st.DataObject) -> None:
    """Commands lost, late, repeated and reordered, by several senders, over several incarnations.

    The target sends messages; senders say commands upon the newest of them, or an older one. What
    is delivered is any command said so far, any number of times, in any order.
    """
    window = data.draw(st.integers(1, 5))
    incarnation, sequence = 1, 0
    node = Obedience(ME, incarnation, window=window, lasting=LASTING, after=0)
    said: list[Command] = []
    obeyed: list[Command] = []
    steps = data.draw(st.lists(st.sampled_from("mmcccddddddrb"), max_size=60))
    for step in steps:
        if step == "m":
            sequence += 1
        elif step == "c" and sequence:
            heard = data.draw(st.integers(max(1, sequence - 2), sequence))
            verb = data.draw(st.sampled_from(Verb))
            said.append(Command(data.draw(st.integers(7, 9)), ME, incarnation, heard, verb))
        elif step == "d" and said:
            command = data.draw(st.sampled_from(said))
            if node.take(command, sequence, now=0) is None:
                assert command.target_incarnation == incarnation
                assert sequence - window < command.target_sequence <= sequence
                obeyed.append(command)
        elif step == "r":  # a planned restart
            node = Obedience(ME, incarnation, window=window, lasting=LASTING, after=sequence)
        elif step == "b":  # a new incarnation
            incarnation, sequence = incarnation + 1, 0
            node = Obedience(ME, incarnation, window=window, lasting=LASTING, after=0)
    order_of_obeyed = [(command.target_incarnation, command.target_sequence) for command in obeyed]
    assert order_of_obeyed == sorted(set(order_of_obeyed))
