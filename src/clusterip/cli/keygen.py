"""`clusterip keygen`: make a key file; change its keys, one step at a time."""

from __future__ import annotations

import argparse
import secrets
from typing import Final

from clusterip.adapters import configfiles
from clusterip.cli.output import HelpFormatter
from clusterip.core.config import keys as config_keys
from clusterip.core.config.keys import KEY_BYTES, KEY_IDS, Key
from clusterip.core.config.sections import KEY_FILE
from clusterip.core.errors import UsageError
from clusterip.core.rules import values as rule_values

_EXAMPLES: Final = """\
examples:
  clusterip keygen                     # a new /etc/clusterip.key; copy it to every host

To change the key of a running cluster, host by host and without a gap:
  clusterip keygen --add               # prints the new key's id, say 173; nobody sends with it
                                       # yet. Copy the file to every host
  clusterip keygen --use 173           # on every host: it is sent with
  clusterip keygen --drop 42           # the old one, on every host

Finish each step on every host before the next. The file is replaced in one step, with mode 0600;
comments in it stay. The id of the key in question is printed, never the key.

exit status: 0 done; 1 refused, nothing changed; 2 the file is no key file; 4 it cannot be written
"""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "keygen",
        help="make a key file, or change its keys",
        description="Make a key file, which every host needs; or do one step of changing the key.",
        epilog=_EXAMPLES,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", nargs="?", default=KEY_FILE)
    step = parser.add_mutually_exclusive_group()
    step.add_argument("--add", action="store_true", help="put a new key in, to be accepted")
    step.add_argument(
        "--use", metavar="ID", type=_identity, help="move this key to the front, to send with it"
    )
    step.add_argument("--drop", metavar="ID", type=_identity, help="take this key out")
    parser.set_defaults(run=run)


def _identity(text: str) -> int:
    number = rule_values.number(text, 0, KEY_IDS - 1)
    if number is None:
        raise UsageError(f"key id {text!a} is not in 0..{KEY_IDS - 1}", "see the key file")
    return number


def run(arguments: argparse.Namespace) -> int:
    """Make or change a key file; return the exit status."""
    if arguments.use is not None:
        identity, change = arguments.use, config_keys.promoted
    elif arguments.drop is not None:
        identity, change = arguments.drop, config_keys.dropped
    else:
        return _new(arguments.file, arguments.add)
    configfiles.change_keys(arguments.file, lambda text: change(text, identity))
    print(identity)
    return 0


def _new(file: str, add: bool) -> int:
    secret = secrets.token_bytes(KEY_BYTES)
    taken = configfiles.load_keys(file).secrets() if add else {}
    # Not the next number: if a key is added on two hosts by mistake, their ids should differ.
    key = Key(secrets.choice([one for one in range(KEY_IDS) if one not in taken]), secret)
    if add:
        configfiles.change_keys(file, lambda text: config_keys.added(text, key))
    else:
        configfiles.create_keys(file, config_keys.new_file(key))
    print(key.id)
    return 0
