"""The configuration file: what is read from good ones; others end in ConfigError."""

from __future__ import annotations

import re
from ipaddress import IPv4Address

import pytest

from clusterip.core.config.advice import advised
from clusterip.core.config.declared import BUCKETS, KEY_FILE, KEYS, PORT
from clusterip.core.config.faults import ConfigError
from clusterip.core.config.model import (
    CommandCheck,
    Config,
    HttpCheck,
    Node,
    Profile,
    Quorum,
    Service,
    Stop,
    TcpCheck,
    Vip,
)
from clusterip.core.config.reading import FILE, decode, read
from clusterip.core.lease.timing import PROFILES
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import ALL_PORTS, Mac, ServiceAction
from clusterip.core.units import MILLISECOND, SECOND
from tests.core.config.texts import DOCS, EXAMPLE, SMALL, config_with


def test_the_small_file_gets_every_default() -> None:
    assert read(SMALL) == Config(
        name="web",
        key_file=KEY_FILE,
        port=PORT,
        profile=Profile.DEFAULT,
        quorum=Quorum.MAJORITY,
        stop=Stop.RELEASE,
        drain_timeout=300 * SECOND,
        udp_watch=2 * SECOND,
        udp_keep=30 * SECOND,
        buckets=BUCKETS,
        hash_init=0,
        vips=(
            Vip(
                IPv4Address("10.9.0.100"),
                Mac("01005e0000c4"),
                (Service(0, ALL_PORTS, HashMode.SOURCEIP_SOURCEPORT),),
            ),
        ),
        nodes=tuple(Node(f"web{number}", "eth0", (), 100, False) for number in (1, 2, 3)),
    )


def test_everything_said() -> None:
    text = """\
[cluster]
name = "Site-1.web"
key_file = "/run/keys/c"
port = 7000
profile = "fast"
quorum = "majority"
stop = "drain"
drain_timeout = "1.5m"
udp_watch = "0s"
udp_keep = "1m"
buckets = 256
hash_init = 0xffffffff
mac = "1:0:5E:0:0:7"

[[vip]]
address = "10.9.0.101"
hashmode = "sourceip"
mac = "01:00:5e:00:00:08"
service = [
  { protocol = "all" },
  { protocol = "tcp", ports = "1-65535" },
  { protocol = "TCP", ports = [443, "80", "8080 - 8090", 81], hashmode = "sourceip-sourceport" },
  { protocol = "47" },
  { protocol = "tcp", ports = 22, action = "single" },
  { protocol = "tcp", ports = 8022, action = "single", bucket = 256 },
  { protocol = "tcp", ports = "1-21", action = "drop" },
]

[[vip]]
address = "10.9.0.100"

[[node]]
name = "b"
address = "10.9.0.2"
interface = "eth0"
weight = 0

[[node]]
name = "a"
address = ["10.9.0.1", "10.8.0.1"]
interface = "bond0.5"
weight = 255

[[node]]
name = "w"
witness = true
address = "10.9.0.3"

[[check]]
type = "tcp"
port = 25

[[check]]
name = "page"
type = "http"
address = "10.9.0.100"
port = 8080
host = "www.example.org:8080"
path = "/health?deep=1"
status = [200, "300-399"]
body = "fine\\n"
interval = "500ms"
timeout = "500ms"
rise = 1
fall = 100

[[check]]
type = "command"
command = ["/bin/true", "", "a b"]
"""
    config = read(text)
    assert config == Config(
        name="Site-1.web",
        key_file="/run/keys/c",
        port=7000,
        profile=Profile.FAST,
        quorum=Quorum.MAJORITY,
        stop=Stop.DRAIN,
        drain_timeout=90 * SECOND,
        udp_watch=0,
        udp_keep=60 * SECOND,
        buckets=256,
        hash_init=0xFFFFFFFF,
        vips=(
            Vip(IPv4Address("10.9.0.100"), Mac("01005e000007"), (Service(),)),
            Vip(
                IPv4Address("10.9.0.101"),
                Mac("01005e000008"),
                (
                    Service(6, (22, 22), HashMode.SOURCEIP, ServiceAction.SINGLE, 1),
                    Service(6, (443, 443), HashMode.SOURCEIP_SOURCEPORT),
                    Service(6, (8022, 8022), HashMode.SOURCEIP, ServiceAction.SINGLE, 256),
                    Service(6, (80, 81), HashMode.SOURCEIP_SOURCEPORT),
                    Service(6, (8080, 8090), HashMode.SOURCEIP_SOURCEPORT),
                    Service(6, (1, 21), HashMode.SOURCEIP, ServiceAction.DROP),
                    Service(6, (1, 65535), HashMode.SOURCEIP),
                    Service(47, ALL_PORTS, HashMode.SOURCEIP),
                    Service(0, ALL_PORTS, HashMode.SOURCEIP),
                ),
            ),
        ),
        nodes=(
            Node("a", "bond0.5", (IPv4Address("10.9.0.1"), IPv4Address("10.8.0.1")), 255),
            Node("b", "eth0", (IPv4Address("10.9.0.2"),), 0),
            Node("w", "", (IPv4Address("10.9.0.3"),), 0, True),
        ),
        checks=(
            TcpCheck(
                name="tcp 127.0.0.1:25",
                interval=2 * SECOND,
                timeout=SECOND,
                rise=2,
                fall=3,
                address=IPv4Address("127.0.0.1"),
                port=25,
            ),
            HttpCheck(
                name="page",
                interval=500 * MILLISECOND,
                timeout=500 * MILLISECOND,
                rise=1,
                fall=100,
                address=IPv4Address("10.9.0.100"),
                port=8080,
                host="www.example.org:8080",
                path="/health?deep=1",
                statuses=((200, 200), (300, 399)),
                body="fine\n",
            ),
            CommandCheck(
                name="/bin/true  a b",
                interval=2 * SECOND,
                timeout=SECOND,
                rise=2,
                fall=3,
                argv=("/bin/true", "", "a b"),
            ),
        ),
    )
    assert [node.name for node in config.servers()] == ["a", "b"]


