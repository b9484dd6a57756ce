"""Closed surfaces to cut: of labels through zmesh, and by hand."""

import numpy as np
import zmesh
from numpy.typing import NDArray

from formats.meshes.mesh import Mesh

FLOAT_RESOLUTION = (11.24, 11.24, 28.0)


def marching_cubes(solid: NDArray[np.bool_], resolution: tuple[float, float, float], offset: tuple[float, float, float]) -> Mesh:
    """Return the closed surface of a solid's voxels; offset: of its first voxel, nm."""
    mesher = zmesh.Mesher(resolution)
    mesher.mesh(np.asfortranarray(np.pad(solid, 1).astype(np.uint32)))
    found = mesher.get(1, normals=False)
    vertices = found.vertices - np.array(resolution) / 2 + np.array(offset)
    return outward(Mesh(vertices.astype(np.float32), found.faces.astype(np.uint32)))


def outward(mesh: Mesh) -> Mesh:
    """Return the mesh with a positive volume."""
    return mesh if mesh.volume >= 0 else Mesh(mesh.vertices, np.ascontiguousarray(mesh.triangles[:, ::-1]))


def ball(radius: float) -> NDArray[np.bool_]:
    """Return a ball of voxels."""
    size = int(2 * radius) + 3
    return ((np.indices((size, size, size)) - (size - 1) / 2) ** 2).sum(axis=0) <= radius**2


def ring(radius: float, thickness: float) -> NDArray[np.bool_]:
    """Return a torus of voxels around z."""
    size = int(2 * (radius + thickness)) + 3
    x, y, z = (
        np.indices((size, size, int(2 * thickness) + 3)) - np.array([size, size, int(2 * thickness) + 3])[:, None, None, None] / 2
    )
    return (np.hypot(x, y) - radius) ** 2 + z**2 <= thickness**2


def blobs(seed: int, shape: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Return a random solid with holes, pieces and corners that only touch."""
    generator = np.random.default_rng(seed)
    coarse = np.kron(generator.random(tuple(n // 2 + 1 for n in shape)) < 0.5, np.ones((2, 2, 2), bool))
    return coarse[tuple(slice(n) for n in shape)] | (generator.random(shape) < 0.05)


def box(low: tuple[float, float, float], high: tuple[float, float, float]) -> Mesh:
    """Return a box of twelve triangles."""
    corners = np.array([[(low, high)[n >> axis & 1][axis] for axis in range(3)] for n in range(8)], np.float32)
    faces = [[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [2, 6, 7, 3], [0, 4, 6, 2], [1, 3, 7, 5]]
    triangles = [[f[0], f[i], f[i + 1]] for f in faces for i in (1, 2)]
    return Mesh(corners, np.array(triangles, np.uint32))


def octahedron(middle: tuple[float, float, float], radii: tuple[float, float, float]) -> Mesh:
    """Return what marching cubes make of one voxel."""
    points = np.array([[s * (axis == k) for axis in range(3)] for k in range(3) for s in (1, -1)], np.float64)
    triangles = [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]]
    return Mesh((points * radii + middle).astype(np.float32), np.array(triangles, np.uint32))
