"""A surface of triangles, and what can be told of any."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_Number = TypeVar("_Number", np.float32, np.int64)


@dataclass(frozen=True)
class Mesh:
    """Triangles in space.

    vertices: float32 [n, 3], x, y, z in nm, in the space of the dataset. triangles: uint32 [m, 3], positions in the vertices,
    counter-clockwise as seen from outside.
    """

    vertices: NDArray[np.float32]
    triangles: NDArray[np.uint32]

    @property
    def box(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The lowest and the highest x, y, z of the vertices, nm. Raises ValueError when there are none."""
        return self.vertices.min(axis=0), self.vertices.max(axis=0)

    @property
    def volume(self) -> float:
        """The volume inside a closed surface, nm^3; negative where the triangles are wound the other way."""
        if not len(self.triangles):
            return 0.0
        # From a vertex of its own, so that a small object far from 0 loses no digits.
        a, b, c = (self.vertices[self.triangles] - self.vertices[self.triangles[0, 0]]).astype(np.float64).transpose(1, 0, 2)
        return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def welded(mesh: Mesh) -> Mesh:
    """Return the mesh with equal vertices joined, vertices that no triangle uses and triangles that lost an edge left out."""
    vertices, numbers = distinct_rows(mesh.vertices)
    return compacted(Mesh(vertices, _proper(numbers[mesh.triangles])))


def distinct_rows(rows: NDArray[_Number]) -> tuple[NDArray[_Number], NDArray[np.uint32]]:
    """Return the different rows of some numbers, sorted, and for each row given its position in those.

    rows: [n, 3]. The two zeros of floating point are one.
    """
    order = np.lexsort(rows.T)
    ordered = rows[order]
    first = np.ones(len(order), bool)
    first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    numbers = np.empty(len(order), np.uint32)
    numbers[order] = np.cumsum(first) - 1
    return ordered[first], numbers


def compacted(mesh: Mesh) -> Mesh:
    """Return the mesh without the vertices that no triangle uses, the others in their order."""
    used = np.zeros(len(mesh.vertices), bool)
    used[mesh.triangles] = True
    numbers = (np.cumsum(used) - 1).astype(np.uint32)
    return Mesh(mesh.vertices[used], numbers[mesh.triangles])


def joined(meshes: list[Mesh]) -> Mesh:
    """Return all triangles of some meshes as one mesh; vertices that are equal stay apart."""
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    vertices = [np.zeros((0, 3), np.float32), *(mesh.vertices for mesh in meshes)]
    triangles = [mesh.triangles + np.uint32(start) for mesh, start in zip(meshes, starts[:-1], strict=True)]
    return Mesh(np.concatenate(vertices), np.concatenate([np.zeros((0, 3), np.uint32), *triangles]))


def boundary_edges(mesh: Mesh) -> int:
    """Return how many edges of triangles have no triangle on their other side; 0 for a closed surface.

    Vertices count as one where their positions in the list are the same. An edge that several sheets share is closed when as
    many triangles run along it one way as the other.
    """
    begins = mesh.triangles.astype(np.int64)
    ends = np.roll(begins, -1, axis=1)
    low, high = np.minimum(begins, ends), np.maximum(begins, ends)
    _, edges = np.unique(low * len(mesh.vertices) + high, return_inverse=True)
    forward = np.where(begins < ends, 1, -1).ravel()
    open_ways = np.bincount(edges.ravel(), weights=forward)
    return int(np.abs(open_ways).sum())


def _proper(triangles: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return the triangles that have three different vertices."""
    a, b, c = triangles.T
    proper: NDArray[np.bool_] = (a != b) & (b != c) & (c != a)
    return triangles[proper]
