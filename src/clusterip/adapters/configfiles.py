"""The configuration file and the key file on disk."""

from __future__ import annotations

import codecs
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from clusterip.adapters import pages, plainfiles
from clusterip.core.config import key_file, reading
from clusterip.core.config.faults import WHOLE, ConfigError, Fault
from clusterip.core.config.key_file import Keys
from clusterip.core.config.model import Config
from clusterip.core.errors import RefusedError, SystemFaultError
from clusterip.core.findings import Code, Finding

_ANOTHER = "name a regular file of at most 1 MiB"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_WRITING_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def load(path: str) -> Config:
    """Read a configuration file; ConfigError with the file's name if it cannot be used."""
    raw = _read(
        path,
        f"write it (an example is {pages.place('clusterip.toml')}, and"
        f" {pages.place('configuration.md')} has every key), or give the path of another",
    )
    try:
        return reading.read(reading.decode(raw))
    except ConfigError as error:
        raise error.within(path) from error


def load_keys(path: str) -> Keys:
    """Read a key file; ConfigError with the file's name if it cannot be used."""
    return _keys(key_text(path), path)


def _keys(text: str, path: str) -> Keys:
    try:
        return key_file.read_keys(text, path)
    except ConfigError as error:
        raise error.within(path) from error


def key_text(path: str) -> str:
    """Return the text of a key file; what is not ASCII is no key, and kept in a comment."""
    raw = _read(path, f"copy it from another host; on the first host: `clusterip keygen {path}`")
    return raw.removeprefix(codecs.BOM_UTF8).decode("ascii", errors="surrogateescape")


def _read(path: str, missing: str) -> bytes:
    """Read a file; `missing` is the cure where there is none."""
    try:
        raw = plainfiles.beginning(path)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            cure = missing
        elif isinstance(error, PermissionError):
            cure = "run this as root, or let the file be read by who runs it"
        else:
            cure = _ANOTHER
        fault = Fault(WHOLE, f"cannot be read: {error.strerror}", cure)
        raise ConfigError([fault], path) from error
    if len(raw) > plainfiles.LONGEST:
        fault = Fault(WHOLE, f"has more than {plainfiles.LONGEST} bytes", _ANOTHER)
        raise ConfigError([fault], path)
    return raw


def key_advice(path: str) -> tuple[Finding, ...]:
    """Return what is unwise about a key file that could be read: who else may use or replace it."""
    return tuple(_key_advice(Path(path)))


def _key_advice(file: Path) -> Iterator[Finding]:
    found = file.stat()
    mode = stat.S_IMODE(found.st_mode)
    then = "and change the key: see clusterip keygen"
    if mode & _OTHERS:
        yield Finding.of(
            Code.KEY_FILE_OPEN,
            f"key file {file} has mode {mode:04o}",
            "others than its owner may use it",
            cure=f"chmod 600 {file}, {then}",
        )
    if _is_others(found.st_uid):
        yield Finding.of(
            Code.KEY_FILE_OPEN,
            f"key file {file} belongs to user {found.st_uid}, who may use and change it",
            cure=f"chown root {file}, {then}",
        )
    # Where it is a link, also who may put another link there.
    for folder in sorted({*file.parents, *file.resolve().parents}):
        place = folder.stat()
        if _is_others(place.st_uid):
            yield Finding.of(
                Code.KEY_FILE_REPLACEABLE,
                f"{folder} belongs to user {place.st_uid}, who may replace key file {file}",
                cure=f"chown root {folder}, or keep the key file in /etc",
            )
        elif place.st_mode & _WRITING_OTHERS and not place.st_mode & stat.S_ISVTX:
            mode = stat.S_IMODE(place.st_mode)
            yield Finding.of(
                Code.KEY_FILE_REPLACEABLE,
                f"{folder} has mode {mode:04o}",
                f"others may replace key file {file}",
                cure=f"chmod go-w {folder}, or keep the key file in /etc",
            )


def _is_others(user: int) -> bool:
    return user not in (0, os.geteuid())


def create_keys(path: str, text: str) -> None:
    """Write a new key file, mode 0600; RefusedError if there is something already."""
    # A link, unlike a rename, does not replace what is there.
    target = Path(path)
    _write(target, text, target.hardlink_to)


def change_keys(path: str, change: Callable[[str], str]) -> Keys:
    """Replace a key file by what `change` makes of its text, in one step; return its keys."""
    text = key_text(path)
    _keys(text, path)
    real = Path(path).resolve()
    changed = change(text)
    _write(real, changed, lambda new: new.replace(real))
    return _keys(changed, path)


def _write(path: Path, text: str, put: Callable[[Path], object]) -> None:
    folder = path.absolute().parent
    try:
        descriptor, name = tempfile.mkstemp(prefix=".clusterip-key-", dir=folder)
        new = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode("ascii", errors="surrogateescape"))
                file.flush()
                os.fsync(file.fileno())
            put(new)
        finally:
            new.unlink(missing_ok=True)
        _sync(folder)
    except FileExistsError as error:
        if path.is_dir():
            raise RefusedError(f"{path} is a directory", "name a file in it") from error
        if path.exists() and not path.is_file():
            raise RefusedError(
                f"{path} is no file that could hold a key", "name one that is not there yet"
            ) from error
        raise RefusedError(
            f"{path} is there already",
            "to put a new key into it, use --add; to start anew, remove it first",
        ) from error
    except OSError as error:
        raise SystemFaultError(
            f"cannot write {path}: {error.strerror}",
            f"see that {folder} is there, has space and may be written to; or name another file",
        ) from error


def _sync(folder: Path) -> None:
    """Make a rename in a folder outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
