"""What the converters must give, computed in the plainest way: the pooling of one window, of an array, and a whole pyramid."""

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

Triple = tuple[int, int, int]


def windows(shape: Triple, start: Triple, factors: Triple) -> Iterator[tuple[Triple, tuple[slice, slice, slice]]]:
    """Yield each window of the global grid, counted from floor(start / factors), and the slices of an array that it covers."""
    ranges = [range(s // f, -(-(s + n) // f)) for s, n, f in zip(start, shape, factors, strict=True)]
    for cell in product(*ranges):
        low = [max(c * f, s) - s for c, f, s in zip(cell, factors, start, strict=True)]
        high = [min((c + 1) * f, s + n) - s for c, f, s, n in zip(cell, factors, start, shape, strict=True)]
        x, y, z = (c - r.start for c, r in zip(cell, ranges, strict=True))
        a, b, c = (slice(i, j) for i, j in zip(low, high, strict=True))
        yield (x, y, z), (a, b, c)


def average(values: list[Any], dtype: np.dtype[Any]) -> Any:
    """Return the mean of a window's values: of integers exact and rounded half to even, of floats as a float64."""
    if dtype.kind == "f":
        return math.fsum(values) / len(values)
    return round(Fraction(sum(int(v) for v in values), len(values)))


def mode(values: list[Any], dtype: np.dtype[Any]) -> Any:
    """Return the most frequent of a window's labels, which stand x fastest; on a tie the one that comes first."""
    return max(values, key=values.count)


def pooled(voxels: NDArray[Any], start: Triple, factors: Triple, rule: Callable[[list[Any], np.dtype[Any]], Any]) -> NDArray[Any]:
    """Return an array [x, y, z, channel] pooled window by window on the global grid."""
    shape = tuple(-(-(s + n) // f) - s // f for s, n, f in zip(start, voxels.shape, factors, strict=False))
    result = np.empty((*shape, voxels.shape[3]), voxels.dtype)
    x, y, z = voxels.shape[:3]
    for cell, window in windows((x, y, z), start, factors):
        for channel in range(voxels.shape[3]):
            values = voxels[(*window, channel)].ravel(order="F").tolist()
            result[(*cell, channel)] = rule(values, voxels.dtype)
    return result


def pooled_average(voxels: NDArray[Any], start: Triple, factors: Triple) -> NDArray[Any]:
    """Return what pooled(..., average) does for integers up to 32 bits, by numpy's sums over stretches of unequal length."""
    sums, counts = voxels.astype(np.int64), np.ones((1, 1, 1, 1), np.int64)
    for axis in range(3):
        first, end, factor = start[axis], start[axis] + voxels.shape[axis], factors[axis]
        borders = [first, *(b for b in range(first + 1, end) if b % factor == 0)]
        sums = np.add.reduceat(sums, [b - first for b in borders], axis=axis)
        lengths = np.diff([*borders, end]).reshape([-1 if a == axis else 1 for a in range(4)])
        counts = counts * lengths
    quotient, remainder = np.divmod(sums, counts)
    up = (2 * remainder > counts) | ((2 * remainder == counts) & (quotient % 2 == 1))
    return (quotient + up).astype(voxels.dtype)
