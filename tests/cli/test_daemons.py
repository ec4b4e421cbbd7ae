"""Which daemon a command means, and what is said when there is none."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest

from clusterip.adapters import control, runfiles
from clusterip.adapters.memory import RunFiles
from clusterip.cli import daemons
from clusterip.cli.main import main
from clusterip.core.errors import RefusedError, SystemFaultError, UsageError
from clusterip.core.messages.request import Drain
from clusterip.runtime import asking
from tests.cli.answering import answering, status

pytestmark = pytest.mark.root("said before all else")


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A /run of the test's own."""
    monkeypatch.setattr(runfiles, "ROOT", tmp_path)


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    daemons.add_option(parser)
    return parser.parse_args(words)


def test_the_only_one() -> None:
    with RunFiles("web").claimed():
        assert daemons.chosen(arguments()) == "web"


def test_the_one_that_is_named() -> None:
    with RunFiles("web").claimed(), RunFiles("mail").claimed():
        assert daemons.chosen(arguments("--cluster", "mail")) == "mail"
    assert daemons.chosen(arguments("--cluster", "mail")) == "mail"


@pytest.mark.parametrize("name", ["", ".", "..", "web/../web", "/web", "web/", "w\n", "w" * 64])
def test_what_is_no_name(name: str) -> None:
    with answering() as daemon:
        with pytest.raises(UsageError, match=r"^cluster '.*' is not a name") as refused:
            control.ask(daemons.chosen(arguments("--cluster", name)), Drain())
        assert refused.value.cure
        assert daemon.asked == []


def test_one_that_does_not_run_where_others_do() -> None:
    with answering() as daemon:
        with pytest.raises(SystemFaultError, match="no daemon of cluster foo runs") as refused:
            control.ask(daemons.chosen(arguments("--cluster", "foo")), Drain())
        assert refused.value.cure.startswith("daemons that run here: web; or start it: ")
        assert daemon.asked == []


def test_several() -> None:
    with (
        RunFiles("web").claimed(),
        RunFiles("mail").claimed(),
        pytest.raises(RefusedError, match="several clusters run here: mail, web") as which,
    ):
        daemons.chosen(arguments())
    assert "--cluster" in which.value.cure


def test_none() -> None:
    with RunFiles("web").claimed():
        pass
    with pytest.raises(SystemFaultError, match="no daemon runs in this network namespace") as none:
        daemons.chosen(arguments())
    assert "clusterip run" in none.value.cure


def test_it_is_asked() -> None:
    with answering() as daemon, answering("mail") as other:
        control.ask(daemons.chosen(arguments("--cluster", "mail")), Drain("web1"))
        assert (daemon.asked, other.asked) == ([], [{"verb": "drain", "node": "web1"}])
    with answering() as daemon:
        assert asking.status(daemons.chosen(arguments())) == status(daemon.document)


@pytest.mark.parametrize("more", [[], ["--cluster", "web"]])
@pytest.mark.parametrize(
    "words",
    [["drain"], ["drain", "--wait", "web2"], ["undrain"], ["weight", "3"], ["reload"], ["restart"]],
    ids=" ".join,
)
def test_every_command_says_so_when_no_daemon_runs(
    words: list[str], more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, *more]) == 4
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("clusterip: no daemon ")
    assert "\n  cure: start it: systemctl start clusterip, or `clusterip run`; " in said.err


@pytest.mark.parametrize("words", [["drain"], ["reload", "--cluster", "web"]], ids=" ".join)
def test_another_user_than_root_is_told_so(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with answering() as daemon:
        os.seteuid(65534)
        try:
            assert main(words) == 4
        finally:
            os.seteuid(0)
        assert daemon.asked == []
    assert capsys.readouterr().err == (
        "clusterip: this needs root\n  cure: run it as root: sudo clusterip ...\n"
    )
