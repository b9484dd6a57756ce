"""An HDF5 dataset that is read by slices (h5py).

Chunks that only gzip and shuffle have packed, which most files hold, are unpacked here by ISA-L, in half to two thirds of the
time that the HDF5 library takes. What that cannot read (a chunk that was never written, is stored as it is, or corrupt) the
library is asked for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import h5py

# Registers its filters (Blosc, Zstandard, LZ4, bitshuffle and more) with the HDF5 library.
import hdf5plugin  # noqa: F401
import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from converters.errors import DamagedError

Slices = tuple[slice, ...]

UNREADABLE = (OSError, RuntimeError, ValueError, TypeError, KeyError)
"""What h5py raises for a file that is not sound."""

_OPEN_FILES = 16
_CACHE_BYTES = 1 << 20
"""Of unpacked chunks a file; a read takes each chunk once, so that more of them would only take memory."""

_SMALLEST_UNPACKED = 1 << 14
"""Bytes of a chunk; below it the library is as fast."""

_UNPACKING_ERROR: type[Exception] = isal_zlib.error  # type: ignore[assignment]  # its stub makes an instance of the class
_SHUFFLE_THEN_DEFLATE = (h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE)


@dataclass(frozen=True)
class Hdf5Reader:
    """A dataset of an HDF5 file; see converters.sources.array.ArrayReader.

    dataset: its name. chunk: 1 along each axis where the dataset has no chunks. files: the file, and those that it takes voxels
    from. modified_ns: their latest time of change when the file was opened, so that a worker does not read others of that name.
    filters: codes of the filters that pack each chunk where that is gzip, or shuffle and then gzip; () to leave chunks to HDF5.
    """

    file: Path
    dataset: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunk: tuple[int, ...]
    files: tuple[Path, ...]
    modified_ns: int
    filters: tuple[int, ...] = ()

    def read(self, index: Slices) -> NDArray[Any]:
        """Return dataset[index], in C order. Raises DamagedError that names the chunk that cannot be read."""
        index = tuple(slice(*part.indices(extent)) for part, extent in zip(index, self.shape, strict=True))
        dataset = self._open()
        try:
            return self._read(dataset, index)
        except UNREADABLE as error:
            raise self._damage(dataset, index, error) from error

    def _open(self) -> Any:
        try:
            if latest_change(self.files) != self.modified_ns:
                raise DamagedError(f"{self.file}: the file was changed while it was being read; start again")
            return _opened(self)[1]
        except UNREADABLE as error:
            raise DamagedError(f"{self.file}: dataset {self.dataset} cannot be read any more ({error})") from error

    def _read(self, dataset: Any, index: Slices) -> NDArray[Any]:
        return self._unpacked(dataset, index) if self.filters else self._plain(dataset, index)

    def _plain(self, dataset: Any, index: Slices) -> NDArray[Any]:
        voxels: NDArray[Any] = dataset[index]
        return voxels

    def _unpacked(self, dataset: Any, index: Slices) -> NDArray[Any]:
        voxels = np.empty([part.stop - part.start for part in index], self.dtype)
        for start, wanted in self._chunks(index):
            there = tuple(slice(w.start - i.start, w.stop - i.start) for w, i in zip(wanted, index, strict=True))
            chunk = self._chunk(dataset, start)
            if chunk is None:
                voxels[there] = self._plain(dataset, wanted)
            else:
                inside = tuple(slice(w.start - s, w.stop - s) for w, s in zip(wanted, start, strict=True))
                voxels[there] = chunk[inside]
        return voxels

    def _chunk(self, dataset: Any, start: tuple[int, ...]) -> NDArray[Any] | None:
        """Return the chunk that begins at start, None where the library has to say what it is."""
        try:
            skipped_filters, packed = dataset.id.read_direct_chunk(start)
        except UNREADABLE:
            return None
        size = prod(self.chunk) * self.dtype.itemsize
        inflated = None if skipped_filters else _inflated(packed, size + 1)
        if inflated is None:
            return None
        if len(inflated) != size:
            # The library would leave what is missing as the memory happens to be.
            found = f"more than {size}" if len(inflated) > size else str(len(inflated))
            raise OSError(f"{found} bytes unpacked, {size} expected")
        data = np.frombuffer(inflated, np.uint8)
        if h5py.h5z.FILTER_SHUFFLE in self.filters and self.dtype.itemsize > 1:
            # Shuffled: all first bytes of the voxels, then all second bytes and so on.
            data = np.ascontiguousarray(data.reshape(self.dtype.itemsize, -1).T).reshape(-1)
        return data.view(self.dtype).reshape(self.chunk)

    def _chunks(self, index: Slices) -> Iterator[tuple[tuple[int, ...], Slices]]:
        """Yield where each chunk that meets index begins, and what of it lies in index."""
        begins = (range(i.start // n * n, i.stop, n) for i, n in zip(index, self.chunk, strict=True))
        for start in product(*begins):
            parts = zip(start, self.chunk, index, strict=True)
            yield start, tuple(slice(max(s, i.start), min(s + n, i.stop)) for s, n, i in parts)

    def _damage(self, dataset: Any, index: Slices, error: Exception) -> DamagedError:
        where = f"{self.file}: dataset {self.dataset}"
        # Without chunks there are as many of them as voxels, and no one of them is to blame.
        for start, wanted in self._chunks(index) if prod(self.chunk) > 1 else ():
            try:
                self._read(dataset, wanted)
            except UNREADABLE as failure:
                position = ", ".join(str(n) for n in start)
                return DamagedError(f"{where}: its chunk at {position} cannot be read ({failure}); copy the file again")
        return DamagedError(f"{where}: cannot be read ({error}); copy the file again")


def open_file(path: Path) -> Any:
    """Return an open h5py.File, to be read only, also while another program writes into it. Raises OSError.

    Without locks: on a network's file system they fail, and nothing is written here.
    """
    options = {"locking": False, "rdcc_nbytes": _CACHE_BYTES}
    try:
        return h5py.File(path, "r", **options)
    except OSError as error:
        if "already open for write" not in str(error):
            raise
        return h5py.File(path, "r", swmr=True, **options)


def latest_change(files: tuple[Path, ...]) -> int:
    """Return the latest time of change of files in ns. Raises OSError where one is not there."""
    return max(file.stat().st_mtime_ns for file in files)


def filters_to_unpack(dataset: Any) -> tuple[int, ...]:
    """Return the filters of a dataset when Hdf5Reader can undo them, else ()."""
    plist = dataset.id.get_create_plist()
    filters = tuple(plist.get_filter(i)[0] for i in range(plist.get_nfilters()))
    chunks = dataset.chunks
    if chunks is None or prod(chunks) * dataset.dtype.itemsize < _SMALLEST_UNPACKED:
        return ()
    whole = all(chunk <= extent for chunk, extent in zip(chunks, dataset.shape, strict=True))
    return filters if whole and filters in (_SHUFFLE_THEN_DEFLATE, _SHUFFLE_THEN_DEFLATE[1:]) else ()


@lru_cache(maxsize=_OPEN_FILES)
def _opened(reader: Hdf5Reader) -> tuple[Any, Any]:
    """Return the file, which is closed when nothing refers to it any more, and the dataset."""
    file = open_file(reader.file)
    dataset = file[reader.dataset]
    if dataset.shape != reader.shape or dataset.dtype != reader.dtype:
        raise DamagedError(f"{reader.file}: dataset {reader.dataset} was changed while it was being read; start again")
    return file, dataset


def _inflated(packed: bytes, most: int) -> bytes | None:
    """Return the bytes of a zlib stream, not more than most of them, None where it is not sound."""
    stream = isal_zlib.decompressobj()
    try:
        data = stream.decompress(packed, most)
    except _UNPACKING_ERROR:
        return None
    return data if stream.eof or len(data) == most else None
