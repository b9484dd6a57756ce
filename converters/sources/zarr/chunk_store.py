"""Arrays of chunks in files, Zarr and N5: tensorstore decodes, we tell it the metadata that we have read.

Of the metadata that tensorstore is given nothing is read again, so that what was planned and what workers read are the same.
A chunk that is not there holds the fill value, in both formats; so where metadata is gone after a read, nothing was read.
"""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore as ts
from numpy.typing import NDArray

from converters.errors import DamagedError, SourceError
from converters.sources.axes import shape_text

_PIECE_BYTES = 1 << 23
"""Read at one go. tensorstore holds all chunks of a read at once, compressed or not, while it makes the result."""

_CONTEXT = {
    "cache_pool": {"total_bytes_limit": 0},
    "data_copy_concurrency": {"limit": 1},
    "file_io_concurrency": {"limit": 4},
}
"""Of each process, and there is one for each core. Boxes are cut along chunks, so that nothing is decoded twice."""

_OPEN_ARRAYS = 8
_ERRORS = (ValueError, KeyError, IndexError, NotImplementedError, OSError, OverflowError, RuntimeError, MemoryError)
"""What tensorstore raises, by the kind of its status."""
_MEMBER = re.compile(r'Error parsing (?:object member "(\w+)"|value at position (\d+)): ')
_CHUNK_NAME = re.compile(r"c|(c\.)?[0-9]+(\.[0-9]+)*", re.ASCII)


@dataclass(frozen=True)
class StoredChunks:
    """Where an array's chunks are, as its metadata tells.

    driver: tensorstore's. metadata: for it, without what does not change the voxels. metadata_files: in which it stands, the
    array's own first. prefix, separator: of the name of a chunk's file, `c/0/1/2` or `0.1.2`.
    """

    driver: str
    folder: Path
    metadata: dict[str, Any]
    metadata_files: tuple[Path, ...]
    prefix: str
    separator: str

    def file(self, position: tuple[int, ...]) -> Path:
        """Return the file of a chunk (of a shard, where chunks are in shards)."""
        return self.folder / (self.prefix + self.separator.join(str(n) for n in position))


