"""`clusterip statefiles`: the old per-VIP files, for scripts that write `+N` and `-N` to them."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from clusterip.adapters import capabilities, netns_exec, statefs
from clusterip.cli import output, statuses
from clusterip.core.errors import RefusedError, SystemFaultError
from clusterip.core.words import amount

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clusterip.core.packets.state import Chain


DIRECTORY: Final = Path("/run/clusterip")
_DEVICE: Final = Path("/dev/fuse")

_EXAMPLES: Final = """\
examples:
  clusterip statefiles &
  cat /run/clusterip/10.9.0.100          # 1,2
  echo -2 >> /run/clusterip/10.9.0.100   # another host takes over bucket 2 ...
  echo +2 >> /run/clusterip/10.9.0.100   # ... and this one takes it back
  ip netns exec web clusterip statefiles --mount /run/web &
                                         # a directory for each namespace

"""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "statefiles",
        description="Serve a file for each shared VIP, as /proc/net/ipt_CLUSTERIP had them: "
        "reading gives the buckets this host holds, writing +N or -N takes or gives up one. "
        "Runs until SIGTERM or SIGINT, then unmounts. Needs root and FUSE.",
        epilog=_EXAMPLES + statuses.told({statuses.DONE: "told to stop"}),
        formatter_class=output.HelpFormatter,
    )
    parser.add_argument(
        "--mount",
        metavar="DIR",
        type=output.path,
        default=DIRECTORY,
        help="where the files appear; made if missing, and removed again (default: %(default)s)",
    )
    output.add_json(parser, "print one JSON object when the files are there")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve the files of this network namespace until told to stop; return the exit status."""
    from clusterip.runtime.rule_table import RuleTable  # noqa: PLC0415 - loads libbpf

    capabilities.require(capabilities.LOOK)
    directory = Path(os.path.abspath(arguments.mount))  # noqa: PTH100 - links are for `serve`
    netns_exec.leave()
    return serve(RuleTable.open(), directory, in_json=arguments.json)


def serve(buckets: statefs.Buckets, directory: Path, *, in_json: bool = False) -> int:
    """Serve at `directory` until SIGTERM, SIGINT, SIGHUP or an unmount; return the exit status.

    To be called from the main thread, before any other is started.
    """
    if not _DEVICE.exists():
        raise SystemFaultError(f"{_DEVICE} is missing: this kernel offers no FUSE", "modprobe fuse")
    directory = directory.resolve()
    main = threading.get_ident()
    with _signals_held() as awaited, _mount_point(directory):
        files = statefs.StateFileSystem(
            buckets,
            directory,
            report=_say,
            on_end=lambda: signal.pthread_kill(main, signal.SIGTERM),
        )
        # Before they are mounted: an error leaves nothing, and one thread at a time asks.
        chain = buckets.chain()
        files.start()
        vips = [str(one.vip) for state in chain.static().interfaces for one in state.groups]
        said = f"serving {amount(len(vips), 'VIP')} at {directory}{_left_out(chain)}"
        if in_json:
            told = {"done": said, "directory": str(directory), "vips": vips}
            print(output.as_json(told), flush=True)
        else:
            _say(said)
        signal.sigwait(awaited)
        files.stop()
    return 0


def _left_out(chain: Chain) -> str:
    """Return what to add of VIPs that have no file, since a daemon moves their buckets."""
    daemons = sorted({one.cluster for one in chain.interfaces if one.cluster and one.groups})
    if not daemons:
        return ""
    return (
        f"; the VIPs run by the daemon of cluster {', '.join(daemons)} have no file:"
        " `clusterip show` has their buckets"
    )


@contextlib.contextmanager
def _signals_held() -> Iterator[set[signal.Signals]]:
    """Block the signals that end the command, to be waited for.

    A handler would have to interrupt libfuse's loop, and one that comes between the loop's look
    at its flag and its next read is lost. Threads started within inherit the block.
    """
    ending = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    # nohup and the shells' background jobs say by SIG_IGN which of them shall not count.
    awaited = {one for one in ending if signal.getsignal(one) != signal.SIG_IGN} | {signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    try:
        yield awaited
    finally:
        while signal.sigtimedwait(awaited, 0):
            pass  # what came twice, or from the end of the loop, has been heeded
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _mount_point(directory: Path) -> Iterator[None]:
    """Provide an empty directory that nobody else mounts on, and remove it if it was not there."""
    while statefs.detach_dead(directory):
        _say(f"unmounted what a killed server had left at {directory}")
    _refuse_mounted(directory)
    created = _make(directory)
    with _locked(directory):
        # Again: whoever held the lock before may have mounted since.
        _refuse_mounted(directory)
        if any(directory.iterdir()):
            raise RefusedError(f"{directory} is not empty", "name another directory with --mount")
        try:
            yield
        finally:
            # Under the lock: nobody else can have come to rely on it.
            if created:
                with contextlib.suppress(OSError):
                    directory.rmdir()


def _refuse_mounted(directory: Path) -> None:
    kind = statefs.mounted_type(directory)
    if kind == statefs.FILE_SYSTEM:
        raise RefusedError(
            f"the state files are served at {directory} already",
            "end that clusterip statefiles, or name another directory with --mount",
        )
    if kind is not None:
        raise RefusedError(
            f"a file system of type {kind} is mounted at {directory}",
            "name another directory with --mount",
        )


def _make(directory: Path) -> bool:
    try:
        directory.mkdir(mode=0o755)
    except FileExistsError:
        if not directory.is_dir():
            raise RefusedError(
                f"{directory} is not a directory", "name another one with --mount"
            ) from None
        return False
    except OSError as error:
        raise SystemFaultError(
            f"{directory} cannot be made: {error.strerror}", "name another directory with --mount"
        ) from error
    return True


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    # The lock is on the directory below the mount: whoever opens it later gets the mount's root.
    try:
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise SystemFaultError(
            f"{directory} cannot be opened: {error.strerror}",
            "name another directory with --mount",
        ) from error
    try:
        _lock(handle, directory)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, directory: Path) -> None:
    """Lock the open directory, if it still is what the path leads to."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        same = os.path.samestat(os.fstat(handle), directory.stat())
    except OSError:
        same = False
    if not same:
        raise RefusedError(
            f"another clusterip statefiles is starting or ending at {directory}",
            "try again, or name another directory with --mount",
        )


def _say(sentence: str) -> None:
    output.line(f"clusterip: {sentence}", err=True)
