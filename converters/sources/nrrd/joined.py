"""An array whose bytes lie one after another in several files."""

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.sources.mapped import StoredArray, mapped_array
from converters.sources.packed import Packing, unpacked_array


@dataclass(frozen=True)
class JoinedPart:
    """One file's part; packing: how it is packed, the array's offset then counts in the unpacked stream."""

    array: StoredArray
    packing: Packing | None = None

    def read(self, index: tuple[slice, ...]) -> NDArray[Any]:
        """Return array[index]. Raises DamagedError for what cannot be read."""
        if self.packing is None:
            return mapped_array(self.array)[index]
        part, rest = self.array.stretch(index)
        return unpacked_array(part, self.packing)[rest]


@dataclass(frozen=True)
class JoinedReader:
    """Reads an array of shape, its fastest axis first, from parts of one shape; see converters.sources.array.ArrayReader.

    parts: in the order in which the whole array would be written, of extents that divide the array's. header: the file that
    names them.
    """

    header: Path
    shape: tuple[int, ...]
    parts: tuple[JoinedPart, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The data type of what read returns."""
        return self.parts[0].array.dtype

    @property
    def chunk(self) -> tuple[int, ...]:
        """A part where it is packed, else one voxel."""
        return self._part_shape if self.parts[0].packing else (1,) * len(self.shape)

    @property
    def files(self) -> tuple[Path, ...]:
        """The header and the parts' files."""
        return (self.header, *(part.array.file for part in self.parts))

    @property
    def _part_shape(self) -> tuple[int, ...]:
        return self.parts[0].array.shape

    def read(self, index: tuple[slice, ...]) -> NDArray[Any]:
        """Return array[index]: a view where one part holds it. Raises DamagedError for what cannot be read."""
        wanted = [taken.indices(extent)[:2] for taken, extent in zip(index, self.shape, strict=True)]
        per_axis = [_cuts(start, stop, thick) for (start, stop), thick in zip(wanted, self._part_shape, strict=True)]
        grid = tuple(n // thick for n, thick in zip(self.shape, self._part_shape, strict=True))
        out = np.empty([stop - start for start, stop in wanted], self.dtype, "F")
        for cuts in product(*per_axis):
            number = int(np.ravel_multi_index([cut[0] for cut in cuts], grid, order="F"))
            part = self.parts[number].read(tuple(cut[1] for cut in cuts))
            if part.shape == out.shape:
                return part
            out[tuple(cut[2] for cut in cuts)] = part
        return out


def _cuts(start: int, stop: int, thick: int) -> list[tuple[int, slice, slice]]:
    """Return for each part along an axis that start to stop meets: its number, what is taken of it, where that goes."""
    cuts = []
    for number in range(start // thick, -(-stop // thick)):
        begin, end = max(start, number * thick), min(stop, (number + 1) * thick)
        cuts.append((number, slice(begin - number * thick, end - number * thick), slice(begin - start, end - start)))
    return cuts
