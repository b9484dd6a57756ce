"""Grey values for a first look: percentiles of a regular sample of the source."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.record import Contrast
from formats.grid import Box

SAMPLE_VOXELS = 1 << 20
"""About as many voxels of the whole volume are looked at."""

_LOW_PERCENTILE = 1.0
_HIGH_PERCENTILE = 99.5


def sample_stride(voxels: int) -> int:
    """Return the step along each axis that leaves about SAMPLE_VOXELS of so many voxels."""
    return max(1, round(math.cbrt(voxels / SAMPLE_VOXELS)))


def sampled(voxels: NDArray[Any], box: Box, stride: int) -> NDArray[Any]:
    """Return [n, channel], the voxels whose coordinates are multiples of stride, so that no tile's begin matters.

    voxels: [x, y, z, channel], those of box, which counts from the volume's first voxel: however thin, each volume gives some.
    """
    x, y, z = (slice(-start % stride, None, stride) for start in box.start)
    return voxels[x, y, z].reshape(-1, voxels.shape[3])


def contrast_of(samples: Sequence[NDArray[Any]]) -> tuple[Contrast, ...]:
    """Return one Contrast a channel from each tile's sample [n, channel].

    Background does not count: where one value fills a quarter of the sample or more and is the lowest one, the percentiles
    are those of the other voxels. Values that are not finite do not count either.
    """
    sample = np.concatenate(samples)
    return tuple(_channel_contrast(sample[:, c]) for c in range(sample.shape[1]))


def _channel_contrast(values: NDArray[Any]) -> Contrast:
    values = values[np.isfinite(values)].astype(np.float64)
    if not values.size:
        return Contrast(0.0, 1.0, 0.0, 1.0)
    smallest, largest = float(values.min()), float(values.max())
    background = values == smallest
    if values.size // 4 <= background.sum() < values.size:
        values = values[~background]
    low, high = (float(grey) for grey in np.percentile(values, [_LOW_PERCENTILE, _HIGH_PERCENTILE]))
    if low == high:
        low, high = _apart(smallest, largest)
    return Contrast(low, high, smallest, largest)


def _apart(smallest: float, largest: float) -> tuple[float, float]:
    """Return black and white of a mask, or of a volume of one grey value; two equal ones would show nothing."""
    if smallest < largest:
        return smallest, largest
    return (smallest, 0.0) if smallest < 0 else (0.0, largest or 1.0)
