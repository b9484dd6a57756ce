"""Connected components of a whole array in the plainest way, and their names as the volume has them."""

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

AXES = {6: 1, 18: 2, 26: 3}


def components(values: NDArray[Any], threshold: float, connectivity: int, delta: float | None = None) -> NDArray[np.int64]:
    """Return a number for each voxel above the threshold, the same where neighbours connect them; 0 for the others."""
    mask = values > threshold
    numbers = np.arange(values.size).reshape(values.shape)
    edges = [np.zeros((2, 0), np.int64)]
    for step in product((-1, 0, 1), repeat=3):
        if not 0 < sum(map(abs, step)) <= AXES[connectivity]:
            continue
        here = tuple(slice(max(0, -s), n - max(0, s)) for n, s in zip(values.shape, step, strict=True))
        there = tuple(slice(max(0, s), n - max(0, -s)) for n, s in zip(values.shape, step, strict=True))
        touch = mask[here] & mask[there]
        if delta is not None:
            touch &= np.abs(values[here].astype(np.float64) - values[there].astype(np.float64)) <= delta
        edges.append(np.stack([numbers[here][touch], numbers[there][touch]]))
    ends = np.concatenate(edges, axis=1)
    graph = coo_array((np.ones(ends.shape[1], np.int8), (ends[0], ends[1])), shape=(values.size, values.size))
    found = connected_components(graph, directed=False)[1].reshape(values.shape) + 1
    return np.where(mask, found, 0)


def named(labels: NDArray[Any], min_size: int = 1, max_size: int | None = None) -> NDArray[np.int64]:
    """Return labels of components of these sizes renamed 1, 2, 3 ... in the order of their first voxels, x fastest."""
    ids, firsts, sizes = np.unique(labels.ravel(order="F"), return_index=True, return_counts=True)
    kept = (ids > 0) & (sizes >= min_size) & (sizes <= (max_size or labels.size))
    names = np.zeros(int(labels.max(initial=0)) + 1, np.int64)
    names[ids[kept][np.argsort(firsts[kept])]] = np.arange(1, kept.sum() + 1)
    return names[labels]
