"""Where in a shard file the data of an id lies; the indices that were read last are kept."""

import errno
import os
import zlib
from collections import OrderedDict
from dataclasses import dataclass, replace
from threading import Lock

from app.data.lookup import Stored
from formats.errors import DecodeError
from formats.info import Sharding
from formats.sharding.lookup import (
    LARGEST_MINISHARD_INDEX,
    MinishardIndex,
    index_entry_stretch,
    parse_index_entry,
    parse_minishard_index,
)

_KEPT_BYTES = 64 << 20
_ID_BYTES = 48
"""What an id takes in an index that is kept: as it is stored, and sorted."""
_READ_AT_ONCE = 16
"""Indices that different threads may read at the same time."""
_GZIP = b"\x1f\x8b"
_ZLIB = b"\x78"


@dataclass(frozen=True)
class Minishard:
    """A minishard's index, None where it holds nothing, and what its data is compressed with."""

    index: MinishardIndex | None
    coding: bytes

    @property
    def bytes_kept(self) -> int:
        """About how much memory it takes."""
        return 512 + (_ID_BYTES * len(self.index.ids) if self.index is not None else 0)


_Key = tuple[int, int, int, int, int, Sharding]


class Minishards:
    """The indices that were asked for last, about a million ids by default."""

    def __init__(self, kept_bytes: int = _KEPT_BYTES) -> None:
        self._most = kept_bytes
        self._bytes = 0
        self._kept: OrderedDict[_Key, Minishard] = OrderedDict()
        self._lock = Lock()
        self._reading = [Lock() for _ in range(_READ_AT_ONCE)]

    def kept(self, shard: Stored, minishard: int, sharding: Sharding) -> Minishard:
        """Return the index of a minishard. Raises BlockingIOError when it is not among those kept."""
        found = self._find(_key(shard, minishard, sharding))
        if found is None:
            raise BlockingIOError(errno.EAGAIN, "the index has to be read")
        return found

    def read(self, shard: Stored, minishard: int, sharding: Sharding) -> Minishard:
        """Return the index of a minishard, read once for all threads that ask for it meanwhile. Raises DecodeError, OSError."""
        key = _key(shard, minishard, sharding)
        with self._reading[hash(key) % _READ_AT_ONCE]:
            found = self._find(key)
            if found is None:
                found = read_minishard(shard, minishard, sharding)
                self._keep(key, found)
            return found

    def _find(self, key: _Key) -> Minishard | None:
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def _keep(self, key: _Key, minishard: Minishard) -> None:
        with self._lock:
            self._kept[key] = minishard
            self._bytes += minishard.bytes_kept
            while self._bytes > self._most and len(self._kept) > 1:
                _, oldest = self._kept.popitem(last=False)
                self._bytes -= oldest.bytes_kept


def _key(shard: Stored, minishard: int, sharding: Sharding) -> _Key:
    status = shard.status
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size, minishard, sharding


def read_minishard(shard: Stored, minishard: int, sharding: Sharding) -> Minishard:
    """Return what the index of a minishard in an open shard tells. Raises DecodeError, OSError."""
    entry = index_entry_stretch(minishard)
    stretch = parse_index_entry(_bytes(shard, entry.start, entry.length), sharding)
    if stretch is None:
        return Minishard(None, b"")
    data = _bytes(shard, stretch.start, stretch.length)
    if sharding.minishard_index_encoding == "gzip" and data[:1] == _ZLIB:
        data, sharding = _inflated(data), replace(sharding, minishard_index_encoding="raw")
    index = parse_minishard_index(data, sharding)
    return Minishard(index, _coding(shard, index, sharding))


def _coding(shard: Stored, index: MinishardIndex, sharding: Sharding) -> bytes:
    """Return what the data of a minishard is compressed with: neuroglancer-scripts writes zlib where the format says gzip."""
    if sharding.data_encoding != "gzip":
        return b""
    for start, size in zip(index.starts.tolist(), index.sizes.tolist(), strict=True):
        if size >= len(_GZIP):
            return b"gzip" if _bytes(shard, start, len(_GZIP)) == _GZIP else b"zlib"
    return b"gzip"


def _inflated(data: bytes) -> bytes:
    """Return what a zlib stream holds. Raises DecodeError."""
    reader = zlib.decompressobj()
    try:
        inflated = reader.decompress(data, LARGEST_MINISHARD_INDEX)
    except zlib.error as error:
        raise DecodeError(f"a minishard index in zlib is corrupt: {error}") from error
    if not reader.eof:
        raise DecodeError(f"a minishard index in zlib is cut off, or holds more than {LARGEST_MINISHARD_INDEX} bytes")
    return inflated


def _bytes(shard: Stored, start: int, length: int) -> bytes:
    """Return bytes of a shard. Raises DecodeError where the file ends before."""
    # Its size is asked first: what is allocated is never more than what is there.
    if start + length > shard.status.st_size:
        raise DecodeError(f"bytes {start} to {start + length} are expected, the shard has {shard.status.st_size}")
    data = os.pread(shard.descriptor, length, start)
    if len(data) != length:
        raise OSError(errno.EIO, "the shard became shorter while it was being read")
    return data
