"""How things are said: errors on stderr, colour only on a terminal.

What users and other hosts named is never interpreted: it is no markup, no emoji and no control
sequence. Every character can be said in every encoding.

Every command has `--json`: one object on stdout in place of the words, and an error as one on
stderr.
"""

from __future__ import annotations

import argparse
import codecs
import contextlib
import io
import os
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn, TextIO, TypeAlias

from clusterip.cli.styled import Text
from clusterip.core.errors import ClusterIPError, UsageError
from clusterip.core.words import like

# rich is only imported where colour may be wanted: on a terminal.
if TYPE_CHECKING:
    from _typeshed import SupportsWrite
    from rich.console import Console

GOOD: Final = "green"
BAD: Final = "bold red"
WARNING: Final = "bold yellow"
WORTH_A_LOOK: Final = "yellow"
STRONG: Final = "bold"

Part: TypeAlias = str | tuple[str, str] | Text
"""What a line is put together from: text as it is, text with its style, or several of them."""

KEPT: Final[dict[str, Any]] = {"encoding": "utf-8", "errors": "surrogateescape"}
"""How text is read and written, so that every byte comes out as it came in."""
_HANDLER: Final = "clusterip-output"
_FIRST_SURROGATE: Final = 0xDC00
"""Python has a byte that it could not decode as this plus the byte (PEP 383)."""
_NO_CHARACTERS: Final = {_FIRST_SURROGATE + byte: f"\\x{byte:02x}" for byte in range(0x80, 0x100)}
"""Undecodable bytes, which have no place in JSON: to what is told of them."""
_UNSEEN: Final = {
    **{code: f"\\x{code:02x}" for code in (*range(0x0A), *range(0x0B, 0x20), *range(0x7F, 0xA0))},
    **_NO_CHARACTERS,
}
"""Control characters, but for the end of a line, and undecodable bytes: to what is shown."""
_FOR_PRINTF: Final = frozenset(map(chr, _UNSEEN)) | frozenset("\\%'\"!`$")
"""What is no plain character to printf, or may not be to a shell that is typed to."""
_CHOICE: Final = re.compile(r"invalid choice: '(.*)' \(choose from (.*)\)")
_CHOICES: Final = re.compile("[^', ]+")  # Python 3.13 has them without quotes
_COLUMNS: Final = 80
_FORCING: Final = ("FORCE_COLOR", "TTY_COMPATIBLE")
"""What makes rich take anything for a terminal."""
_AS_WIDE_AS_NEEDED: Final = 1 << 20
_JSON: Final = ("--json", "--jso", "--js")
"""The option as argparse takes it; `--j` is another one of iptables."""


class HelpFormatter(argparse.HelpFormatter):
    """Wraps what is said, at 80 columns at most, and leaves examples, which are indented."""

    def __init__(self, prog: str, **more: Any) -> None:
        """See argparse, which makes one for each help."""
        super().__init__(prog, width=min(_columns(), _COLUMNS) - 2, **more)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        del indent
        return "\n\n".join(
            part if part.startswith(" ") or "\n " in part else "\n".join(_wrapped(part, width))
            for part in text.strip("\n").split("\n\n")
        )

    def _split_lines(self, text: str, width: int) -> list[str]:
        return _wrapped(text, width)


def _wrapped(text: str, width: int) -> list[str]:
    """Return a text as lines; names of options and hash modes stay whole."""
    import textwrap  # noqa: PLC0415 - for help alone

    return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)


