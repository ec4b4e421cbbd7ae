"""The `clusterip` command: a table of commands; nouns read, verbs change."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence

import clusterip
from clusterip.cli import (
    announce,
    bucket,
    check,
    flush,
    importer,
    iptables,
    keygen,
    output,
    reload,
    run,
    show,
    statefiles,
    statuses,
    steer,
    which,
)
from clusterip.core.errors import ClusterIPError, SystemFaultError

_FAMILIES = (
    *(run, check, keygen, reload, steer, show),
    *(iptables, importer, bucket, which, announce, statefiles, flush),
)

_EPILOG = """\
A first host of three, as in 2010:
  clusterip iptables -A INPUT -p tcp -d 10.9.0.100 -i eth0 --dport 80 -j CLUSTERIP --new \\
    --hashmode sourceip-sourceport --clustermac 01:00:5e:00:00:20 \\
    --total-nodes 3 --local-node 1 --hash-init 1234

See also: man clusterip

"""


class _Version(argparse.Action):
    """Prints the version; looking it up is slow, so only when asked."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"clusterip {clusterip.__version__}")
        parser.exit()


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = output.Parser(
        prog="clusterip",
        description="Several Linux hosts share one virtual IP, with no load balancer: "
        "every host gets every packet, a hash picks the one that answers.",
        epilog=_EPILOG + statuses.told({statuses.WRONG: statuses.FILE}),
        formatter_class=output.HelpFormatter,
    )
    top.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for family in _FAMILIES:
        family.add_to(commands)
    return top


def main(words: Sequence[str] | None = None) -> int:
    """Run one command line (default: the process's own) and return the exit status."""
    output.prepare()
    try:
        return _status(sys.argv[1:] if words is None else words)
    finally:
        with contextlib.suppress(OSError):
            output.flush(sys.stderr)


def _status(words: Sequence[str]) -> int:
    """Run it, say what went wrong, and return the exit status."""
    status = 0
    try:
        try:
            status = _run(words)
        finally:
            output.flush(sys.stdout)
    except ClusterIPError as error:
        return _refused(error)
    except BrokenPipeError as error:
        # Whoever read our output has seen enough; what came of the command stays as it is.
        refusal = error.__context__
        return _refused(refusal) if isinstance(refusal, ClusterIPError) else status
    except OSError as error:
        return _refused(SystemFaultError(f"the system refused: {error}"))
    except KeyboardInterrupt:
        return 130
    return status


def _refused(error: ClusterIPError) -> int:
    output.complain(error)
    return error.exit_status


def _run(words: Sequence[str]) -> int:
    # The grammar of iptables is its own: argparse must not see `-A` or `!`.
    if words and words[0] == iptables.NAME and not _asks_for_help(words[1:]):
        return iptables.execute(words[1:])
    arguments = parser().parse_args(words)
    status: int = arguments.run(arguments)
    return status


def _asks_for_help(words: Sequence[str]) -> bool:
    return not words or words[0] in {"-h", "--help"}


if __name__ == "__main__":
    sys.exit(main())
