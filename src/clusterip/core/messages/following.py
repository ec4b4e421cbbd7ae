"""Following a journal over connections: where one ends, the next goes on.

One ends with the daemon's last word, a `Bye`, or without: then it is `lost`, and nothing is known.

It has no connection of its own: each is asked what `listen` says, and what comes is given to
`take`, until `over`. A position is text, for whoever wants to go on later, in another process.
"""

from __future__ import annotations

from typing import Final

from clusterip.core.errors import UsageError
from clusterip.core.journal import Entry
from clusterip.core.messages import feed
from clusterip.core.messages.feed import Bye, Hello, Listen, Now

MOST_DIGITS: Final = 18
"""How many digits the number of an event has at most."""
_SHOWN: Final = 80
RESTART: Final = "restart"
"""Why a daemon ends after which another one follows."""
STOP: Final = "stop"
"""Why a daemon ends that was told to."""


class Following:
    """What was heard of a journal so far.

    It begins after `position`, which an earlier one had, "" for all that there is, or after the
    event of the number `since` in whatever journal there is; `last` is how many of the newest are
    wanted at most; without `follow` it is over when all was said.
    """

    def __init__(
        self, position: str = "", last: int | None = None, *, follow: bool, since: int = 0
    ) -> None:
        self._journal, self._after = _read(position) if position else ("", since)
        self._last = last
        self._follow = follow
        self._began = False
        """Whether it was told how far the journal goes."""
        self.over = False
        """Whether nothing more comes on this connection."""
        self.goes_on = False
        """Whether it goes on with the next connection, on which `listen` is to be said."""
        self.patient = False
        """Whether what comes next may take its time: on this connection all that is was said."""
        self.failed = False
        """Whether the daemon said that it ends, and neither for a restart nor as it was told to."""

    @property
    def position(self) -> str:
        """Where it is: after the newest entry that was taken in."""
        return f"{self._journal}:{self._after}" if self._journal else ""

    def listen(self, hello: Hello) -> Listen:
        """Return what is to be asked on a new connection."""
        if self._journal and hello.journal != self._journal:
            # Its numbers are of a journal that was lost: this one is wanted from its beginning.
            self._after = 0
        self._journal = hello.journal
        self.over = self.goes_on = self.patient = False
        return Listen(
            after=self._after, journal=self._journal, last=self._last, follow=self._follow
        )

    def take(self, said: feed.Said | feed.Unknown) -> Entry | None:
        """Take in what was said; return the event if it is one that was not said before.

        What is not about the journal is left alone.

        UsageError where what it is to begin after is beyond the end of the journal.
        """
        if isinstance(said, Bye):
            self.over = True
            self.goes_on = said.why == RESTART
            self.failed = said.why not in (RESTART, STOP)
            return None
        if isinstance(said, Now):
            if self._after > said.seq and not self._began:
                raise UsageError(
                    f"the journal has no event {self._after}: its newest is {said.seq}",
                    "begin after an earlier one, or with all; after the daemon was stopped, or the"
                    " host booted, numbers begin anew",
                )
            self._began = self.patient = True
            # What it was to begin with has been said: from here on all is wanted.
            self._last = None
            self._after = max(self._after, said.seq)
            self.over = not self._follow
            return None
        if not isinstance(said, feed.Entry) or said.entry.seq <= self._after:
            return None
        self._after = said.entry.seq
        # Where it is lost now, all that follows is wanted.
        self._last = None
        return said.entry

    def lost(self) -> None:
        """Take in that the connection ended without a last word."""
        self.over = self.goes_on = True


def _read(position: str) -> tuple[str, int]:
    journal, colon, number = position.partition(":")
    right = number.isdecimal() and number.isascii() and len(number) <= MOST_DIGITS
    if not (journal and colon and right):
        raise UsageError(
            f"{position[:_SHOWN]!r} is no position in a journal",
            "give the `position` of what was read",
        )
    return journal, int(number)