def test_ports_are_joined() -> None:
    config = config_with(
        vip='service = [{ protocol = "tcp", ports = [80, "70-90", "75-76", 91] }]\n'
        'mac = "01:80:c2:00:00:10"'
    )
    (vip,) = config.vips
    assert [service.ports for service in vip.services] == [(70, 91)]


@pytest.mark.parametrize(
    ("names", "quorum"),
    [(["a"], "majority"), (["a", "b"], "alive"), (["a", "b", "c"], "majority")],
)
def test_the_default_quorum(names: list[str], quorum: str) -> None:
    nodes = "".join(f'[[node]]\nname = "{name}"\n' for name in names)
    text = SMALL[: SMALL.index("[[node]]")] + nodes
    assert read(text).quorum.value == quorum


def test_a_witness_makes_a_majority_of_two_hosts() -> None:
    text = SMALL.replace('name = "web3"', 'name = "web3"\nwitness = true')
    assert read(text).quorum is Quorum.MAJORITY


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("1s", SECOND),
        ("1000ms", SECOND),
        ("2.000000001s", None),
        ("1.000001s", SECOND + 1000),
        ("0.5h", 1800 * SECOND),
        ("90 m", 5400 * SECOND),
        ("24h", 86400 * SECOND),
    ],
)
def test_durations(text: str, time: int | None) -> None:
    line = f'drain_timeout = "{text}"'
    if time is None:
        with pytest.raises(ConfigError):
            config_with(line)
    else:
        assert config_with(line).drain_timeout == time


def test_a_short_interval_shortens_the_default_timeout() -> None:
    (check,) = config_with(rest='[[check]]\ntype = "tcp"\nport = 1\ninterval = "200ms"').checks
    assert check.timeout == 200 * MILLISECOND


def test_nodes_are_found_by_name_in_any_case() -> None:
    node = read(SMALL).node("WEB2")
    assert node
    assert node.name == "web2"
    assert read(SMALL).node("web4") is None


def test_every_profile_has_its_times() -> None:
    assert {one.value for one in Profile} == set(PROFILES)


def test_the_example() -> None:
    config = read(EXAMPLE)
    assert len(config.nodes) == 3
    assert len(config.vips) == 2
    assert advised(config) == ()


def test_bytes() -> None:
    assert read(decode(b"\xef\xbb\xbf" + EXAMPLE.replace("\n", "\r\n").encode())) == read(EXAMPLE)


# The documentation.


def documented() -> dict[str, dict[str, list[str]]]:
    """Return the tables of docs/configuration.md: by heading and key, the cells of the row."""
    text = (DOCS / "configuration.md").read_text()
    tables = {}
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        heading = part.partition("\n")[0].strip("[]")
        rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", part, flags=re.MULTILINE)
        tables[heading] = {key: rest.split(" | ") for key, rest in rows}
    return tables


def test_every_key_is_documented_and_in_order() -> None:
    tables = documented()
    for title, keys in KEYS.items():
        if title:
            assert list(tables[title]) == list(keys)


@pytest.mark.parametrize("title", [title for title in KEYS if title])
def test_every_row_says_what_a_reload_does(title: str) -> None:
    words = {"in place", "one node", "restart", "together"}
    for cells in documented()[title].values():
        assert len(cells) == 3
        assert cells[2] in words


def test_documented_defaults_are_the_defaults() -> None:
    lines = "\n".join(
        f"{key} = {cells[0].strip('`')}"
        for key, cells in documented()["cluster"].items()
        if cells[0].startswith("`")
    )
    assert config_with(lines) == read(SMALL)
    said = documented()["check"]
    pace = "\n".join(f"{k} = {said[k][0].strip('`')}" for k in ("interval", "timeout", "rise"))
    more = "\n".join(
        f"{k} = {said[k][0].strip('`')}" for k in ("fall", "address", "path", "status")
    )
    bare = '[[check]]\ntype = "http"\nport = 80\n'
    assert config_with(rest=f"{bare}{pace}\n{more}") == config_with(rest=bare)


def test_the_default_path_is_documented() -> None:
    assert FILE in (DOCS / "configuration.md").read_text()
    assert FILE in EXAMPLE
