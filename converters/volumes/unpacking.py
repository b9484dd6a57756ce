"""A source that cannot be read in tiles at a fair price is unpacked first, once, into files that can."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.errors import DamagedError
from converters.geometry import Geometry
from converters.results import BlockResult
from converters.sources.source import Report, Source
from converters.storage.files import write_file
from converters.volumes.outputs import check_shared
from formats.grid import Box, Grid, Triple, chunk_name


@dataclass(frozen=True)
class UnpackedSource:
    """A source whose voxels lie in files of a folder, one a unit, in the source's own data type; see Source.

    unit: voxels x, y, z of a file, whole blocks of the packed source; the last along an axis are smaller.
    """

    packed: Source
    folder: Path
    unit: Triple

    @property
    def name(self) -> str:
        """The path or URL as given."""
        return self.packed.name

    @property
    def shape(self) -> Triple:
        """Voxels along x, y, z."""
        return self.packed.shape

    @property
    def num_channels(self) -> int:
        """How many channels read returns."""
        return self.packed.num_channels

    @property
    def dtype(self) -> np.dtype[Any]:
        """The data type of what read returns."""
        return self.packed.dtype

    @property
    def geometry(self) -> Geometry:
        """Where the voxels lie."""
        return self.packed.geometry

    @property
    def label(self) -> bool:
        """Whether the source says that it holds labels."""
        return self.packed.label

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the user."""
        return self.packed.notes

    @property
    def block(self) -> Triple:
        """One voxel: each can be had by itself."""
        return 1, 1, 1

    def fingerprint(self) -> dict[str, Any]:
        """Return the packed source's."""
        return self.packed.fingerprint()

    def read(self, box: Box) -> NDArray[Any]:
        """Return the voxels of box, [x, y, z, channel]. Raises DamagedError."""
        grid = self._grid()
        voxels = np.empty((*box.shape, self.num_channels), self.dtype, order="F")
        for cell in grid.cells_meeting(box):
            unit = grid.chunk_box(cell)
            part = unit.intersection(box)
            voxels[part.slices(box.start)] = self._mapped(cell, unit)[part.slices(unit.start)]
        return voxels

    def spooled(self, directory: Path, report: Report) -> "UnpackedSource":
        """Return itself: any box can be read at once."""
        return self

    def tasks(self) -> Iterator["UnpackTask"]:
        """Yield the work that makes the files, one task a unit."""
        for cell in self._grid().cells():
            yield UnpackTask(self, cell)

    def unpack(self, cell: Triple) -> BlockResult:
        """Make the file of one unit. Raises DamagedError, DiskFullError."""
        box = self.unit_box(cell)
        write_file(self._file(cell), self.packed.read(box).tobytes("F"))
        return BlockResult(voxels=box.voxels)

    def unit_box(self, cell: Triple) -> Box:
        """Return the voxels of a unit, counted from the source's first."""
        return self._grid().chunk_box(cell)

    def _mapped(self, cell: Triple, box: Box) -> NDArray[Any]:
        shape = (*box.shape, self.num_channels)
        try:
            return np.memmap(self._file(cell), self.dtype, "r", shape=shape, order="F")
        except (OSError, ValueError) as error:
            raise DamagedError(f"{self._file(cell)}: cannot be read any more ({error})") from error

    def _grid(self) -> Grid:
        return Grid((0, 0, 0), self.shape, self.unit)

    def _file(self, cell: Triple) -> Path:
        return self.folder / "_".join(str(n) for n in cell)


@dataclass(frozen=True)
class UnpackTask:
    """One unit of the work."""

    source: UnpackedSource
    item: Triple

    @property
    def place(self) -> str:
        """The unit's name in messages: its voxels in the source."""
        return f"voxels {chunk_name(self.source.unit_box(self.item))}"


def unpack(task: UnpackTask) -> BlockResult:
    """Do one unit of the work. Raises DamagedError, DiskFullError."""
    check_shared(task.source.folder)
    return task.source.unpack(task.item)
