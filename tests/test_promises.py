"""What a release had for its users, the next one has: docs/compatibility.md, held statically."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.vectors import hosts, promises
from tests.vectors.promises import GIVEN_UP, MUST, Promised, lost

ROOT = Path(__file__).parents[1]
RELEASED = ROOT / "tests" / "vectors" / "released"
RELEASES = sorted(promises.FOLDER.glob("*.json"))
NOW = promises.promised()


def releases(folder: Path) -> set[str]:
    return {one.stem for one in folder.glob("*.json")}


def test_each_release_has_all_its_files() -> None:
    assert releases(RELEASED)
    assert releases(RELEASED) == releases(hosts.FOLDER) == releases(promises.FOLDER)
    assert {one.stem for one in RELEASED.glob("*.commit")} <= releases(RELEASED)


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.stem)
def test_nothing_is_lost(release: Path) -> None:
    assert lost(json.loads(release.read_text()), NOW) == []


def test_what_is_given_up_was_there_and_is_told() -> None:
    changes = (ROOT / "CHANGELOG.md").read_text()
    was = [json.loads(release.read_text()) for release in RELEASES]
    for what, section in GIVEN_UP.items():
        assert any(what in one for one in was)
        assert f"## [{section}]" in changes


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"code deaf": None}, "code deaf: was there, is gone"),
        ({"clusterip show --json": "a value"}, "clusterip show --json: was nothing, is a value"),
        ({"clusterip drain --now": MUST}, "clusterip drain --now: is new, and must be given"),
        (
            {"clusterip drain argument-2": MUST},
            "clusterip drain argument-2: is new, and must be given",
        ),
        ({"clusterip check ends with 4": None}, "clusterip check ends with 4: was there, is gone"),
        ({"file cluster.stop": None}, "file cluster.stop: was there, is gone"),
        (
            {"map ci_group at 8": "4 bytes each"},
            "map ci_group at 8: was 8 bytes each, is 4 bytes each",
        ),
        ({"map reason DROP_EXPIRED": "9"}, "map reason DROP_EXPIRED: was 8, is 9"),
    ],
)
def test_what_is_lost_is_found(changes: dict[str, str | None], found: str) -> None:
    changed: Promised = {what: how for what, how in (NOW | changes).items() if how is not None}
    assert lost(NOW, changed) == [found]


def test_what_is_added_is_no_loss() -> None:
    more = {
        "code new": "",
        "clusterip new": "",
        "clusterip new argument-1": MUST,
        "file cluster.new": "",
    }
    grown = {
        "clusterip show --new": "a value",
        "map version": "7",
        "map ci_group at 2312": "8 bytes each",
    }
    assert lost(NOW, NOW | more | grown) == []


def test_another_layout_of_maps_takes_over_nothing() -> None:
    version = str(int(NOW["map version"]) + 1)
    other = {"map version": version, "map lowest": version, "map state OWNED": "7"}
    assert lost(NOW, NOW | other) == []
