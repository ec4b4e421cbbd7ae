"""Where the command begins and ends, with as little loaded as that takes.

Until a command runs, and after it, Ctrl-C ends the process at once, as it ends a program in C.
Python's way is an exception, and amid the import of a library that becomes another one, a page of
text, or a crash.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import Final

from clusterip.core.errors import SystemFaultError

_OUT_OF_REACH: Final = """\
clusterip: the current directory is out of reach: {}
  cure: change to another one, as with `cd /`
"""


def main() -> int:
    """Run the command line of this process and return the exit status."""
    has_handler = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if has_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        os.getcwd()  # noqa: PTH109 - pathlib is not loaded yet
    except FileNotFoundError:
        pass  # nobody needs one that was removed
    except OSError as error:
        # Libraries look at it when they are loaded, and end.
        sys.stderr.write(_OUT_OF_REACH.format(error.strerror))
        return SystemFaultError.exit_status
    # What is loaded stays to the end. The collector would look at it again and again while it
    # comes, and once more as it goes: a tenth of what a command costs.
    gc.disable()
    from clusterip.cli import main as commands  # noqa: PLC0415 - not before Ctrl-C is seen to

    words = commands.own()
    gc.freeze()
    gc.enable()
    if not has_handler:
        return commands.main(words)
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return commands.main(words)
    except KeyboardInterrupt:
        return commands.INTERRUPTED
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
