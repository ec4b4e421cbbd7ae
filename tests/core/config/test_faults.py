"""Bad configuration files: each fault with its line and its words, and all of them at once.

Those of VIPs and of checks have files of their own.
"""

from __future__ import annotations

import pytest

from clusterip.core.config.faults import ConfigError
from clusterip.core.config.reading import decode, read
from tests.core.config.texts import EXAMPLE, SMALL, faults, line_of, with_lines


def test_all_faults_of_a_file() -> None:
    text = """\
[cluster]
nmae = "web"
port = 99999
profile = "fastt"
drain_timeout = 30
buckets = 300
mac = "01:80:c2:00:00:05"
interface = "eth+"

[[vip]]
address = "fe80::1"
hashmod = "sourceip"
service = [ { protocol = "tpc" },
  { protocol = "tcp", ports = "90-80" },
  { protocol = "tcp",
    ports = [80, "70-90"] } ]

[[vip.service]]
[[node]]
"""
    # An array written in place cannot be extended by a header: one fault hides all others.
    assert faults(text.replace(",\n    ports", ", ports")) == [
        (17, "a key or a table is there twice")
    ]
    text = text.replace(",\n    ports", ", ports").replace("[[vip.service]]\n", "")
    assert faults(text) == [
        (2, "unknown key 'nmae' in [cluster]"),
        (3, "port: 99999 is not in 1..65535"),
        (4, "profile: unknown value 'fastt'"),
        (5, "drain_timeout: must be a duration with its unit, not a number"),
        (6, "buckets: 300 is not in 1..256"),
        (7, "mac: bridges never forward 01:80:c2:00:00:05 (IEEE 802.1D)"),
        (8, "interface: interface `eth+' is a wildcard: Please specify an interface name"),
        (11, "address: fe80::1 is link-local: it means something on one interface only"),
        (12, "unknown key 'hashmod' in [[vip]]"),
        (13, "protocol: unknown protocol 'tpc'"),
        (14, "ports: '90-80' ends before it begins"),
        (17, "[[node]] has no name"),
    ]


def test_what_is_printed() -> None:
    with pytest.raises(ConfigError) as caught:
        read(SMALL.replace("name", "nam", 1))
    assert str(caught.value.within("/etc/clusterip.toml")).splitlines() == [
        "/etc/clusterip.toml:2: unknown key 'nam' in [cluster]",
        '  cure: did you mean "name"?',
    ]
    assert str(caught.value).startswith("line 2: unknown key 'nam' in [cluster]\n")


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("interface =", "interfce ="),
        ("name =", "nmae ="),
        ("address =", "adress ="),
        ("type =", "tpye ="),
        ("port =", "prot ="),
        ("[cluster]", "[clutser]"),
        ("[[vip]]", "[[vpi]]"),
        ("[[check]]", "[[chekc]]"),
    ],
)
def test_a_misspelt_key_is_one_fault(right: str, wrong: str) -> None:
    text = f'{SMALL}[[check]]\ntype = "tcp"\nport = 80\n'
    assert right in text
    ((_, message),) = faults(text.replace(right, wrong, 1))
    assert message.startswith(f"unknown key '{wrong.strip('[] =')}' in ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "",
            [(1, "[cluster] has no name"), (1, "there is no [[node]]"), (1, "there is no [[vip]]")],
        ),
        ("a = \n", [(1, "not TOML: Invalid value")]),
        ('\n\nname = "x\n', [(3, "not TOML: Illegal character '\\n'")]),
        ("[cluster]\n\n[cluster]\n", [(3, "a key or a table is there twice")]),
        ("[cluster]\nname = 1\nname = 2\n", [(3, "a key or a table is there twice")]),
        ("a = {b = 1, b = 2}\n", [(1, "a key or a table is there twice")]),
        ('[cluster]\nname = "web\n', [(2, "not TOML: Illegal character '\\n'")]),
        ("[cluster]\nname = '''web\n\n", [(2, "not TOML: Expected \"'''\"")]),
        (f"\n\na = {'7' * 5000}", [(3, "not TOML: a number has too many digits")]),
        (f"a = {'[' * 100000}", [(1, "arrays are nested too deeply")]),
        ("# \ud800", [(1, "this line is not Unicode text")]),
        (f"vpi = 1\n{SMALL}", [(1, "unknown key 'vpi' in the file")]),
        (
            SMALL.replace("[[vip]]", "[vip]"),
            [(5, "vip must be an array of tables, not a table")],
        ),
        (
            SMALL.replace("[cluster]", "[[cluster]]"),
            [
                (1, "[cluster] has no name"),
                (1, "cluster must be a table, not an array"),
                *(
                    (line, f"node web{n} has no interface")
                    for n, line in ((1, 8), (2, 11), (3, 14))
                ),
            ],
        ),
        (
            "vip = [1]\nnode = [[]]\ncheck = 2020-01-01\n[cluster]\nname = 'a'",
            [
                (1, "vip must hold tables, not a number"),
                (2, "node must hold tables, not an array"),
                (3, "check must be an array of tables, not a date or time"),
            ],
        ),
        (
            "vip = []\nnode = []\n[cluster]\nname = 'a'",
            [(1, "there is no [[vip]]"), (2, "there is no [[node]]")],
        ),
    ],
)
def test_whole_files(text: str, expected: list[tuple[int, str]]) -> None:
    assert faults(text) == expected


