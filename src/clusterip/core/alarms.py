"""What is wrong now: since when, how often it was found, and when it is over.

What is so for a while is held: it is over when it is not found any more. What happens in a moment
lasts for `_LASTS` after it happened last. Times are CLOCK_BOOTTIME, ns.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from clusterip.core.events import AlarmCleared, AlarmRaised
from clusterip.core.findings import Code, Finding
from clusterip.core.journal import characters
from clusterip.core.status import Raised
from clusterip.core.units import SECOND

_LASTS: Final = 60 * SECOND
_MOST: Final = 256
"""How many there are at a time: more are not kept."""
_SAID: Final = frozenset(
    (Code.SILENT, Code.STOPPED, Code.REFUSED, Code.DEAF, Code.NOT_REACHED, Code.NO_SOURCE)
)
"""Whose end is an event of its own: a node is back, hears this one again, is reached."""
SILENCE: Final = (Code.SILENT, Code.STOPPED, Code.REFUSED)
"""Why a node is not heard, of which one may become another: who finds it tells by itself."""
_UNSAID: Final = frozenset(
    (
        *(Code.GROUP_MISSING, Code.STATUS_NOT_TOLD, Code.ALONE),
        *(Code.VOTERS_NOT_IN_USE, Code.RENAMED, Code.KEY_MISSING),
    )
)
"""Of whose beginning nobody tells, but that it is found."""
_BEGUN_ELSEWHERE: Final = frozenset((Code.NOT_PINNED,))
"""Of whose beginning who finds it tells by itself, and not of its end."""
_SETTLES: Final = 2 * SECOND
"""For how long such a one is found before it is said: some are over at once."""
_FINDS: Final = 15 * SECOND
"""How long it may take to find again what was so before a planned restart."""
LEFT_BYTES: Final = 10 << 10
"""How many bytes of them are handed over at most."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """One as it is handed over."""

    finding: Finding
    about: str
    since: int
    newest: int
    count: int = 1
    held: bool = False
    told: bool = False


class _Alarm:
    """One that is raised."""

    __slots__ = ("count", "expires", "finding", "held", "newest", "since", "told")

    def __init__(self, finding: Finding, now: int) -> None:
        self.finding, self.since, self.newest = finding, now, now
        self.count = 1
        self.held = False
        """Whether it is over as soon as it is not found."""
        self.told = False
        self.expires = 0
        """Until when what was so before a planned restart need not be found, 0 once it was."""


class Alarms:
    """Those of a daemon, by code and what they are about."""

    def __init__(self) -> None:
        self._all: dict[tuple[str, str], _Alarm] = {}

    def happened(self, finding: Finding, about: str = "", *, now: int) -> AlarmRaised | None:
        """Note what happens in a moment; return what is to be said, None where it is counted."""
        one = self._all.get((finding.code, about))
        if one is None or not one.told:
            return self.raised(finding, about, now=now)
        one.count, one.newest = one.count + 1, now
        return None

    def raised(self, finding: Finding, about: str = "", *, now: int) -> AlarmRaised:
        """Note what is said to be wrong from now on, and return that."""
        one = self._note(finding, about, now)
        if one is not None:
            one.told, one.expires = True, 0
        return AlarmRaised(finding=finding, about=about)

    def is_said(self, finding: Finding, about: str = "") -> bool:
        """Tell whether it was said that this is wrong, and it is not over."""
        one = self._all.get((finding.code, about))
        return one is not None and one.told

    def note_said(self, finding: Finding, about: str, *, now: int) -> None:
        """Note what is wrong from now on, and is said otherwise."""
        self.raised(finding, about, now=now)

    def silent_since(self, about: str) -> int | None:
        """Return since when it was said that a node is not heard, None if it was not."""
        there = (self._all.get((code.value, about)) for code in SILENCE)
        return min((one.since for one in there if one and one.told), default=None)

    def heard(self, about: str) -> None:
        """Note that a node is heard, which is said otherwise."""
        for code in SILENCE:
            self._all.pop((code.value, about), None)

    def over(self, code: Code, about: str, said: str, *, now: int) -> AlarmCleared:
        """Note that something is over, and return that, in those words."""
        one = self._all.pop((code.value, about), None)
        seconds = round((now - one.since) / SECOND, 3) if one else 0.0
        count = one.count if one else 1
        return AlarmCleared(
            code=code.value, about=about, what=said, seconds=seconds, count=count, said=True
        )

    def hold(
        self, found: Iterable[tuple[str, Finding]], *, now: int
    ) -> list[AlarmRaised | AlarmCleared]:
        """Take in all that is wrong now, each with what it is about; return what is to be said."""
        there = set()
        said: list[AlarmRaised | AlarmCleared] = []
        for about, finding in found:
            there.add((finding.code, about))
            one = self._note(finding, about, now)
            if one is not None:
                one.held, one.newest, one.finding, one.expires = True, now, finding, 0
                one.told = one.told or finding.code in _BEGUN_ELSEWHERE
                if finding.code in _UNSAID and not one.told and now >= one.since + _SETTLES:
                    said.append(self.raised(finding, about, now=now))
        gone = [
            key
            for key, one in self._all.items()
            if key not in there and now >= one.expires and (one.held or now >= one.newest + _LASTS)
        ]
        return [
            *said,
            *(
                AlarmCleared(
                    code=code,
                    about=about,
                    what=one.finding.what,
                    seconds=round((one.newest - one.since) / SECOND, 3),
                    count=one.count,
                )
                for code, about in gone
                # Of what was so before a planned restart nobody else knows.
                if (one := self._all.pop((code, about))).told
                and (code not in _SAID or (one.expires and not self._goes_on(code, about)))
            ),
        ]

    def _goes_on(self, code: str, about: str) -> bool:
        """Tell whether a node is not heard still, for another reason."""
        return code in SILENCE and any((other.value, about) in self._all for other in SILENCE)

    def now(self, *, now: int) -> list[Raised]:
        """Return those that are raised, the oldest first."""
        return [
            Raised(
                finding=one.finding,
                about=about,
                since_seconds=round((now - one.since) / SECOND, 3),
                last_seconds=round((now - one.newest) / SECOND, 3),
                count=one.count,
            )
            for (_, about), one in self._all.items()
        ]

    def leave(self) -> list[dict[str, Any]]:
        """Return what a successor needs, in a form that JSON has: the oldest that fit."""
        left, room = [], LEFT_BYTES
        for (_, about), one in self._all.items():
            standing = Standing(
                finding=one.finding,
                about=about,
                since=one.since,
                newest=one.newest,
                count=one.count,
                held=one.held,
                told=one.told,
            )
            plain = characters(msgspec.to_builtins(standing))
            room -= len(msgspec.json.encode(plain))
            if room < 0:
                break
            left.append(plain)
        return left

    def restore(self, left: Iterable[dict[str, Any]], *, now: int) -> None:
        """Go on with what a predecessor left; what cannot be read of it is left alone."""
        for plain in left:
            try:
                said = msgspec.convert(plain, Standing)
            except msgspec.ValidationError:
                continue
            one = self._note(said.finding, said.about, now)
            if one is not None:
                one.since, one.newest = min(said.since, now), min(said.newest, now)
                one.count, one.held, one.told = said.count, said.held, said.told
                one.expires = now + _FINDS

    def _note(self, finding: Finding, about: str, now: int) -> _Alarm | None:
        key = finding.code, about
        if key not in self._all and len(self._all) < _MOST:
            self._all[key] = _Alarm(finding, now)
        return self._all.get(key)
