"""Asking the daemon of a cluster: one JSON object a line over a unix socket, one in return.

The socket lies in a folder that only root may enter, so whoever can ask may ask for anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from clusterip.adapters import runfiles
from clusterip.core.errors import (
    ClusterIPError,
    RefusedError,
    SystemFaultError,
    UsageError,
)

_LONGEST: Final = 1 << 22
_PATIENCE_SECONDS: Final = 10.0

_KINDS: Final = {kind.exit_status: kind for kind in (RefusedError, UsageError, SystemFaultError)}

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
"""Answers a request; what it raises as ClusterIPError is raised at the one who asked."""


def ask(cluster: str, request: dict[str, Any], *, patience: float = _PATIENCE_SECONDS) -> Any:
    """Return the daemon's answer; the daemon's own errors are raised here.

    SystemFaultError if no daemon runs, or none answers within `patience` seconds.
    """
    try:
        with (
            runfiles.control_path(cluster) as path,
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one,
        ):
            one.settimeout(patience)
            one.connect(path)
            one.sendall(json.dumps(request).encode() + b"\n")
            with one.makefile("rb") as stream:
                line = stream.readline(_LONGEST)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise SystemFaultError(
            f"no daemon of cluster {cluster} runs in this network namespace",
            "start it: systemctl start clusterip, or `clusterip run`",
        ) from error
    except TimeoutError as error:
        raise SystemFaultError(
            f"the daemon of cluster {cluster} does not answer",
            "it may be stopped or starved: see its log",
        ) from error
    except (ConnectionResetError, BrokenPipeError):
        line = b""
    if not line.endswith(b"\n"):
        raise SystemFaultError(f"the daemon of cluster {cluster} ended before it answered")
    answer = json.loads(line)
    if "error" in answer:
        fault = answer["error"]
        raise _KINDS[fault["status"]](fault["message"], fault["cure"])
    return answer


@contextlib.asynccontextmanager
async def serving(cluster: str, handler: Handler) -> AsyncIterator[None]:
    """Answer requests for as long as the context lasts."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await asyncio.wait_for(reader.readline(), _PATIENCE_SECONDS)
            if line:
                writer.write(json.dumps(await _answer(line, handler)).encode() + b"\n")
                await asyncio.wait_for(writer.drain(), _PATIENCE_SECONDS)
        except (OSError, ValueError, TimeoutError):
            # Whoever asked went away, or speaks something else: nobody to tell.
            pass
        finally:
            writer.close()

    with runfiles.control_path(cluster) as path:
        # What an earlier daemon left there is no socket of anybody: asyncio replaces it.
        server = await asyncio.start_unix_server(converse, path)
        try:
            yield
        finally:
            server.close()


async def _answer(line: bytes, handler: Handler) -> dict[str, Any]:
    request = json.loads(line)
    if not isinstance(request, dict):
        raise ValueError("a request is a JSON object")  # noqa: TRY004 - as json has it
    try:
        return await handler(request)
    except ClusterIPError as error:
        return {
            "error": {
                "message": error.message,
                "cure": error.cure,
                "status": error.exit_status,
            }
        }