def test_bytes_that_are_not_text() -> None:
    with pytest.raises(ConfigError, match="line 3: this line is not UTF-8 text"):
        decode(b"[cluster]\n\n# caf\xe9\n")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("name2 = 1", "unknown key 'name2' in [cluster]"),
        ('"\\u001b[2J" = 1', "unknown key '\\x1b[2J' in [cluster]"),
        ("key_file = 1", "key_file: must be text, not a number"),
        ('key_file = "keys"', "key_file: 'keys' is not an absolute path"),
        ("port = 0", "port: 0 is not in 1..65535"),
        ("port = 65536", "port: 65536 is not in 1..65535"),
        ('port = "80"', "port: must be a whole number, not text"),
        ("port = true", "port: must be a whole number, not true or false"),
        ("port = 1.0", "port: must be a whole number, not a fraction"),
        (f"port = 0x{'f' * 300}", "port: the number is not in 1..65535"),
        ('profile = "slow"', "profile: unknown value 'slow'"),
        ("profile = 1979-05-27", "profile: must be text, not a date or time"),
        ('quorum = "all"', "quorum: unknown value 'all'"),
        ('stop = ["drain"]', "stop: must be text, not an array"),
        ('drain_timeout = "5"', "drain_timeout: '5' is not a duration"),
        ('drain_timeout = "-5s"', "drain_timeout: '-5s' is not a duration"),
        ('drain_timeout = "5 min"', "drain_timeout: '5 min' is not a duration"),
        ('drain_timeout = "999ms"', "drain_timeout: '999ms' is not in 1s..24h"),
        ('drain_timeout = "24.1h"', "drain_timeout: '24.1h' is not in 1s..24h"),
        ("buckets = 0", "buckets: 0 is not in 1..256"),
        ("buckets = 257", "buckets: 257 is not in 1..256"),
        ("hash_init = -1", "hash_init: -1 is not in 0..4294967295"),
        ("hash_init = 0x100000000", "hash_init: 4294967296 is not in 0..4294967295"),
        ('mac = "eth0"', "mac: Invalid MAC address specified: `eth0'"),
        ('mac = "02:00:5e:00:00:20"', "mac: MAC has to be a multicast ethernet address"),
        ('mac = "ff:ff:ff:ff:ff:ff"', "mac: the broadcast address cannot be a cluster MAC"),
    ],
)
def test_cluster(line: str, message: str) -> None:
    text = with_lines(cluster=line)
    assert faults(text) == [(line_of(text, line), message)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('name = "-web"', "name: '-web' is not a name"),
        ('name = ""', "name: '' is not a name"),
        (f'name = "{"x" * 64}"', f"name: '{'x' * 57}...' is not a name"),
        ('name = "caf\\u00e9"', "name: 'café' is not a name"),
    ],
)
def test_names(line: str, message: str) -> None:
    assert faults(SMALL.replace('name = "web"', line)) == [(2, message)]


