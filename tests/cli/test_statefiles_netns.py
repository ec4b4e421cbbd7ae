"""The state files of a named network namespace, served under `ip netns exec`: seen by all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from clusterip.adapters.statefs import mounted_type
from lab.wait import eventually
from tests.cli.conftest import environment
from tests.namespaces import ip
from tests.served import needs_fuse

pytestmark = needs_fuse
CLI = (sys.executable, "-m", "clusterip.cli.main")
RULE = (
    "-A INPUT -d 10.9.0.100 -i eth0 -j CLUSTERIP --new --hashmode sourceip"
    " --clustermac 01:00:5e:00:00:20 --total-nodes 3 --local-node 1"
)


@pytest.fixture
def name() -> Iterator[str]:
    one = f"ns{os.getpid()}"
    ip(f"netns add {one}")
    try:
        ip(f"-n {one} link add eth0 type veth peer name wire")
        run(one, "iptables", *RULE.split())
        yield one
        run(one, "flush")
    finally:
        ip(f"netns del {one}")


def run(name: str, *words: str) -> None:
    command = ("ip", "netns", "exec", name, *CLI, *words)
    subprocess.run(command, check=True, env=environment(), capture_output=True)


@contextmanager
def serving(directory: Path, *before: str, cwd: Path) -> Iterator[None]:
    command = (*before, *CLI, "statefiles", "--mount", str(directory))
    heeding = ("env", "--default-signal")
    with subprocess.Popen(
        (*heeding, *command), env=environment(), cwd=cwd, start_new_session=True
    ) as server:
        try:
            eventually(lambda: mounted_type(cwd / directory) is not None, within=10.0)
            yield
        finally:
            os.killpg(server.pid, signal.SIGTERM)


def is_gone(directory: Path) -> bool:
    """Whether it is unmounted and removed; while it is being unmounted, stat(2) fails."""
    return mounted_type(directory) is None and not directory.exists()


@pytest.mark.parametrize(("nested", "relative"), [(False, True), (True, False)])
def test_they_are_seen_outside(name: str, tmp_path: Path, *, nested: bool, relative: bool) -> None:
    exec_ = ("ip", "netns", "exec", name)
    shell = ("sh", "-c", '"$@"; exit $?', "sh")
    before = (*exec_, *shell, *exec_) if nested else exec_
    directory = Path("state") if relative else tmp_path / "state"
    with serving(directory, *before, cwd=tmp_path):
        file = tmp_path / "state" / "10.9.0.100"
        assert file.read_text() == "1\n"
        inside = subprocess.run((*exec_, "cat", file), capture_output=True, text=True, check=True)
        assert inside.stdout == "1\n"
        with file.open("a") as one:
            one.write("+3\n")
        assert file.read_text() == "1,3\n"
        with pytest.raises(OSError, match="No such file"), (file.parent / "10.9.0.7").open("a"):
            pass
    eventually(lambda: is_gone(tmp_path / "state"), within=10.0)


def test_another_mount_namespace_is_left_as_it_is(name: str, tmp_path: Path) -> None:
    own = ("unshare", "--mount", "nsenter", f"--net=/run/netns/{name}")
    command = (*own, *CLI, "statefiles", "--mount", str(tmp_path / "state"))
    with subprocess.Popen(
        ("env", "--default-signal", *command), env=environment(), stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stderr is not None
        assert "serving 1 VIP" in server.stderr.readline()
        assert mounted_type(tmp_path / "state") is None
        server.terminate()


def test_a_mount_namespace_that_cannot_be_left(name: str, tmp_path: Path) -> None:
    drop = ("setpriv", "--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace")
    words = (*drop, *CLI, "statefiles", "--mount", str(tmp_path / "state"))
    done = subprocess.run(
        ("ip", "netns", "exec", name, *words),
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4
    assert "cannot be left for that of process " in done.stderr
    assert "Permission denied" in done.stderr
    assert f"cure: nsenter --net=/run/netns/{name} clusterip ..." in done.stderr
    assert not (tmp_path / "state").exists()


CHROOT = """\
set -e
mount -t tmpfs none "$1"
for one in /*; do
    if [ -L $one ]; then cp -P $one "$1"; elif [ -d $one ]; then
        mkdir "$1$one"
        mount --rbind $one "$1$one"
    fi
done
new=$1
shift
exec chroot $new "$@"
"""


def test_who_called_it_is_gone_and_its_root_with_it(name: str, tmp_path: Path) -> None:
    """A container that shares process ids: its parent's mount namespace would be the wrong one."""
    directory = tmp_path / "state"
    (tmp_path / "root").mkdir()
    container = ("unshare", "--mount", "sh", "-c", CHROOT, "sh", str(tmp_path / "root"))
    exec_ = ("ip", "netns", "exec", name)
    words = (*container, *exec_, "timeout", "30", *CLI, "statefiles", "--mount", str(directory))
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, check=False)
    assert "who called it has ended, and process " in done.stderr
    assert done.returncode == 4
    assert f"cure: nsenter --net=/run/netns/{name} clusterip ..." in done.stderr
    assert mounted_type(directory) is None
