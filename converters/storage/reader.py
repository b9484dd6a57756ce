"""Reading voxels back from a dataset."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from math import prod
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.errors import DatasetError
from converters.storage.storage import ReadableStorage
from formats.chunks import decode_chunk
from formats.errors import FormatError
from formats.grid import Box, Grid, Triple, chunk_name, compressed_morton_code
from formats.info import Scale, Sharding, VolumeInfo
from formats.sharding.ids import places, shard_name
from formats.sharding.lookup import MinishardIndex, read_data, read_minishard_index

_KEPT_INDICES = 32
_Place = tuple[str, int, int]
"""A scale's key, a shard, a minishard."""


def chunk_limit(info: VolumeInfo, chunk_size: Triple) -> int:
    """Return the bytes that an encoded chunk may have: several times its voxels, which no encoding needs."""
    return 4 * prod(chunk_size) * info.num_channels * np.dtype(info.data_type).itemsize + (1 << 20)


def stored_name(scale: Scale, grid: Grid, cell: Triple) -> str:
    """Return the object that holds a chunk: its own, or its shard."""
    if scale.sharding is None:
        return f"{scale.key}/{chunk_name(grid.chunk_box(cell))}"
    shard, _ = _shard_place(scale.sharding, compressed_morton_code(cell, grid.shape))
    return f"{scale.key}/{shard_name(shard, scale.sharding)}"


class _Indices:
    """The last minishard indices that were read; in another process it begins empty."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: dict[_Place, MinishardIndex | None] = {}

    def __reduce__(self) -> tuple[type["_Indices"], tuple[()]]:
        return _Indices, ()

    def get(self, storage: ReadableStorage, place: _Place, sharding: Sharding) -> MinishardIndex | None:
        """Return the index at a place; threads that ask for it at once wait for one of them."""
        key, shard, minishard = place
        with self._lock:
            if place not in self._kept:
                index = read_minishard_index(partial(_get_range, storage, key), (shard, minishard), sharding)
                if len(self._kept) == _KEPT_INDICES:
                    del self._kept[next(iter(self._kept))]
                self._kept[place] = index
            # What was used last is thrown away last.
            self._kept[place] = index = self._kept.pop(place)
            return index


@dataclass(frozen=True)
class VolumeReader:
    """The voxels of a dataset, sharded or not; pickles.

    at_once: chunks that are fetched and decoded at the same time, for storage that takes long to answer. Where a scale has
    several chunk_sizes the first is read.
    """

    storage: ReadableStorage
    info: VolumeInfo
    at_once: int = 1
    _indices: _Indices = field(default_factory=_Indices, init=False, repr=False, compare=False)

    def read(self, scale: Scale, box: Box) -> NDArray[Any]:
        """Return [x, y, z, channel] of box (in the scale's coordinates); chunks that are absent are zeros.

        Raises DatasetError for a chunk that cannot be read or decoded.
        """
        voxels = np.zeros((*box.shape, self.info.num_channels), self.info.data_type, order="F")
        grid = scale.grid()

        def fill(cell: Triple) -> None:
            chunk_box = grid.chunk_box(cell)
            chunk = self._chunk(scale, grid, cell)
            if chunk is not None:
                part = chunk_box.intersection(box)
                voxels[part.slices(box.start)] = chunk[part.slices(chunk_box.start)]

        self._each(fill, grid.cells_meeting(box))
        return voxels

    def _each(self, fill: Any, cells: Iterable[Triple]) -> None:
        if self.at_once == 1:
            for cell in cells:
                fill(cell)
            return
        with ThreadPoolExecutor(self.at_once) as threads:
            done = [threads.submit(fill, cell) for cell in cells]
            try:
                for future in done:
                    future.result()
            finally:
                for future in done:
                    future.cancel()

    def _chunk(self, scale: Scale, grid: Grid, cell: Triple) -> NDArray[Any] | None:
        box = grid.chunk_box(cell)
        try:
            data = self._stored(scale, grid, cell)
            return None if data is None else decode_chunk(data, box.shape, self.info.chunk_format(scale))
        except (FormatError, OSError) as error:
            raise DatasetError(f"{self.storage.locate(f'{scale.key}/{chunk_name(box)}')}: {error}") from error

    def _stored(self, scale: Scale, grid: Grid, cell: Triple) -> bytes | None:
        if scale.sharding is None:
            return self.storage.get(stored_name(scale, grid, cell))
        chunk_id = compressed_morton_code(cell, grid.shape)
        shard, minishard = _shard_place(scale.sharding, chunk_id)
        index = self._indices.get(self.storage, (scale.key, shard, minishard), scale.sharding)
        stretch = None if index is None else index.find(chunk_id)
        if stretch is None:
            return None
        limit = chunk_limit(self.info, grid.chunk_size)
        return read_data(partial(_get_range, self.storage, scale.key), shard, stretch, scale.sharding, limit)


def _shard_place(sharding: Sharding, chunk_id: int) -> tuple[int, int]:
    shards, minishards = places(np.array([chunk_id], np.uint64), sharding)
    return int(shards[0]), int(minishards[0])


def _get_range(storage: ReadableStorage, key: str, name: str, start: int, length: int) -> bytes | None:
    return storage.get_range(f"{key}/{name}", start, length)
