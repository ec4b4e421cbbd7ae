"""What a newcomer met, and did not understand."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from clusterip import bucket
from clusterip.adapters import configfiles, runfiles
from clusterip.cli.main import main
from clusterip.core.config.digest import hash_digest
from clusterip.core.config.faults import ConfigError
from clusterip.core.config.reading import read
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.state import InterfaceState
from tests.cli.answering import answering
from tests.cli.conftest import CONFIG, Commands

needs_root = pytest.mark.root("BPF and network namespaces")
RULE = (
    "-A INPUT -d 10.9.0.100 -i eth0 -j CLUSTERIP --new --hashmode sourceip"
    " --clustermac 01:00:5e:00:00:20 --total-nodes 3 --local-node 1 --manage-address"
)


def cure(err: str) -> str:
    (line,) = [one for one in err.splitlines() if one.startswith("  cure: ")]
    return line


@needs_root
def test_a_bucket_that_is_held_already(cli: Commands) -> None:
    cli.iptables(RULE)
    assert "nothing is to be done: this host holds 1" in cure(
        cli.refused(1, "bucket", "10.9.0.100", "+1")
    )


@needs_root
def test_nothing_to_announce(cli: Commands) -> None:
    assert "start the daemon" in cure(cli.refused(1, "announce"))


def test_a_key_file_that_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        configfiles.load_keys(str(tmp_path))
    assert "name a regular file" in str(raised.value)
    with pytest.raises(ConfigError) as raised:
        configfiles.load_keys(str(tmp_path / "none"))
    assert "clusterip keygen" in str(raised.value)


def test_a_file_that_has_nothing_to_do_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "passwd"
    lines = ["root:x:0:0:root:/root:/bin/bash"] * 1000
    lines[700] = "-A INPUT -d 10.9.0.100 -j CLUSTERIP --nwe"
    file.write_text("\n".join(lines) + "\n")
    assert main(["import", str(file)]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) < 15
    assert "1000 lines left out, among them:" in err
    assert "line 701 left out: " in err
    assert f"no CLUSTERIP rule of {file} can be used; left out: line 701" in err


def test_nothing_to_import(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    assert main(["import", "-"]) == 2
    assert "no CLUSTERIP rules in standard input" in capsys.readouterr().err


def test_the_help_has_every_hash_mode(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["iptables", "--help"])
    out = capsys.readouterr().out
    assert all(f" {mode.value}" in out for mode in HashMode)


@needs_root
def test_beside_a_daemon_whose_pins_are_elsewhere(
    cli: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runfiles, "ROOT", tmp_path / "run")
    file = tmp_path / "clusterip.toml"
    file.write_text(CONFIG)
    packet = ("--vip", "10.9.0.200", "--src", "192.0.2.7", "--sport", "7", "--dport", "80")
    with answering() as daemon:
        told = {"vips": ["10.9.0.200", "10.9.0.201"], "total": 4, "file": str(file)}
        daemon.document.update(told, digest=f"{hash_digest(read(CONFIG)):016x}", owned=[1, 2])
        daemon.document.update(held=[1, 2], taking=[], draining=[], lease_seconds=0.5)
        for name, held in (("web1", [1, 2]), ("web2", [3, 4]), ("web3", [])):
            daemon.node(name)["held"] = held
        for change in ((), ("+1",)):
            said = cli.refused(1, "bucket", "10.9.0.200", *change)
            assert "the daemon of cluster web runs here, and what it shares is not to be" in said
        # What it does with a flow follows from what it says, and from its file.
        which = json.loads(cli.well("which", *packet, "--json"))
        assert which["bucket"] == bucket("sourceip-sourceport", 4, 0, "192.0.2.7", 7, 80)
        assert which["node"] == ("web1" if which["bucket"] < 3 else "web2")
        assert which["state"] == ("owned" if which["bucket"] < 3 else "none")
        assert which["service"] == "tcp 80"
        assert "10.9.0.9 is not shared here" in cli.refused(
            1, "which", *packet[2:], "--vip", "10.9.0.9"
        )
        file.write_text(CONFIG.replace("10.9.0.201", "10.9.0.202"))
        said = cli.refused(1, "which", *packet)
        assert f"the daemon goes by another file than {file} is now" in said


@needs_root
def test_a_daemons_rules_are_without_what_is_its_own(
    cli: Commands, run_by_daemon: InterfaceState
) -> None:
    assert run_by_daemon.cluster
    told = json.loads(cli("show", "--json").out)
    rules = [one["rule"] for one in told["interfaces"][0]["rules"]]
    packet = ("--vip", "10.9.0.200", "--src", "192.0.2.7", "--sport", "7", "--dport", "80")
    # The commands that take numbers know none of these.
    where = "service tcp 80 of cluster web"
    assert cli.well("which", *packet).splitlines()[1].startswith(where)
    which = json.loads(cli.well("which", *packet, "--json"))
    assert which["cluster"] == "web"
    for line in (*rules, which["rule_text"]):
        assert "--total-nodes" in line
        assert "--local-node" not in line
        assert "--manage-address" not in line
