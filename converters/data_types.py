"""Which data type of the viewer holds a source's voxels, and the change to it without loss.

(seam; see the docstrings)
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from converters.sources.source import Source

LayerType = Literal["image", "segmentation"]


def layer_type(source: Source, requested: Literal["auto", "image", "segmentation"]) -> LayerType:
    """Return what the dataset will be: what was requested, or for auto a segmentation for (u)int32, (u)int64 and label sources."""
    raise NotImplementedError


def data_type(dtype: np.dtype[Any], layer: LayerType) -> str:
    """Return the viewer's data type for voxels of dtype. Raises ValueRefusedError (complex, object, text, ...)."""
    raise NotImplementedError


def convert_voxels(voxels: NDArray[Any], target: str, layer: LayerType) -> tuple[NDArray[Any], float]:
    """Return the voxels as the data type target (no copy where none is needed) and the largest error that made (0 but for float64).

    Raises ValueRefusedError for a value that target cannot hold: fractional or negative labels, int64 beyond int32 in an image, ...
    """
    raise NotImplementedError
