"""The iptables of this host, in a network namespace of its own, to compare with.

The kernel may lack the CLUSTERIP target, so matches are compared with `-j ACCEPT`, and the target
through the parse errors of its userland extension.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from clusterip.core.errors import UsageError
from clusterip.core.rules.grammar import parse

IPTABLES = "iptables-legacy"
VERSION = "iptables v1.8.9 (legacy)"
RESTORE = f"{IPTABLES}-restore"
HEAD = "-A INPUT -d 10.9.0.100/32 -i eth0"
NEW = "--new --hashmode sourceip --clustermac 01:00:5e:00:00:20 --total-nodes 2 --local-node 1"


def missing() -> str:
    """Return why the comparison cannot run here, "" if it can."""
    if os.geteuid() != 0:
        return "not root: cannot make a network namespace"
    for program in (IPTABLES, RESTORE, "ip", "nsenter"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    version = subprocess.run([IPTABLES, "--version"], capture_output=True, text=True, check=False)
    if version.stdout.strip() != VERSION:
        return f"compares with {VERSION}, not {version.stdout.strip()}"
    return ""


@pytest.fixture(scope="module", autouse=True)
def namespace() -> Iterator[str]:
    reason = missing()
    if reason:
        pytest.skip(reason)
    name = f"rules-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"cannot make a network namespace: {made.stderr.strip()}")
    try:
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def run(namespace: str, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        # Not `ip netns exec`: it would mount a /sys of its own for each of the many calls.
        ["nsenter", f"--net=/run/netns/{namespace}", *map(os.fsencode, words)],
        input=os.fsencode(text),
        capture_output=True,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
    # As it is: subprocess would take the carriage return in a comment for the end of a line.
    said, complained = os.fsdecode(done.stdout), os.fsdecode(done.stderr)
    return subprocess.CompletedProcess(words, done.returncode, said, complained)


def install(namespace: str, lines: list[str]) -> None:
    """Replace the chain by these lines."""
    text = "\n".join(["*filter", "-F INPUT", *lines, "COMMIT", ""])
    done = run(namespace, RESTORE, "--noflush", "--counters", text=text)
    assert done.returncode == 0, done.stderr


def as_accept(text: str) -> str:
    """Return our output as the same rules with -j ACCEPT would print it."""
    text = re.sub(r"-j CLUSTERIP.*", "-j ACCEPT", text)
    text = re.sub(r" CLUSTERIP hashmode=.*| CLUSTERIP$", "", text, flags=re.MULTILINE)
    return text.replace("CLUSTERIP ", "ACCEPT    ")


def listed(namespace: str, *words: str) -> str:
    return run(namespace, IPTABLES, *words, "INPUT").stdout


def outcome(line: str) -> str:
    """Return our refusal of a command line, "" if it is taken."""
    return refusal(line.split(" "))


def refusal(words: list[str]) -> str:
    try:
        parse(words)
    except UsageError as error:
        return error.message
    return ""


def spoken(stderr: str) -> str:
    """Return the message of iptables without its name and its hints."""
    for line in stderr.splitlines():
        if line.startswith(f"{VERSION}: "):
            return line.removeprefix(f"{VERSION}: ")
        if not line.startswith(("Warning: ", "Ignoring deprecated ", "Try ")):
            return line
    return ""
