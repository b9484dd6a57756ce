"""Labels to mesh, and how far two surfaces lie apart."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from formats.grid import Box
from formats.info import Scale


@dataclass(frozen=True)
class Labels:
    """What blocks read of a dataset: labels in memory, [x, y, z]."""

    voxels: NDArray[Any]

    def read(self, scale: Scale, box: Box) -> NDArray[Any]:
        return np.asfortranarray(self.voxels[box.slices(scale.voxel_offset)])[..., np.newaxis]


def scale_of(voxels: NDArray[Any], resolution=(16.0, 16.0, 40.0), offset=(0, 0, 0)) -> Scale:
    return Scale("s", voxels.shape, resolution, ((64, 64, 64),), "raw", offset)


def blobs(shape: tuple[int, int, int], seed: int, width: float = 3) -> NDArray[np.uint32]:
    """Smooth objects of some ids, which touch each other and the faces, and background."""
    random = np.random.default_rng(seed)
    fields = [gaussian_filter(random.standard_normal(shape), width) for _ in range(5)]
    return np.array([0, 7, 8, 2**31, 2**32 - 1], np.uint32)[np.argmax(fields, axis=0)]


def sampled(vertices: NDArray[Any], triangles: NDArray[Any], count: int, seed: int = 0) -> NDArray[np.float64]:
    """Points all over a surface, as many on each part as its area."""
    random = np.random.default_rng(seed)
    corners = vertices.astype(np.float64)[triangles]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    chosen = corners[random.choice(len(triangles), count, p=areas / areas.sum())]
    weights = random.dirichlet((1, 1, 1), count)
    return np.einsum("ij,ijk->ik", weights, chosen)


def distances(points: NDArray[np.float64], vertices: NDArray[Any], triangles: NDArray[Any], fine: float) -> NDArray[np.float64]:
    """How far points lie from a surface, at most fine too far: its nearest point among many."""
    corners = vertices.astype(np.float64)[triangles]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum() / 2
    many = sampled(vertices, triangles, min(200_000, int(10 * areas / fine**2)), 1)
    found, _ = cKDTree(np.concatenate([many, vertices.astype(np.float64)])).query(points)
    return found


def nearest(points: NDArray[np.float64], vertices: NDArray[Any], triangles: NDArray[Any]) -> NDArray[np.float64]:
    """How far points lie from a surface: from the nearest of the triangles whose middles are near, so never less than it is."""
    corners = vertices.astype(np.float64)[triangles]
    lengths = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2)
    small = _divided(corners, max(2 * float(np.median(lengths)), float(lengths.max()) / 64))
    _, near = cKDTree(small.mean(axis=1)).query(points, k=min(24, len(small)))
    found = np.full(len(points), np.inf)
    for column in near.reshape(len(points), -1).T:
        closest = trimesh.triangles.closest_point(small[column], points)
        found = np.minimum(found, np.linalg.norm(closest - points, axis=1))
    return found


def _divided(corners: NDArray[np.float64], longest: float) -> NDArray[np.float64]:
    """The same triangles, [m, 3, 3], each halved across its longest edge until none has a long one."""
    done = []
    while len(corners):
        lengths = np.linalg.norm(corners - np.roll(corners, -1, axis=1), axis=2)
        long = lengths.max(axis=1) > longest
        done.append(corners[~long])
        first = lengths[long].argmax(axis=1)
        a, b, c = (corners[long][np.arange(len(first)), (first + k) % 3] for k in range(3))
        middle = (a + b) / 2
        corners = np.concatenate([np.stack([a, middle, c], axis=1), np.stack([middle, b, c], axis=1)])
    return np.concatenate(done)