@pytest.mark.parametrize(
    ("interface", "message"),
    [
        ("", "it is empty"),
        ("eth0/1", "interface name `eth0/1' has a character that the kernel does not allow"),
        ("\\u001b[2J", "'\\x1b[2J' will not do"),
        ("a" * 16, f"interface name `{'a' * 16}' must be shorter than IFNAMSIZ (15)"),
    ],
)
def test_interfaces(interface: str, message: str) -> None:
    assert faults(SMALL.replace('"eth0"', f'"{interface}"')) == [(3, f"interface: {message}")]


def test_a_number_of_buckets_at_fault_is_one_fault() -> None:
    service = 'service = [{ protocol = "tcp", action = "single", bucket = 200 }]'
    assert faults(with_lines("buckets = 300", service)) == [(4, "buckets: 300 is not in 1..256")]
    assert faults(with_lines("buckets = 199", service)) == [(8, "bucket: 200 is not in 1..199")]
    read(with_lines("buckets = 200", service))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("weight = 256", "weight: 256 is not in 0..255"),
        ("weight = -1", "weight: -1 is not in 0..255"),
        ("voter = true", "unknown key 'voter' in [[node]]"),
        ('witness = "yes"', "witness: must be true or false, not text"),
        ("address = []", "address: the array is empty"),
        ('address = ["10.9.0.1", "10.9.0.1"]', "address: an address is named twice"),
        ('address = ["10.9.0.1", 2]', "address: must be text, not a number"),
    ],
)
def test_nodes(line: str, message: str) -> None:
    text = with_lines(node=line)
    assert faults(text) == [(line_of(text, line), message)]


def test_the_address_of_a_node_is_no_vip() -> None:
    assert faults(with_lines(node='address = "10.9.0.100"')) == [
        (18, "address: 10.9.0.100 is the VIP of line 7")
    ]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("witness = true\nweight = 1", "weight: a witness holds no buckets"),
    ],
)
def test_witnesses(lines: str, message: str) -> None:
    text = with_lines(node=lines)
    assert faults(text) == [(line_of(text, lines) + 1, message)]


def test_a_node_without_an_interface() -> None:
    text = SMALL.replace('interface = "eth0"\n', "").replace('"web3"', '"web3"\nwitness = true')
    assert faults(text) == [
        (7, "node web1 has no interface"),
        (10, "node web2 has no interface"),
        (13, "a witness without an interface has no address"),
    ]


UNREACHED = "a node has no address, and the witness web3 has no interface to reach it by broadcast"


def test_a_witness_without_an_interface_needs_everybodys_address() -> None:
    text = SMALL.replace('interface = "eth0"\n', "").replace(
        '"web3"', '"web3"\nwitness = true\naddress = "10.8.0.3"'
    )
    text = text.replace('"web1"', '"web1"\ninterface = "eth0"')
    text = text.replace('"web2"', '"web2"\ninterface = "eth0"\naddress = "10.9.0.2"')
    assert faults(text) == [(7, UNREACHED)]
    read(text.replace('"web1"', '"web1"\naddress = "10.9.0.1"'))
    read(text.replace('"web3"', '"web3"\ninterface = "eth0"'))


def test_an_interface_at_fault_is_one_fault() -> None:
    text = SMALL.replace('"eth0"', "1")
    assert len(faults(text)) == 1
    assert len(faults(f"{text}witness = true")) == 1
    assert len(faults(f'{text}witness = true\naddress = "10.8.0.3"')) == 1


