"""Coarser levels of detail of a surface that came as it is, with triangles of any size."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from converters.meshes.clustering import Octree, clustered, make_octree
from converters.meshes.surfaces import STEPS, Surfaces, stacked
from formats.meshes.mesh import Mesh

_FIRST = -1
"""Which power of _COARSER the first detail that is tried is, in edges: smooth surfaces have edges longer than their details."""
_COARSER = 3.0
"""How much larger a detail is than the one that was tried before."""
_TRIALS = 10
_TOLERATED = 0.24
"""The part of a detail by which, as a root mean square, a vertex may miss the planes of those that it stands for."""
_AGREEMENT = 0.3
"""Of normals: seen from afar thin parts may lose their corners."""
_CELLS = 3
"""Levels of cells when a detail is as long as an edge: some are larger, for parts that are flat."""
_FEW = 500
"""Triangles that are drawn as fast as fewer are."""
_FEWER = 0.5
"""The triangles of a level, at most, over those of the one before it: else it is not worth its bytes."""
_MOST_EDGES = 1 << 20
"""Lengths of an edge that the surface measures at most, so that places are whole numbers of 32 bits."""


@dataclass(frozen=True)
class Levels:
    """A surface at levels of detail, the finest first. scales: nm that a detail of each measures, ascending.

    The viewer draws the coarsest level whose details are smaller than a pixel, unless it is told of more pixels.
    """

    meshes: tuple[Mesh, ...]
    scales: tuple[float, ...]


def levels_of(mesh: Mesh, most: int) -> Levels:
    """Return a mesh with coarser levels of detail, as many as are of use and not more than most in all.

    The finest level is the mesh as it is. The vertices of the others are joined on a grid of whole numbers, so that what is
    closed stays closed, and few of them are moved by more than a detail.
    """
    low, edge = mesh.vertices.min(axis=0).astype(np.float64), _edge(mesh)
    meshes, scales = [mesh], [edge * _COARSER ** (_FIRST - 1)]
    surface = _on_grid(mesh, low, edge)
    for power in range(_FIRST, _FIRST + _TRIALS):
        if len(meshes) == most or len(meshes[-1].triangles) <= _FEW:
            break
        detail = _COARSER**power
        octree = make_octree((1.0, 1.0, 1.0), _TOLERATED * detail, _CELLS + 2 * max(0, power), _AGREEMENT)
        coarser = _simplified(surface, octree)
        if 0 < len(coarser.triangles) <= _FEWER * len(meshes[-1].triangles):
            surface = coarser
            vertices = coarser.vertices * (edge / STEPS) + low
            meshes.append(Mesh(vertices.astype(np.float32), coarser.triangles.astype(np.uint32)))
            scales.append(edge * detail)
    return Levels(tuple(meshes), tuple(scales))


def _edge(mesh: Mesh) -> float:
    """Return the length of an ordinary edge, nm."""
    corners = mesh.vertices[mesh.triangles].astype(np.float64)
    lengths = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2)
    extent = float((mesh.box[1] - mesh.box[0]).max())
    return max(float(np.median(lengths)), extent / _MOST_EDGES) or 1.0


def _simplified(surface: Surfaces, octree: Octree) -> Surfaces:
    """Return a surface simplified; the borders of an open one stay where they are.

    Planes tell where vertices go, and a border lies in no plane but that of its surface: walls are put up on it, to be looked at.
    """
    (_, vertices, triangles), *_ = surface.parts()
    walls, corners = _walls(vertices, triangles)
    both = stacked([(1, np.concatenate([vertices, walls]), np.concatenate([triangles, corners]))])
    wanted = np.arange(len(both.triangles)) < len(triangles)
    return clustered(both, octree, wanted)


def _walls(vertices: NDArray[np.int32], triangles: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return squares that stand upright on the open edges: their other vertices, and their triangles.

    The vertices come behind those that are there, two an edge.
    """
    edges = np.stack([triangles, np.roll(triangles, -1, axis=1)], axis=2).reshape(-1, 2).astype(np.int64)
    forth, back = edges @ np.array([len(vertices), 1]), edges @ np.array([1, len(vertices)])
    is_open = ~np.isin(forth, back)
    begins, ends = edges[is_open].T
    corners = vertices.astype(np.float64)[triangles[np.flatnonzero(is_open) // 3]]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(vertices[ends] - vertices[begins].astype(np.float64), axis=1)
    up = np.rint(normals * (lengths / np.maximum(np.linalg.norm(normals, axis=1), 1))[:, None]).astype(np.int32)
    above_begins = len(vertices) + 2 * np.arange(len(begins))
    squares = np.stack([ends, begins, above_begins, ends, above_begins, above_begins + 1], axis=1).reshape(-1, 3)
    above = np.stack([vertices[begins] + up, vertices[ends] + up], axis=1).reshape(-1, 3)
    return above.astype(np.int32), squares.astype(np.int32)


def _on_grid(mesh: Mesh, low: NDArray[np.float64], edge: float) -> Surfaces:
    steps = np.rint((mesh.vertices - low) * (STEPS / edge)).astype(np.int32)
    return stacked([(1, steps, mesh.triangles.astype(np.int32))])
