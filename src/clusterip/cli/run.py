"""`clusterip run` and `clusterip witness`: the daemon."""

from __future__ import annotations

import argparse
import os
import socket
import traceback
from typing import Final

import clusterip
from clusterip.adapters.telling import tell
from clusterip.cli import log, output, statuses
from clusterip.cli.output import HelpFormatter, complain
from clusterip.core.config import reading
from clusterip.core.errors import FAULT, NOT_AGAIN, ClusterIPError, RefusedError
from clusterip.core.events import Failed

_RUN: Final = """\
On each host, with the same file:
  clusterip check && clusterip run

Everything else follows from the file: the addresses, MACs, filters and programs are added here,
the peers are found, the buckets are shared among those that are healthy. SIGTERM or Ctrl-C ends
it and takes all of it away; with stop = "drain" the connections that are open here may end first.

  clusterip show              who serves what, and for how long
  clusterip drain | undrain   give all buckets up, take part again
  clusterip reload            go by the changed file (also: SIGHUP)
  clusterip restart           exchange the program, losing no packet (SIGUSR2)

An interface that is not there is waited for.

"""
_WITNESS: Final = """\
Of two hosts neither can know whether the other is dead or only the network between them. A third
host that votes makes the difference, and needs no interface on the VIPs' network:

  [[node]]
  name = "judge"
  address = "10.9.5.7"
  witness = true

"""
_STATUSES: Final = {
    statuses.DONE: "told to stop",
    statuses.REFUSED: "",
    statuses.WRONG: statuses.FILE,
    NOT_AGAIN: "refused, and another start will be",
    statuses.UNABLE: "the system cannot do it now",
    FAULT: "a fault of clusterip itself, which another start may not have",
}


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommands."""
    for name, description, epilog in (
        ("run", "Serve the VIPs of the file on this host.", _RUN),
        (
            "witness",
            "Vote on who may serve, and serve nothing.",
            _WITNESS,
        ),
    ):
        parser = commands.add_parser(
            name,
            description=description,
            epilog=epilog + statuses.told(_STATUSES),
            formatter_class=HelpFormatter,
        )
        parser.add_argument(
            "-c",
            "--config",
            metavar="FILE",
            type=output.path,
            default=reading.FILE,
            help="default: %(default)s",
        )
        parser.add_argument(
            "--node", metavar="NAME", help="this host's node; default: its host name"
        )
        parser.add_argument(
            "--new-voters",
            action="store_true",
            help="begin with the file's voters, whatever they were; only where the daemons of all"
            " other hosts are stopped, or run with just these",
        )
        parser.add_argument(
            "--log-format",
            choices=("text", "json"),
            default="text",
            help="how events are logged: a line for people, or a JSON object; default: %(default)s",
        )
        parser.add_argument(
            "--json",
            dest="log_format",
            action="store_const",
            const="json",
            help="as --log-format json",
        )
        parser.add_argument(
            "--version",
            action="store_true",
            help="load what a daemon needs, print the version, and exit: a look before a restart"
            " whether it could begin",
        )
        parser.set_defaults(run=run, witness=name == "witness")


def run(arguments: argparse.Namespace) -> int:
    """Serve until told to stop; return the exit status."""
    # Only here: the daemon's libraries are no other command's business.
    from clusterip.adapters import bpfobject  # noqa: PLC0415
    from clusterip.runtime.journaling import Journaling  # noqa: PLC0415
    from clusterip.runtime.serving import serve  # noqa: PLC0415
    from clusterip.runtime.startup import Options  # noqa: PLC0415

    if arguments.version:
        if not arguments.witness:
            bpfobject.check_installation()
        print(f"clusterip {clusterip.__version__}")
        return 0
    as_json = arguments.log_format == "json"
    journaling = log.begin(as_json=as_json, wrap=Journaling)
    options = Options(
        os.path.abspath(arguments.config),  # noqa: PTH100 - a link stays a link
        arguments.node,
        arguments.witness,
        arguments.new_voters,
    )
    try:
        serve(options, socket.gethostname(), journaling)
    except ClusterIPError as error:
        if as_json:
            tell(Failed(cause=f"{error.message}; {error.cure}" if error.cure else error.message))
        else:
            complain(error)
        return NOT_AGAIN if isinstance(error, RefusedError) else error.exit_status
    except OSError:
        raise
    except Exception:  # noqa: BLE001 - whatever it is, the log has it
        tell(Failed(cause="ended by a fault of clusterip", detail=traceback.format_exc()))
        return FAULT
    return 0