class Parser(argparse.ArgumentParser):
    """A parser whose complaints show every character given, and a cure; its help arrives."""

    _tells_json = False

    # argparse's own is silent about a full disk.
    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        """Print the help, on stdout by default; OSError if it cannot be written."""
        print(self.format_help(), end="", file=file)

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse; an error if there is anything that is not known, with what may be meant."""
        self._tells_json = wants_json(sys.argv[1:] if args is None else args)
        found, rest = super().parse_known_args(args, namespace)
        if rest:
            options = [one for one in self._option_string_actions if one.startswith("--")]
            wrong = next((one for one in rest if one.startswith("--")), "")
            close = like(wrong.partition("=")[0], options)
            self._complain(
                f"unrecognized arguments: {' '.join(rest)}",
                f"did you mean {close}?" if close else self._help,
            )
        return found, rest

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and exit."""
        chosen = _CHOICE.search(message)
        close = like(chosen[1], _CHOICES.findall(chosen[2])) if chosen else None
        self._complain(message, f"did you mean {close}?" if close else self._help)

    @property
    def _help(self) -> str:
        return f"see {self.prog} --help"

    def _complain(self, message: str, cure: str) -> NoReturn:
        if self._tells_json:
            complain(UsageError(message, cure), in_json=True)
            self.exit(UsageError.exit_status)
        self.print_usage(sys.stderr)
        self.exit(2, text(f"{self.prog}: error: {message}\n  cure: {cure}\n").plain)


def prepare() -> None:
    """Have all that is printed from now on arrive, whatever encoding stdout has."""
    # What was closed before the start would become the next file that is opened: a map, a socket.
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: PTH123, SIM115 - as long as the process
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: PTH123, SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: PTH123, SIM115
    codecs.register_error(_HANDLER, _replaced)
    # Python itself sees to stderr.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=_HANDLER)


def _replaced(error: UnicodeError) -> tuple[str | bytes, int]:
    """Write bytes that were no characters as they came, and what has no code as its number."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    code = ord(error.object[error.start])
    if _FIRST_SURROGATE + 0x80 <= code < _FIRST_SURROGATE + 0x100:
        return bytes([code - _FIRST_SURROGATE]), error.start + 1
    return error.object[error.start].encode("ascii", "backslashreplace"), error.start + 1


def keep_bytes(stream: TextIO) -> None:
    """Read or write from now on so that every byte comes out as it came in."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(**KEPT)


def flush(stream: TextIO) -> None:
    """Write what is left to be written, while what goes wrong with it is still ours to say."""
    try:
        stream.flush()
    except OSError:
        # Let it go nowhere, lest Python fails on it once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        raise


def add_json(parser: argparse.ArgumentParser, what: str = "print one JSON object") -> None:
    """Add the option that every command has."""
    parser.add_argument("--json", action="store_true", help=what)


def wants_json(words: Sequence[str]) -> bool:
    """Return whether a command line asks for JSON: what is wrong with it may be told before."""
    options = words[: words.index("--")] if "--" in words else words
    return any(word in _JSON for word in options)


def done(arguments: argparse.Namespace, sentence: str, **told: object) -> None:
    """Say what was done in a sentence; with `--json` it is `done` of an object, with the rest."""
    if arguments.json:
        print(as_json({"done": sentence, **told}))
    else:
        from clusterip.cli import tables  # noqa: PLC0415

        tables.sentence(sentence)


def complain(error: ClusterIPError, *, in_json: bool = False) -> None:
    """Print an error on stderr: the fault, and below it the cure; or all of it as an object."""
    if in_json:
        fault = {"message": error.message, "cure": error.cure, "status": error.exit_status}
        fault.update(error.told)
        with contextlib.suppress(OSError):
            print(as_json({"error": fault}), file=sys.stderr)
        return
    say("clusterip:", BAD, error.message, error.cure)


def say(place: str, style: str, message: str, cure: str) -> None:
    """Print on stderr what is to be said of a place, and below it the cure, if there is one."""
    from clusterip.cli import tables  # noqa: PLC0415

    tables.sentence((place, style), " ", message, err=True)
    below(cure, err=True)


def below(cure: str, *, err: bool = False) -> None:
    """Print a cure below what it is for, if there is one; on stderr if `err`."""
    from clusterip.cli import tables  # noqa: PLC0415

    if cure:
        tables.sentence(("  cure: ", GOOD), cure, indent=" " * len("  cure: "), err=err)


def text(*parts: Part) -> Text:
    """Return parts as one text, with what would not be seen or would disturb made visible."""
    whole = Text()
    for part in parts:
        if isinstance(part, Text):
            whole.append_text(part)
        else:
            words, style = (part, "") if isinstance(part, str) else part
            whole.append(words.translate(_UNSEEN), style)
    return whole


