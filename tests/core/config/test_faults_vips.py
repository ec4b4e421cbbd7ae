"""Bad VIPs and services in configuration files: each fault with its line and its words."""

from __future__ import annotations

import pytest

from clusterip.core.config.reading import read
from tests.core.config.texts import SMALL, faults, line_of, with_lines


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("10.9.0.100/24", "'10.9.0.100/24' has a prefix length"),
        ("10.9.0", "'10.9.0' is not an IPv4 address"),
        ("10.9.0.0100", "'10.9.0.0100' is not an IPv4 address"),
        ("::", "'::' is not the address of a host"),
        ("ff02::1", "'ff02::1' is not the address of a host"),
        ("::ffff:10.9.0.1", "'::ffff:10.9.0.1' is not the address of a host"),
        ("::1", "::1 never leaves a host"),
        ("fe80::1", "fe80::1 is link-local: it means something on one interface only"),
        (
            "2001:db8::1%eth0",
            "'2001:db8::1%eth0' has a zone: it means something on one interface only",
        ),
        ("fe80::1%2", "'fe80::1%2' has a zone: it means something on one interface only"),
        ("2001:db8::1%", "'2001:db8::1%' is not an IPv6 address"),
        ("10.9.0.1%eth0", "'10.9.0.1%eth0' is not an IPv4 address"),
        ("239.1.2.3", "239.1.2.3 is not the address of a host"),
        ("127.255.255.255", "127.255.255.255 never leaves a host"),
        ("2001:db8::100/128", "'2001:db8::100/128' has a prefix length"),
        ("2001:db8:::1", "'2001:db8:::1' is not an IPv6 address"),
        ("0.0.0.0", "0.0.0.0 is not the address of a host"),
        ("255.255.255.255", "255.255.255.255 is not the address of a host"),
        ("224.0.0.1", "224.0.0.1 is not the address of a host"),
        ("127.0.0.1", "127.0.0.1 never leaves a host"),
    ],
)
def test_vip_addresses(address: str, message: str) -> None:
    assert faults(SMALL.replace("10.9.0.100", address)) == [(6, f"address: {message}")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('hashmode = "destip"', "hashmode: unknown value 'destip'"),
        ("service = 1", "service must be an array of tables, not a number"),
        ("service = [1]", "service must hold tables, not a number"),
        ("service = [{}]", "[[vip.service]] has no protocol"),
        ('service = [{ protocol = "tcp", port = 1 }]', "unknown key 'port' in [[vip.service]]"),
        ('service = [{ protocol = "256" }]', "protocol: unknown protocol '256'"),
        ("service = [{ protocol = 6 }]", "protocol: must be text, not a number"),
        (
            'service = [{ protocol = "icmp", ports = 1 }]',
            "ports: this protocol has none that a service can name",
        ),
        (
            'service = [{ protocol = "all", ports = 1 }]',
            "ports: this protocol has none that a service can name",
        ),
        (
            'service = [{ protocol = "tcp", ports = [] }]',
            "ports: the array is empty",
        ),
        (
            'service = [{ protocol = "tcp", ports = [true] }]',
            "ports: must be a number or text, not true or false",
        ),
        (
            'service = [{ protocol = "tcp", ports = "80," }]',
            "ports: '80,' is neither a number nor a range",
        ),
        (
            'service = [{ protocol = "tcp", ports = "0-80" }]',
            "ports: '0-80' is not in 1..65535",
        ),
        (
            'service = [{ protocol = "tcp", ports = 65536 }]',
            "ports: 65536 is not in 1..65535",
        ),
        (
            'service = [{ protocol = "tcp" }, { protocol = "tcp", hashmode = "sourceip" }]',
            "this service and one above both name ports 0-65535",
        ),
        (
            'service = [{ protocol = "udp", ports = "5-9" }, { protocol = "udp", ports = "9-10" }]',
            "this service and one above both name ports 9 (9-10 here, 5-9 above)",
        ),
        (
            'service = [{ protocol = "tcp", action = "deny" }]',
            "action: unknown value 'deny'",
        ),
        (
            'service = [{ protocol = "tcp", action = "singl", bucket = 2 }]',
            "action: unknown value 'singl'",
        ),
        (
            'service = [{ protocol = "tcp", action = "single", bucket = 0 }]',
            "bucket: 0 is not in 1..120",
        ),
        (
            'service = [{ protocol = "tcp", action = "single", bucket = 121 }]',
            "bucket: 121 is not in 1..120",
        ),
        (
            'service = [{ protocol = "tcp", bucket = 1 }]',
            'bucket: a service whose action is "balance" has none of its own',
        ),
        (
            'service = [{ protocol = "tcp", action = "drop", bucket = 1 }]',
            'bucket: a service whose action is "drop" has none of its own',
        ),
        (
            'service = [{ protocol = "tcp", action = "drop", hashmode = "sourceip" }]',
            'hashmode: nothing is hashed where the action is "drop"',
        ),
        (
            'service = [{ protocol = "tcp", action = "single", hashmode = "sourceip" }]',
            'hashmode: nothing is hashed where the action is "single"',
        ),
    ],
)
def test_vips(line: str, message: str) -> None:
    text = with_lines(vip=line)
    assert faults(text) == [(line_of(text, line), message)]


def test_services_within_one_another_are_no_fault() -> None:
    read(
        with_lines(
            vip='service = [{ protocol = "tcp", ports = "5-9" }, { protocol = "tcp" },'
            ' { protocol = "tcp", ports = "5-6" }, { protocol = "udp", ports = "9-10" }]'
        )
    )
