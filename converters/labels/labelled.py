"""The labels of a volume as a source, read from what its blocks left."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.errors import DamagedError
from converters.geometry import Geometry
from converters.labels.spool import LabelSpool
from converters.sources.source import Report, Source
from converters.storage.files import new_file
from formats.grid import Box, Triple


@dataclass(frozen=True)
class LabelledSource:
    """The components of a grey source's voxels; see converters.sources.source.Source.

    dtype: of joining.label_type. Its names and where those of each block begin are there when write_names was called.
    """

    grey: Source
    spool: LabelSpool
    dtype: np.dtype[Any]

    @property
    def name(self) -> str:
        """The grey source's."""
        return self.grey.name

    @property
    def shape(self) -> Triple:
        """Voxels along x, y, z."""
        return self.grey.shape

    @property
    def num_channels(self) -> int:
        """One."""
        return 1

    @property
    def geometry(self) -> Geometry:
        """Where the voxels lie."""
        return self.grey.geometry

    @property
    def label(self) -> bool:
        """These are labels."""
        return True

    @property
    def notes(self) -> tuple[str, ...]:
        """The grey source's."""
        return self.grey.notes

    @property
    def block(self) -> Triple:
        """The voxels that are packed together."""
        return self.spool.piece

    def fingerprint(self) -> dict[str, Any]:
        """Return the grey source's."""
        return self.grey.fingerprint()

    def write_names(self, names: NDArray[Any], starts: NDArray[np.int64]) -> None:
        """Keep the label of each block's each component. starts: int64, one a block and one more, where its names begin and end.

        Raises DiskFullError.
        """
        for path, array in ((self._names, names.astype(self.dtype, copy=False)), (self._starts, starts)):
            with new_file(path) as file:
                file.write(np.ascontiguousarray(array).data)

    def read(self, box: Box) -> NDArray[Any]:
        """Return the labels of box, [x, y, z, channel]. Raises DamagedError."""
        voxels = np.zeros((*box.shape, 1), self.dtype, order="F")
        for cell in self.spool.blocks.cells_meeting(box):
            part = self.spool.blocks.chunk_box(cell).intersection(box)
            names, labels = self.block_names(cell), self.spool.read_labels(cell, part)
            inside = voxels[..., 0][part.slices(box.start)]
            for z in range(labels.shape[2]):
                inside[:, :, z] = names[labels[:, :, z]]
        return voxels

    def spooled(self, directory: Path, report: Report) -> "LabelledSource":
        """Return itself: any box can be read."""
        return self

    def block_names(self, cell: Triple) -> NDArray[Any]:
        """Return what each of a block's own labels is called, that of 0 first. Raises DamagedError."""
        shape = self.spool.blocks.shape
        number = cell[0] + shape[0] * (cell[1] + shape[1] * cell[2])
        try:
            start, end = np.fromfile(self._starts, np.int64, 2, offset=8 * number)
            names = np.fromfile(self._names, self.dtype, int(end - start), offset=int(start) * self.dtype.itemsize)
        except (OSError, ValueError) as error:
            raise DamagedError(f"{self._names}: cannot be read any more ({error})") from error
        return np.concatenate([np.zeros(1, self.dtype), names])

    @property
    def _names(self) -> Path:
        return self.spool.folder / "names"

    @property
    def _starts(self) -> Path:
        return self.spool.folder / "starts"
