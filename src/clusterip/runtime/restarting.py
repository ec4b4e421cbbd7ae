"""A planned restart: this program again, as it is installed by now, in the same process."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from clusterip.adapters import configfiles, refusals, scheduling
from clusterip.adapters.runfiles import Memory
from clusterip.core.config import Config
from clusterip.core.config.reload import reloadable
from clusterip.core.errors import RefusedError, SystemFaultError
from clusterip.core.packets.state import InterfaceState
from clusterip.runtime.agent import Agent
from clusterip.runtime.served_interface import ServedInterface
from clusterip.runtime.startup import Options, own_node

_log = logging.getLogger("clusterip")


def refuse(
    options: Options,
    running: Config,
    name: str,
    shared: tuple[ServedInterface, InterfaceState] | None,
) -> None:
    """Raise what a successor of node `name` would end with or wait for, as this host is now.

    `shared` is None for a witness. Files, the kernel and links are asked: it may take a second.
    """
    try:
        config = configfiles.load(options.file)
        configfiles.load_keys(config.key_file)
        reloadable(running, config, name)
        me = own_node(config, options, socket.gethostname())
        if me.name != name:
            raise RefusedError(
                f"by its host name this host is {me.name} now, and {name} runs here",
                "give it its name back; or say which node it is with --node, and start it anew",
            )
        if shared is not None:
            served, state = shared
            served.refuse_successor(config, me.interface, state.index)
    except OSError as error:
        raise SystemFaultError(
            f"a successor could not start: {error}",
            f"{refusals.cure(error)}; this daemon goes on",
        ) from error


def replace(
    agent: Agent,
    memory: Memory,
    health: dict[str, Any],
    tell: Callable[[Callable[..., object]], None],
) -> None:
    """Hand over to a successor, which also gets `health`; `tell` brings a verb to the node.

    Signals that come meanwhile wait for the successor. Returns only if there is none: then the
    hand-over is taken back, and all goes on as before.
    """
    try:
        memory.put_handover(msgspec.structs.replace(agent.hand_over(), health=health))
        _log.info("handing over to a successor")
        scheduling.lower_process()
        os.execvp(sys.orig_argv[0], sys.orig_argv)  # noqa: S606 - ourselves
    except SystemFaultError as error:
        agent.stay(str(error))
    except OSError as error:
        agent.stay(f"cannot start {sys.orig_argv[0]}: {error.strerror}")
    scheduling.raise_process()
    memory.take_handover()
    tell(agent.coordinator.cancel_restart)
