"""The interface of every source."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from converters.geometry import Geometry, Lengths
from formats.grid import Box, Triple

Report = Callable[[int, int], None]
"""Called with (done, total) bytes now and then while something long goes on."""


@dataclass(frozen=True)
class SourceOptions:
    """What a user says about a source.

    axes: one letter an axis in the order of the array's shape (x, y, z, c for channels, t for time); None: from metadata.
    channel, time: which one to take; None: all channels, and no time axis may be there. resolution: nm, overrides the source's.
    voxel_offset: the dataset's coordinate of the first voxel; None: where the source says. array: which of a source's arrays or
    levels, by its name there.
    """

    axes: str | None = None
    channel: int | None = None
    time: int | None = None
    resolution: Lengths | None = None
    voxel_offset: Triple | None = None
    array: str | None = None

    @property
    def offset(self) -> Triple:
        """The coordinate of the first voxel for a source that says none itself."""
        return self.voxel_offset or (0, 0, 0)


class Source(Protocol):
    """A volume that can be read in boxes; a frozen dataclass that pickles, its files opened anew in each process.

    name: the path or URL as given, for messages. shape: voxels along x, y, z. dtype: of what read returns (after scl_slope and
    the like). label: the file itself says that it holds labels. notes: one sentence each, for the user (units guessed, axes
    assumed). block: voxels x, y, z, counted from the first voxel, of which any part costs as much to read as the whole (a
    compressed chunk, a TIFF's page); (1, 1, 1) where each voxel can be had by itself.
    """

    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> Triple: ...
    @property
    def num_channels(self) -> int: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def geometry(self) -> Geometry: ...
    @property
    def label(self) -> bool: ...
    @property
    def notes(self) -> tuple[str, ...]: ...
    @property
    def block(self) -> Triple: ...

    def fingerprint(self) -> dict[str, Any]:
        """Return what tells whether the source is still the same one, JSON-able (see fingerprints.py)."""
        ...

    def read(self, box: Box) -> NDArray[Any]:
        """Return the voxels of box, [x, y, z, channel]; box counts from the source's first voxel, not from voxel_offset.

        The array may be a view of a memory map and in any memory order. Raises DamagedError for what cannot be read.
        """
        ...

    def spooled(self, directory: Path, report: Report) -> "Source":
        """Return a source that reads any box at once: itself, or a copy unpacked into directory (created when needed)."""
        ...
