"""Locks that end with the processes that hold them, however those go (flock): one queue a folder, one process a job."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)


def try_lock(path: Path) -> int | None:
    """Return a descriptor that holds the lock of a file until it and its copies in other processes are closed.

    None when another one holds it. Raises OSError when the file cannot be made.
    """
    import fcntl  # which not every system has: a server without jobs starts there too

    descriptor = os.open(path, _FLAGS, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file, once it can be had. Raises OSError when the file cannot be made."""
    import fcntl

    descriptor = os.open(path, _FLAGS, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
