"""The `clusterip` command: a table of commands; nouns read, verbs change."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, Final

import clusterip
from clusterip.adapters import refusals
from clusterip.cli import output, statuses
from clusterip.core.errors import ClusterIPError, SystemFaultError, UsageError
from clusterip.core.words import like

_FAMILIES: Final = {
    "run": ("run", "witness"),
    "check": ("check",),
    "keygen": ("keygen",),
    "reload": ("reload", "restart"),
    "steer": ("drain", "undrain", "weight"),
    "show": ("show",),
    "events": ("events",),
    "iptables": ("iptables",),
    "importer": ("import",),
    "bucket": ("bucket",),
    "which": ("which",),
    "announce": ("announce",),
    "statefiles": ("statefiles",),
    "flush": ("flush",),
}
"""Modules, in the order of the help, and the commands that each adds."""

_OPTIONS: Final = ("--help", "--version")
_OF_IPTABLES: Final = ("-A", "-C", "-D", "-F", "-I", "-L", "-S", "-Z")
_ELSEWHERE: Final = {"list": "show", "status": "show"}
"""What other programs call what a command does."""
_OF_SYSTEMD: Final = {
    "start": "`systemctl start clusterip`, or `clusterip run` in the foreground",
    "stop": "`systemctl stop clusterip`, or end `clusterip run`; `clusterip drain --wait` before"
    " gives its buckets away without breaking a connection",
}
"""What is done to a daemon by what runs it."""

_GROUPS: Final = {
    "first steps, in this order": {
        "keygen": "make a key file, or change its keys",
        "check": "check a configuration file, and this host",
        "run": "run the daemon of this host",
        "witness": "run the daemon of a host that only votes",
        "show": "show nodes, VIPs, buckets, rules and counters",
    },
    "a running cluster": {
        "events": "show what happened, and what happens",
        "drain": "give a node's buckets to the others, breaking no connection",
        "undrain": "let a drained node take part again",
        "weight": "change a node's share",
        "reload": "have the daemon read its file again",
        "restart": "replace the daemon by a new one, losing no packet",
    },
    "by hand": {
        "iptables": "share VIPs by rules, as with iptables -j CLUSTERIP",
        "import": "take over the CLUSTERIP rules of an iptables-save file",
        "bucket": "show, take or give up buckets of a VIP",
        "statefiles": "serve the old per-VIP state files",
        "flush": "take away all rules and all that they brought",
    },
    "both": {
        "which": "say which bucket a packet falls to, and which node answers it",
        "announce": "tell clients and routers the cluster MACs of VIPs",
    },
}
"""What the help has the commands under: each once. So it needs none of their modules."""

_EPILOG = """\
Three hosts share 10.9.0.100, each with the same /etc/clusterip.toml:

  cluster = { name = "web", interface = "eth0" }
  node = [
      { name = "web1", address = "10.9.0.11" },
      { name = "web2", address = "10.9.0.12" },
      { name = "web3", address = "10.9.0.13" },
  ]
  vip = [{ address = "10.9.0.100" }]

  clusterip keygen                   # on web1; copy /etc/clusterip.key to all
  clusterip check                    # on each, and then
  systemctl enable --now clusterip   # or, to try it, clusterip run
  clusterip show                     # who serves what, and what is wrong
  clusterip drain --wait web2        # before web2 is rebooted

See also: man clusterip, clusterip COMMAND --help

"""


INTERRUPTED: Final = 130
"""The exit status after Ctrl-C."""


class _Help(output.HelpFormatter):
    """The help of the whole: its commands in groups."""

    def _format_action(self, action: argparse.Action) -> str:
        if not isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            return super()._format_action(action)
        width = max(len(name) for some in _GROUPS.values() for name in some) + 2
        lines: list[str] = []
        for title, helps in _GROUPS.items():
            lines.append(f"  {title}:")
            lines += (f"    {name:<{width}}{words}" for name, words in helps.items())
        return "\n".join([*lines, ""])


class _Version(argparse.Action):
    """Prints the version; looking it up is slow, so only when asked."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"clusterip {clusterip.__version__}")
        parser.exit()


