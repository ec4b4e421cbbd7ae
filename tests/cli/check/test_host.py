"""`clusterip check`: what it prints of this host, and how it ends."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from clusterip.adapters import configfiles, runfiles
from clusterip.adapters.memory import RunFiles
from clusterip.cli.main import main
from clusterip.core.config import digest
from clusterip.core.rules.grammar import parse
from clusterip.runtime.faults import NO_SOURCE
from clusterip.runtime.rule_table import RuleTable
from tests.cli.answering import answering
from tests.cli.check.asking import ask, change, check_here, document, host_lines, needs_root
from tests.cli.conftest import Process
from tests.namespaces import ip, own_namespace, tc, traces


@needs_root
def test_a_host_that_is_as_it_should_be(
    here: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = traces(folder), sorted(here.parent.rglob("*"))
    assert check_here(here) == 0
    out, err = capsys.readouterr()
    assert err == ""
    _, looked, node = out.splitlines()
    assert looked == (
        f"this host: looked at node web1, key file {here.with_name('keys')}, clock, libbpf,"
        f" capabilities, kernel, UDP port 5407, status group, voters, space in {runfiles.ROOT},"
        " interface eth0, what else uses it, VIPs, addresses"
    )
    assert node == "web1: serves on eth0, weight 100: 48.0 of 120 buckets"
    assert (traces(folder), sorted(here.parent.rglob("*"))) == before


@needs_root
@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda _: None, "No such file or directory"),
        (lambda path: path.write_text("#!/bin/sh\n"), "it is not executable"),
        (lambda path: path.mkdir(), "it is no file"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    ],
)
def test_a_check_whose_program_cannot_be_started(
    running: Path, make: Callable[[Path], object], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    program = running.with_name("program")
    command = f'[[check]]\ntype = "command"\ncommand = ["{program}"]\n'
    running.write_text(running.read_text() + command)
    make(program)
    assert check_here(running) == 1
    (line,) = host_lines(capsys)
    assert f"{program}, cannot be started ({why}): this host would never serve" in line
    # A witness makes no checks, and with the file alone it is no matter of this host.
    assert check_here("--node", "watch", running) in (0, 1)
    assert not any("cannot be started" in one for one in host_lines(capsys))
    assert ask(running) == 0
    with_it = running.read_text().replace(str(program), "/bin/true")
    running.write_text(with_it)
    assert check_here(running) == 0
    assert "programs of checks" in capsys.readouterr().out


@needs_root
def test_another_clock_than_the_kernel_s(here: Path, process: Process) -> None:
    elsewhen = ("unshare", "--time", "--fork", "--boottime", "100000", "--")
    done = process("check", str(here), "--node", "web1", before=elsewhen)
    assert done.returncode == 1
    assert "this host: this is a time namespace, with a boottime 100000 s" in done.stderr


@needs_root
def test_nothing_of_the_host_is_said_with_the_file_alone(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(here, '"eth0"', '"eth9"')
    here.with_name("keys").unlink()
    assert check_here(here, "--file-only") == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["this host: not looked at"]


@needs_root
@pytest.mark.parametrize(
    ("old", "new", "line", "code"),
    [
        (
            '"eth0"',
            '"eth9"',
            "there is no interface eth9 in this network namespace",
            "interface-missing",
        ),
        (
            '"10.9.0.1"',
            '"10.9.0.7"',
            (
                "10.9.0.7, the address of web1 in the file, is none of this host: hosts that"
                " have the same file send there, and it does not hear them"
            ),
            "address-not-here",
        ),
        (
            '"web2"',
            '"web2"\naddress = ["10.9.0.2", "10.9.0.1"]',
            "10.9.0.1, the address of web2 in the file, is this host's, which is web1",
            "address-of-another",
        ),
    ],
)
def test_a_host_that_is_another_one(
    running: Path, old: str, new: str, line: str, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if "web2" in new:
        change(running, 'address = "10.9.0.1"\n', "")
    change(running, old, new)
    assert check_here(running) == 1
    assert host_lines(capsys) == [line]
    assert check_here(running, "--json") == 1
    told = document(capsys)
    assert told["valid"] is True
    (found,) = told["host"]
    assert list(found) == ["severity", "code", "what", "why", "cure"]
    assert (found["severity"], found["code"]) == ("fault", code)
    assert ": ".join(filter(None, (found["what"], found["why"]))) == line
    assert found["cure"]


@needs_root
def test_a_host_of_another_name(
    running: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "db1")
    assert check_here(running) == 2
    out, err = capsys.readouterr()
    (line,) = (one for one in err.splitlines() if one.startswith("this host:"))
    assert line == f"this host: {running} has no node 'db1'"
    assert "it has watch, web1, web2, web3, web4; say which this host is with --node" in err
    assert "has no fault, but this host cannot use it" in out
    assert "which node this host is, is not known: interface, VIPs, addresses" in out
    assert check_here(running, "--node", "web1") == 0
    assert "web1: serves on eth0" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["check", "--help"])
    helped = " ".join(capsys.readouterr().out.split())
    assert (
        "2 bad command line, or a file is missing, cannot be read or has faults, or has no"
        in helped
    )
    assert "no node for this host" in helped
    # As another node it has what is that one's.
    assert check_here(running, "--node", "web2") == 1
    assert host_lines(capsys) == [
        "10.9.0.1, the address of web1 in the file, is this host's, which is web2"
    ]


@needs_root
def test_a_witness_may_be_behind_a_router(
    running: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(running, 'name = "watch"', 'name = "watch"\naddress = "203.0.113.7"')
    change(running, 'address = "10.9.0.1"\n', "")
    assert check_here(running, "--node", "watch") == 0
    (line,) = host_lines(capsys)
    assert line.startswith("warning: 203.0.113.7, the address of watch in the file, is none of")


@needs_root
def test_an_interface_that_is_down_and_hosts_that_are_out_of_reach(
    running: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(running, 'name = "web2"', 'name = "web2"\naddress = "192.0.2.2"')
    assert check_here(running) == 0
    assert host_lines(capsys) == [
        "warning: nothing can be sent to web2 at 192.0.2.2: Network is unreachable"
    ]
    ip("link set eth0 down")
    assert check_here(running) == 0
    down = "warning: eth0 is down: this host serves nothing through it until it is up"
    assert down in host_lines(capsys)
    ip("link set eth0 up")
    ip("link set wire down")
    assert check_here(running) == 0
    assert any("warning: eth0 has no carrier: " in line for line in host_lines(capsys))


@needs_root
def test_no_address_but_vips(running: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(running, 'address = "10.9.0.1"\n', "")
    ip("address flush dev eth0")
    assert check_here(running) == 0
    assert host_lines(capsys) == [f"warning: {NO_SOURCE.sentence}"]


@needs_root
def test_a_vip_that_is_there(running: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ip("address add 10.9.0.100/24 dev eth0")
    assert check_here(running) == 1
    (line,) = host_lines(capsys)
    assert line.startswith("10.9.0.100 is on eth0 already, as 10.9.0.100/24: ")


@needs_root
def test_an_interface_that_others_use(running: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tc("qdisc add dev eth0 ingress")
    assert check_here(running) == 1
    assert host_lines(capsys) == ["eth0 has an ingress qdisc, where clsact must be"]
    tc("qdisc del dev eth0 ingress")
    # The daemon that answers here shares nothing; a command would refuse this.
    table = replace(RuleTable.open(), refuse_unseen=lambda _seen: None)
    rule = (
        "-A INPUT -d 10.9.0.99/32 -i eth0 -j CLUSTERIP --new --hashmode sourceip"
        " --clustermac 01:00:5E:00:00:20 --total-nodes 3 --local-node 1"
    )
    table.add(parse(rule.split()).rules, None, None)
    assert check_here(running) == 1
    assert host_lines(capsys) == ["eth0 is shared by rules already"]
    table.flush()


@needs_root
def test_a_host_that_cannot_use_the_file_is_not_said_to_serve(
    running: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(running, '"eth0"', '"eth9"')
    assert check_here(running) == 1
    out, err = capsys.readouterr()
    assert "there is no interface eth9" in err
    assert "serves on" not in out


@needs_root
def test_a_port_that_is_used(running: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By another program it is a fault; by the daemon of the cluster it is as it should be."""
    program = "import socket, sys, time; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)"
    bind = "; s.bind(('', 5407)); print(flush=True); time.sleep(60)"
    (lock,) = (runfiles.ROOT).glob("*/web/lock")
    for ours in (False, True):
        held = f"; f = open('{lock}')" if ours else ""
        command = [sys.executable, "-c", program + held + bind]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            other.stdout.readline()
            try:
                assert check_here(running) == (0 if ours else 1)
                said = capsys.readouterr().err
            finally:
                other.kill()
        lines = [one.partition(": ")[2] for one in said.splitlines() if "this host" in one]
        # It is found already.
        assert "ss -lunp" not in said
        line = f"UDP port 5407 is in use by another program: python3.11, process {other.pid}"
        assert [re.sub(r": python[\d.]*,", ": python3.11,", one) for one in lines] == (
            [] if ours else [line]
        )


