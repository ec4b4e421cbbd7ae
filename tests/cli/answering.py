"""A daemon that answers as it is told, for the commands that ask one."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import msgspec

from clusterip.adapters import controlserver
from clusterip.adapters.memory import RunFiles
from clusterip.core.errors import ClusterIPError
from clusterip.core.findings import Finding
from clusterip.core.health import Health
from clusterip.core.messages.answer import Answer, Changes, Done
from clusterip.core.report import Here
from clusterip.core.status import Status
from clusterip.runtime.report import report
from tests.runtime.agents import sharing


@cache
def _told() -> str:
    cluster = sharing()
    host = cluster["web1"]
    here = Here("/etc/clusterip.toml", started=1000)
    said = report(host.config, host.agent, Health(()), here, now=cluster.now)
    return json.dumps(msgspec.to_builtins(msgspec.structs.replace(said, pid=17), str_keys=True))


def document() -> dict[str, Any]:
    """Return what the daemon of web1 says, of three that share six buckets."""
    told: dict[str, Any] = json.loads(_told())
    return told


def status(told: dict[str, Any]) -> Status:
    """Return such a document as a value."""
    return msgspec.convert(told, Status, str_keys=True)


class Answering:
    """The daemon of a cluster. `does` says what a verb changes, or raises what it answers."""

    def __init__(self) -> None:
        self.document = document()
        self.asked: list[dict[str, Any]] = []
        self.does: dict[str, Callable[[], None]] = {}
        self.changes: list[str] = []
        self.warnings: list[Finding] = []
        """What a reload says."""

    async def answer(self, raw: bytes, begin: controlserver.Begin) -> Answer:
        begin()
        request: dict[str, Any] = json.loads(raw)
        verb = request["verb"]
        if verb != "show":
            self.asked.append(request)
        if verb in self.does:
            self.does[verb]()
        if verb == "show":
            return status(self.document)
        return Changes(self.changes, self.warnings) if verb == "reload" else Done()

    def node(self, name: str = "web1") -> dict[str, Any]:
        """Return what is said of a node, to be changed."""
        node: dict[str, Any] = next(one for one in self.document["nodes"] if one["name"] == name)
        return node

    def will(self, verb: str, name: str = "web1", **values: Any) -> None:
        """Have a verb change what is said of a node."""
        self.does[verb] = lambda: self.node(name).update(values)

    def refuses(self, verb: str, error: ClusterIPError) -> None:
        def refuse() -> None:
            raise error

        self.does[verb] = refuse


@contextmanager
def answering(cluster: str = "web") -> Iterator[Answering]:
    """Have a daemon answer, in a thread of its own."""
    daemon, begun, end = Answering(), threading.Event(), threading.Event()

    async def run() -> None:
        async with controlserver.serving(cluster, daemon.answer):
            begun.set()
            await asyncio.to_thread(end.wait)

    with RunFiles(cluster).claimed():
        thread = threading.Thread(target=lambda: asyncio.run(run()))
        thread.start()
        assert begun.wait(10)
        try:
            yield daemon
        finally:
            end.set()
            thread.join()
