"""What root must be able to do: asked of processes that lack some of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

import pytest

from clusterip.adapters import capabilities
from clusterip.adapters.capabilities import Capability
from clusterip.core.errors import SystemFaultError

needs_root = pytest.mark.root("dropping capabilities")
ASK = """\
from clusterip.adapters import capabilities
from clusterip.core.errors import SystemFaultError
print(*capabilities.missing(capabilities.Capability))
try:
    capabilities.require((*capabilities.SERVE, *capabilities.LOW_PORT))
except SystemFaultError as error:
    print(error)
"""


def asked(*prefix: str) -> Sequence[str]:
    """Return what is missing, and the lines of the error."""
    words = (*prefix, sys.executable, "-c", ASK)
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()


@needs_root
def test_root_has_all() -> None:
    assert capabilities.missing(Capability) == ()
    capabilities.require(Capability)


@needs_root
@pytest.mark.parametrize("lacking", list(Capability))
def test_each_is_missed(lacking: Capability) -> None:
    drop = f"-{lacking.name.lower()}"
    names, error, cure = asked("setpriv", "--bounding-set", drop, "--inh-caps", drop)
    assert names == str(lacking)
    assert error == f"{lacking} is missing, {lacking.purpose}"
    assert f"{lacking} in CapabilityBoundingSet=" in cure
    assert cure.endswith(f"for a container: --cap-add {lacking.name}")


@needs_root
def test_several_are_missed_at_once() -> None:
    names, error, cure = asked("setpriv", "--bounding-set", "-all", "--inh-caps", "-all")
    assert names == "CAP_NET_BIND_SERVICE CAP_NET_ADMIN CAP_NET_RAW CAP_SYS_ADMIN"
    assert [error.count(name) for name in names.split()] == [1, 1, 1, 1]
    assert "--cap-add SYS_ADMIN --cap-add NET_ADMIN --cap-add NET_RAW --cap-add" in cure


@needs_root
def test_root_of_a_user_namespace_has_them_in_name_only() -> None:
    names, error, cure = asked("unshare", "--user", "--map-root-user")
    assert names == ""
    assert error.startswith("this root is that of a user namespace")
    assert "run it as root of the machine" in cure


def test_another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SystemFaultError, match="this needs root"):
        capabilities.require()
