"""`clusterip show --schema`, and that `--json` prints what it says."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest

from clusterip.adapters import runfiles
from clusterip.adapters.memory import RunFiles
from clusterip.cli.main import main
from clusterip.core import status
from clusterip.core.status import Document
from tests.cli.answering import answering
from tests.cli.conftest import Commands
from tests.cli.test_show import RULE, VIP

pytestmark = pytest.mark.root("network namespaces")


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A /run of the test's own."""
    monkeypatch.setattr(runfiles, "ROOT", tmp_path)


@pytest.mark.usefixtures("run_by_daemon")
def test_all_that_is_printed_is_in_the_schema(cli: Commands) -> None:
    """Of daemons that answer and one that does not, of interfaces with a daemon and without."""
    cli.iptables(f"--xdp off {RULE.replace('eth0', 'wire').replace(VIP, '10.9.0.99')}")
    with answering(), RunFiles("gone").claimed():
        told = json.loads(cli("show", "--json").out)
    assert {one["daemon"] for one in told["clusters"]} == {"silent", "answers"}
    assert {one["cluster"] for one in told["interfaces"]} == {"web", None}
    # What is not known is not read, and what is missing has its default.
    read = msgspec.convert(told, Document, str_keys=True)
    assert json.loads(json.dumps(msgspec.to_builtins(read, str_keys=True))) == told


@pytest.mark.parametrize("words", [["--schema"], ["--json", "--schema"]])
def test_the_schema_of_the_json(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    os.seteuid(65534)
    try:
        assert main(["show", *words]) == 0
    finally:
        os.seteuid(0)
    said = capfd.readouterr()
    assert (json.loads(said.out), said.err) == (status.schema(), "")
