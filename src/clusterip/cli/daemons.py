"""Which daemon of this network namespace a command means, and asking it."""

from __future__ import annotations

import argparse

from clusterip.adapters import capabilities, control, runfiles
from clusterip.core.errors import RefusedError, SystemFaultError
from clusterip.core.messages.request import Show, Steering
from clusterip.core.status import Status


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the cluster."""
    parser.add_argument(
        "--cluster",
        metavar="NAME",
        help="the cluster meant, where daemons of several run in this network namespace",
    )


def chosen(arguments: argparse.Namespace) -> str:
    """Return the cluster meant; an error if none or several can be."""
    capabilities.require()
    if arguments.cluster is not None:
        return str(arguments.cluster)
    names = runfiles.running()
    if not names:
        raise SystemFaultError(
            "no daemon runs in this network namespace",
            control.START_IT,
        )
    if len(names) > 1:
        raise RefusedError(
            f"daemons of several clusters run here: {', '.join(names)}",
            "say which is meant with --cluster",
        )
    return names[0]


def show(arguments: argparse.Namespace) -> Status:
    """Return what the daemon meant says."""
    return control.ask(chosen(arguments), Show())


def ask(arguments: argparse.Namespace, request: Steering) -> None:
    """Ask the daemon meant for something to be done."""
    control.ask(chosen(arguments), request)