def parser(command: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of the whole command line, or of what a command needs of it."""
    top = output.Parser(
        prog="clusterip",
        description="Several Linux hosts share one virtual IP, with no load balancer: "
        "every host gets every packet, a hash picks the one that answers.",
        epilog=_EPILOG + statuses.told({statuses.WRONG: statuses.FILE}),
        formatter_class=_Help,
    )
    top.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for family in _needed(command):
        _module(family).add_to(commands)
    return top


def main(words: Sequence[str] | None = None) -> int:
    """Run one command line (default: the process's own) and return the exit status."""
    output.prepare()
    try:
        return _status(words)
    finally:
        with contextlib.suppress(OSError):
            output.flush(sys.stderr)


def _status(words: Sequence[str] | None) -> int:
    """Run it, say what went wrong, and return the exit status."""
    status = 0
    in_json = output.wants_json(sys.argv[1:] if words is None else words)
    try:
        try:
            status = _run(own() if words is None else words)
        finally:
            output.flush(sys.stdout)
    except ClusterIPError as error:
        return _refused(error, in_json=in_json)
    except BrokenPipeError as error:
        # Whoever read our output has seen enough; what came of the command stays as it is.
        refusal = error.__context__
        if isinstance(refusal, ClusterIPError):
            return _refused(refusal, in_json=in_json)
        return status
    except OSError as error:
        fault = SystemFaultError(f"the system refused: {error}", refusals.cure(error))
        return _refused(fault, in_json=in_json)
    except KeyboardInterrupt:
        return INTERRUPTED
    return status


def _refused(error: ClusterIPError, *, in_json: bool) -> int:
    output.complain(error, in_json=in_json)
    return error.exit_status


def _run(words: Sequence[str]) -> int:
    # The grammar of iptables is its own: argparse must not see `-A` or `!`.
    command = words[0] if words else ""
    status: int
    if command.startswith("-"):
        _refuse_unknown_option(command)
    elif command:
        _refuse_unknown(command)
    if command == "iptables" and not _asks_for_help(words[1:]):
        # Bytes count there, as for iptables, and not what the locale takes them for.
        read = [os.fsencode(word).decode(errors="surrogateescape") for word in words[1:]]
        status = _module(command).execute(read)
    else:
        arguments = parser(command).parse_args(words)
        status = arguments.run(arguments)
    return status


def _refuse_unknown(command: str) -> None:
    known = [name for names in _FAMILIES.values() for name in names]
    if command not in known:
        if command in _OF_SYSTEMD:
            raise UsageError(f"there is no command {command!r}", _OF_SYSTEMD[command])
        close = _ELSEWHERE.get(command) or like(command, [*known, *_OPTIONS])
        raise UsageError(
            f"there is no command {command!r}",
            f"did you mean `clusterip {close}`?" if close else "see clusterip --help",
        )


def _refuse_unknown_option(option: str) -> None:
    """Name it: argparse would rather say that the command is missing."""
    name = option.partition("=")[0]
    if name in ("-", "-h") or any(one.startswith(name) for one in _OPTIONS):
        return
    if name in _OF_IPTABLES:
        raise UsageError(
            f"there is no option {option!r}", f"did you mean `clusterip iptables {name} ...`?"
        )
    meant = [one for one in _OPTIONS if len(name) == 2 and one[2] == name[1].lower()]
    close = next(iter(meant), like(name, _OPTIONS))
    raise UsageError(
        f"there is no option {option!r}",
        f"did you mean `clusterip {close}`?" if close else "see clusterip --help",
    )


def own() -> list[str]:
    """Return the command line of this process, whose modules it imports at once."""
    words = sys.argv[1:]
    for family in _needed(words[0] if words else ""):
        _module(family)
    return words


def _needed(command: str | None) -> list[str]:
    # What the others import would be most of the time that a command takes to begin.
    return [family for family, names in _FAMILIES.items() if command is None or command in names]


def _module(family: str) -> Any:
    return importlib.import_module(f"clusterip.cli.{family}")


def _asks_for_help(words: Sequence[str]) -> bool:
    return not words or words[0] in {"-h", "--help"}


if __name__ == "__main__":
    sys.exit(main())
