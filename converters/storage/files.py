"""Files that are either whole or not there."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

from converters.errors import DiskFullError

ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError)
"""What opening a file raises where there is none; ValueError: for a name that no file can have."""

LARGEST_OBJECT = 1 << 32
"""Bytes that a stored object may grow to when it is decompressed."""

_FULL = (errno.ENOSPC, errno.EDQUOT)


def write_file(path: Path | str, data: bytes) -> None:
    """Write a file under a temporary name and rename it; missing folders are made.

    Raises DiskFullError, and OSError for other reasons; the temporary file is removed then.
    """
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{_own()}.tmp")
    try:
        _write(temporary, data)
        os.replace(temporary, path)
    except OSError as error:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise_if_full(error, path)
        raise


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write that takes its name when the context is left without an error; missing folders are made.

    For what is too large to be in memory at once. Raises as write_file does.
    """
    temporary = path.with_name(f".{path.name}.{_own()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            yield file
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise_if_full(error, path)
        raise


def raise_if_full(error: OSError, path: Path | str) -> None:
    """Raise DiskFullError when error says that no room is left; path is what was being written."""
    if error.errno in _FULL:
        raise DiskFullError(
            f"{path}: no room is left on the disk ({os.strerror(error.errno or 0)}); make room and run the same command again"
        ) from error


def read_file(path: Path | str) -> bytes | None:
    """Return a file's bytes, None when there is no such file."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except ABSENT:
        return None


def read_range(path: Path | str, start: int, length: int) -> bytes | None:
    """Return length bytes of a file from start on, fewer at its end, None when there is no such file."""
    try:
        with open(path, "rb") as file:
            # Memory for all that is asked for is taken before it is read, and a stranger's index may have told the length.
            there = os.fstat(file.fileno()).st_size - start
            if there <= 0:
                return b""
            file.seek(start)
            return file.read(min(length, there))
    except ABSENT:
        return None


@cache
def _machine() -> str:
    """Return something that tells this machine, or container, from others that write to the same disk."""
    return secrets.token_hex(4)


def _own() -> str:
    """Return what no other process that writes now has in its temporary names, on whatever machine it runs."""
    return f"{_machine()}{os.getpid()}"


def _write(path: str, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags, 0o666)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        descriptor = os.open(path, flags, 0o666)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
    finally:
        os.close(descriptor)
