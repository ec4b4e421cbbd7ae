"""Commands of a root that lacks a capability: which one, and nothing is changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import CONFIG, Process
from tests.namespaces import traces

pytestmark = pytest.mark.root("dropping capabilities")

RULE = (
    "-A INPUT -p tcp -d 10.9.0.100 -i eth0 -j CLUSTERIP --new --hashmode sourceip"
    " --clustermac 01:00:5e:7f:00:21 --total-nodes 3 --local-node 1 --manage-address"
)
COMMANDS = {
    "NET_ADMIN": ("run", "iptables", "import", "flush"),
    "SYS_ADMIN": ("run", "iptables", "import", "flush", "show", "bucket", "announce", "which"),
    "NET_RAW": ("run", "announce"),
}


def without(name: str) -> tuple[str, ...]:
    drop = f"-{name.lower()}"
    return "setpriv", "--bounding-set", drop, "--inh-caps", drop


@pytest.fixture
def file(tmp_path: Path) -> Path:
    keys, file = tmp_path / "keys", tmp_path / "web.toml"
    keys.write_text(f"1:{'5a' * 32}\n")
    keys.chmod(0o600)
    file.write_text(CONFIG.replace("buckets = 4", f'buckets = 4\nkey_file = "{keys}"'))
    return file


@pytest.mark.parametrize(
    ("name", "command"), [(name, one) for name, many in COMMANDS.items() for one in many]
)
def test_each_command(folder: Path, file: Path, process: Process, name: str, command: str) -> None:
    words = {
        "run": ("run", "-c", str(file), "--node", "web1"),
        "iptables": ("iptables", *RULE.split()),
        "import": ("import", "-", "--apply"),
        "bucket": ("bucket", "10.9.0.100"),
        "which": ("which", "--vip", "10.9.0.100", "--src", "192.0.2.7"),
    }.get(command, (command,))
    before = traces(folder)
    saved = f"*filter\n:INPUT ACCEPT [0:0]\n{RULE.replace(' --manage-address', '')}\nCOMMIT\n"
    done = process(*words, stdin=saved, before=without(name))
    error, cure = [one for one in done.stderr.splitlines() if "normal priority" not in one][:2]
    assert done.returncode == 4
    assert error.startswith(f"clusterip: CAP_{name} is missing, to ")
    assert "CapabilityBoundingSet=" in cure
    assert "--cap-add" in cure
    assert traces(folder) == before


@pytest.mark.parametrize("name", list(COMMANDS))
def test_check_says_so_before(folder: Path, file: Path, process: Process, name: str) -> None:
    before = traces(folder)
    done = process("check", str(file), "--node", "web1", before=without(name))
    assert done.returncode == 1
    assert f"this host: CAP_{name} is missing, to " in done.stderr
    assert "cannot use it" in done.stdout
    assert "refused" not in done.stderr
    assert ("not looked at, needs CAP_SYS_ADMIN: kernel, " in done.stdout) == (name == "SYS_ADMIN")
    assert traces(folder) == before


@pytest.mark.parametrize("verb", ["run", "witness"])
def test_a_port_that_not_everybody_may_use(
    folder: Path, file: Path, process: Process, verb: str
) -> None:
    witness = "witness = true" if verb == "witness" else ""
    text = file.read_text().replace("buckets = 4", "buckets = 4\nport = 400")
    file.write_text(text.replace('name = "web1"', f'name = "web1"\n{witness}'))
    before = traces(folder)
    done = process(verb, "-c", str(file), "--node", "web1", before=without("NET_BIND_SERVICE"))
    assert done.returncode == 4
    assert "clusterip: CAP_NET_BIND_SERVICE is missing, to use a port below 1024" in done.stderr
    assert "--cap-add NET_BIND_SERVICE" in done.stderr
    done = process("check", str(file), "--node", "web1", before=without("NET_BIND_SERVICE"))
    assert done.returncode == 1
    assert "this host: CAP_NET_BIND_SERVICE is missing, to use a port below 1024" in done.stderr
    assert traces(folder) == before


def test_who_only_votes_needs_none(folder: Path, file: Path, process: Process) -> None:
    assert folder.name
    file.write_text(file.read_text().replace('name = "web1"', 'name = "web1"\nwitness = true'))
    done = process("check", str(file), "--node", "web1", before=without("all"))
    assert (done.returncode, "CAP_" in done.stderr) == (0, False)
