"""What was said of another node, so that it is said once."""

from __future__ import annotations


class Seen:
    """What was said of a node: the incarnation heard, 0 for none; `since` when not, ns."""

    __slots__ = ("anew", "former", "incarnation", "known", "refused", "silent", "since")

    def __init__(self, incarnation: int = 0, *, known: int) -> None:
        self.incarnation = incarnation
        self.known = known
        """Since when it is in the file, ns, as far as that matters."""
        self.anew = 0
        """From when its silence counts, ns: this daemon stood still before."""
        self.former = 0
        self.since = 0
        self.silent = False
        """Whether it was said that it is silent."""
        self.refused = False
        """Whether it was said that it is silent, for it is refused."""
