"""Reading the status socket of a daemon within an event loop; `statusclient` is the plain form."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from typing import Self

from clusterip.adapters import statuspath
from clusterip.adapters.statusclient import (
    AGAIN_SECONDS,
    PATIENCE_SECONDS,
    RESTART_SECONDS,
    does_not_answer,
    does_not_know,
    ended,
    refusal,
    said_in,
)
from clusterip.core.errors import SystemFaultError
from clusterip.core.journal import Entry
from clusterip.core.messages import feed
from clusterip.core.messages.feed import Bye, Hello, Now
from clusterip.core.messages.following import Following
from clusterip.core.status import Status


class StatusStream:
    """A connection to the status socket of a cluster's daemon; errors as of `StatusClient`."""

    def __init__(
        self, cluster: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.cluster = cluster
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, cluster: str) -> tuple[Self, Hello]:
        """Return a connection, and what the daemon said of itself."""
        path = str(statuspath.path_of(cluster))
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                reader, writer = await asyncio.open_unix_connection(path, limit=feed.LONGEST)
        except OSError as error:  # TimeoutError, too
            raise refusal(cluster, error) from error
        one = cls(cluster, reader, writer)
        try:
            hello = await one.line(PATIENCE_SECONDS)
        except BaseException:
            one.close()
            raise
        if not isinstance(hello, Hello):
            one.close()
            raise does_not_know(cluster)
        return one, hello

    def close(self) -> None:
        """End the connection."""
        self._writer.transport.abort()

    async def ask(self, request: feed.Request) -> None:
        """Say a line."""
        try:
            self._writer.write(feed.encode(request))
            await self._writer.drain()
        except OSError as error:
            raise ended(self.cluster) from error

    async def line(self, patience: float | None = None) -> feed.Said | feed.Unknown:
        """Return the next line; what the daemon says went wrong is raised."""
        try:
            async with asyncio.timeout(patience):
                raw = await self._reader.readline()
        except TimeoutError as error:
            raise does_not_answer(self.cluster) from error
        except (OSError, ValueError) as error:
            raise ended(self.cluster) from error
        if not raw.endswith(b"\n"):
            raise ended(self.cluster)
        return said_in(self.cluster, raw)


async def status(cluster: str) -> Status:
    """Return what is to be seen of the daemon, as it was at most a second ago."""
    stream, _ = await StatusStream.connect(cluster)
    with contextlib.closing(stream):
        await stream.ask(feed.Look())
        while True:
            said = await stream.line(PATIENCE_SECONDS)
            if isinstance(said, feed.Seen):
                return said.status


async def follow(cluster: str, following: Following) -> AsyncGenerator[Entry, None]:
    """Yield what `following` wants, over planned restarts."""
    stream, hello = await StatusStream.connect(cluster)
    while True:
        with contextlib.closing(stream):
            await stream.ask(following.listen(hello))
            patience: float | None = PATIENCE_SECONDS
            while not following.over:
                said = await stream.line(patience)
                one = said.entry if isinstance(said, feed.Entry) else said
                if isinstance(one, Now):
                    patience = None
                if isinstance(one, Entry | Now | Bye) and (entry := following.take(one)):
                    yield entry
        if not following.goes_on:
            return
        stream, hello = await _successor(cluster)


async def _successor(cluster: str) -> tuple[StatusStream, Hello]:
    """Connect to the daemon that follows, when it is there."""
    gives_up = time.monotonic() + RESTART_SECONDS
    while True:
        try:
            return await StatusStream.connect(cluster)
        except SystemFaultError:
            if time.monotonic() >= gives_up:
                raise
        await asyncio.sleep(AGAIN_SECONDS)