@dataclass(frozen=True)
class ChunkReader:
    """Reads a Zarr or N5 array; see converters.sources.array.ArrayReader.

    metadata: as JSON. chunk: extents of what is decoded at one go: in a shard the innermost chunk. order: the axes in the order
    in which the result of read lies in memory, slowest first. modified_ns: of the metadata's file when it was opened.
    watched: the metadata's files and some chunks and folders, which tell that the array was rewritten.
    """

    driver: str
    folder: Path
    metadata: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    order: tuple[int, ...]
    modified_ns: int
    watched: tuple[Path, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """What is watched and there: files of metadata, three chunks, and the folders on the way to them.

        A chunk that is put in its place by a rename changes its folder. Not seen is a chunk that is neither of the three
        and is overwritten in place, or lies in another folder than they.
        """
        return tuple(path for path in self.watched if path.exists())

    def read(self, index: tuple[slice, ...]) -> NDArray[Any]:
        """Return array[index], in memory as order says. Raises DamagedError for a chunk that cannot be decoded."""
        bounds = [index[axis].indices(self.shape[axis])[:2] for axis in self.order]
        result = np.empty([stop - start for start, stop in bounds], self.dtype)
        chunk = tuple(self.chunk[axis] for axis in self.order)
        for piece in _pieces(bounds, chunk, self.dtype.itemsize):
            self._read_into(
                result[tuple(slice(p.start - b[0], p.stop - b[0]) for p, b in zip(piece, bounds, strict=True))], piece
            )
        self._check_metadata()
        return result.transpose(np.argsort(self.order))

    def _read_into(self, part: NDArray[Any], piece: tuple[slice, ...]) -> None:
        try:
            store = _opened(self)[piece][ts.d[:].translate_to[0]]
            ts.array(part, copy=False, write=True).write(store).result()
        except _ERRORS as error:
            place = ", ".join(f"{taken.start}:{taken.stop}" for _, taken in sorted(zip(self.order, piece, strict=True)))
            raise DamagedError(f"{self.folder}: array[{place}] cannot be read: {_reason(error)}") from error

    def _check_metadata(self) -> None:
        file = self.watched[0]
        try:
            modified_ns = file.stat().st_mtime_ns
        except OSError as error:
            raise DamagedError(f"{file}: cannot be read any more ({error.strerror})") from error
        if modified_ns != self.modified_ns:
            raise DamagedError(f"{file}: the file was changed while the array was being read; start again")


def open_chunks(stored: StoredChunks) -> tuple[ChunkReader, tuple[str, ...]]:
    """Return the reader of an array, its order that of its axes on disk, and notes for the user.

    Raises SourceError for a data type, codec or the like that tensorstore does not read, and for what is no volume.
    """
    metadata = json.dumps(stored.metadata)
    try:
        store = _open(stored.driver, stored.folder, metadata)
    except _ERRORS as error:
        raise SourceError(_refusal(stored, error)) from error
    dtype = np.dtype(store.dtype.numpy_dtype)
    if dtype.isbuiltin != 1 or dtype.kind not in "biufc":
        raise SourceError(f"{stored.folder}: its data type {store.dtype.name} is not read; save the array as integers or float32")
    if not 2 <= store.rank <= 5 or min(store.shape) < 1:
        raise SourceError(
            f"{stored.folder}: its metadata tells a shape of {shape_text(store.shape)}; 2 to 5 axes of at least 1 are read"
        )
    layout = store.chunk_layout
    reader = ChunkReader(
        driver=stored.driver,
        folder=stored.folder,
        metadata=metadata,
        dtype=dtype,
        shape=tuple(store.shape),
        chunk=tuple(layout.read_chunk.shape),
        order=tuple(layout.inner_order or range(store.rank)),
        modified_ns=stored.metadata_files[0].stat().st_mtime_ns,
        watched=_watched(stored, tuple(store.shape), tuple(layout.write_chunk.shape)),
    )
    return reader, _check_chunks(stored)


def first_chunk(folder: Path) -> Path | None:
    """Return some file below an array's folder that is a chunk by its name, or None."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if not _CHUNK_NAME.fullmatch(entry.name):
                continue
            found = first_chunk(Path(entry.path)) if entry.is_dir() else Path(entry.path)
            if found is not None:
                return found
    return None


def _check_chunks(stored: StoredChunks) -> tuple[str, ...]:
    chunk = first_chunk(stored.folder)
    if chunk is None:
        return (f"{stored.folder} holds no chunk: every voxel is the fill value",)
    if not chunk.exists():
        # tensorstore, and Zarr, take a link to nothing for a chunk of fill values: so they are in a clone of git-annex.
        raise SourceError(f"{chunk}: a link to a file that is not there: fetch the data (datalad get, git annex get) first")
    return ()


def _watched(stored: StoredChunks, shape: tuple[int, ...], stored_chunk: tuple[int, ...]) -> tuple[Path, ...]:
    last = tuple((extent - 1) // n for extent, n in zip(shape, stored_chunk, strict=True))
    chunks = [stored.file(position) for position in (tuple(0 for _ in last), tuple(n // 2 for n in last), last)]
    folders = [folder for chunk in chunks for folder in chunk.parents if folder.is_relative_to(stored.folder)]
    return tuple(dict.fromkeys((*stored.metadata_files, *folders, *chunks)))


@lru_cache(maxsize=_OPEN_ARRAYS)
def _opened(reader: ChunkReader) -> Any:
    return _open(reader.driver, reader.folder, reader.metadata).transpose(reader.order)


def _open(driver: str, folder: Path, metadata: str) -> Any:
    spec = {
        "driver": driver,
        "kvstore": {"driver": "file", "path": f"{Path(os.path.abspath(folder)).as_posix()}/"},
        "metadata": json.loads(metadata),
        "assume_metadata": True,
        "open": True,
    }
    return ts.open(spec, context=_context(), read=True).result()


@lru_cache(maxsize=1)
def _context() -> Any:
    return ts.Context(_CONTEXT)


def _pieces(bounds: list[tuple[int, int]], chunk: tuple[int, ...], itemsize: int) -> Iterator[tuple[slice, ...]]:
    """Yield the parts of a box, each of whole chunks but at the box's sides, of _PIECE_BYTES or one chunk; slowest axis first."""
    extents, voxels = list(chunk), prod(chunk)
    for axis in reversed(range(len(chunk))):
        start, stop = bounds[axis]
        chunks = -(-stop // chunk[axis]) - start // chunk[axis]
        taken = min(chunks, max(1, _PIECE_BYTES // (voxels * itemsize)))
        extents[axis], voxels = chunk[axis] * taken, voxels * taken
    yield from product(*(_cut(start, stop, n) for (start, stop), n in zip(bounds, extents, strict=True)))


def _cut(start: int, stop: int, extent: int) -> list[slice]:
    return [slice(max(start, n), min(stop, n + extent)) for n in range(start - start % extent, stop, extent)]


def _refusal(stored: StoredChunks, error: BaseException) -> str:
    reason = _reason(error)
    advice = "save the array again with blosc, zstd, gzip or no compression" if "not registered" in reason else "save it again"
    return f"{stored.metadata_files[0]}: an array that cannot be read: {reason}; {advice}"


def _reason(error: BaseException) -> str:
    """Return what tensorstore says, without its status, its spec and its places in the source code."""
    text = re.sub(r"^[A-Z_]+: ", "", str(error) or type(error).__name__)
    text = re.sub(r" \[(tensorstore_spec|source locations|os_error_code)=.*", "", text, flags=re.DOTALL)
    return _MEMBER.sub(lambda found: f"{found[1] or found[2]}: ", text).removeprefix("metadata: ")