def test_what_may_not_be_there_twice() -> None:
    text = """\
[cluster]
name = "web"
interface = "eth0"

[[vip]]
address = "10.9.0.100"
[[vip]]
address = "10.9.0.100"

[[node]]
name = "web1"
address = "10.9.0.1"
[[node]]
name = "WEB1"
address = "10.9.0.1"

[[check]]
type = "tcp"
port = 80
[[check]]
type = "tcp"
port = 80
"""
    assert faults(text) == [
        (8, "address: the same as that of the [[vip]] in line 6"),
        (14, "name: the same as that of the [[node]] in line 11"),
        (15, "address: 10.9.0.1 is that of the node of line 12"),
        (20, "name: the same as that of the [[check]] in line 17"),
    ]


def test_limits() -> None:
    vips = "".join(f'[[vip]]\naddress = "10.9.1.{n}"\n' for n in range(1, 65))
    assert faults(SMALL + vips) == [(5, "65 VIPs, and at most 64 can be")]
    read(SMALL + vips.replace('[[vip]]\naddress = "10.9.1.1"\n', ""))
    nodes = "".join(f'[[node]]\nname = "n{n}"\n' for n in range(30))
    assert faults(SMALL + nodes) == [(8, "33 nodes, and at most 32 can be")]
    checks = "".join(f'[[check]]\ntype = "tcp"\nport = {n}\n' for n in range(1, 18))
    assert faults(SMALL + checks) == [
        (line_of(SMALL + checks, "[[check]]"), "17 checks, and at most 16 can be")
    ]
    ports = ", ".join(str(port) for port in range(1, 2049, 2))
    assert faults(with_lines(vip=f'service = [{{ protocol = "tcp", ports = [{ports}] }}]')) == [
        (6, "1024 services (each range of ports counts), and at most 1023 can be")
    ]


def test_somebody_serves() -> None:
    text = SMALL.replace('[[node]]\nname = "web2"\n\n[[node]]\nname = "web3"\n', "")
    assert faults(text + "witness = true") == [(8, "every node is a witness: nobody serves")]


TWICE = (
    "keep one of them; only [[vip]], [[vip.service]], [[node]], [[check]] may be there several"
    " times"
)


@pytest.mark.parametrize(
    ("text", "fault", "cure"),
    [
        (
            SMALL.replace("[[node]]", "[node]", 1),
            (8, "[node] is to be [[node]]"),
            "write [[node]], once for each",
        ),
        (
            SMALL + "[node]\n",
            (16, "[node] is to be [[node]]"),
            "write [[node]], once for each",
        ),
        (
            with_lines(rest="[check]\n[[check]]\n"),
            (19, "[check] is to be [[check]]"),
            "write [[check]], once for each",
        ),
        (
            EXAMPLE.replace("[[vip.service]]", "[vip.service]", 1),
            (line_of(EXAMPLE, "[[vip.service]]"), "[vip.service] is to be [[vip.service]]"),
            "write [[vip.service]], once for each",
        ),
        (
            EXAMPLE.replace("[[vip]]", "[[vpi]]", 1),
            (line_of(EXAMPLE, "[[vip]]"), "unknown table 'vpi'"),
            'did you mean "vip"?',
        ),
        (
            EXAMPLE.replace("[[vip]]", "", 1),
            (line_of(EXAMPLE, "[[vip.service]]"), "[[vip.service]] has no [[vip]] above it"),
            "write [[vip]] first",
        ),
        (
            "[cluster]\n[cluster]\n",
            (2, "a key or a table is there twice"),
            TWICE,
        ),
    ],
)
def test_wrong_brackets(text: str, fault: tuple[int, str], cure: str) -> None:
    assert faults(text) == [fault]
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert caught.value.faults[0].cure == cure


def test_keys_without_their_table() -> None:
    text = SMALL.replace("[cluster]\n", "")
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert [(one.line, one.message, one.cure) for one in caught.value.faults] == [
        (1, "unknown key 'name' in the file", "write [cluster] above it"),
        (2, "unknown key 'interface' in the file", "write [cluster] above it"),
    ]
