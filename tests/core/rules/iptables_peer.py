"""The iptables of this host, in a network namespace of its own, to compare with.

The kernel may lack the CLUSTERIP target, so matches are compared with `-j ACCEPT`, and the target
through the parse errors of its userland extension.

Our words are those of iptables 1.8.9. What later versions say otherwise is written down here, and
put into the words of 1.8.9 before it is compared: Debian 13 has 1.8.11.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from clusterip.core.errors import UsageError
from clusterip.core.rules.grammar import parse

IPTABLES = "iptables-legacy"
RESTORE = f"{IPTABLES}-restore"
HEAD = "-A INPUT -d 10.9.0.100/32 -i eth0"
OURS = (1, 8, 9)
NEW = "--new --hashmode sourceip --clustermac 01:00:5e:00:00:20 --total-nodes 2 --local-node 1"


def missing() -> str:
    """Return why the comparison cannot run here, "" if it can."""
    if os.geteuid() != 0:
        return "not root: cannot make a network namespace"
    for program in (IPTABLES, RESTORE, "ip", "nsenter"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
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
    """Return what iptables lists of the chain, with these options and what follows it."""
    options = [word for word in words if word.startswith("-")]
    rest = [word for word in words if not word.startswith("-")]
    text = run(namespace, IPTABLES, *options, "INPUT", *rest).stdout
    return text if version() <= OURS else listed_before(text, "-S" in options, "-n" in options)


def outcome(line: str) -> str:
    """Return our refusal of a command line, "" if it is taken."""
    return refusal(line.split(" "))


def refusal(words: list[str]) -> str:
    try:
        parse(words)
    except UsageError as error:
        return error.message
    return ""


def spoken(stderr: str, words: str = "") -> str:
    """Return the message of iptables without its name and its hints; `words` were refused."""
    for line in stderr.splitlines():
        said = re.fullmatch(r"iptables v[0-9.]+ \(legacy\): (.*)", line)
        if said or not line.startswith(("Warning: ", "Ignoring deprecated ", "Try ")):
            text = said[1] if said else line
            return text if version() <= OURS else spoken_before(text, words.split())
    return ""


# ---- what later versions say otherwise ----

_SHORT = {
    "protocol": "p",
    "source": "s",
    "in-interface": "i",
    "out-interface": "o",
    "jump": "j",
    "numeric": "n",
    "exact": "x",
    "set-counters": "c",
}
_OPTION = re.compile(
    r"(?P<multiple>(?<=^multiple )--(?P<a>\S+) options)|(?<=^Illegal option `)--(?P<b>[a-z-]+)"
    r"|(?<=^Can't use )--(?P<c>\S+)|^--(?P<d>set-counters)"
)
_ALWAYS_NAMED = {
    "all": 0,
    "icmp": 1,
    "tcp": 6,
    "udp": 17,
    "dccp": 33,
    "esp": 50,
    "ah": 51,
    "ipv6-icmp": 58,
    "ipcomp": 108,
    "sctp": 132,
    "mobility-header": 135,
    "udplite": 136,
}
"""The protocols that later versions call by name even with -n; and with -S no others."""


@cache
def version() -> tuple[int, ...]:
    """Return the version of the iptables that is here."""
    told = subprocess.run([IPTABLES, "--version"], capture_output=True, text=True, check=True)
    found = re.match(r"iptables v([0-9.]+) \(legacy\)", told.stdout)
    assert found, told.stdout
    return tuple(map(int, found[1].split(".")))


def spoken_before(text: str, words: list[str]) -> str:
    """Return a message in the words of 1.8.9.

    Later ones name options in full, and of a word with several letters the one that is unknown.
    """

    def short(found: re.Match[str]) -> str:
        letter = _SHORT[next(filter(None, found.group("a", "b", "c", "d")))]
        return f"-{letter} flags" if found["multiple"] else f"-{letter}"

    if unknown := re.fullmatch(r'unknown option "-([a-z]?)"', text):
        long = (word for word in words if re.match(r"--[a-z]+=|-[a-z]{2}", word))
        whole = next((word for word in long if word.endswith(unknown[1])), None)
        return f'unknown option "{whole}"' if whole else text
    return _OPTION.sub(short, text)


def listed_before(text: str, rules: bool, numeric: bool) -> str:
    """Return a listing as 1.8.9 makes it: with -n no protocol by name, with -S all."""
    if rules:
        names, where = _protocols(), re.compile(r"(?<= -p )\d+")
    elif numeric:
        names = {name: f"{number:<4}" for name, number in _ALWAYS_NAMED.items()}
        where = re.compile(rf"(?<=[ !])(?:{'|'.join(names)})(?= +(?:--|-f|!f) ) *(?= )")
    else:
        return text
    # In each line the first one: what follows may be anybody's words.
    lines = text.splitlines(keepends=True)
    return "".join(where.sub(lambda one: names.get(one[0].strip(), one[0]), x, 1) for x in lines)


@cache
def _protocols() -> dict[str, str]:
    """Return the names in /etc/protocols, of each number the first."""
    lines = (line.split() for line in Path("/etc/protocols").read_text().splitlines())
    named = [(line[1], line[0]) for line in lines if line and not line[0].startswith("#")]
    return dict(reversed(named))
