"""Labels as compressed_segmentation's words, by kernels."""

import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.native import Native, loaded
from formats.grid import Triple


@cache
def blocks_kernel(dtype: np.dtype[Any]) -> Native:
    """Return the kernel for labels of a data type, uint32 or uint64."""
    return Native("converters.volumes.label_kernels", "encode_blocks", ("int64", dtype.name, "uint32", dtype.name, "bytes"))


def encoded(labels: NDArray[Any], block: Triple) -> NDArray[np.uint32] | None:
    """Return the words of a channel, None when a table would begin where none can.

    labels: uint32 or uint64 [x, y, z], Fortran order. block: voxels x, y, z of a block, at most 65,536.
    """
    blocks = tuple(-(-n // b) for n, b in zip(labels.shape, block, strict=True))
    voxels, number = math.prod(block), math.prod(blocks)
    words = np.empty(number * (2 + (voxels + 1) // 2 + voxels * (labels.itemsize // 4)), np.uint32)
    places, tables = _room(voxels), 2 * _room(number)
    numbers = np.empty(12 + 2 * voxels + places + tables, np.int64)
    numbers[:12] = *labels.shape, *block, *blocks, places, tables, words.size
    # No block has a number yet, and no table a length.
    numbers[12 + 2 * voxels : -tables], numbers[-tables:] = -1, 0
    room, indices = np.empty(2 * voxels, labels.dtype), np.empty(2 * voxels, np.uint8)
    used = loaded(blocks_kernel(labels.dtype))(numbers, labels.T.reshape(-1), words, room, indices)
    return words[:used] if used else None


def _room(entries: int) -> int:
    """Return the size of a hash table, a power of two, that is at most half full."""
    return 2 << (entries - 1).bit_length()