@needs_root
def test_no_space_for_what_a_daemon_keeps(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runfiles.ROOT.mkdir()
    for mount, why in (("size=32k", "No space left on device"), ("ro", "Read-only file system")):
        subprocess.run(("mount", "-t", "tmpfs", "-o", mount, "x", runfiles.ROOT), check=True)
        try:
            assert check_here(here) == 1
            assert list(runfiles.ROOT.iterdir()) == []
        finally:
            subprocess.run(("umount", runfiles.ROOT), check=True)
        (line,) = host_lines(capsys)
        assert line == (
            f"cannot write to {runfiles.ROOT}, on the file system of {runfiles.ROOT}: {why}"
        )


@needs_root
def test_a_daemon_that_was_killed_has_left_its_space(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runfiles.ROOT.mkdir()
    subprocess.run(("mount", "-t", "tmpfs", "-o", "size=256k", "x", runfiles.ROOT), check=True)
    try:
        memory = RunFiles("web")
        with contextlib.suppress(KeyboardInterrupt), memory.claimed():
            memory.set_note(1)
            raise KeyboardInterrupt
        assert runfiles.killed() == ("web",)
        with pytest.raises(OSError, match="No space"):
            (runfiles.ROOT / "full").write_bytes(bytes(1 << 20))
        capsys.readouterr()
        assert check_here(here) == 0
        said = capsys.readouterr().err
        assert "warning: the daemon of this cluster was killed here: its VIPs and filters" in said
        assert "cure: systemctl start clusterip takes them over; clusterip flush" in said
        assert runfiles.killed() == ("web",)
    finally:
        subprocess.run(("umount", runfiles.ROOT), check=True)


@needs_root
def test_what_the_daemon_here_finds_wrong(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with answering() as daemon:
        daemon.document["digest"] = f"{digest.hash_digest(configfiles.load(str(here))):016x}"
        line, cure = "this node hears nobody: is UDP port 5407 open towards it?", "open it"
        found = {"severity": "fault", "code": "hears-nobody", "what": line, "why": "", "cure": cure}
        daemon.document["deaf"] = {"web1": found}
        assert check_here(here) == 1
        out, err = capsys.readouterr()
        assert err == f"the daemon here: {line}\n  cure: {cure}\n"
        assert "the daemon of this cluster runs here" in out
        assert check_here(here, "--json") == 1
        assert document(capsys)["daemon"] == {"faults": [found]}
        daemon.document["deaf"] = {}
        assert check_here(here, "--json") == 0
        assert document(capsys)["daemon"] == {"faults": []}


@needs_root
def test_other_voters_than_before(running: Path, capsys: pytest.CaptureFixture[str]) -> None:
    RunFiles("web").set_voters(frozenset({"old1", "old2", "web1"}))
    assert check_here(running) == 1
    (line,) = host_lines(capsys)
    assert "differ by more than one from those that this host last ran with" in line


@needs_root
def test_what_only_root_can_look_at(capsys: pytest.CaptureFixture[str], file: Path) -> None:
    with tempfile.TemporaryDirectory() as name, own_namespace():
        public = Path(name)
        public.chmod(0o755)
        shutil.copy(file, public)
        os.seteuid(65534)
        try:
            assert check_here(public / file.name, "--node", "web1", "--json") == 0
        finally:
            os.seteuid(0)
    told = document(capsys)
    assert [one["why"] for one in told["not_looked_at"]] == ["needs root"] * 7
    assert [one["what"] for one in told["not_looked_at"]][1:] == [
        "kernel", "voters", f"space in {runfiles.ROOT}", "what else uses it", "VIPs",
        "what the daemon runs with"
    ]  # fmt: skip
    assert told["looked_at"] == [
        "node web1", "clock", "libbpf", "UDP port 5407", "status group",
        "interface eth0", "addresses"
    ]  # fmt: skip


@needs_root
def test_a_group_that_is_not_there(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here.write_text(here.read_text().replace("[cluster]", '[cluster]\nstatus_group = "no-such"'))
    assert check_here(here) == 0
    said = capsys.readouterr().err
    assert (
        'this host: warning: status_group = "no-such": there is no such group on this host' in said
    )
    assert "cure: groupadd --system no-such; or name another one, and reload" in said
    here.write_text(here.read_text().replace("no-such", "daemon"))
    assert check_here(here) == 0
