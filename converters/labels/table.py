"""The table of components, largest first."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.geometry import Geometry
from converters.labels.joining import Components
from converters.labels.measuring import Extents
from converters.storage.files import new_file
from formats.grid import Triple

COLUMNS = (
    *("label", "voxels", "volume_nm3", "x", "y", "z"),
    *("x_begin", "y_begin", "z_begin", "x_end", "y_end", "z_end"),
    *("x_centre", "y_centre", "z_centre"),
)
"""x, y, z: a component's first voxel. begin, end: of its box, half open. centre: the mean of its voxels' centres, where voxel 0
is 0 to 1. All count voxels in the dataset's coordinates."""
_ROWS_AT_A_TIME = 1 << 16


def write_table(path: Path, components: Components, extents: Extents, shape: Triple, geometry: Geometry) -> None:
    """Write a CSV file of the components, by size, those of one size by label. shape: of the volume. Raises DiskFullError."""
    order = np.argsort(-components.sizes, kind="stable")
    with new_file(path) as file:
        file.write(f"{','.join(COLUMNS)}\n".encode())
        for begin in range(0, len(order), _ROWS_AT_A_TIME):
            rows = order[begin : begin + _ROWS_AT_A_TIME]
            file.writelines(f"{row}\n".encode() for row in _rows(rows, components, extents, shape, geometry))


def _rows(rows: NDArray[np.int64], components: Components, extents: Extents, shape: Triple, geometry: Geometry) -> Iterator[str]:
    """Yield the lines of some components. rows: their positions."""
    volume, offset = math.prod(geometry.resolution), np.array(geometry.voxel_offset)
    lines, x = np.divmod(components.firsts[rows], shape[0])
    z, y = np.divmod(lines, shape[1])
    sizes = components.sizes[rows]
    first = np.stack([x, y, z], axis=1) + offset
    centres = extents.sums[rows] / sizes[:, np.newaxis] + offset + 0.5
    places = np.hstack([first, extents.begins[rows] + offset, extents.ends[rows] + offset]).tolist()
    for label, size, whole, centre in zip((rows + 1).tolist(), sizes.tolist(), places, centres.tolist(), strict=True):
        numbers = [*map(str, whole), *(f"{number:.9g}" for number in centre)]
        yield f"{label},{size},{size * volume:.9g},{','.join(numbers)}"
