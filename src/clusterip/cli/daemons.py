"""Which daemon of this network namespace a command means."""

from __future__ import annotations

import argparse

from clusterip.runtime import choosing


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the cluster."""
    parser.add_argument(
        "--cluster",
        metavar="NAME",
        help="the cluster meant, where daemons of several run in this network namespace",
    )


def chosen(arguments: argparse.Namespace) -> str:
    """Return the cluster meant; an error if none or several can be."""
    return choosing.chosen(arguments.cluster)
