"""A kernel: how large the surfaces of labels are, before they are made."""

import numpy as np
from numpy.typing import NDArray

from converters.compiled import compiled


@compiled
def surface_sizes(labels: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """Return how many vertices marching cubes gives each label, int64 [count]; those of no triangle in outermost voxels too.

    labels: [z, y, x], from 0 to below count.
    """
    sizes = np.zeros(count, np.int64)
    nz, ny, nx = labels.shape
    for z in range(nz):
        for y in range(ny):
            row = labels[z, y]
            behind, above = labels[z, min(y + 1, ny - 1)], labels[min(z + 1, nz - 1), y]
            for x in range(nx):
                label = row[x]
                right = row[min(x + 1, nx - 1)]
                if right != label:
                    sizes[label] += 1
                    sizes[right] += 1
                if behind[x] != label:
                    sizes[label] += 1
                    sizes[behind[x]] += 1
                if above[x] != label:
                    sizes[label] += 1
                    sizes[above[x]] += 1
    sizes[0] = 0
    return sizes
