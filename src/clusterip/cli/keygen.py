"""`clusterip keygen`: make a key file; change its keys, one step at a time."""

from __future__ import annotations

import argparse
import os
import secrets
import shlex
import sys
from typing import Final

from clusterip.adapters import configfiles
from clusterip.cli import output, statuses
from clusterip.core.config import key_file
from clusterip.core.config.declared import KEY_FILE
from clusterip.core.config.key_file import KEY_BYTES, KEY_IDS, Key
from clusterip.core.errors import SystemFaultError, UsageError
from clusterip.core.rules import values as rule_values

_EXAMPLES: Final = """\
examples:
  clusterip keygen             # a new /etc/clusterip.key; copy it to each host

To change the key of a running cluster, host by host and without a gap:
  clusterip keygen --add       # says the new key's id, say 173; nobody sends
                               # with it yet. Copy the file to the other hosts,
                               # then `clusterip reload` on each, this one too
  clusterip keygen --use 173   # on every host, and reload: it is sent with
  clusterip keygen --drop 42   # the old one, on every host, and reload

Finish each step on every host before the next: --use and --drop are refused where a daemon here
knows of a host that would be cut off. The file is replaced in one step, with mode 0600;
comments in it stay. What is printed has the id of the key in question, never the key; for scripts,
`--json` has it as "id".

"""
_MADE: Final = (
    "made {file} with key {id}, for its owner only",
    "copy it to every other host: {copy}",
)
_ADDED: Final = (
    "put key {id} into {file}: it is accepted, and nobody sends with it yet",
    (
        "copy it to every other host: {copy}; then `clusterip reload` on every host, this one too;"
        " then on every host: clusterip keygen {file} --use {id}"
    ),
)
_USED: Final = (
    "key {id} is the first in {file}: what reads it sends with it",
    "`clusterip reload` here, and both on every other host; then on every host: {drop}",
)
_DROPPED: Final = (
    "took key {id} out of {file}",
    "`clusterip reload` here, and the same on every other host",
)
"""What was done, and what is to be done next."""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "keygen",
        description="Make a key file, which every host needs; or do one step of changing the key.",
        epilog=_EXAMPLES + statuses.told({statuses.WRONG: statuses.FILE}),
        formatter_class=output.HelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", nargs="?", type=output.path, default=KEY_FILE)
    step = parser.add_mutually_exclusive_group()
    step.add_argument("--add", action="store_true", help="put a new key in, to be accepted")
    step.add_argument(
        "--use", metavar="ID", type=_identity, help="move this key to the front, to send with it"
    )
    step.add_argument("--drop", metavar="ID", type=_identity, help="take this key out")
    parser.add_argument(
        "--force",
        action="store_true",
        help="with --use and --drop: although a node that lives would be cut off by it",
    )
    output.add_json(parser)
    parser.set_defaults(run=run)


def _identity(text: str) -> int:
    number = rule_values.number(text, 0, KEY_IDS - 1)
    if number is None:
        raise UsageError(
            f"key id {text!r} is not in 0..{KEY_IDS - 1}",
            "give the number before the colon of a line of the key file",
        )
    return number


def run(arguments: argparse.Namespace) -> int:
    """Make or change a key file; return the exit status."""
    if arguments.use is not None:
        identity, change = arguments.use, key_file.promoted
    elif arguments.drop is not None:
        identity, change = arguments.drop, key_file.dropped
    else:
        return _new(arguments)
    if not arguments.force and configfiles.load_keys(arguments.file).find(identity):
        # Only here: what asks daemons is not needed for a new file.
        from clusterip.runtime import keyholders  # noqa: PLC0415

        uses = arguments.use is not None
        refuse = keyholders.refuse_using if uses else keyholders.refuse_dropping
        refuse(arguments.file, identity)
    configfiles.change_keys(arguments.file, lambda text: change(text, identity))
    step = _USED if arguments.use is not None else _DROPPED
    _tell(arguments, identity, step)
    return 0


def _new(arguments: argparse.Namespace) -> int:
    file, add = arguments.file, arguments.add
    secret = secrets.token_bytes(KEY_BYTES)
    taken = configfiles.load_keys(file).secrets() if add else {}
    # Not the next number: if a key is added on two hosts by mistake, their ids should differ.
    key = Key(secrets.choice([one for one in range(KEY_IDS) if one not in taken]), secret)
    if add:
        configfiles.change_keys(file, lambda text: key_file.added(text, key))
    else:
        configfiles.create_keys(file, key_file.new_file(key))
    _tell(arguments, key.id, _ADDED if add else _MADE)
    return 0


def _tell(arguments: argparse.Namespace, identity: int, step: tuple[str, str]) -> None:
    """Say what was done to the file, and what is to be done next."""
    file = shlex.quote(os.path.abspath(arguments.file))  # noqa: PTH100 - links stay links
    others = [key.id for key in configfiles.load_keys(arguments.file).every[1:]]
    # The one that was sent with until now is the second.
    drop = (
        f"clusterip keygen {file} --drop {others[0]}" if others else "nothing, it is the only one"
    )
    copy = f"scp -p {file} root@HOST:{file}"
    done, following = (one.format(file=file, id=identity, copy=copy, drop=drop) for one in step)
    try:
        output.done(arguments, done, file=arguments.file, id=identity, next=following)
        if not arguments.json:
            output.line(f"next: {following}")
        output.flush(sys.stdout)
    except BrokenPipeError:
        raise
    except OSError as error:
        # It is done all the same: given again, the command would be refused.
        words = f"{done}; that cannot be printed: {error.strerror}"
        raise SystemFaultError(words, following) from error
