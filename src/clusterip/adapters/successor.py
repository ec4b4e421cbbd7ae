"""The program as it is installed by now, tried before it takes the place of this one: execve(2).

What an upgrade left half done, a library that is missing, a file that may not be read, ends a
program that was begun: nobody would be there to go back to. So it is begun beside this one first,
with all the words of this one's command line and one more, with which it loads what a daemon needs,
says of which release it is, and ends.
"""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

from clusterip.core.errors import SystemFaultError

TRIAL: Final = "--version"
_LOADING_SECONDS: Final = 15.0
"""It takes 0.3 s where nothing else runs."""
_UNKNOWN: Final = f"unrecognized arguments: {TRIAL}"
"""What release 0.1.0 says, which does not know this word, and takes all the others."""
_LONGEST: Final = 200
"""Characters of what it said that are told."""


def refuse_broken(words: Sequence[str] | None = None) -> None:
    """Raise SystemFaultError where the program does not begin; it may take seconds.

    `words` are how it is started: as this process was, if None.
    """
    words = sys.orig_argv if words is None else words
    command = shlex.join((*words, TRIAL))
    cure = f"install clusterip anew, and see that this ends well: {command}"
    try:
        done = subprocess.run(
            (*words, TRIAL),
            check=False,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=_LOADING_SECONDS,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired as error:
        why = f"it was not loaded after {_LOADING_SECONDS:g} s"
        raise _broken(why, f"free the processor or the disk; or {cure}") from error
    except OSError as error:
        # Where a script's interpreter is what is missing, the system names the script.
        raise _broken(f"{words[0]}: {error.strerror}", cure) from error
    said = done.stderr.decode(errors="replace").strip()
    if done.returncode and _UNKNOWN not in said:
        raise _broken(_why(done.returncode, said), cure)


def _why(status: int, said: str) -> str:
    """Return why it ended: the last that it said, of a traceback the error."""
    lines = [line.strip() for line in said.splitlines() if not line.startswith("  cure:")]
    how = f"exit status {status}"
    if status < 0:
        how = f"killed by {signal.Signals(-status).name}"
    return f"{lines[-1][:_LONGEST]} ({how})" if lines else how


def _broken(why: str, cure: str) -> SystemFaultError:
    return SystemFaultError(
        f"the program that is installed now does not start: {why}; this daemon goes on serving",
        cure,
    )
