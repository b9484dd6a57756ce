"""Finding the data of one id in the shards that hold it (sharded.md, "shard index format", "minishard index format").

Three reads, as the viewer makes them: the minishard's entry in the shard index, the minishard index, the data. Whoever asks
brings `get_range`; every number that it gives is a stranger's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from formats.errors import DecodeError
from formats.gzip import decompress
from formats.info import Sharding
from formats.sharding.frame import INDEX_ENTRY_BYTES
from formats.sharding.ids import places, shard_name

GetRange = Callable[[str, int, int], bytes | None]
"""Called with (shard's name, begin, length): the bytes there, fewer at the file's end, None where there is no such file."""

LARGEST_MINISHARD_INDEX = 1 << 24
"""Bytes of a minishard index, stored and decoded: 700,000 ids, a hundred times what the viewer takes well."""

_ROWS = 3
_ENTRY_BYTES = 8 * _ROWS
_LARGEST_OFFSET = 1 << 62


@dataclass(frozen=True)
class Stretch:
    """Bytes of a shard file, counted from its begin."""

    start: int
    length: int


@dataclass(frozen=True)
class MinishardIndex:
    """Where the data of each id of one minishard lies.

    ids: uint64 [n], as they stand in the file. starts, sizes: int64 [n], bytes, starts counted from the begin of the file.
    """

    ids: NDArray[np.uint64]
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]

    def find(self, entry_id: int) -> Stretch | None:
        """Return where the data of an id lies, None when it is not there; of several the first, as the viewer does."""
        ids, order = self._sorted
        place = int(np.searchsorted(ids, np.uint64(entry_id)))
        if place == len(ids) or int(ids[place]) != entry_id:
            return None
        return Stretch(int(self.starts[order[place]]), int(self.sizes[order[place]]))

    @cached_property
    def _sorted(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        # Ours and tensorstore's are sorted, others' need not be.
        order = np.argsort(self.ids, kind="stable")
        return self.ids[order], order


def index_entry_stretch(minishard: int) -> Stretch:
    """Return where a minishard's entry lies in the shard index."""
    return Stretch(minishard * INDEX_ENTRY_BYTES, INDEX_ENTRY_BYTES)


def parse_index_entry(data: bytes, sharding: Sharding) -> Stretch | None:
    """Return where a minishard index lies, None for a minishard without ids. Raises DecodeError for what cannot be."""
    if len(data) != INDEX_ENTRY_BYTES:
        raise DecodeError(f"an entry of the shard index has {len(data)} bytes, expected {INDEX_ENTRY_BYTES}")
    start, end = (int(n) for n in np.frombuffer(data, "<u8"))
    if start == end:
        return None
    if not start < end < _LARGEST_OFFSET:
        raise DecodeError(f"an entry of the shard index tells bytes {start} to {end}")
    if end - start > LARGEST_MINISHARD_INDEX:
        raise DecodeError(f"a minishard index of {end - start} bytes, expected no more than {LARGEST_MINISHARD_INDEX}")
    return Stretch(_data_begin(sharding) + start, end - start)


def parse_minishard_index(data: bytes, sharding: Sharding) -> MinishardIndex:
    """Return what a minishard index, as stored, tells. Raises DecodeError for one that is corrupt or too large."""
    if sharding.minishard_index_encoding == "gzip":
        data = decompress(data, LARGEST_MINISHARD_INDEX)
    if len(data) % _ENTRY_BYTES:
        raise DecodeError(f"a minishard index of {len(data)} bytes, expected a multiple of {_ENTRY_BYTES}")
    steps, gaps, sizes = np.frombuffer(data, "<u8").astype(np.uint64).reshape(_ROWS, -1)
    # Sums wrap at 64 bits, as the viewer's do: a step back is a step of nearly 2**64 forward.
    ends = np.cumsum(gaps + sizes, dtype=np.uint64) + np.uint64(_data_begin(sharding))
    starts = ends - sizes
    if ((starts < _data_begin(sharding)) | (starts > ends) | (ends > _LARGEST_OFFSET)).any():
        raise DecodeError("a minishard index tells of data before the begin or beyond the end of any file")
    return MinishardIndex(np.cumsum(steps, dtype=np.uint64), starts.astype(np.int64), sizes.astype(np.int64))


def read_minishard_index(get_range: GetRange, place: tuple[int, int], sharding: Sharding) -> MinishardIndex | None:
    """Return the index of a minishard, None where its shard is absent or it holds no ids.

    place: shard and minishard number. Raises DecodeError, naming the shard, for what is corrupt or cut off.
    """
    shard, minishard = place
    name = shard_name(shard, sharding)
    entry = index_entry_stretch(minishard)
    data = get_range(name, entry.start, entry.length)
    if data is None:
        return None
    try:
        stretch = parse_index_entry(data, sharding)
        return None if stretch is None else parse_minishard_index(_read(get_range, name, stretch), sharding)
    except DecodeError as error:
        raise DecodeError(f"{name}: minishard {minishard}: {error}") from error


def read_data(get_range: GetRange, shard: int, stretch: Stretch, sharding: Sharding, limit: int) -> bytes:
    """Return the data at a place that an index told, decoded.

    limit: bytes that it may have. Raises DecodeError, naming the shard, for more of them and for what is corrupt or cut off.
    """
    name, packed = shard_name(shard, sharding), sharding.data_encoding == "gzip"
    # What gzip cannot make smaller it makes larger, by far less than this.
    most = limit + limit // 64 + 1024 if packed else limit
    if stretch.length > most:
        raise DecodeError(f"{name}: an entry of {stretch.length} bytes, expected no more than {most}")
    try:
        data = _read(get_range, name, stretch)
        return decompress(data, limit) if packed else data
    except DecodeError as error:
        raise DecodeError(f"{name}: {error}") from error


def read_entry(get_range: GetRange, entry_id: int, sharding: Sharding, limit: int) -> bytes | None:
    """Return the data of an id, decoded, None where there is none.

    limit: bytes that it may have. Raises DecodeError, naming the shard, for more of them and for what is corrupt or cut off.
    """
    shard, minishard = (int(numbers[0]) for numbers in places(np.array([entry_id], np.uint64), sharding))
    index = read_minishard_index(get_range, (shard, minishard), sharding)
    stretch = None if index is None else index.find(entry_id)
    return None if stretch is None else read_data(get_range, shard, stretch, sharding, limit)


def _data_begin(sharding: Sharding) -> int:
    return INDEX_ENTRY_BYTES << sharding.minishard_bits


def _read(get_range: GetRange, name: str, stretch: Stretch) -> bytes:
    data = get_range(name, stretch.start, stretch.length)
    if data is None or len(data) != stretch.length:
        found = "is gone" if data is None else f"has {len(data)} of them"
        raise DecodeError(f"{stretch.length} bytes from byte {stretch.start} on are expected, the file {found}")
    return data
