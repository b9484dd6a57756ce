"""Which file on the disk answers a path in a URL, and whether it may.

The viewer asks for the chunk `KEY/x0-x1_y0-y1_z0-z1`; on the disk it is `KEY/x0-x1/y0-y1/z0-z1` (nested) or has the viewer's own
name (flat), and in both layouts it may be stored as gzip with `.gz` behind its name. A plain file wins over its `.gz` neighbour.
"""

import errno
import os
import re
import stat
from typing import NamedTuple

from converters.record import PRIVATE

_CHUNK_NAME = re.compile(r"-?\d+--?\d+_-?\d+--?\d+_-?\d+--?\d+", re.ASCII)
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
# Without O_NONBLOCK, opening a named pipe would wait for a writer.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_HAS_DESCRIPTOR_LINKS = os.path.isdir("/proc/self/fd")


class Stored(NamedTuple):
    """An open file, which whoever has it closes; gzipped when its name is the one asked for with `.gz` behind it."""

    descriptor: int
    status: os.stat_result
    gzipped: bool


def open_stored(root: str, path: str) -> Stored | None:
    """Open the file that answers path, None when there is nothing that may be served.

    root: the served folder's real path, without a slash at its end. path: decoded, "/NAME/...".
    Raises OSError when something is there that cannot be read: it must not look like a chunk that was never written.
    """
    if not _is_servable(path):
        return None
    folder, _, name = path.rpartition("/")
    is_chunk = _CHUNK_NAME.fullmatch(name) is not None
    places = (f"{root}{folder}/{name.replace('_', '/')}", root + path) if is_chunk else (root + path,)
    for place in places:
        for suffix in ("", ".gz"):
            try:
                descriptor = os.open(place + suffix, _FLAGS)
            except OSError as error:
                if error.errno in _ABSENT:
                    continue
                if not _is_below(root, os.path.realpath(place + suffix)):
                    return None
                raise
            return _checked(descriptor, root, place + suffix, suffix == ".gz", is_chunk)
    return None


def _is_servable(path: str) -> bool:
    """Tell whether path names a file in plain words: no empty part, no `.`, `..`, dot-file or dot-folder, no backslash or NUL."""
    return not ("/." in path or "//" in path or "\\" in path or "\0" in path or path.endswith("/"))


def _checked(descriptor: int, root: str, path: str, gzipped: bool, is_chunk: bool) -> Stored | None:
    """Return the open file when it is a regular one below root, else close it; a folder in a chunk's place is an error."""
    kept = None
    try:
        status = os.fstat(descriptor)
        if not _is_below(root, _real_path(descriptor, path)) or (stat.S_ISDIR(status.st_mode) and not is_chunk):
            return None
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        kept = Stored(descriptor, status, gzipped)
        return kept
    finally:
        if kept is None:
            os.close(descriptor)


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
