"""Which stretch of a shard answers a path below `/flat`; what is not in shards is answered as below `/data`."""

import asyncio
import errno
import os
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np

from app.data.body import decoded_pieces
from app.data.lookup import DiskFiles, Stored, is_servable
from app.data.reply import Made
from app.data.route import DataApp, Found, real_root
from app.flat.shards import Minishard, Minishards
from app.flat.unsharded import Unsharded, unsharded
from formats.errors import DecodeError
from formats.grid import is_chunk_name
from formats.info import Sharding
from formats.meshes.multires import decode_manifest
from formats.sharding.ids import places, shard_name

PREFIX = "/flat"

_ENTRY_NAME = re.compile(r"(0|[1-9]\d{0,19})(\.index)?", re.ASCII)
_LARGEST_ID = (1 << 64) - 1
_DEEPEST_KEY = 4
"""Folders between an info and the chunks of a scale."""
_LARGEST_INFO = 1 << 24
_LARGEST_MANIFEST = 1 << 26
"""Bytes; what is larger is left as it is, or refused."""
_KEPT_INFOS = 64


class _Entry(NamedTuple):
    """What lies in the shards of a folder: an id, or what lies before the data of an id, which is a manifest."""

    folder: str
    entry_id: int
    sharding: Sharding
    is_before: bool = False


@dataclass(frozen=True)
class _Reading:
    """How files are read: at once, or else not (BlockingIOError), or in the thread that asks, however long it takes.

    index: called with an open shard, a minishard, and how it is sharded. content: all of an open file, unpacked, up to a limit.
    """

    open: Callable[[str], Stored | None]
    index: Callable[[Stored, int, Sharding], Minishard]
    content: Callable[[Stored, int], bytes]


def flat_app(root: Path) -> DataApp:
    """Return the application of /flat/... for the files below root, which may itself be a link."""
    return DataApp(PREFIX, FlatFiles(DiskFiles(real_root(root))))


