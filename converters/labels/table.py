"""The table of components, largest first."""

import math
from pathlib import Path

import numpy as np

from converters.geometry import Geometry
from converters.labels.joining import Components
from converters.storage.files import new_file
from formats.grid import Triple

COLUMNS = ("label", "voxels", "volume_nm3", "x", "y", "z")
_ROWS_AT_A_TIME = 1 << 16


def write_table(path: Path, components: Components, shape: Triple, geometry: Geometry) -> None:
    """Write a CSV file of the components, by size, those of one size by label.

    x, y, z: a component's first voxel, in the dataset's coordinates. shape: of the volume. Raises DiskFullError.
    """
    order = np.argsort(-components.sizes, kind="stable")
    volume = math.prod(geometry.resolution)
    x0, y0, z0 = geometry.voxel_offset
    with new_file(path) as file:
        file.write(f"{','.join(COLUMNS)}\n".encode())
        for begin in range(0, len(order), _ROWS_AT_A_TIME):
            rows = order[begin : begin + _ROWS_AT_A_TIME]
            lines, x = np.divmod(components.firsts[rows], shape[0])
            z, y = np.divmod(lines, shape[1])
            columns = (rows + 1, components.sizes[rows], x + x0, y + y0, z + z0)
            for label, size, *place in zip(*(column.tolist() for column in columns), strict=True):
                file.write(f"{label},{size},{size * volume:.9g},{','.join(map(str, place))}\n".encode())
