"""Which file on the disk answers a path in a URL, and whether it may.

The viewer asks for the chunk `KEY/x0-x1_y0-y1_z0-z1`; on the disk it is `KEY/x0-x1/y0-y1/z0-z1` (nested) or has the viewer's own
name (flat). It asks for the manifest `ID:0` of a mesh, which is called `ID.json` or `ID` where no name may hold a colon (as
neuroglancer-scripts does for NTFS and exFAT). Each may be stored as gzip or brotli with `.gz` or `.br` behind its name; a plain
file wins over these neighbours, and gzip over brotli.
"""

import asyncio
import errno
import os
import re
import stat
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from app.data.linux import cached_opener
from app.data.ranges import Span
from converters.record import PRIVATE

_CHUNK_NAME = re.compile(r"-?\d+--?\d+_-?\d+--?\d+_-?\d+--?\d+", re.ASCII)
_MANIFEST_NAME = re.compile(r"(\d+):\d+", re.ASCII)
_SUFFIXES = (("", b""), (".gz", b"gzip"), (".br", b"br"))
"""What may stand behind a file's name, and the coding that it tells of."""
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
# Without O_NONBLOCK, opening a named pipe would wait for a writer.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_HAS_DESCRIPTOR_LINKS = os.path.isdir("/proc/self/fd")
_open_cached = cached_opener(_FLAGS)


class Stored(NamedTuple):
    """A stretch of an open file, mostly all of it; whoever has it closes the file.

    coding: what it is compressed with, b"gzip", b"br" or b"zlib", else b"". span: its first byte in the file and the one behind
    its last.
    """

    descriptor: int
    status: os.stat_result
    coding: bytes
    span: Span

    @property
    def is_whole(self) -> bool:
        """Whether it is the whole file."""
        return self.span == (0, self.status.st_size)


@dataclass(frozen=True)
class DiskFiles:
    """The files below root, a real path without a slash at its end, under the viewer's names; see route.Files."""

    root: str

    def at_once(self, path: str) -> Stored | None:
        """Open the file that answers path. Raises OSError when that takes waiting, or something there cannot be read."""
        return open_cached(self.root, path)

    async def find(self, path: str) -> Stored | None:
        """Do the same, and wait in a thread if need be. Raises OSError when something is there that cannot be read."""
        return await open_stored(self.root, path)

    def wait(self, path: str) -> Stored | None:
        """Do the same in the thread that calls it."""
        return open_slowly(self.root, path)


def open_cached(root: str, path: str) -> Stored | None:
    """Open the file that answers path, None when there is nothing that may be served.

    root: the served folder's real path, without a slash at its end. path: decoded, "/NAME/...".
    Raises BlockingIOError when that cannot be told without waiting for a disk, OSError when something is there that cannot be
    read: it must not look like a chunk that was never written.
    """
    if not is_servable(path):
        return None
    if _open_cached is None:
        raise BlockingIOError(errno.EAGAIN, "this system always waits")
    places, is_chunk = _places(root, path)
    for place, (suffix, coding) in product(places, _SUFFIXES):
        descriptor = _open_cached(place + suffix)
        if descriptor >= 0:
            return _checked(descriptor, place + suffix, coding, is_chunk)
        if -descriptor not in _ABSENT:
            # A disk that has to be asked, a link that has to be followed, or an error: open_stored tells which.
            raise BlockingIOError(errno.EAGAIN, "not to be told at once")
    return None


async def open_stored(root: str, path: str) -> Stored | None:
    """Do the same, and wait in a thread if need be. Raises OSError when something is there that cannot be read."""
    try:
        return open_cached(root, path)
    except BlockingIOError:
        return await asyncio.to_thread(open_slowly, root, path)


def open_slowly(root: str, path: str) -> Stored | None:
    """Do the same however long it takes, behind links too, as long as they do not lead out of root. Raises OSError."""
    if not is_servable(path):
        return None
    places, is_chunk = _places(root, path)
    for start, (suffix, coding) in product(places, _SUFFIXES):
        place = start + suffix
        try:
            descriptor = os.open(place, _FLAGS)
        except OSError as error:
            if error.errno in _ABSENT:
                continue
            if not _is_below(root, os.path.realpath(place)):
                return None
            raise
        if _is_below(root, _real_path(descriptor, place)):
            return _checked(descriptor, place, coding, is_chunk)
        os.close(descriptor)
        return None
    return None


def is_servable(path: str) -> bool:
    """Tell whether path names a file in plain words: no empty part, no `.`, `..`, dot-file or dot-folder, no backslash or NUL."""
    return not ("/." in path or "//" in path or "\\" in path or "\0" in path or path.endswith("/"))


def _places(root: str, path: str) -> tuple[tuple[str, ...], bool]:
    """Return where the file may be, without what may stand behind its name, in the order of nginx.conf; and if it is a chunk."""
    folder, _, name = path.rpartition("/")
    if _CHUNK_NAME.fullmatch(name) is not None:
        return (f"{root}{folder}/{name.replace('_', '/')}", root + path), True
    manifest = _MANIFEST_NAME.fullmatch(name) if ":" in name else None
    if manifest is not None:
        bare = f"{root}{folder}/{manifest[1]}"
        return (root + path, f"{bare}.json", bare), False
    return (root + path,), False


def _checked(descriptor: int, place: str, coding: bytes, is_chunk: bool) -> Stored | None:
    """Return the open file when it is a regular one, else close it; a folder is nothing, but an error in a chunk's place."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        os.close(descriptor)
        raise
    if stat.S_ISREG(status.st_mode):
        return Stored(descriptor, status, coding, (0, status.st_size))
    os.close(descriptor)
    if stat.S_ISDIR(status.st_mode) and not is_chunk:
        return None
    raise OSError(errno.EINVAL, "not a regular file", place)


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
