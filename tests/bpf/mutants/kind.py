"""What a mutant is: a place in the source, what stands there instead, and what that breaks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parents[3] / "bpf"


@dataclass(frozen=True)
class Mutant:
    """`old` stands once in bpf/`file`; `new` takes its place. `breaks` is what goes wrong then.

    `same` says why no packet could tell the mutant from the original, for one that is equivalent.
    """

    file: str
    old: str
    new: str
    breaks: str
    same: str = ""

    def applied(self, source: str) -> str:
        """Return the file with the mutation; ValueError unless the place is there once."""
        if source.count(self.old) != 1:
            raise ValueError(f"{self.file}: {self.old!r} is there {source.count(self.old)} times")
        return source.replace(self.old, self.new)
