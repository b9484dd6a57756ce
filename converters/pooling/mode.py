"""Mode pooling of labels: the most frequent label of each window, on a tie the one whose first voxel comes first, x fastest.

No label is ever invented and the rule does not depend on the values of the labels.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.native import Native, loaded
from converters.pooling.windows import completed
from formats.grid import Triple

_Pool = Callable[[NDArray[Any], Triple], NDArray[Any]]

_SLAB_BYTES = 1 << 18
"""Planes are copied in slabs that stay in the processor's second-level cache."""


def mode_pooling(voxels: NDArray[Any], start: Triple, factors: Triple) -> NDArray[Any]:
    """Return the most frequent label of each window on the global grid.

    voxels: [x, y, z, channel], unsigned integers. start: global coordinate of the first voxel. factors: 1 or 2 along x, y, z.
    Returns Fortran order, its first voxel at floor(start / factors).
    """
    return _pooled(voxels, start, factors, _by_library)


def quick_mode_pooling(voxels: NDArray[Any], start: Triple, factors: Triple) -> NDArray[Any]:
    """Return what mode_pooling does, by a kernel: sooner for many voxels, as it has to be loaded."""
    return _pooled(voxels, start, factors, _by_kernel)


@cache
def mode_kernel(dtype: np.dtype[Any]) -> Native:
    """Return the kernel for labels of a data type."""
    return Native("converters.pooling.mode_kernels", "pool_windows", ("int64", dtype.name, dtype.name, dtype.name, "bytes"))


def _pooled(voxels: NDArray[Any], start: Triple, factors: Triple, pool: _Pool) -> NDArray[Any]:
    whole = completed(voxels, start, factors)
    if sum(f == 2 for f in factors) < 2:
        # Of two voxels, either both are the same or the first wins the tie.
        return np.asfortranarray(whole[:: factors[0], :: factors[1], :: factors[2]])
    channels = [pool(whole[..., c], factors) for c in range(whole.shape[3])]
    return channels[0][..., np.newaxis] if len(channels) == 1 else np.asfortranarray(np.stack(channels, axis=3))


def _by_kernel(labels: NDArray[Any], factors: Triple) -> NDArray[Any]:
    """Return the modes of windows of four or eight; labels: [x, y, z], whole windows."""
    x, y, z = (n // f for n, f in zip(labels.shape, factors, strict=True))
    pooled = np.empty((x, y, z), labels.dtype, order="F")
    numbers, window = np.array([x, y, z, *factors], np.int64), np.empty(8, labels.dtype)
    rows = np.asfortranarray(labels).T.reshape(-1)
    loaded(mode_kernel(labels.dtype))(numbers, rows, pooled.T.reshape(-1), window, np.empty(x, np.uint8))
    return pooled


def _by_library(labels: NDArray[Any], factors: Triple) -> NDArray[Any]:
    """Return the modes of windows of four or eight; labels: [x, y, z], whole windows."""
    return _pooled_eights(labels) if factors == (2, 2, 2) else _pooled_fours(labels, factors)


def _pooled_eights(labels: NDArray[Any]) -> NDArray[Any]:
    """Return the modes of windows of eight; labels: [x, y, z], whole windows."""
    x, y, z = (n // 2 for n in labels.shape)
    pooled = np.empty((x, y, z), labels.dtype, order="F")
    step = max(1, _SLAB_BYTES // labels[:, :, :2].nbytes)
    for begin in range(0, z, step):
        pooled[:, :, begin : begin + step] = _eights(labels[:, :, 2 * begin : 2 * (begin + step)])
    return pooled


def _pooled_fours(labels: NDArray[Any], factors: Triple) -> NDArray[Any]:
    """Return the modes of windows of four; labels: [x, y, z], whole windows."""
    order = {(2, 2, 1): (0, 1, 2), (2, 1, 2): (0, 2, 1), (1, 2, 2): (1, 2, 0)}[factors]
    moved = labels.transpose(order)
    pooled = np.empty((moved.shape[0] // 2, moved.shape[1] // 2, moved.shape[2]), labels.dtype, order="F")
    step = max(1, _SLAB_BYTES // moved[:, :, 0].nbytes)
    for begin in range(0, moved.shape[2], step):
        planes = moved[:, :, begin : begin + step]
        # tinybrain's kernel for windows of four breaks ties by another rule: each plane is shown twice to the one for eight.
        doubled = np.empty((*planes.shape[:2], 2 * planes.shape[2]), labels.dtype, order="F")
        doubled[:, :, 0::2] = planes
        doubled[:, :, 1::2] = planes
        pooled[:, :, begin : begin + step] = _eights(doubled)
    x, y, z = np.argsort(order)
    return np.asfortranarray(pooled.transpose((x, y, z)))


def _eights(labels: NDArray[Any]) -> NDArray[Any]:
    """Return the modes of windows of eight; labels: [x, y, z], whole windows."""
    from tinybrain.accelerated import mode_pooling_2x2x2

    # tinybrain 1.7 is wrong on C order and refuses what may not be written, as a memory map.
    modes: NDArray[Any] = mode_pooling_2x2x2(np.require(labels, requirements=("F", "W")))[0]
    return modes
