"""Average pooling of images, rounded half to even, so that no scale is darker or brighter than the one before."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.pooling.windows import completed
from formats.grid import Triple

_WIDER = {
    np.dtype(narrow): np.dtype(wide)
    for narrow, wide in {
        "u1": "u2", "i1": "i2", "u2": "u4", "i2": "i4", "u4": "u8", "i4": "i8", "f4": "f8",
    }.items()
}  # fmt: skip
"""What the sum of a window is made in. uint64 has nothing wider and goes its own way."""

_SLAB_BYTES = 1 << 18
"""Work is done in slabs that stay in the processor's second-level cache."""


def average_pooling(voxels: NDArray[Any], start: Triple, factors: Triple) -> NDArray[Any]:
    """Return the mean of each window on the global grid, in the voxels' own dtype.

    voxels: [x, y, z, channel], 8 to 64-bit integers (no int64) or float32. start: global coordinate of the first voxel.
    factors: 1 or 2 along x, y, z. Integers are rounded half to even; float32 is summed as float64, NaN stays NaN.
    Returns Fortran order, its first voxel at floor(start / factors).
    """
    whole = completed(voxels, start, factors)
    x, y, z = (n // f for n, f in zip(whole.shape[:3], factors, strict=True))
    pooled = np.empty((x, y, z, whole.shape[3]), whole.dtype, order="F")
    pool = _pool_uint64 if whole.dtype == np.uint64 else _pool
    step = max(1, _SLAB_BYTES // max(1, whole[:, :, : factors[2], 0].nbytes))
    for c in range(whole.shape[3]):
        for begin in range(0, z, step):
            slab = whole[:, :, begin * factors[2] : (begin + step) * factors[2], c]
            if slab.strides[0] != slab.itemsize:
                slab = np.asfortranarray(slab)
            pooled[:, :, begin : begin + step, c] = pool(slab, factors)
    return pooled


def _pool(slab: NDArray[Any], factors: Triple) -> NDArray[Any]:
    # Infinities of both signs have no mean: NaN, and no warning about it.
    with np.errstate(invalid="ignore"):
        sums = _sums(slab, factors)
    count = factors[0] * factors[1] * factors[2]
    if sums.dtype.kind == "f":
        sums /= count
        return sums
    return _rounded(sums, count.bit_length() - 1)


def _sums(slab: NDArray[Any], factors: Triple) -> NDArray[Any]:
    """Return the sum of each window in the wider dtype."""
    wide = _WIDER[slab.dtype]
    if factors[0] == 1:
        sums = slab.astype(wide)
    elif wide.kind == "f":
        sums = np.add(slab[0::2], slab[1::2], dtype=wide)
    else:
        sums = _neighbour_sums(slab, wide)
    if factors[1] == 2:
        sums = sums[:, 0::2] + sums[:, 1::2]
    if factors[2] == 2:
        sums = sums[:, :, 0::2] + sums[:, :, 1::2]
    return sums


def _neighbour_sums(slab: NDArray[Any], wide: np.dtype[Any]) -> NDArray[Any]:
    """Return the sums of neighbours along x, reading two voxels as one number of twice the width.

    Numpy's vector loops need contiguous operands: half of a number at a time is several times faster than every other voxel.
    """
    pairs = slab.T.view(wide).T
    bits = wide.type(slab.dtype.itemsize * 8)
    low: NDArray[Any] = pairs << bits
    low >>= bits
    low += pairs >> bits
    return low


def _rounded(sums: NDArray[Any], shift: int) -> NDArray[Any]:
    """Return sums / 2**shift rounded half to even; shifts floor, for negative sums too."""
    if shift == 0:
        return sums
    number = sums.dtype.type
    odd: NDArray[Any] = sums >> number(shift)
    odd &= number(1)
    odd += number((1 << shift - 1) - 1)
    odd += sums
    odd >>= number(shift)
    return odd


def _pool_uint64(slab: NDArray[Any], factors: Triple) -> NDArray[Any]:
    """Return the rounded means with quotients and remainders summed apart, because eight uint64 overflow."""
    shift = (factors[0] * factors[1] * factors[2]).bit_length() - 1
    number = np.uint64
    quotients = _strided_sums(slab >> number(shift), factors)
    remainders = _strided_sums(slab & number((1 << shift) - 1), factors)
    quotients += remainders >> number(shift)
    remainders &= number((1 << shift) - 1)
    half = number((1 << shift) >> 1)
    up = (remainders > half) | ((remainders == half) & (quotients & number(1) == 1) & (half > 0))
    quotients += up
    return quotients


def _strided_sums(slab: NDArray[Any], factors: Triple) -> NDArray[Any]:
    sums = slab
    if factors[0] == 2:
        sums = sums[0::2] + sums[1::2]
    if factors[1] == 2:
        sums = sums[:, 0::2] + sums[:, 1::2]
    if factors[2] == 2:
        sums = sums[:, :, 0::2] + sums[:, :, 1::2]
    return sums
