"""What persons may find out of a directory and a file in it, and do to them: printed as JSON.

Arguments: the directory and the file's name. Each person tries each thing in a child, at each stage
of what root has done to the two before; what comes of it is 0 or the errno, and how they look then.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

Person = tuple[int, int, tuple[int, ...]]
"""A uid, a gid, and further groups."""

OWNER: Final[Person] = (64_001, 64_002, ())
PERSONS: Final[dict[str, Person]] = {
    "root": (0, 0, ()),
    "owner": OWNER,
    "member": (64_003, 64_004, (64_002,)),
    "stranger": (64_005, 64_006, ()),
}


def opened(path: Path, flags: int) -> Callable[[], None]:
    return lambda: os.close(os.open(path, flags, 0o600))


def accessible(path: Path, mode: int) -> Callable[[], None]:
    def ask() -> None:
        if not os.access(path, mode):
            raise PermissionError(errno.EACCES, "access(2)")

    return ask


def attempts(directory: Path, file: Path) -> list[tuple[str, Callable[[], object]]]:
    """Return what each of the persons tries, at each stage."""
    new = directory / "10.99.99.99"
    return [
        ("stat", file.stat),
        ("list", lambda: list(directory.iterdir())),
        *((f"access {mode}", accessible(file, mode)) for mode in (os.R_OK, os.W_OK, os.X_OK)),
        *((f"access to directory {mode}", accessible(directory, mode)) for mode in (1, 2, 4)),
        ("read", opened(file, os.O_RDONLY)),
        ("write", opened(file, os.O_WRONLY)),
        ("append", opened(file, os.O_WRONLY | os.O_APPEND)),
        ("truncated by open", opened(file, os.O_WRONLY | os.O_TRUNC)),
        ("created where it is", opened(file, os.O_WRONLY | os.O_CREAT)),
        ("only created", opened(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL)),
        ("opened as directory", opened(file, os.O_DIRECTORY)),
        ("directory", opened(directory, os.O_DIRECTORY)),
        ("directory for writing", opened(directory, os.O_WRONLY)),
        ("new file", opened(new, os.O_WRONLY | os.O_CREAT)),
        ("unknown file", opened(new, os.O_RDONLY)),
        ("truncate", lambda: os.truncate(file, 5)),
        ("touch", lambda: os.utime(file)),
        ("set times", lambda: os.utime(file, (1, 2))),
        ("touch the directory", lambda: os.utime(directory)),
        ("mkdir", new.mkdir),
        ("mknod", lambda: os.mknod(new)),
        ("symlink", lambda: new.symlink_to(file)),
        ("link", lambda: new.hardlink_to(file)),
        ("rename", lambda: file.rename(new)),
        ("unlink", file.unlink),
        ("unlink unknown", new.unlink),
        ("rmdir", file.rmdir),
        ("readlink", file.readlink),
        ("chown to myself", lambda: os.chown(file, os.geteuid(), -1)),
        ("chgrp to myself", lambda: os.chown(file, -1, os.getegid())),
        ("chown of nothing", lambda: os.chown(file, -1, -1)),
        ("chmod", lambda: file.chmod(0o640)),
        ("chmod with all bits", lambda: file.chmod(0o7777)),
        ("chown after it", lambda: os.chown(file, os.geteuid(), os.getegid())),
    ]


def stages(directory: Path, file: Path) -> list[tuple[str, Callable[[], object]]]:
    """Return what root does before the persons try."""
    return [
        ("as it is", lambda: None),
        ("chown", lambda: os.chown(file, OWNER[0], OWNER[1])),
        ("for the group", lambda: file.chmod(0o620)),
        ("for reading", lambda: file.chmod(0o444)),
        ("for all", lambda: file.chmod(0o666)),
        ("nobody may enter", lambda: directory.chmod(0o700)),
        ("the owner may enter", lambda: os.chown(directory, OWNER[0], -1)),
        ("writable", lambda: directory.chmod(0o777)),
    ]


def outcome(person: Person, action: Callable[[], object]) -> int:
    child = os.fork()
    if not child:
        status = 255
        try:
            os.setgroups(person[2])
            os.setgid(person[1])
            os.setuid(person[0])
            action()
            status = 0
        except OSError as error:
            status = error.errno or 254
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def look(path: Path) -> list[int]:
    found = path.stat()
    return [stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid, found.st_size, found.st_nlink]


def main(directory: Path, name: str) -> None:
    file = directory / name
    steps = stages(directory, file)
    told: dict[str, list[object]] = {}
    for number, (stage, _) in enumerate(steps):
        for who, person in PERSONS.items():
            for what, action in attempts(directory, file):
                for path, mode in ((directory, 0o555), (file, 0o600)):
                    os.chown(path, 0, 0)
                    path.chmod(mode)
                for _, step in steps[: number + 1]:
                    step()
                result = outcome(person, action)
                told[f"{stage}: {who}: {what}"] = [result, look(file), look(directory)[:3]]
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
