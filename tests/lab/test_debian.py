"""Where the packages of another release come from, told from this machine's apt list."""

from __future__ import annotations

import pytest

from lab.debian import Source, exchanged

TARGETS = """\
Packages\tdeb\thttp://mirror.example/debian/\tbookworm\tmain
Translations\tdeb\thttp://mirror.example/debian/\tbookworm\tmain
Sources\tdeb-src\thttp://mirror.example/debian/\tbookworm\tmain
Packages\tdeb\thttp://mirror.example/debian/\tbookworm\tcontrib
Packages\tdeb\thttp://mirror.example/debian/\tbookworm-updates\tmain
Packages\tdeb\thttp://mirror.example/security/\tbookworm-security\tmain
Packages\tdeb\thttp://others.example/apt/\ttools-bookworm\tmain
Packages\tdeb\thttp://others.example/apt/\tbookwormish\tmain
"""


def test_the_release_is_exchanged_in_what_is_debians() -> None:
    assert list(exchanged(TARGETS, "bookworm", "trixie")) == [
        Source("http://mirror.example/debian/", "trixie", "main"),
        Source("http://mirror.example/debian/", "trixie", "contrib"),
        Source("http://mirror.example/debian/", "trixie-updates", "main"),
        Source("http://mirror.example/security/", "trixie-security", "main"),
    ]


@pytest.mark.parametrize("mine", ["", "trixie", "book"])
def test_no_source_of_debian(mine: str) -> None:
    assert list(exchanged(TARGETS, mine, "sid")) == []


def test_as_apt_reads_it() -> None:
    line = str(Source("http://mirror.example/debian/", "trixie", "main"))
    assert line == "deb http://mirror.example/debian/ trixie main\n"
