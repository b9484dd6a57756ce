"""Where a stage's voxels come from: the source for the first, the spool of the stage before for the others."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from converters.data_types import LayerType, convert_voxels
from converters.errors import ValueRefusedError
from converters.sources.source import Source
from converters.storage.files import write_file
from converters.volumes.stages import Stage
from formats.grid import Box, Triple


class Input(Protocol):
    """Voxels of a stage's first scale; pickles."""

    def read(self, box: Box) -> tuple[NDArray[Any], float]:
        """Return the voxels [x, y, z, channel] of box in the dataset's data type, x fastest, and the largest error made."""
        ...


@dataclass(frozen=True)
class SourceInput:
    """The voxels of a source in the dataset's coordinates and data type."""

    source: Source
    data_type: str
    layer: LayerType

    def read(self, box: Box) -> tuple[NDArray[Any], float]:
        """Return the voxels of box; box counts in the dataset's coordinates. Raises DamagedError, ValueRefusedError."""
        x, y, z = self.source.geometry.voxel_offset
        read = self.source.read(box.shifted((-x, -y, -z)))
        try:
            voxels, error = convert_voxels(read, self.data_type, self.layer)
        except ValueRefusedError as refused:
            raise ValueRefusedError(f"{self.source.name}: {refused}") from refused
        # With x fastest, chunks are cut from the memory map itself; other orders are turned once, not for each chunk.
        return voxels if voxels.strides[0] == voxels.itemsize else np.asfortranarray(voxels), error


@dataclass(frozen=True)
class Spool:
    """Lossless voxels of the coarsest scale of a stage, one file a tile; deleted when the conversion ends."""

    folder: Path
    stage: Stage
    data_type: str
    num_channels: int

    def write(self, tile: Triple, voxels: NDArray[Any]) -> None:
        """Keep what a tile owns of the stage's coarsest scale. Raises DiskFullError."""
        write_file(self._path(tile), voxels.tobytes("F"))

    def read(self, box: Box) -> tuple[NDArray[Any], float]:
        """Return the voxels of box, exactly as they were written."""
        voxels = np.empty((*box.shape, self.num_channels), self.data_type, order="F")
        for tile in self.stage.owners(box, -1):
            owned = self.stage.owned(tile, -1)
            part = owned.intersection(box)
            voxels[part.slices(box.start)] = self._tile(tile, owned)[part.slices(owned.start)]
        return voxels, 0.0

    def _tile(self, tile: Triple, owned: Box) -> NDArray[Any]:
        shape = (*owned.shape, self.num_channels)
        return np.memmap(self._path(tile), self.data_type, "r", shape=shape, order="F")

    def _path(self, tile: Triple) -> Path:
        return self.folder / self.stage.scales[-1].key / "_".join(str(n) for n in tile)
