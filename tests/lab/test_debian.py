"""Where the packages of another release come from, told from this machine's apt list."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from lab.debian import NoSourceError, Source, lines, sources, stanzas

STANZAS = """\
# of a day
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb deb-src
# and this one
URIs: http://mirror.example/security
Suites: bookworm-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINB

Types: deb-src
URIs: http://mirror.example/debian
Suites: bookworm
Components: main

Enabled: no
Types: deb
URIs: http://mirror.example/off
Suites: bookworm
Components: main
"""
LINES = """\
deb http://mirror.example/debian bookworm main contrib  # all
deb [signed-by=/etc/key.gpg arch=amd64,arm64] http://mirror.example/security bookworm/updates main
# deb http://mirror.example/debian sid main
deb-src http://mirror.example/debian bookworm main
deb http://others.example/apt tools-bookworm main
"""


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(
        platform, "freedesktop_os_release", lambda: {"VERSION_CODENAME": "bookworm"}
    )
    (tmp_path / "sources.list.d").mkdir()
    return tmp_path


def test_stanzas() -> None:
    first, second = stanzas(STANZAS)
    assert first.uris == ("http://mirror.example/debian",)
    assert first.suites == ("bookworm", "bookworm-updates")
    assert first.components == ("main", "contrib")
    assert first.keyring == "/usr/share/keyrings/debian-archive-keyring.gpg"
    assert second.suites == ("bookworm-security",)
    assert second.keyring == "\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINB"
    assert list(stanzas(str(second))) == [second]


def test_lines() -> None:
    first, second, third = lines(LINES)
    assert first == Source(("http://mirror.example/debian",), ("bookworm",), ("main", "contrib"))
    assert second.keyring == "/etc/key.gpg"
    assert dict(second.options)["Architectures"] == "amd64 arm64"
    assert third.suites == ("tools-bookworm",)


def test_the_release_is_exchanged_in_what_is_debians(apt: Path) -> None:
    (apt / "sources.list").write_text(LINES)
    (apt / "sources.list.d/debian.sources").write_text(STANZAS)
    (apt / "sources.list.d/debian.sources.off").write_text(STANZAS)
    assert [source.suites for source in sources("trixie", apt)] == [
        ("trixie",),
        ("trixie/updates",),
        ("trixie", "trixie-updates"),
        ("trixie-security",),
    ]
    assert sources("trixie", apt)[2].uris == ("http://mirror.example/debian",)
    assert sources("bookworm", apt)[2] == next(stanzas(STANZAS))


@pytest.mark.parametrize("text", ["", "deb http://others.example/apt tools-bookworm main\n"])
def test_no_source_of_debian(apt: Path, text: str) -> None:
    (apt / "sources.list").write_text(text)
    with pytest.raises(NoSourceError, match="no source of Debian's own packages"):
        sources("trixie", apt)
