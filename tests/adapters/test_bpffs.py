"""Where pins live, and the one lock of the machine."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from clusterip.adapters.bpffs import locked, namespace_cookie, namespace_folder
from tests.namespaces import ip, own_namespace

SOURCE = str(Path(__file__).parents[2] / "src")
ENVIRONMENT = {**os.environ, "PYTHONPATH": SOURCE}
_SHOW = """\
from clusterip.adapters import bpffs
folder = bpffs.namespace_folder()
print(bpffs.namespace_cookie())
print(folder)
print((folder.parent.parent / MARK).exists())
"""


def test_the_folder_is_named_after_the_namespace(folder: Path) -> None:
    assert namespace_folder() == Path("/sys/fs/bpf/clusterip") / str(namespace_cookie())
    assert namespace_folder() == folder
    assert not folder.exists()


def test_each_namespace_has_its_own_cookie() -> None:
    cookies = [namespace_cookie()]
    for _ in range(2):
        with own_namespace():
            cookies.append(namespace_cookie())
    assert len(set(cookies)) == 3
    assert namespace_cookie() == cookies[0]


@pytest.fixture
def named_namespace() -> Iterator[str]:
    """A namespace as administrators make them, with a name of its own."""
    name = f"citest-{uuid.uuid4().hex[:12]}"
    ip(f"netns add {name}")
    yield name
    ip(f"netns del {name}")


@pytest.fixture
def mark() -> Iterator[str]:
    """A folder in the bpffs of the machine by which that one is known."""
    path = Path("/sys/fs/bpf") / f"citest-{uuid.uuid4().hex[:12]}"
    path.mkdir()
    yield path.name
    path.rmdir()


def shown(*command: str, mark: str) -> list[str]:
    program = _SHOW.replace("MARK", repr(mark))
    words = (*command, sys.executable, "-c", program)
    done = subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_inside_of_ip_netns_exec(named_namespace: str, mark: str) -> None:
    """It mounts a fresh /sys, where the bpffs of the machine is out of sight."""
    enter = ("nsenter", f"--net=/run/netns/{named_namespace}")
    cookie, folder, there = shown(*enter, mark=mark)
    assert (folder, there) == (f"/sys/fs/bpf/clusterip/{cookie}", "True")
    inside, folder, there = shown("ip", "netns", "exec", named_namespace, mark=mark)
    assert inside == cookie
    assert there == "True", f"{folder} is in another bpffs"
    assert folder.endswith(f"/clusterip/{cookie}")


def test_inside_of_ip_netns_exec_with_a_shell_between(named_namespace: str, mark: str) -> None:
    program = _SHOW.replace("MARK", repr(mark)).replace("\n", "; ").removesuffix("; ")
    # The ; keeps the shell from becoming the command itself.
    shell = f'"{sys.executable}" -c "{program}"; true'
    enter = ("ip", "netns", "exec", named_namespace, "sh", "-c", shell)
    done = subprocess.run(enter, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[2] == "True"


def test_a_machine_without_bpffs_gets_one() -> None:
    """In a mount namespace of its own, whose bpffs is gone: it is mounted again."""
    program = "from clusterip.adapters import bpffs; print(bpffs.namespace_folder())"
    # Private, or the machine would lose its own. With a pid namespace no caller is to be seen.
    command = (
        *("unshare", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c"),
        f"umount -l /sys/fs/bpf && '{sys.executable}' -c '{program}' && mount -t bpf",
    )
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    folder, *mounts = done.stdout.splitlines()
    assert folder.endswith(f"/clusterip/{namespace_cookie()}")
    assert any(" /sys/fs/bpf " in line for line in mounts)


def test_where_no_bpffs_can_be_mounted() -> None:
    program = (
        "from clusterip.adapters import bpffs\n"
        "try: bpffs.namespace_folder()\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    command = (
        *("unshare", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c"),
        f"umount -l /sys/fs/bpf && mount -t tmpfs none /sys/fs && '{sys.executable}' -",
    )
    done = subprocess.run(
        command, env=ENVIRONMENT, input=program, capture_output=True, text=True, check=False
    )
    assert "SystemFaultError no bpffs at /sys/fs/bpf, and it cannot be mounted" in done.stdout
    assert "cure: as root of the machine: mount -t bpf bpf /sys/fs/bpf" in done.stdout


_HOLD = """\
from clusterip.adapters.bpffs import locked
with locked(lambda said: print(said, flush=True)):
    print("held", flush=True)
    input()
"""


def holder(*within: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        (*within, sys.executable, "-c", _HOLD),
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def test_the_lock_keeps_another_process_out_and_says_so() -> None:
    with locked(lambda _: None):
        process = holder()
        said = "another clusterip command is at work, waiting for it (/run/clusterip.lock)"
        assert line(process) == said
    assert line(process) == "held"
    process.communicate("\n")
    assert process.returncode == 0


def test_another_network_namespace_has_a_lock_of_its_own() -> None:
    with locked(lambda _: None), holder("unshare", "--net") as process:
        assert line(process) == "held"
        process.communicate("\n")
    assert process.returncode == 0


def test_a_killed_holder_frees_the_lock() -> None:
    with holder() as first:
        while line(first) != "held":
            pass
        first.kill()
        first.wait()
        entered = []
        with locked(lambda _: None):
            entered.append(True)
        assert entered == [True]


def test_the_lock_is_free_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), locked(lambda _: None):
        raise ZeroDivisionError
    with locked(lambda _: None):
        pass


def test_one_after_the_other() -> None:
    """Threads stand for processes: each opens the lock file itself."""
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(20):
            with locked(lambda _: None):
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (inside, most) == (0, 1)


def test_the_lock_is_for_root_alone() -> None:
    with locked(lambda _: None):
        assert Path("/run/clusterip.lock").stat().st_mode & 0o777 == 0o600
