"""Configuration files for tests: a small good one, and what makes another of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from clusterip.core.config.faults import ConfigError
from clusterip.core.config.model import Config
from clusterip.core.config.reading import read

DOCS = Path(__file__).parents[3] / "docs"
EXAMPLE = (DOCS / "clusterip.toml").read_text()

SMALL = """\
[cluster]
name = "web"
interface = "eth0"

[[vip]]
address = "10.9.0.100"

[[node]]
name = "web1"

[[node]]
name = "web2"

[[node]]
name = "web3"
"""


def with_lines(cluster: str = "", vip: str = "", node: str = "", rest: str = "") -> str:
    """Return the small file with lines put into [cluster], the VIP, the last node, or after it."""
    text = SMALL.replace('interface = "eth0"\n', f'interface = "eth0"\n{cluster}\n')
    text = text.replace('"10.9.0.100"\n', f'"10.9.0.100"\n{vip}\n')
    return f"{text}{node}\n{rest}\n"


def config_with(cluster: str = "", vip: str = "", node: str = "", rest: str = "") -> Config:
    return read(with_lines(cluster, vip, node, rest))


def faults(text: str) -> list[tuple[int, str]]:
    """Return the line and message of each fault of a file that has some; each has a cure."""
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert caught.value.exit_status == 2
    assert all(fault.cure for fault in caught.value.faults)
    return [(fault.line, fault.message) for fault in caught.value.faults]


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1
