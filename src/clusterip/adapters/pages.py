"""Where the pages of the documentation are on this host, for the cures that name one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

_HERE: Final = Path(__file__).resolve()
_SOURCE: Final = _HERE.parents[3] / "docs"
_FOLDERS: Final = (
    *((_SOURCE,) if _HERE.parents[2].name == "src" else ()),
    *(
        prefix / "share/doc/clusterip"
        for prefix in (*Path(__file__).parents[4:5], Path(sys.prefix))
    ),
)
"""That of the source; where `make install` puts them, and where the wheel does."""


def place(name: str) -> str:
    """Return the path of a page or of the example, else which one of the source it is."""
    there = (folder / name for folder in _FOLDERS)
    return next((str(one) for one in there if one.exists()), f"docs/{name} of the source")


def entering() -> str:
    """Return how to start a daemon in a network namespace, so that commands see its pins."""
    command = "nsenter --net=/run/netns/NAME clusterip run"
    return f"{command} (see {place('operations.md')}, In a network namespace)"
