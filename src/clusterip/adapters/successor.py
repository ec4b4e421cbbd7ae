"""The program as it is installed by now, tried before it takes the place of this one: execve(2).

What an upgrade left half done, a library that is missing, a file that may not be read, ends a
program that was begun: nobody would be there to go back to. So it is begun beside this one first,
with all the words of this one's command line and one more, with which it loads what a daemon needs,
says of which release it is, and ends.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import IO, Final

from clusterip.core.errors import SystemFaultError

TRIAL: Final = "--version"
_LOADING_SECONDS: Final = 15.0
"""It takes 0.3 s where nothing else runs."""
_BEGINS: Final = re.compile(r"clusterip \d+\.\d+\S*\n")
"""What it prints."""
_FIRST: Final = re.compile(rf"^clusterip.*: error: unrecognized arguments: {TRIAL}$", re.MULTILINE)
"""What release 0.1.0 says, which does not know this word, and takes all the others."""
_LONGEST: Final = 200
"""Characters of what it said that are told."""
_PRINTED: Final = 1 << 20
"""Bytes that it may print."""


def refuse_broken(words: Sequence[str] | None = None) -> None:
    """Raise SystemFaultError where the program does not begin; it may take seconds.

    `words` are how it is started: as this process was, if None.
    """
    words = sys.orig_argv if words is None else words
    command = shlex.join((*words, TRIAL))
    cure = f"install clusterip anew, and see that this ends well: {command}"
    with _in_memory() as out, _in_memory() as err:
        try:
            status = _ended(
                subprocess.Popen(
                    (*words, TRIAL),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    start_new_session=True,
                )
            )
        except subprocess.TimeoutExpired as error:
            why = f"it was not loaded after {_LOADING_SECONDS:g} s"
            raise _broken(why, f"free the processor or the disk; or {cure}") from error
        except OSError as error:
            # Where a script's interpreter is what is missing, the system names the script.
            raise _broken(f"{words[0]}: {error.strerror}", cure) from error
        printed, said = _read(out), _read(err)
    begins = status == 0 and _BEGINS.fullmatch(printed)
    if not (begins or (status and _FIRST.search(said))):
        raise _broken(_why(status, said), cure)


def _in_memory() -> IO[bytes]:
    return os.fdopen(os.memfd_create("clusterip-trial"), "w+b")


def _ended(program: subprocess.Popen[bytes]) -> int:
    """Wait until it ends, and return how; it is killed if that takes too long."""
    with program:
        # What it prints without end must not fill the memory.
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(program.pid, resource.RLIMIT_FSIZE, (_PRINTED, _PRINTED))
        try:
            return program.wait(_LOADING_SECONDS)
        except subprocess.TimeoutExpired:
            program.kill()
            raise


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _why(status: int, said: str) -> str:
    """Return why it ended: the last that it said, of a traceback the error."""
    lines = [line.strip() for line in said.splitlines() if not line.startswith("  cure:")]
    how = f"exit status {status}"
    if status == 0:
        how = "it does not say of which release it is"
    elif status < 0:
        known = -status in set(signal.Signals)
        how = f"killed by {signal.Signals(-status).name if known else f'signal {-status}'}"
    last = (
        "".join(one if one.isprintable() else "?" for one in lines[-1][:_LONGEST]) if lines else ""
    )
    return f"{last} ({how})" if last else how


def _broken(why: str, cure: str) -> SystemFaultError:
    return SystemFaultError(
        f"the program that is installed now does not start: {why}; this daemon goes on serving",
        cure,
    )