def shell_words(words: Sequence[str]) -> str:
    """Return words, none of which ends with a newline, as any shell reads them.

    What would disturb a terminal is escaped: also what goes to a file is looked at sometimes. So
    is what stdout would write as other bytes than those of UTF-8.
    """
    as_it_is = codecs.lookup(sys.stdout.encoding or "utf-8").name == "utf-8"
    return " ".join(_shell_word(one, as_it_is=as_it_is) for one in words)


def _shell_word(word: str, *, as_it_is: bool) -> str:
    if word.translate(_UNSEEN) == word and (as_it_is or word.isascii()):
        import shlex  # noqa: PLC0415

        return shlex.quote(word)
    # Not $'...', which dash does not know: and that is what `sh` often is.
    escaped = "".join(
        _octal(one) if one in _FOR_PRINTF or not (as_it_is or one.isascii()) else one
        for one in word
    )
    return f"\"$(printf '{escaped}')\""


def _octal(character: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in character.encode(errors="surrogateescape"))


def as_json(document: object, indent: int | None = None) -> str:
    """Return it as JSON that every reader takes: what is no character is told as it is shown.

    What is no value of JSON is one of msgspec's structs.
    """
    import json  # noqa: PLC0415

    import msgspec  # noqa: PLC0415

    plain = msgspec.to_builtins(document, str_keys=True)
    return json.dumps(_of_characters(plain), indent=indent)


def _of_characters(document: object) -> object:
    if isinstance(document, str):
        return document.translate(_NO_CHARACTERS)
    if isinstance(document, dict):
        return {_of_characters(name): _of_characters(one) for name, one in document.items()}
    if isinstance(document, list | tuple):
        return [_of_characters(one) for one in document]
    return document


def path(text: str) -> str:
    """Take an argument that names a file or a folder: an empty one names none."""
    if not text:
        raise argparse.ArgumentTypeError("the name is empty, as an unset variable is")
    return text


def line(*parts: Part, err: bool = False) -> None:
    """Print parts as one line, however long it is; on stderr if `err`, whether it is read or not.

    BrokenPipeError if nobody reads stdout any more.
    """
    whole = text(*parts)
    with contextlib.suppress(OSError) if err else contextlib.nullcontext():
        if whole.is_styled and _may_be_coloured(sys.stderr if err else sys.stdout):
            from rich.text import Text as Drawn  # noqa: PLC0415

            drawn = Drawn.assemble(*whole.pieces)
            console(err=err).print(drawn, soft_wrap=True)
        else:
            print(whole.plain, file=sys.stderr if err else sys.stdout)


def _may_be_coloured(stream: TextIO) -> bool:
    """Tell whether rich may find that a person is looking; the rest is left to it."""
    return stream.isatty() or any(os.environ.get(name) for name in _FORCING)


def width(*, err: bool = False) -> int:
    """Return how many columns there are: more than needed if it is no terminal."""
    seen = sys.stderr if err else sys.stdout
    return _columns() if seen.isatty() else _AS_WIDE_AS_NEEDED


def _columns() -> int:
    """Return the width of the terminal, as the environment or the terminal itself has it."""
    with contextlib.suppress(KeyError, ValueError):
        if (said := int(os.environ["COLUMNS"])) > 0:
            return said
    try:
        return os.get_terminal_size(1).columns or _COLUMNS
    except OSError:
        return _COLUMNS


def console(*, err: bool = False) -> Console:
    """Return what is printed on. It interprets no text, and has colour where that is wanted."""
    from rich.console import Console  # noqa: PLC0415

    class Unbroken(Console):
        """A console that leaves it to the command what a reader who went away means."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return Unbroken(
        stderr=err,
        markup=False,
        emoji=False,
        highlight=False,
        width=width(err=err),
        # Bold is no colour, and moving the cursor neither, but both are codes.
        color_system=None if plain else "auto",
        force_terminal=False if plain else None,
    )
