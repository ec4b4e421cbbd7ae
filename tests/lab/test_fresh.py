"""What `make test-fresh` reads: the README, what pip and pytest say; and its table."""

from __future__ import annotations

from pathlib import Path

from lab.fresh import Outcome, Pip, commands, counts, pip_of, table

README = Path(__file__).parents[2] / "README.md"


def test_the_commands_of_the_readme() -> None:
    assert commands(README.read_text()) == ["make demo", "make test"]


def test_what_pytest_counted() -> None:
    assert counts("") == {}
    assert counts("3 passed in the dark\n") == {}
    assert counts("= 1 failed, 12 passed, 3 skipped in 7.20s =\n") == {
        "failed": "1",
        "passed": "12",
        "skipped": "3",
    }
    # The last word counts: tests run pytest themselves.
    assert counts("2 passed in 0.10s\nmore\n5 passed in 71.01s (0:01:11)\n") == {"passed": "5"}


def test_how_pip_gets_at_packages(tmp_path: Path) -> None:
    index = tmp_path / "wheels" / "simple"
    index.mkdir(parents=True)
    (tmp_path / "links").mkdir()
    for name in ("ca.crt", "other.crt"):
        (tmp_path / name).touch()
    listed = f"""\
:env:.cert='{tmp_path}/ca.crt'
:env:.find-links='{tmp_path}/links {tmp_path}/missing'
global.cert='{tmp_path}/other.crt'
global.extra-index-url='file://{index} http://index.example/simple'
install.no-compile='true'
"""
    there = "/usr/local/share/carried/0-ca.crt"
    assert pip_of(listed) == Pip(
        {
            "PIP_CERT": there,
            "PIP_FIND_LINKS": f"{tmp_path}/links {tmp_path}/missing",
            "PIP_EXTRA_INDEX_URL": f"file://{index} http://index.example/simple",
            "PIP_NO_COMPILE": "true",
        },
        {tmp_path / "ca.crt": there},
        (tmp_path / "links", tmp_path / "wheels"),
    )
    assert pip_of("") == Pip()


def test_the_table() -> None:
    good = Outcome("12", "make test", 0, "12 passed, 3 skipped in 7.20s\n", 71.4)
    bad = Outcome("13", "make demo", 2, "no such thing\n", 5.0)
    assert (good.well, bad.well) == (True, False)
    assert table([good, bad]).splitlines() == [
        "release    command    result         passed  failed  skipped  time",
        "Debian 12  make test  ok             12              3        71 s",
        "Debian 13  make demo  exit status 2                           5 s",
    ]
