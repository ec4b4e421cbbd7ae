"""What a release has that later ones keep: commands, options, statuses, keys, codes, maps.

One number or word for each, in `promised/X.Y.Z.json`, which is written with the release and never
changed. docs/compatibility.md says what may be taken back, and how: `GIVEN_UP` names it.
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from clusterip.adapters import abi
from clusterip.adapters.abi import BucketState, Reason
from clusterip.cli import main
from clusterip.core.config.declared import KEYS
from clusterip.core.config.model import Profile, Quorum, Stop
from clusterip.core.findings import Code
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import ServiceAction
from clusterip.core.rules import matches, options, target

FOLDER: Final = Path(__file__).parent / "promised"
GIVEN_UP: Final[dict[str, str]] = {}
"""What an earlier release had and this one has not -> the section of the changelog that says so."""

MUST: Final = "must be given"

Promised = dict[str, str]
"""What there is -> how it is; an option that takes a value goes on to take one, say."""

_LAYOUT: Final = "map version"
_LOWEST: Final = "map lowest"
_FILLED_ANEW: Final = {
    *("ci_vip", "ci_slot", "ci_table", "ci_page", "ci_service", "ci_config"),
    "ci_carried",
}
"""Structures that are made of the document, or live for a moment: bpf/abi.h says so."""
_BEGINNING: Final = ("abi_version", "abi_lowest", "document_at", "document_bytes")
"""Fields of ci_config which those who know nothing else of it read."""


def promised() -> Promised:
    """Return what this program has."""
    found = {f"code {one.value}": "" for one in Code}
    for name, one in _commands():
        found[f"clusterip {name}"] = ""
        found |= {f"clusterip {name} {what}": how for what, how in _arguments(one)}
        found |= {f"clusterip {name} ends with {status}": "" for status in _statuses(one)}
    for rule in (
        *options.OWN,
        *options.ADDED,
        *target.OPTIONS,
        *itertools.chain(*matches.OPTIONS.values()),
    ):
        found |= {f"rule --{name}": "" for name in rule.names}
        found |= {f"rule -{rule.short}": ""} if rule.short else {}
    for table, keys in KEYS.items():
        found |= {f"file {table}.{key}": "" for key in keys}
    for key, words in {
        "cluster.profile": Profile,
        "cluster.quorum": Quorum,
        "cluster.stop": Stop,
        "vip.hashmode": HashMode,
        "vip.service.action": ServiceAction,
    }.items():
        found |= {f'file {key} = "{one.value}"': "" for one in words}
    return found | dict(_maps())


def lost(old: Promised, new: Promised) -> list[str]:
    """Return what of an older release is not as it was."""
    gone = [
        f"{what}: was {how or 'there'}, is {new.get(what, 'gone')}"
        for what, how in old.items()
        if new.get(what) != how and what not in GIVEN_UP and not _is_another_layout(what, old, new)
    ]
    return gone + [
        f"{what}: is new, and must be given"
        for what, how in new.items()
        if what not in old and how == MUST and what.rpartition(" ")[0] in old
    ]


def _is_another_layout(what: str, old: Promised, new: Promised) -> bool:
    """Whether what the maps held then is not taken over; the numbers of layouts say that."""
    other = int(new[_LOWEST]) > int(old[_LAYOUT])
    return what in (_LAYOUT, _LOWEST) or (other and what.startswith("map "))


def _commands() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    (action,) = (
        one for one in main.parser()._actions if isinstance(one, argparse._SubParsersAction)
    )
    yield from action.choices.items()


def _arguments(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    place = itertools.count(1)
    for one in parser._actions:
        takes = "nothing" if one.nargs == 0 else str(one.nargs or "a value")
        must = one.required and one.nargs not in ("?", "*")
        for name in one.option_strings or (f"argument-{next(place)}",):
            yield name, MUST if must else takes
            yield from ((f"{name} {word}", "") for word in one.choices or ())


def _statuses(parser: argparse.ArgumentParser) -> list[str]:
    """Return the exit statuses that the help of a command names."""
    told = re.sub(r"\s+", " ", parser.format_help()).partition("exit status: ")[2]
    assert told
    return re.findall(r"(?:^|; )(\d+) ", told)


def _maps() -> Iterator[tuple[str, str]]:
    yield _LAYOUT, str(abi.ABI_VERSION)
    yield _LOWEST, str(abi.ABI_LOWEST)
    for name, structure in abi.STRUCTURES.items():
        for field in structure._fields_:
            if name not in _FILLED_ANEW or field[0] in _BEGINNING:
                # An array at the end of an entry may grow; where one within does, others move.
                each = getattr(field[1], "_type_", field[1])
                size = ctypes.sizeof(each) if isinstance(each, type) else ctypes.sizeof(field[1])
                # By its place: the name is nobody's business but ours.
                yield f"map {name} at {getattr(structure, field[0]).offset}", f"{size} bytes each"
    yield from ((f"map state {one.name}", str(one.value)) for one in BucketState)
    yield from ((f"map reason {one.name}", str(one.value)) for one in Reason)