class _Infos:
    """What the infos that were asked for last tell of shards."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[int, ...], Unsharded] = OrderedDict()
        self._lock = Lock()

    def get(self, stored: Stored, reading: _Reading) -> Unsharded:
        """Return what an open info tells. Raises OSError, DecodeError."""
        status = stored.status
        key = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
        with self._lock:
            found = self._kept.get(key)
        if found is None:
            found = unsharded(reading.content(stored, _LARGEST_INFO)) if status.st_size <= _LARGEST_INFO else Unsharded()
            with self._lock:
                self._kept[key] = found
                if len(self._kept) > _KEPT_INFOS:
                    self._kept.popitem(last=False)
        return found


@dataclass(frozen=True)
class FlatFiles:
    """The files of a folder, where those in shards stand for themselves; see route.Files."""

    disk: DiskFiles
    minishards: Minishards = field(default_factory=Minishards)
    infos: _Infos = field(default_factory=_Infos)

    def at_once(self, path: str) -> Found | None:
        """Return what answers path. Raises OSError when that takes waiting, or something there cannot be read."""
        return self._answer(path, self._at_once())

    async def find(self, path: str) -> Found | None:
        """Do the same, and wait in a thread if need be. Raises OSError, DecodeError when something there cannot be read."""
        try:
            return self.at_once(path)
        except BlockingIOError:
            return await asyncio.to_thread(self._answer, path, self._slowly())

    def chunk_at_once(self, path: str) -> Stored | None:
        """Return what shards hold of a chunk, None where none do, by a path that may be served. Raises OSError as at_once."""
        return self._in_shards(path, self._at_once())

    async def find_chunk(self, path: str) -> Stored | None:
        """Do the same, and wait in a thread if need be. Raises OSError, DecodeError when something there cannot be read."""
        try:
            return self.chunk_at_once(path)
        except BlockingIOError:
            return await asyncio.to_thread(self._in_shards, path, self._slowly())

    def _at_once(self) -> _Reading:
        return _Reading(self.disk.at_once, self.minishards.kept, _would_wait)

    def _slowly(self) -> _Reading:
        return _Reading(self.disk.wait, self.minishards.read, _content)

    def _in_shards(self, path: str, reading: _Reading) -> Stored | None:
        folder, _, name = path.rpartition("/")
        entry = self._chunk(folder, name, reading) if is_chunk_name(name) else None
        return None if entry is None else _entry_data(entry, reading)

    def _answer(self, path: str, reading: _Reading) -> Found | None:
        if not is_servable(path):
            return None
        folder, _, name = path.rpartition("/")
        if name == "info":
            return self._info(path, reading)
        entry = self._entry(folder, name, reading)
        return reading.open(path) if entry is None else _entry_data(entry, reading)

    def _info(self, path: str, reading: _Reading) -> Found | None:
        stored = reading.open(path)
        if stored is None:
            return None
        with _closed_after_error(stored):
            info = self.infos.get(stored, reading).info
        if info is None:
            return stored
        os.close(stored.descriptor)
        status = stored.status
        return Made(info, b'"%x-%x-%x-flat"' % (status.st_ino, status.st_mtime_ns, status.st_size))

    def _entry(self, folder: str, name: str, reading: _Reading) -> _Entry | None:
        """Return what a name stands for in the shards of a folder, None where it is a file like others."""
        if is_chunk_name(name):
            return self._chunk(folder, name, reading)
        match = _ENTRY_NAME.fullmatch(name)
        if match is None or int(match[1]) > _LARGEST_ID:
            return None
        known = self._known(folder, reading)
        if known is None or known.entries is None or (known.kind == "skeletons" and match[2]):
            return None
        return _Entry(folder, int(match[1]), known.entries, is_before=known.kind == "meshes" and not match[2])

    def _chunk(self, folder: str, name: str, reading: _Reading) -> _Entry | None:
        """Return where a chunk lies by the first info above its folder that has a scale there."""
        above = folder
        for _ in range(_DEEPEST_KEY):
            if not above:
                return None
            above = above.rpartition("/")[0]
            known = self._known(above, reading)
            below = folder[len(above) + 1 :]
            if known is not None and below in known.scales:
                scale = known.scales[below]
                chunk_id = scale.chunk_id(name) if scale is not None else None
                return None if scale is None or chunk_id is None else _Entry(folder, chunk_id, scale.sharding)
        return None

    def _known(self, folder: str, reading: _Reading) -> Unsharded | None:
        stored = reading.open(f"{folder}/info")
        if stored is None:
            return None
        try:
            return self.infos.get(stored, reading)
        finally:
            os.close(stored.descriptor)


@contextmanager
def _closed_after_error(stored: Stored) -> Iterator[None]:
    try:
        yield
    except BaseException:
        os.close(stored.descriptor)
        raise


def _entry_data(entry: _Entry, reading: _Reading) -> Stored | None:
    """Return the stretch of a shard that holds what an entry is; None where it holds nothing."""
    shards, minishards = places(np.array([entry.entry_id], np.uint64), entry.sharding)
    shard = reading.open(f"{entry.folder}/{shard_name(int(shards[0]), entry.sharding)}")
    if shard is None:
        return None
    with _closed_after_error(shard):
        if shard.coding:
            raise DecodeError("a shard is compressed as a whole, no part of it can be read")
        found = _found(shard, reading.index(shard, int(minishards[0]), entry.sharding), entry.entry_id)
        if found is not None:
            return _before(found, reading) if entry.is_before else found
    os.close(shard.descriptor)
    return None


def _found(shard: Stored, minishard: Minishard, entry_id: int) -> Stored | None:
    stretch = minishard.index.find(entry_id) if minishard.index is not None else None
    if stretch is None:
        return None
    end = stretch.start + stretch.length
    if end > shard.status.st_size:
        raise DecodeError(f"the data of id {entry_id} ends at byte {end}, the shard has {shard.status.st_size}")
    return shard._replace(coding=minishard.coding, span=(stretch.start, end))


def _before(manifest: Stored, reading: _Reading) -> Stored:
    """Return the fragments of a mesh, which lie right before its manifest and are never compressed (meshes.md, "sharded")."""
    start = manifest.span[0] - decode_manifest(reading.content(manifest, _LARGEST_MANIFEST)).fragment_bytes
    if start < 0:
        raise DecodeError("a manifest tells of fragments that begin before the shard does")
    return manifest._replace(coding=b"", span=(start, manifest.span[0]))


def _would_wait(stored: Stored, limit: int) -> bytes:
    raise BlockingIOError(errno.EAGAIN, "it has to be read and parsed")


def _content(stored: Stored, limit: int) -> bytes:
    """Return what an open stretch holds, unpacked. Raises DecodeError for more than limit bytes, OSError."""
    content = bytearray()
    for piece in decoded_pieces(stored.descriptor, stored.span, stored.coding):
        content += piece
        if len(content) > limit:
            raise DecodeError(f"it has more than {limit} bytes")
    return bytes(content)
