"""An array that lies in a file as it is: read by memory map."""

from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.errors import DamagedError, SourceError
from converters.geometry import Geometry
from converters.sources.axes import Arrangement
from converters.sources.fingerprints import files_fingerprint
from converters.sources.source import Report
from formats.grid import Box, Triple

_OPEN_FILES = 8


@dataclass(frozen=True)
class StoredArray:
    """Where an array lies in a file, uncompressed.

    offset: bytes before it. shape: the axis that varies fastest on disk first. dtype: with the file's byte order.
    modified_ns: the file's time of change when it was opened, so that a worker does not read another file of that name.
    """

    file: Path
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    modified_ns: int

    @property
    def nbytes(self) -> int:
        """Bytes that the array takes."""
        return prod(self.shape) * self.dtype.itemsize

    def stretch(self, index: tuple[slice, ...]) -> tuple["StoredArray", tuple[slice, ...]]:
        """Return the shortest unbroken run of the file that holds array[index], as an array, and the index in it."""
        offset, shape, rest, step = self.offset, list(self.shape), list(index), self.nbytes
        for axis in reversed(range(len(shape))):
            step //= self.shape[axis]
            start, stop, _ = index[axis].indices(self.shape[axis])
            offset, shape[axis], rest[axis] = offset + start * step, stop - start, slice(0, stop - start)
            if stop - start != 1:
                break
        return replace(self, offset=offset, shape=tuple(shape)), tuple(rest)

    def check_size(self) -> None:
        """Raise SourceError where the file is too short to hold the array."""
        found, expected = self.file.stat().st_size, self.offset + self.nbytes
        if found < expected:
            raise SourceError(
                f"{self.file}: {found} bytes found, {expected} expected from its header: the file is cut short; copy it again"
            )


@dataclass(frozen=True)
class Scaling:
    """grey value = stored value * slope + intercept (nifti1.h, "DATA SCALING"), as nibabel has it.

    dtype: of slope and intercept: float64 for NIfTI, float32 for SPM's Analyze; what they are applied to may be wider.
    """

    slope: float
    intercept: float
    dtype: np.dtype[Any]

    def apply(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Return the grey values, in the data type that holds both the stored values and dtype."""
        # One-element arrays, unlike numbers, make numpy widen float32 to float64. Neither step is done where it changes
        # nothing, because nibabel leaves it out too and the data type hangs on it.
        scaled = stored
        if self.slope != 1:
            scaled = scaled * np.array([self.slope], self.dtype)
        if self.intercept != 0:
            scaled = scaled + np.array([self.intercept], self.dtype)
        return scaled


@dataclass(frozen=True)
class MappedSource:
    """A source whose voxels are memory-mapped; see converters.sources.source.Source.

    header: the file that holds the header, where it is neither path nor that of the voxels.
    """

    path: Path
    array: StoredArray
    arrangement: Arrangement
    geometry: Geometry
    scaling: Scaling | None = None
    label: bool = False
    notes: tuple[str, ...] = ()
    header: Path | None = None

    @property
    def name(self) -> str:
        """The path as given."""
        return str(self.path)

    @property
    def block(self) -> Triple:
        """One voxel: each can be had by itself."""
        return 1, 1, 1

    def fingerprint(self) -> dict[str, Any]:
        """Return the size and time of change of the file, and of the header's where that is another one."""
        return files_fingerprint((self.path, self.array.file, self.header or self.path))

    @property
    def shape(self) -> Triple:
        """Voxels along x, y, z."""
        return self.arrangement.voxels

    @property
    def num_channels(self) -> int:
        """How many channels read returns."""
        return self.arrangement.num_channels

    @property
    def dtype(self) -> np.dtype[Any]:
        """The data type of what read returns, in the file's byte order where it is a view of the file."""
        return self.scaled(np.zeros(1, self.array.dtype)).dtype

    def read(self, box: Box) -> NDArray[Any]:
        """Return the voxels of box, [x, y, z, channel]: a read-only view of the file where there is no scaling.

        Raises DamagedError where the file is gone or is not the one that was opened.
        """
        return self.scaled(self.arrangement.view(mapped_array(self.array)[self.arrangement.index(box)]))

    def scaled(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Return the grey values that stored ones stand for; the array itself where there is no scaling."""
        return stored if self.scaling is None else self.scaling.apply(stored)

    def spooled(self, directory: Path, report: Report) -> "MappedSource":
        """Return itself: any box can be read at once."""
        return self


@lru_cache(maxsize=_OPEN_FILES)
def mapped_array(array: StoredArray) -> NDArray[Any]:
    """Return the array as a read-only view of its file, in Fortran order.

    Raises DamagedError where the file is gone or is not the one that was opened.
    """
    try:
        if array.file.stat().st_mtime_ns != array.modified_ns:
            raise DamagedError(f"{array.file}: the file was changed while it was being read; start again")
        mapped = np.memmap(array.file, array.dtype, "r", array.offset, array.shape, "F")
    except (OSError, ValueError) as error:
        raise DamagedError(f"{array.file}: cannot be read any more ({error})") from error
    # A plain array: slicing a np.memmap costs several times as much.
    return mapped.view(np.ndarray)
