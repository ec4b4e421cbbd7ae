"""What keeps a daemon from starting: it says so, and leaves no trace."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from clusterip.adapters.memory import RunFiles
from clusterip.core.errors import RefusedError, SystemFaultError, UsageError
from tests.cli.conftest import environment
from tests.namespaces import ip, run
from tests.runtime.places import WITNESS, Place
from tests.served import until

pytestmark = pytest.mark.root("BPF and namespaces")


def wrong_role(place: Place) -> tuple[str, ...]:
    place.file.write_text(place.text + WITNESS)
    return ("--node", "judge")


def no_ethernet(place: Place) -> tuple[str, ...]:
    place.change('"eth0"', '"lo"')
    return ()


def no_file(place: Place) -> tuple[str, ...]:
    place.file.unlink()
    return ()


def bad_file(place: Place) -> tuple[str, ...]:
    place.change("[cluster]", "[cluster")
    return ()


def no_keys(place: Place) -> tuple[str, ...]:
    (place.folder / "keys").unlink()
    return ()


def bad_keys(place: Place) -> tuple[str, ...]:
    (place.folder / "keys").write_text("1:secret\n")
    return ()


def other_voters(place: Place) -> tuple[str, ...]:
    memory = RunFiles("web")
    with memory.claimed():
        memory.set_voters(frozenset({"a", "b", "c"}))
    return ()


def shared_by_rules(place: Place) -> tuple[str, ...]:
    rule = (
        "iptables -A INPUT -d 10.9.0.9/32 -i eth0 -p udp -j CLUSTERIP --new --hashmode sourceip"
        " --clustermac 01:00:5E:00:00:20 --total-nodes 3 --local-node 1"
    )
    words = (sys.executable, "-m", "clusterip.cli.main", *rule.split())
    subprocess.run(words, env=environment(), check=True)
    return ()


@pytest.mark.parametrize(
    ("prepare", "status", "said"),
    [
        (bad_file, 2, "not TOML"),
        (no_file, 2, "cannot be read"),
        (no_keys, 2, "clusterip keygen"),
        (bad_keys, 2, "this line is not a key"),
        (lambda place: ("--node", "web7"), 2, "has no node 'web7'"),
        (lambda _: ("--node", ""), 2, "has no node ''"),
        (wrong_role, 2, "node judge is a witness"),
        (no_ethernet, 3, "lo is not an Ethernet interface"),
        (other_voters, 3, "--new-voters"),
        (shared_by_rules, 3, "eth0 is shared by rules already"),
    ],
)
def test_what_cannot_be_started(
    place: Place, prepare: Callable[[Place], tuple[str, ...]], status: int, said: str
) -> None:
    more = prepare(place)
    before = place.traces()
    daemon = place.start(*more)
    assert daemon.ended() == status, daemon.said
    assert daemon.said.startswith("clusterip: ")
    assert said in daemon.said
    assert "Traceback" not in daemon.said
    assert place.traces() == before


def test_the_port_is_in_use(place: Place) -> None:
    place.change("buckets = 4", "buckets = 4\nport = 5555")
    before = place.traces()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("", 5555))
        daemon = place.start()
        assert daemon.ended() == 4
    assert "UDP port 5555 is in use by another program" in daemon.said
    assert place.traces() == before


def test_new_voters_when_told_so(place: Place) -> None:
    other_voters(place)
    daemon = place.ready("--node", "web1", "--new-voters")
    assert place.show()["voters"] == ["web1"]
    assert daemon.stop() == 0


def renamed(_place: Place) -> None:
    for words in ("down", "name foo"):
        ip(f"link set eth0 {words}")
    ip("link set foo up")


def another_of_that_name(place: Place) -> None:
    renamed(place)
    ip("link add eth0 type veth peer name wire0")


def of_another_host_name(place: Place) -> None:
    run("nsenter", "--uts", "-t", str(place.daemons[0].process.pid), "hostname", "web2")


def node_of_another_host_name(place: Place) -> None:
    place.file.write_text(f'{place.text}[[node]]\nname = "web2"\n')
    place.ask("reload")
    of_another_host_name(place)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (renamed, "there is no interface eth0"),
        (another_of_that_name, "eth0 is another interface than the one that this daemon shares"),
        (of_another_host_name, "has no node 'web2'"),
        (node_of_another_host_name, "by its host name this host is web2 now"),
    ],
)
def test_no_restart_where_a_successor_could_not_take_over(
    place: Place, change: Callable[[Place], None], said: str
) -> None:
    place.before = ("unshare", "--uts", "sh", "-c", 'hostname web1; exec "$@"', "sh")
    daemon = place.ready("--new-voters")
    before = place.show()
    change(place)
    with pytest.raises((RefusedError, UsageError), match=said) as refused:
        place.ask("restart")
    assert refused.value.cure
    daemon.tell(signal.SIGUSR2)
    until(lambda: "not restarting: " in daemon.said)
    after = place.show()
    for key in ("started", "boot", "restarting"):
        assert after[key] == before[key]
    assert "handing over" not in daemon.said


PROGRAM = "import sys\nfrom clusterip.cli.entry import main\nsys.exit(main())\n"


def test_no_restart_onto_an_installation_that_is_broken(place: Place) -> None:
    """The program is tried beside the one that runs, which goes on."""
    program = place.folder / "program"
    program.write_text(PROGRAM)
    place.program = ("-B", str(program))
    daemon = place.serving()
    before = place.show()
    for text, said in (
        (None, "can't open file"),
        ("import no_such_library\n" + PROGRAM, "No module named 'no_such_library'"),
        ("def (", "SyntaxError"),
    ):
        if text is None:
            program.unlink()
        else:
            program.write_text(text)
        with pytest.raises(SystemFaultError, match="does not start") as refused:
            place.ask("restart")
        assert said in refused.value.message
        assert "install clusterip anew" in refused.value.cure
        daemon.tell(signal.SIGUSR2)
        until(lambda: f"{said}" in daemon.said.partition("not restarting: ")[2])  # noqa: B023
        after = place.show()
        for key in ("started", "boot", "restarting", "held"):
            assert after[key] == before[key]
    assert "handing over" not in daemon.said
    program.write_text(PROGRAM)
    place.ask("restart")
    until(lambda: "taking over from the daemon before" in daemon.said)
    assert daemon.stop() == 0


def missing(_path: Path) -> None:
    """Leave it away."""


def broken(path: Path) -> None:
    path.write_text("[")


def test_a_file_that_is_wrong_when_it_is_to_go_by_it(place: Place) -> None:
    daemon = place.ready("--node", "web1")
    for path in (place.file, place.folder / "keys"):
        kept = path.read_text()
        for spoil in (missing, Path.mkdir, broken):
            path.unlink()
            spoil(path)
            for verb in ("reload", "restart"):
                with pytest.raises(UsageError, match=f"^{path}:"):
                    place.ask(verb)
            if path.is_dir():
                path.rmdir()
            path.write_text(kept)
    assert daemon.stop() == 0
