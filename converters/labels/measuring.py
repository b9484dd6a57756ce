"""Where components lie: their boxes and centres, of blocks and of the volume."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray

from formats.grid import Box


@dataclass(frozen=True)
class Extents:
    """Where components lie, one a row, in voxels counted from the volume's first, x, y, z; int64 [n, 3].

    begins, ends: of their boxes, half open. sums: of their voxels' coordinates.
    """

    begins: NDArray[np.int64]
    ends: NDArray[np.int64]
    sums: NDArray[np.int64]


def block_extents(labels: NDArray[np.uint32], names: NDArray[Any], box: Box) -> tuple[NDArray[Any], Extents]:
    """Return the ids of the components in a block, ascending, and where their voxels in it lie.

    labels: [x, y, z], numbered from 1. names: the id of each of these numbers, 0 for those that are left out; that of 0 first.
    """
    if not names.any():
        return names[:0], _nowhere(0)
    found = cc3d.statistics(labels, no_slice_conversion=True)
    counts = found["voxel_counts"].astype(np.int64)
    there = np.flatnonzero((counts > 0) & (names[: len(counts)] > 0))
    ids, places = np.unique(names[there], return_inverse=True)
    boxes = found["bounding_boxes"][there].astype(np.int64) + np.repeat(box.start, 2)
    sums = np.rint(found["centroids"][there] * counts[there, np.newaxis]).astype(np.int64)
    together = _nowhere(len(ids))
    np.minimum.at(together.begins, places, boxes[:, 0::2])
    np.maximum.at(together.ends, places, boxes[:, 1::2] + 1)
    np.add.at(together.sums, places, sums + counts[there, np.newaxis] * np.array(box.start))
    return ids, together


def united_extents(count: int, blocks: Iterable[tuple[NDArray[Any], Extents]]) -> Extents:
    """Return where the components 1 to count lie. blocks: what block_extents gave for each."""
    whole = _nowhere(count)
    for ids, part in blocks:
        rows = ids.astype(np.int64) - 1
        whole.begins[rows] = np.minimum(whole.begins[rows], part.begins)
        whole.ends[rows] = np.maximum(whole.ends[rows], part.ends)
        whole.sums[rows] += part.sums
    return whole


def _nowhere(count: int) -> Extents:
    shape = (count, 3)
    return Extents(np.full(shape, np.iinfo(np.int64).max), np.full(shape, -1), np.zeros(shape, np.int64))
