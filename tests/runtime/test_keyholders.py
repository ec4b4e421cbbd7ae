"""A key that a node lacks is not sent with, and one that a node sends with is not dropped."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clusterip.adapters import statuspath
from clusterip.adapters.clock import boottime
from clusterip.adapters.statussocket import StatusSocket
from clusterip.cli.main import main
from clusterip.core.config.key_file import Key, new_file
from clusterip.core.errors import RefusedError
from clusterip.core.messages import feed
from clusterip.core.messages.feed import Hello
from clusterip.runtime import key_missing, keyholders
from tests.cli.answering import document, status
from tests.core.config.texts import SMALL

OLD, NEW = 42, 173


class Daemon:
    """A daemon that tells its status, and goes by a key file."""

    def __init__(self, folder: Path) -> None:
        self.keys = folder / "keys"
        self.keys.write_text(new_file(Key(OLD, b"a" * 32)) + f"{NEW}:{(b'b' * 32).hex()}\n")
        self.keys.chmod(0o600)
        file = folder / "clusterip.toml"
        file.write_text(SMALL.replace("[cluster]", f'[cluster]\nkey_file = "{self.keys}"'))
        self.told = {**document(), "file": str(file)}
        self.socket = StatusSocket("web", None)
        hello = Hello(cluster="web", node="web1", pid=os.getpid(), journal="a")
        assert self.socket.say(b"h" + feed.encode(hello))

    def tell(self, **nodes: dict[str, Any]) -> None:
        for node in self.told["nodes"]:
            node.update(key=OLD, keys=[OLD, NEW])
            node.update(nodes.get(node["name"], {}))
        said = msgspec.json.encode(status(self.told))
        assert self.socket.say(b"s%d %b\n" % (boottime(), said))

    @property
    def ids(self) -> list[int]:
        lines = self.keys.read_text().splitlines()
        return [int(one.partition(":")[0]) for one in lines if one and one[0] != "#"]


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    # A path of a socket is short.
    with tempfile.TemporaryDirectory(prefix="ci", dir="/tmp") as folder:
        monkeypatch.setattr(statuspath, "ROOT", Path(folder) / "s")
        one = Daemon(tmp_path)
        yield one
        one.socket.end()


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["keygen", *words]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    return said.err


def test_a_key_that_others_lack(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.tell(web2={"keys": [OLD]}, web3={"keys": [OLD]})
    use = (str(daemon.keys), "--use", str(NEW))
    said = refused(capsys, *use)
    assert f"key {NEW} is not in use on web2, web3 yet" in said
    assert "copy the file there, `clusterip reload` there, and give this again" in said
    assert daemon.ids == [OLD, NEW]
    assert main(["keygen", *use, "--force"]) == 0
    assert daemon.ids == [NEW, OLD]


def test_a_key_that_all_have(daemon: Daemon) -> None:
    # Of one that is not there, or does not say, nothing is known.
    daemon.tell(web2={"keys": None}, web3={"alive": False, "keys": [OLD]})
    assert main(["keygen", str(daemon.keys), "--use", str(NEW)]) == 0
    assert daemon.ids == [NEW, OLD]


def test_a_key_that_another_sends_with(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.tell(web1={"key": NEW}, web3={"key": NEW})
    assert main(["keygen", str(daemon.keys), "--use", str(NEW)]) == 0
    capsys.readouterr()
    drop = (str(daemon.keys), "--drop", str(OLD))
    assert f"key {OLD} is what web2 sends with" in refused(capsys, *drop)
    assert daemon.ids == [NEW, OLD]
    daemon.tell(**{name: {"key": NEW} for name in ("web1", "web2", "web3")})
    assert main(["keygen", *drop]) == 0
    assert daemon.ids == [NEW]


def test_another_key_file_is_none_of_its_business(daemon: Daemon, tmp_path: Path) -> None:
    daemon.tell(web2={"keys": [OLD]})
    other = tmp_path / "other"
    other.write_text(daemon.keys.read_text())
    keyholders.refuse_using(str(other), NEW)
    link = tmp_path / "link"
    link.symlink_to(daemon.keys)
    with pytest.raises(RefusedError):
        keyholders.refuse_using(str(link), NEW)


def test_one_that_hears_nothing_for_want_of_the_key_is_named() -> None:
    """It is as good as dead here, and what it said of its keys is so all the same."""
    told = document()
    for node in told["nodes"]:
        node.update(key=OLD, keys=[OLD])
    told["nodes"][0].update(key=NEW, keys=[OLD, NEW])
    told["nodes"][1]["alive"] = told["nodes"][2]["alive"] = False
    deaf = {"severity": "fault", "code": "deaf", "what": "deaf", "why": "", "cure": "x"}
    told["deaf"] = {"web2": deaf}
    (found,) = (one for _, one in key_missing.findings(status(told)))
    assert found.what == f"key {NEW}, used by web1, is missing on web2"
