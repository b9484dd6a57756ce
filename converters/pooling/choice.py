"""Which pooling a layer's voxels take."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.data_types import LayerType
from converters.native import is_worth_it
from converters.pooling.average import average_pooling
from converters.pooling.mode import mode_kernel, mode_pooling, quick_mode_pooling
from formats.grid import Triple

Pooling = Callable[[NDArray[Any], Triple, Triple], NDArray[Any]]
"""Takes voxels [x, y, z, channel], the global coordinate of the first one, and factors x, y, z; returns Fortran order."""

POOLING: dict[LayerType, Pooling] = {"image": average_pooling, "segmentation": mode_pooling}


def pooling_for(layer: LayerType, dtype: np.dtype[Any], voxels: int) -> Pooling:
    """Return what pools so many voxels in one process soonest. What it gives is the same."""
    if layer == "segmentation" and is_worth_it(mode_kernel(dtype), voxels):
        return quick_mode_pooling
    return POOLING[layer]
