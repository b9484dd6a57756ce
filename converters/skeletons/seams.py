"""The planes of voxels that blocks share, at which what is traced has to go on and not to end."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from formats.grid import Grid

_RIM = 3
"""Voxels from a shared plane in which nothing is taken for the end of a neurite unasked."""


def is_near_seam(voxels: NDArray[Any], grid: Grid) -> NDArray[np.bool_]:
    """Tell which voxels, [n, 3] of the scale, lie at a plane that two blocks share."""
    sizes, last = np.array(grid.chunk_size), np.array(grid.shape) - 1
    places = np.asarray(voxels, np.int64).reshape(-1, 3) - grid.voxel_offset
    nearest = np.clip((places + sizes // 2) // sizes, 1, np.maximum(last, 1)) * sizes
    near: NDArray[np.bool_] = ((np.abs(places - nearest) <= _RIM) & (last > 0)).any(axis=1)
    return near
