"""What members of a cluster said, and what they are about to do."""

from __future__ import annotations

import re

import pytest

from clusterip.core.findings import Finding
from clusterip.core.messages.command import is_command
from clusterip.core.messages.message import digest_of_name
from tests.runtime.agents import KEYS, Cluster, Host

ADDRESS = "10.9.0.13"
SECRETS = KEYS.secrets()
WEB = digest_of_name("web")


def commands(sent: list[bytes]) -> list[bytes]:
    return [one for one in sent if is_command(one)]


def leaving(cluster: Cluster) -> list[str]:
    return [host.name for host in cluster.hosts if host.node.own.leaving]


def message_of(host: Host) -> bytes:
    """Return what the host said last."""
    return next(one for one in reversed(host.inbox.sent) if not is_command(one))


def said(caplog: pytest.LogCaptureFixture, name: str) -> list[str]:
    """Return what was said of a node, by whichever, once each."""
    lines = (one for one in caplog.messages if re.match(rf"(\d+ datagrams|{name})\b", one))
    return list(dict.fromkeys(lines))


def findings(host: Host) -> list[Finding]:
    """Return what a host finds wrong with the others now."""
    found = [one for _, one in host.exchange.others.wrong(now=host.clock())]
    assert all(one.is_fault and one.cure for one in found)
    return found


def codes(host: Host) -> list[str]:
    """Return the codes of what a host finds wrong with the others now."""
    return [one.code for one in findings(host)]


def faults(host: Host) -> list[str]:
    """Return what a host says of the others now, as lines."""
    return [one.line for one in findings(host)]


def with_address(cluster: Cluster) -> None:
    """Give web3 its address, and all the port."""
    for host in cluster.hosts:
        host.exchange.others.port = 5407
        host.inbox.address = ADDRESS if host.name == "web3" else ""
