"""The digests: what they depend on, and what they do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterip.core.config.digest import hash_digest, hash_text, voters_digest
from clusterip.core.config.model import voters
from clusterip.core.config.reading import read
from clusterip.core.messages.message import digest_of_config, digest_of_name, digest_of_voters
from tests.core.config.texts import SMALL, config_with

CLUSTER = '[cluster]\nname = "web"\ninterface = "eth0"\n'
VIPS = (
    '[[vip]]\naddress = "10.9.0.100"\n',
    """
[[vip]]
address = "10.9.0.9"
service = [
    { protocol = "tcp", ports = [80, 443] },
    { protocol = "all", hashmode = "sourceip" },
]
""",
    """
[[vip]]
service = [{ protocol = "udp", ports = "1-9" }, { protocol = "udp" }]
address = "192.0.2.1"
hashmode = "sourceip-sourceport-destport"
""",
)
NODES = (
    '[[node]]\nname = "b"\n',
    '[[node]]\nname = "a"\n',
    '[[node]]\nname = "c"\nwitness = true\n',
)


def test_the_canonical_text() -> None:
    config = read(CLUSTER + "".join(VIPS + NODES))
    assert (
        hash_text(config)
        == """\
clusterip-hash 1
profile default
buckets 120
hash_init 0
vip 10.9.0.9 01005e0000a9
service 6 80 80 sourceip-sourceport
service 6 443 443 sourceip-sourceport
service 0 0 65535 sourceip
vip 10.9.0.100 01005e0000c4
service 0 0 65535 sourceip-sourceport
vip 192.0.2.1 01005e0000a1
service 17 1 9 sourceip-sourceport-destport
service 17 0 65535 sourceip-sourceport-destport
"""
    )
    # The number that hosts of all versions compute for this file.
    assert hash_digest(config) == digest_of_config(hash_text(config)) == 0x36378B6B1DC13954
    assert voters(config) == ("a", "b", "c")
    assert voters_digest(config) == digest_of_voters(map(digest_of_name, "cab"))


def test_the_prefix_counts_where_a_vip_is_ipv6() -> None:
    six = '[[vip]]\naddress = "2001:db8::100"\n'
    narrow = CLUSTER + "source_prefix6 = 56\n"
    assert hash_text(read(narrow + VIPS[0] + NODES[0])) == hash_text(
        read(CLUSTER + VIPS[0] + NODES[0])
    )
    assert hash_text(read(narrow + six + VIPS[0] + NODES[0])).splitlines()[3:] == [
        "hash_init 0",
        "source_prefix6 56",
        "vip 10.9.0.100 01005e0000c4",
        "service 0 0 65535 sourceip-sourceport",
        "vip 2001:db8::100 01005e0000a0",
        "service 0 0 65535 sourceip-sourceport",
    ]


@given(
    st.permutations(VIPS + NODES),
    st.sampled_from(["", "# a comment\n", "\n\r\n"]),
    st.sampled_from(["", "buckets = 120\n", 'port = 7\nstop = "drain"\n', 'quorum = "majority"\n']),
)
def test_order_comments_and_written_defaults_do_not_count(
    tables: list[str], between: str, more: str
) -> None:
    config = read(CLUSTER + more + between + between.join(tables))
    plain = read(CLUSTER + "".join(VIPS + NODES))
    assert hash_digest(config) == hash_digest(plain)
    assert voters_digest(config) == voters_digest(plain)


def test_the_order_of_services_and_ports_does_not_count() -> None:
    one = config_with(
        vip='service = [{ protocol = "tcp", ports = [80, 443] }, { protocol = "udp", ports = 53 }]'
    )
    other = config_with(
        vip='service = [{ protocol = "UDP", ports = "53" }, { protocol = "6", ports = "443-443" },'
        ' { protocol = "tcp", ports = "80" }]'
    )
    assert hash_digest(one) == hash_digest(other)


def test_actions_and_buckets_count() -> None:
    ways = {
        "": "sourceip-sourceport",
        ', action = "single"': "single 1",
        ', action = "single", bucket = 120': "single 120",
        ', action = "drop"': "drop",
    }
    texts = []
    for words, line in ways.items():
        text = hash_text(config_with(vip=f'service = [{{ protocol = "all"{words} }}]'))
        assert text.splitlines()[-1] == f"service 0 0 65535 {line}"
        texts.append(text)
    assert len(set(texts)) == len(ways)
    written = 'service = [{ protocol = "all", action = "single", bucket = 1 }]'
    assert hash_text(config_with(vip=written)) == texts[1]
    balance = 'service = [{ protocol = "all", action = "balance" }]'
    assert hash_text(config_with(vip=balance)) == hash_text(read(SMALL))


def test_nothing_is_hashed_by_a_mode_that_a_service_does_not_use() -> None:
    service = 'service = [{ protocol = "all", action = "single" }]'
    assert hash_digest(config_with(vip=service)) == hash_digest(
        config_with(vip=f'hashmode = "sourceip"\n{service}')
    )


@pytest.mark.parametrize(
    ("cluster", "vip"),
    [
        ("buckets = 64", ""),
        ("hash_init = 1", ""),
        ('profile = "fast"', ""),
        ('mac = "01:00:5e:00:00:20"', ""),
        ("", 'mac = "01:00:5e:00:00:20"'),
        ("", 'hashmode = "sourceip"'),
        ("", 'service = [{ protocol = "tcp" }]'),
        ("", 'service = [{ protocol = "all", action = "single" }]'),
        ("", 'service = [{ protocol = "all", action = "drop" }]'),
        ("", '[[vip]]\naddress = "10.9.0.101"'),
    ],
)
def test_what_counts(cluster: str, vip: str) -> None:
    changed = config_with(cluster, vip)
    assert hash_digest(changed) != hash_digest(read(SMALL))
    assert voters_digest(changed) == voters_digest(read(SMALL))


def test_voters_count() -> None:
    fewer = read(SMALL.replace('[[node]]\nname = "web3"\n', ""))
    assert voters(fewer) == ("web1", "web2")
    assert voters_digest(fewer) != voters_digest(read(SMALL))
    assert hash_digest(fewer) == hash_digest(read(SMALL))
    assert voters(config_with(node="witness = true")) == voters(read(SMALL))
