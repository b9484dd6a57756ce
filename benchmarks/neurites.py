"""Made labels of neurites: tubes that wind through the volume beside each other and branch, the same voxels on every run."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Triple = tuple[int, int, int]

_SPACING = 16.0
"""Voxels between neurites, about."""
_STEP, _BEND, _BRANCHES = 2.0, 0.12, 0.01
"""Voxels of a step, how much the direction changes in one, and how often a branch begins."""
_RADII = (4.0, 9.0)
"""Voxels from its middle that a neurite has at most, as far as it does not meet another one."""
_SLAB = 16


def neurites(shape: Triple, seed: int = 3) -> NDArray[np.uint32]:
    """Return labels [x, y, z] of shape voxels, in Fortran order; 0 is what lies between them."""
    from scipy.spatial import cKDTree

    random = np.random.default_rng(seed)
    count = max(2, round(np.prod(shape) ** (2 / 3) / _SPACING**2))
    paths = [np.concatenate(list(_grown(random, shape))) for _ in range(count)]
    owners = np.repeat(np.arange(1, count + 1, dtype=np.uint32), [len(path) for path in paths])
    radii = random.uniform(*_RADII, count + 1)
    tree = cKDTree(np.concatenate(paths))
    labels = np.zeros(shape, np.uint32, order="F")
    for begin in range(0, shape[2], _SLAB):
        planes = labels[:, :, begin : begin + _SLAB]
        places = np.moveaxis(np.indices(planes.shape), 0, -1) + np.array((0, 0, begin))
        distances, nearest = tree.query(places.reshape(-1, 3), distance_upper_bound=_RADII[1], workers=-1)
        found = np.append(owners, np.uint32(0))[nearest]
        planes[...] = np.where(distances <= radii[found], found, np.uint32(0)).reshape(planes.shape)
    return labels


def save_neurites(path: Path, shape: Triple) -> None:
    """Write neurites as .npy under another name, then rename it."""
    begun = path.with_name(f"begun-{path.name}")
    np.save(begun, neurites(shape))
    begun.rename(path)


def _grown(random: np.random.Generator, shape: Triple) -> Iterator[NDArray[np.float64]]:
    """Yield the middle of a neurite and of its branches, points [n, 3] two voxels apart, each until it leaves the volume."""
    middle, ahead = random.uniform(0, shape), _direction(random)
    begins = [(middle, ahead), (middle, -ahead)]
    while begins:
        place, direction = begins.pop()
        points = []
        while ((place >= 0) & (place < shape)).all():
            points.append(place)
            direction = direction + _BEND * random.standard_normal(3)
            direction /= np.linalg.norm(direction)
            place = place + _STEP * direction
            if random.random() < _BRANCHES:
                begins.append((place, _direction(random)))
        yield np.array(points).reshape(-1, 3)


def _direction(random: np.random.Generator) -> NDArray[np.float64]:
    direction = random.standard_normal(3)
    return direction / np.linalg.norm(direction)
