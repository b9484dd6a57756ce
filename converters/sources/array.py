"""A source that is one array in a library's hands: HDF5, TIFF, Zarr, N5 and the like."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from converters.geometry import Geometry
from converters.sources.axes import Arrangement
from converters.sources.fingerprints import files_fingerprint
from converters.sources.source import Report
from formats.grid import Box, Triple


class ArrayReader(Protocol):
    """An array that is read by slices; a frozen dataclass that pickles, its file opened anew in each process (and kept open).

    chunk: extents, one an axis of the array, of what is read at one go (a compressed chunk, a TIFF's strip); 1 along each axis
    where every voxel can be had by itself. files: by whose size and time of change the array is known again; () for a URL.
    """

    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def chunk(self) -> tuple[int, ...]: ...
    @property
    def files(self) -> tuple[Path, ...]: ...

    def read(self, index: tuple[slice, ...]) -> NDArray[Any]:
        """Return array[index], one slice of step 1 an axis, in any memory order. Raises DamagedError for what cannot be read."""
        ...


@dataclass(frozen=True)
class ArraySource:
    """A source whose voxels an ArrayReader reads; see converters.sources.source.Source."""

    name: str
    reader: ArrayReader
    arrangement: Arrangement
    geometry: Geometry
    label: bool = False
    notes: tuple[str, ...] = ()

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
        """The data type of what read returns."""
        return self.reader.dtype

    @property
    def block(self) -> Triple:
        """Voxels x, y, z that are read at one go."""
        return self.arrangement.spatial(self.reader.chunk)

    def fingerprint(self) -> dict[str, Any]:
        """Return the size and time of change of each file."""
        return files_fingerprint(self.reader.files)

    def read(self, box: Box) -> NDArray[Any]:
        """Return the voxels of box, [x, y, z, channel]. Raises DamagedError for what cannot be read."""
        return self.arrangement.view(self.reader.read(self.arrangement.index(box)))

    def spooled(self, directory: Path, report: Report) -> "ArraySource":
        """Return itself: any box can be read."""
        return self
