"""Write what this release says, hands over and has, for the tests of later ones.

Run once, when a release is made: .venv/bin/python -m tests.vectors.write 0.1.0
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import msgspec

from clusterip.core.buckets import EVERY_FLOW_SLOT
from clusterip.core.messages.command import Command, CommandCodec, Verb
from clusterip.core.messages.message import Message
from clusterip.core.messages.wire import Codec
from clusterip.core.units import SECOND
from tests.core.lease.lan import Lan, borne, node
from tests.vectors import hosts, promises

CLUSTER, KEY, TOTAL = 77, bytes(range(32)), 12


def main(version: str) -> None:
    """Let three nodes start, drain and restart, and keep some of what they say."""
    lan = Lan(*(node(me, total=TOTAL, watch=SECOND, keep=30 * SECOND) for me in (1, 2, 3)))
    lan.flow_slots = 0x8000000000000001
    lan.run(6 * SECOND)
    lan.nodes[1].drain(now=lan.now)
    lan.run(lan.now + 2 * SECOND)
    lan.nodes[1].prepare_restart(now=lan.now)
    handover = borne(lan, 1)
    told = lan.sent[:6] + lan.sent[-40:]
    told.append(
        told[-1]._replace(draining=3, flows=((1, EVERY_FLOW_SLOT), (2, 5)), keys=1 << 63 | 2)
    )
    codec = Codec(CLUSTER, {1: KEY}, 1, TOTAL)
    commands = [Command(1, 2, 3, 4, verb, 7 if verb is Verb.WEIGHT else 0) for verb in Verb]
    sealed = CommandCodec(CLUSTER, {1: KEY}, 1)
    document = {
        "cluster": CLUSTER,
        "key": KEY.hex(),
        "total": TOTAL,
        "messages": [(codec.encode(one).hex(), plain(one)) for one in told],
        "commands": [(sealed.encode(one).hex(), plain(one)) for one in commands],
        "handover": msgspec.Raw(handover.encode()),
    }
    for folder, content in (
        (Path(__file__).parent / "released", document),
        (hosts.FOLDER, hosts.said()),
        (promises.FOLDER, promises.promised()),
    ):
        raw = msgspec.json.format(msgspec.json.encode(content), indent=1)
        (folder / f"{version}.json").write_bytes(raw + b"\n")


def plain(value: Message | Command) -> dict[str, object]:
    """Return its fields."""
    return value._asdict()


if __name__ == "__main__":
    words = sys.argv[1:]
    if len(words) != 1 or not re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", words[0]):
        sys.exit("usage: .venv/bin/python -m tests.vectors.write X.Y.Z")
    main(words[0])
