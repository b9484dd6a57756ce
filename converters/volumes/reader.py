"""Reading voxels back from a dataset."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.errors import DatasetError
from converters.storage.storage import Storage
from formats.chunks import decode_chunk
from formats.errors import FormatError
from formats.grid import Box, chunk_name
from formats.info import Scale, VolumeInfo


@dataclass(frozen=True)
class VolumeReader:
    """The voxels of a dataset that is stored unsharded; pickles."""

    storage: Storage
    info: VolumeInfo

    def read(self, scale: Scale, box: Box) -> NDArray[Any]:
        """Return [x, y, z, channel] of box (in the scale's coordinates); chunks that are absent are zeros.

        Raises DatasetError for a chunk that cannot be decoded.
        """
        voxels = np.zeros((*box.shape, self.info.num_channels), self.info.data_type, order="F")
        grid = scale.grid()
        for cell in grid.cells():
            chunk_box = grid.chunk_box(cell)
            part = chunk_box.intersection(box)
            if part.voxels:
                chunk = self._chunk(scale, chunk_box)
                if chunk is not None:
                    voxels[part.slices(box.start)] = chunk[part.slices(chunk_box.start)]
        return voxels

    def _chunk(self, scale: Scale, box: Box) -> NDArray[Any] | None:
        name = f"{scale.key}/{chunk_name(box)}"
        try:
            data = self.storage.get(name)
            return None if data is None else decode_chunk(data, box.shape, self.info.chunk_format(scale))
        except (FormatError, OSError) as error:
            raise DatasetError(f"{self.storage.root / name}: {error}") from error
