"""Grey values, smoothed or not, their histogram in levels, and the threshold that Otsu finds in it.

Integers of up to 16 bits have a level each. All other values are counted as float32 in levels of its first 20 bits: each level
spans 1/2048 of its values or less, whatever they are, so one pass over the volume is enough, and a few extreme voxels do no harm.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.errors import ValueRefusedError

TRUNCATE = 4.0
"""Standard deviations at which the Gaussian ends."""

_DROPPED_BITS = 12
"""Of float32's 32, the last ones that tell no level."""
_SIGN = np.uint32(1 << 31)
_PART_VOXELS = 1 << 20


@dataclass(frozen=True)
class Histogram:
    """How many voxels have each grey value.

    levels: float64, ascending. counts: int64, none is 0. tops: the largest value of each level.
    """

    levels: NDArray[np.float64]
    counts: NDArray[np.int64]
    tops: NDArray[np.float64]


def halo(sigma: float | None) -> int:
    """Return how many voxels around a voxel its smoothed value is made from, in each direction along each axis."""
    return 0 if sigma is None else int(TRUNCATE * sigma + 0.5)


def grey_values(voxels: NDArray[Any], sigma: float | None) -> NDArray[Any]:
    """Return voxels [x, y, z] of any data type as numbers in native byte order, smoothed when sigma (voxels) is given.

    Smoothed values are float32, of numbers of 32 bits and more float64; beyond the array its mirror image is taken. With `halo`
    voxels around them, or up to the volume's end, voxels get the very values that the whole volume would give.
    Raises ValueRefusedError for NaN and infinities, which smoothing would spread.
    """
    native = _numbers(voxels)
    if sigma is None:
        return native
    # Imported here: only smoothing needs it, and it takes a while.
    from scipy.ndimage import gaussian_filter

    wide = native.dtype.itemsize > 4 or (native.dtype.kind in "iu" and native.dtype.itemsize == 4)
    smoothed = native.astype(np.float64 if wide else np.float32, order="F", copy=True)
    if native.dtype.kind == "f" and not np.isfinite(smoothed).all():
        raise ValueRefusedError(
            "there are voxels that are NaN or infinite, which --smooth would spread over their surroundings: "
            "leave it out, or save the volume with a number in their place"
        )
    gaussian_filter(smoothed, sigma, output=smoothed, truncate=TRUNCATE)
    return smoothed


def above(values: NDArray[Any], threshold: float) -> NDArray[np.bool_]:
    """Tell which values are larger than the threshold; NaN is not. Integers are compared exactly, floats in their own type."""
    bound: Any = math.floor(threshold)
    with np.errstate(invalid="ignore", over="ignore"):
        if values.dtype.kind == "f":
            bound = values.dtype.type(threshold)
        higher: NDArray[np.bool_] = np.greater(values, bound)
    return higher


def level_counts(values: NDArray[Any]) -> NDArray[np.int64]:
    """Return how often each level occurs among values [x, y, z] of grey_values, rows (level, count) int64, ascending.

    NaN, infinities and what float32 does not hold are left out.
    """
    step = max(1, _PART_VOXELS // max(1, values.shape[0] * values.shape[1]))
    total = np.zeros(1, np.int64)
    for begin in range(0, values.shape[2], step):
        counts = np.bincount(_levels(values[:, :, begin : begin + step].ravel(order="K")), minlength=len(total))
        counts[: len(total)] += total
        total = counts
    found = np.flatnonzero(total)
    return np.stack([found, total[found]], axis=1)


def histogram(rows: NDArray[np.int64], dtype: np.dtype[Any]) -> Histogram:
    """Return the histogram of level_counts' rows, of any number of blocks. dtype: of the values."""
    levels, places = np.unique(rows[:, 0], return_inverse=True)
    counts = np.zeros(len(levels), np.int64)
    np.add.at(counts, places, rows[:, 1])
    if _is_exact(dtype):
        values = levels.astype(np.float64) + np.iinfo(dtype).min
        return Histogram(values, counts, values)
    low = _float_of(levels.astype(np.uint32) << np.uint32(_DROPPED_BITS))
    top = _float_of((levels.astype(np.uint32) << np.uint32(_DROPPED_BITS)) + np.uint32((1 << _DROPPED_BITS) - 1))
    return Histogram((low + top) / 2, counts, top)


def otsu(grey: Histogram) -> float:
    """Return the grey value up to which voxels are background: the classes' means lie as far apart as can be.

    Otsu, IEEE Transactions on Systems, Man, and Cybernetics 9 (1979). grey: of two levels at least.
    """
    weights = np.cumsum(grey.counts).astype(np.float64)
    sums = np.cumsum(grey.counts * grey.levels)
    below, beyond = weights[:-1], weights[-1] - weights[:-1]
    apart = sums[:-1] / below - (sums[-1] - sums[:-1]) / beyond
    return float(grey.tops[int(np.argmax(below * beyond * apart**2))])


def _numbers(voxels: NDArray[Any]) -> NDArray[Any]:
    if voxels.dtype.kind == "b":
        # A file's bool may be any byte.
        return np.not_equal(voxels.view(np.uint8), 0).view(np.uint8)
    if voxels.dtype.kind == "f" and voxels.dtype.itemsize == 2:
        return voxels.astype(np.float32)
    return voxels.astype(voxels.dtype.newbyteorder("="), copy=False)


def _is_exact(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "iu" and dtype.itemsize <= 2


def _levels(values: NDArray[Any]) -> NDArray[np.int64]:
    """Return each value's level; a larger value never has a smaller one."""
    if _is_exact(values.dtype):
        return values.astype(np.int64) - np.iinfo(values.dtype).min
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    # -0 is 0.
    bits = (single[np.isfinite(single)] + np.float32(0)).view(np.uint32)
    ordered = np.where(bits & _SIGN, ~bits, bits | _SIGN)
    return (ordered >> np.uint32(_DROPPED_BITS)).astype(np.int64)


def _float_of(ordered: NDArray[np.uint32]) -> NDArray[np.float64]:
    """Return the float32 whose bits were put in order."""
    bits = np.where(ordered & _SIGN, ordered ^ _SIGN, ~ordered)
    return bits.view(np.float32).astype(np.float64)
