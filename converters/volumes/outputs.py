"""Where a tile's chunks go: a file each, or into parts from which shards are put together afterwards."""

import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from converters.errors import DatasetError
from converters.shards import Part, new_part
from converters.storage.storage import Storage
from converters.volumes.scales import PlannedScale
from formats.grid import Triple, chunk_name, compressed_morton_code
from formats.gzip import compress


class ChunkSink(Protocol):
    """What takes the chunks of one tile at one scale."""

    def put(self, cell: Triple, data: bytes) -> int:
        """Take the chunk at a grid position and return the bytes that are stored of it. Raises DiskFullError."""
        ...


class Output(Protocol):
    """Where the chunks of a stage go; pickles."""

    def open(self, scale: PlannedScale, tile: Triple) -> AbstractContextManager[ChunkSink]:
        """Give what takes a tile's chunks at one scale; all of them are there when the context is left."""
        ...

    @property
    def root(self) -> Path:
        """The folder that is there before the first tile is begun."""
        ...


@dataclass(frozen=True)
class _FileSink:
    storage: Storage
    scale: PlannedScale
    compressible: bool

    def put(self, cell: Triple, data: bytes) -> int:
        name = f"{self.scale.key}/{chunk_name(self.scale.grid.chunk_box(cell))}"
        return self.storage.put(name, data, compressible=self.compressible)


@dataclass(frozen=True)
class ChunkFiles:
    """A file a chunk, as the storage lays them out."""

    storage: Storage
    compressible: bool

    @property
    def root(self) -> Path:
        """The folder of the scales."""
        return self.storage.root

    @contextmanager
    def open(self, scale: PlannedScale, tile: Triple) -> Iterator[ChunkSink]:
        """Give what writes each chunk at once."""
        yield _FileSink(self.storage, scale, self.compressible)


@dataclass(frozen=True)
class _PartSink:
    part: Part
    grid_shape: Triple
    compressible: bool

    def put(self, cell: Triple, data: bytes) -> int:
        stored = compress(data) if self.compressible else data
        self.part.put(compressed_morton_code(cell, self.grid_shape), stored)
        return len(stored)


@dataclass(frozen=True)
class ShardParts:
    """A part for each tile and scale."""

    root: Path
    compressible: bool

    @contextmanager
    def open(self, scale: PlannedScale, tile: Triple) -> Iterator[ChunkSink]:
        """Give what appends chunks to the tile's part."""
        with new_part(self.path(scale, tile)) as part:
            yield _PartSink(part, scale.grid.shape, self.compressible)

    def path(self, scale: PlannedScale, tile: Triple) -> Path:
        """Return the file of a tile's chunks at one scale."""
        return self.root / scale.key / "_".join(str(n) for n in tile)


def check_shared(folder: Path) -> None:
    """Raise DatasetError where the run's folder is not: a worker on another machine would write what nobody finds."""
    if not folder.is_dir():
        raise DatasetError(
            f"{folder}: not there on {socket.gethostname()}, where a worker runs: "
            "the dataset must lie under the same path, on a disk that all workers share"
        )
