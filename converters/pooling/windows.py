"""Voxels made to begin and end on window borders."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from formats.grid import Triple


def completed(voxels: NDArray[Any], start: Triple, factors: Triple) -> NDArray[Any]:
    """Return the voxels, with windows that are cut at an end filled up by repeating the voxels they hold.

    voxels: [x, y, z, channel]; start: the global coordinate of the first. Factors are 1 or 2 along each axis: a cut window of
    two holds one voxel, so repeating it changes neither its mean nor which label is most frequent.
    Raises ValueError for other factors.
    """
    if any(f not in (1, 2) for f in factors):
        raise ValueError(f"pooling factors {factors}: each axis takes 1 or 2")
    before = [s % f for s, f in zip(start, factors, strict=True)]
    after = [(s + n) % f for s, n, f in zip(start, voxels.shape[:3], factors, strict=True)]
    if not any(before) and not any(after):
        return voxels
    padding = [*zip(before, after, strict=True), (0, 0)]
    return np.asfortranarray(np.pad(voxels, padding, mode="edge"))
