"""Which file on the disk answers a path in a URL, and whether it may.

The viewer asks for the chunk `KEY/x0-x1_y0-y1_z0-z1`; on the disk it is `KEY/x0-x1/y0-y1/z0-z1` (nested) or has the viewer's own
name (flat), and in both layouts it may be stored as gzip with `.gz` behind its name. A plain file wins over its `.gz` neighbour.
"""

import asyncio
import errno
import os
import re
import stat
from itertools import product
from typing import NamedTuple

from app.data.linux import cached_opener
from converters.record import PRIVATE

_CHUNK_NAME = re.compile(r"-?\d+--?\d+_-?\d+--?\d+_-?\d+--?\d+", re.ASCII)
_SUFFIXES = ("", ".gz")
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
# Without O_NONBLOCK, opening a named pipe would wait for a writer.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_HAS_DESCRIPTOR_LINKS = os.path.isdir("/proc/self/fd")
_open_cached = cached_opener(_FLAGS)


class Stored(NamedTuple):
    """An open file, which whoever has it closes; gzipped when its name is the one asked for with `.gz` behind it."""

    descriptor: int
    status: os.stat_result
    gzipped: bool


def open_cached(root: str, path: str) -> Stored | None:
    """Open the file that answers path, None when there is nothing that may be served.

    root: the served folder's real path, without a slash at its end. path: decoded, "/NAME/...".
    Raises BlockingIOError when that cannot be told without waiting for a disk, OSError when something is there that cannot be
    read: it must not look like a chunk that was never written.
    """
    if not _is_servable(path):
        return None
    if _open_cached is None:
        raise BlockingIOError(errno.EAGAIN, "this system always waits")
    places = _places(root, path)
    for place, suffix in product(places, _SUFFIXES):
        descriptor = _open_cached(place + suffix)
        if descriptor >= 0:
            return _checked(descriptor, place, suffix, len(places) > 1)
        if -descriptor not in _ABSENT:
            # A disk that has to be asked, a link that has to be followed, or an error: open_stored tells which.
            raise BlockingIOError(errno.EAGAIN, "not to be told at once")
    return None


async def open_stored(root: str, path: str) -> Stored | None:
    """Do the same, and wait in a thread if need be. Raises OSError when something is there that cannot be read."""
    try:
        return open_cached(root, path)
    except BlockingIOError:
        return await asyncio.to_thread(_open_slowly, root, _places(root, path))


def _open_slowly(root: str, places: tuple[str, ...]) -> Stored | None:
    """Open the first file of places however long it takes, behind links too, as long as they do not lead out of root."""
    for place, suffix in product(places, _SUFFIXES):
        path = place + suffix
        try:
            descriptor = os.open(path, _FLAGS)
        except OSError as error:
            if error.errno in _ABSENT:
                continue
            if not _is_below(root, os.path.realpath(path)):
                return None
            raise
        if _is_below(root, _real_path(descriptor, path)):
            return _checked(descriptor, place, suffix, len(places) > 1)
        os.close(descriptor)
        return None
    return None


def _is_servable(path: str) -> bool:
    """Tell whether path names a file in plain words: no empty part, no `.`, `..`, dot-file or dot-folder, no backslash or NUL."""
    return not ("/." in path or "//" in path or "\\" in path or "\0" in path or path.endswith("/"))


def _places(root: str, path: str) -> tuple[str, ...]:
    """Return where the file may be, with or without `.gz`: one place, or two for a chunk, in the order of nginx.conf."""
    folder, _, name = path.rpartition("/")
    if _CHUNK_NAME.fullmatch(name) is None:
        return (root + path,)
    return f"{root}{folder}/{name.replace('_', '/')}", root + path


def _checked(descriptor: int, place: str, suffix: str, is_chunk: bool) -> Stored | None:
    """Return the open file when it is a regular one, else close it; a folder is nothing, but an error in a chunk's place."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        os.close(descriptor)
        raise
    if stat.S_ISREG(status.st_mode):
        return Stored(descriptor, status, suffix == ".gz")
    os.close(descriptor)
    if stat.S_ISDIR(status.st_mode) and not is_chunk:
        return None
    raise OSError(errno.EINVAL, "not a regular file", place + suffix)


def _real_path(descriptor: int, path: str) -> str:
    """Return where an open file really is; asked of the open file, so that no link can change in between."""
    if _HAS_DESCRIPTOR_LINKS:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    return os.path.realpath(path)


def _is_below(root: str, real_path: str) -> bool:
    """Tell whether a real path is below root and in no private folder.

    Other dot-folders may hold what a link points to: git-annex and DataLad keep all contents in `.git`.
    """
    return real_path.startswith(root + os.sep) and f"{os.sep}{PRIVATE}{os.sep}" not in real_path[len(root) :]
