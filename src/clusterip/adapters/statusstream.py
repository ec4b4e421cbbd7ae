"""Reading the status socket of a daemon within an event loop; `statusclient` is the plain form."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Self

from clusterip.adapters import statuspeer
from clusterip.adapters.statuspeer import (
    AGAIN_SECONDS,
    PATIENCE_SECONDS,
    SOON_SECONDS,
    LostError,
    Process,
)
from clusterip.core.errors import SystemFaultError
from clusterip.core.journal import Entry
from clusterip.core.messages import feed
from clusterip.core.messages.feed import Hello
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
    async def connect(cls, cluster: str, *, waits: bool = True) -> tuple[Self, Hello]:
        """Return a connection, and what the daemon said of itself.

        Unless it never `waits`, it is tried again as `StatusClient` does.
        """
        gives_up = time.monotonic() + PATIENCE_SECONDS * waits
        while True:
            try:
                return await cls._connect(cluster)
            except SystemFaultError as error:
                if not statuspeer.passes(cluster, error, gives_up):
                    raise
                await asyncio.sleep(SOON_SECONDS)

    @classmethod
    async def _connect(cls, cluster: str) -> tuple[Self, Hello]:
        gives_up = time.monotonic() + PATIENCE_SECONDS
        while (sock := statuspeer.try_connect(cluster)) is None:
            if time.monotonic() >= gives_up:
                raise statuspeer.does_not_answer(cluster)
            await asyncio.sleep(SOON_SECONDS)
        with contextlib.ExitStack() as stack:
            stack.callback(sock.close)
            reader, writer = await asyncio.open_unix_connection(sock=sock, limit=feed.LONGEST)
            stack.pop_all()
            one = cls(cluster, reader, writer)
            stack.callback(one.close)
            hello = statuspeer.greeted(cluster, await one.line())
            stack.pop_all()
        return one, hello

    def close(self) -> None:
        """End the connection, for whoever waits for a line, too."""
        self._writer.transport.abort()

    def process(self) -> Process:
        """Return the process on the other side, to be closed."""
        return Process(self._writer.get_extra_info("socket"))

    async def ask(self, request: feed.Request) -> None:
        """Say a line."""
        try:
            self._writer.write(feed.encode(request))
            await self._writer.drain()
        except OSError as error:
            raise statuspeer.lost(self.cluster) from error

    async def line(self, *, patient: bool = False) -> feed.Said | feed.Unknown:
        """Return the next line; what the daemon says went wrong is raised.

        `patient` is for a line that may take any time.
        """
        try:
            async with asyncio.timeout(None if patient else PATIENCE_SECONDS):
                raw = await self._reader.readline()
        except TimeoutError as error:
            raise statuspeer.does_not_answer(self.cluster) from error
        except (OSError, ValueError) as error:
            raise statuspeer.lost(self.cluster) from error
        if not raw.endswith(b"\n"):
            raise statuspeer.lost(self.cluster)
        return statuspeer.said_in(self.cluster, raw)


async def status(cluster: str) -> Status:
    """Return what is to be seen of the daemon, as it was at most a second ago."""
    gives_up = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return await _status(cluster)
        except SystemFaultError as error:
            if not statuspeer.passes(cluster, error, gives_up):
                raise
            await asyncio.sleep(SOON_SECONDS)


async def _status(cluster: str) -> Status:
    stream, _ = await StatusStream.connect(cluster)
    with contextlib.closing(stream):
        await stream.ask(feed.Look())
        while True:
            said = await stream.line()
            if isinstance(said, feed.Seen):
                return said.status


class AsyncFollower(AsyncIterator[Entry]):
    """What `statusclient.Follower` is, for an event loop.

    What waits for the next event may be cancelled, and begin again: nothing is lost.
    """

    def __init__(self, cluster: str, following: Following) -> None:
        self._cluster = cluster
        self._following = following
        self._there: tuple[StatusStream, Process] | None = None
        self._first: list[feed.Said | feed.Unknown] = []
        """The line that came when it was begun with, which is to be read still."""
        self._gives_up = 0.0
        """Until when the next one may take to be there, 0 where there is one."""
        self._over = False
        self._reading = asyncio.Lock()

    async def begin(self) -> None:
        """Connect, if that was not done: what happens from now on will be told."""
        async with self._reading:
            gives_up = time.monotonic() + PATIENCE_SECONDS
            while self._there is None and not self._over:
                try:
                    await self._subscribe()
                except SystemFaultError as error:
                    if not statuspeer.passes(self._cluster, error, gives_up):
                        raise
                    await asyncio.sleep(SOON_SECONDS)

    async def __anext__(self) -> Entry:
        await self.begin()
        async with self._reading:
            try:
                while self._there is not None and not self._over:
                    if entry := await self._step(*self._there):
                        return entry
            except SystemFaultError:
                if not self._over:
                    self.close()
                    raise
        raise StopAsyncIteration

    def close(self) -> None:
        """End the connection."""
        self._over = True
        self._drop()

    async def _step(self, stream: StatusStream, process: Process) -> Entry | None:
        """Take in the next line; return the event that it tells, if any."""
        if self._gives_up:
            await self._go_on(process)
            return None
        try:
            said = (
                self._first.pop()
                if self._first
                else await stream.line(patient=self._following.patient)
            )
        except LostError:
            self._following.lost()
        else:
            if entry := self._following.take(said):
                return entry
        if self._following.failed:
            raise statuspeer.failed(self._cluster)
        if self._following.goes_on:
            self._gives_up = time.monotonic() + statuspeer.NEXT_SECONDS
        elif self._following.over:
            self.close()
        return None

    async def _subscribe(self, *, waits: bool = True) -> None:
        stream, hello = await StatusStream.connect(self._cluster, waits=waits)
        with contextlib.ExitStack() as stack:
            stack.callback(stream.close)
            await stream.ask(self._following.listen(hello))
            # When it is here the daemon knows from where on all is wanted.
            first = [await stream.line()]
            if self._over:
                return
            process = stream.process()
            stack.pop_all()
        self._drop()
        self._there = stream, process
        self._first, self._gives_up = first, 0.0

    async def _go_on(self, process: Process) -> None:
        """Connect to the next one, when it is there."""
        # A successor is the same process.
        if process.has_ended():
            raise statuspeer.ended(self._cluster)
        try:
            await self._subscribe(waits=False)
        except SystemFaultError:
            if time.monotonic() >= self._gives_up:
                raise
            await asyncio.sleep(AGAIN_SECONDS)

    def _drop(self) -> None:
        for one in self._there or ():
            one.close()
