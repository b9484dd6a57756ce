"""Files that are either whole or not there."""

import errno
import os
from pathlib import Path

from converters.errors import DiskFullError

_FULL = (errno.ENOSPC, errno.EDQUOT)


def write_file(path: Path, data: bytes) -> None:
    """Write a file under a temporary name and rename it; missing folders are made.

    Raises DiskFullError, and OSError for other reasons; the temporary file is removed then.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        _write(temporary, data)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise_if_full(error, path)
        raise


def raise_if_full(error: OSError, path: Path) -> None:
    """Raise DiskFullError when error says that no room is left; path is what was being written."""
    if error.errno in _FULL:
        raise DiskFullError(
            f"{path}: no room is left on the disk ({os.strerror(error.errno or 0)}); make room and run the same command again"
        ) from error


def read_file(path: Path) -> bytes | None:
    """Return a file's bytes, None when there is no such file."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _write(path: Path, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags, 0o666)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, flags, 0o666)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
    finally:
        os.close(descriptor)
