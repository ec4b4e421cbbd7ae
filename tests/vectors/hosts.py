"""What a release leaves on its host, and says there: for its successor, in the maps, to commands.

One file for each, `host/X.Y.Z.json`, written with the release and never changed.
"""

from __future__ import annotations

import json
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import msgspec

from clusterip.core import leftovers
from clusterip.core.config import key_file, reading
from clusterip.core.config.digest import hash_digest, voters_digest
from clusterip.core.config.key_file import Key
from clusterip.core.config.state import interface_state
from clusterip.core.errors import RefusedError
from clusterip.core.findings import Code, Finding
from clusterip.core.health import Health
from clusterip.core.leftovers import Had, Handed, Note, Voters
from clusterip.core.messages import answer
from clusterip.core.messages.answer import Changes, Done
from clusterip.core.messages.request import Drain, Reload, Restart, Show, Undrain, Weight
from clusterip.core.packets import state
from clusterip.core.packets.model import Mac
from clusterip.core.packets.state import Guard, Taken
from tests.cli import answering

FOLDER: Final = Path(__file__).parent / "host"
EXAMPLE: Final = Path(__file__).parents[2] / "docs" / "clusterip.toml"
BOOT: Final = "of the kernel"
WELL: Final = "connected"
"""What each health check found."""


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What was said and left. Lines are without their ends, bytes in hexadecimal."""

    note: str
    voters: str
    handed: str
    requests: list[str]
    status: str
    changes: str
    done: str
    failed: str
    interface: str
    """The document beside the rules in the maps."""
    key_file: str
    file: str
    """A configuration file, with the digests that messages carry for it."""
    hash_digest: str
    voters_digest: str


def said() -> Said:
    """Return what this program says and leaves."""
    text = EXAMPLE.read_text()
    read = reading.read(text)
    taken = Taken(
        True,
        (Mac("01005e000020"),),
        (ip_address("10.9.0.100"),),
        (Guard(3, True), Guard(4, False)),
    )
    shared = msgspec.structs.replace(interface_state(read, 2, "eth0"), taken=taken)
    health = Health(read.checks)
    for one in read.checks:
        health.result(one.name, True, WELL)
    handed = Handed(
        boot=BOOT,
        node=msgspec.Raw(b"{}"),
        draining_since={3: 10},
        health=health.standing(),
        weight=7,
        had={2: Had(state="owned", since=5, of=77)},
    )
    wrong = Finding.of(Code.NO_CHECK, "no health check", cure="add one")
    requests = (Show(), Reload(), Restart(), Drain(), Undrain("web2"), Weight(value=7))
    return Said(
        note=leftovers.encode(Note(boot=BOOT, until=17)).decode(),
        voters=leftovers.encode(Voters(boot=BOOT, names=frozenset({"web1"}))).decode(),
        handed=leftovers.encode(handed).decode(),
        requests=[answer.encode(one).decode().strip() for one in requests],
        status=_line(answering.status(answering.document())),
        changes=_line(Changes(["weight of web2"], [wrong])),
        done=_line(Done()),
        failed=_line(answer.failed(RefusedError("no", "do"))),
        interface=state.encode(shared).hex(),
        key_file=key_file.added(key_file.new_file(Key(1, bytes(range(32)))), Key(2, bytes(32))),
        file=text,
        hash_digest=f"{hash_digest(read):016x}",
        voters_digest=f"{voters_digest(read):016x}",
    )


def _line(told: Any) -> str:
    return answer.encode(told).decode().strip()


def goes_on(old: Any, new: Any) -> bool:
    """Whether all that was said is said: a newer program may say more in each part."""
    if isinstance(old, dict) and isinstance(new, dict):
        return all(key in new and goes_on(value, new[key]) for key, value in old.items())
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(goes_on, old, new))
    return bool(old == new)


def same(line: str, told: Any) -> bool:
    """Whether a value that was read of a line says what the line does."""
    return goes_on(json.loads(line), json.loads(_line(told)))
