"""How far two tracings of the same labels agree, piece by piece: what is connected in the labels (26) is one piece.

Both are given in voxels of the scale that both were traced on, so that each vertex is the voxel that it was found in.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from formats.grid import Grid

NEAR_VOXELS = 2.0
_FACE_VOXELS = 1


@dataclass(frozen=True)
class Traced:
    """One skeleton. places: int64 [n, 3], voxels. edges: int64 [m, 2]."""

    places: NDArray[np.int64]
    edges: NDArray[np.int64]

    @property
    def ends(self) -> NDArray[np.int64]:
        """The voxels of the end points, [k, 3]."""
        ends: NDArray[np.int64] = self.places[np.bincount(self.edges.ravel(), minlength=len(self.places)) == 1]
        return ends

    @property
    def trees(self) -> int:
        """How many connected parts there are."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        size = len(self.places)
        graph = coo_array((np.ones(len(self.edges), np.int8), (self.edges[:, 0], self.edges[:, 1])), shape=(size, size))
        return int(connected_components(graph, directed=False, return_labels=False))

    def cable(self, resolution: tuple[float, ...]) -> float:
        """Return the length of all edges in nm."""
        points = self.places * np.array(resolution)
        return float(np.linalg.norm(points[self.edges[:, 0]] - points[self.edges[:, 1]], axis=1).sum())


Tracing = Mapping[int, Traced]
"""Skeletons by the segment, or piece, that they are of."""


@dataclass(frozen=True)
class Labels:
    """Labels [x, y, z] of a scale, and what is connected in them: pieces, numbered from 1. resolution: nm a voxel."""

    voxels: NDArray[Any]
    pieces: NDArray[Any]
    resolution: tuple[float, ...]

    @classmethod
    def of(cls, voxels: NDArray[Any], resolution: tuple[float, ...]) -> "Labels":
        """Return labels with their pieces."""
        import cc3d

        return cls(voxels, cc3d.connected_components(np.asfortranarray(voxels), connectivity=26), resolution)


@dataclass(frozen=True)
class Agreement:
    """How ours agrees with theirs, over the pieces that both traced.

    inside: the part of our vertices that lie in their label. cable: nm, ours and theirs. only_ours, only_theirs: pieces.
    split: pieces that the one has in another number of trees than the other. at_faces: end points no more than a voxel from a
    plane between our blocks, ours and theirs. near: the part of our vertices that are near to theirs, and of theirs to ours.
    """

    inside: float
    cable: tuple[float, float]
    pieces: int
    only_ours: int
    only_theirs: int
    split: int
    at_faces: tuple[int, int]
    ends: tuple[int, int]
    near: tuple[float, float]


def agreement(ours: Tracing, theirs: Tracing, labels: Labels, blocks: Grid) -> Agreement:
    """Compare two tracings of the same labels, by segment. blocks: in which ours were traced."""
    inside = np.concatenate([np.zeros(0, bool), *(labels.voxels[tuple(one.places.T)] == name for name, one in ours.items())])
    mine, other = (dict(_by_piece(tracing, labels)) for tracing in (ours, theirs))
    both = sorted(mine.keys() & other.keys())
    pairs = [(mine[piece], other[piece]) for piece in both]
    first, second = ([pair[n] for pair in pairs] for n in (0, 1))
    return Agreement(
        float(inside.mean()) if len(inside) else 1.0,
        (sum(one.cable(labels.resolution) for one in first), sum(one.cable(labels.resolution) for one in second)),
        len(both),
        len(mine) - len(both),
        len(other) - len(both),
        sum(a.trees != b.trees for a, b in pairs),
        (_at_faces(first, blocks), _at_faces(second, blocks)),
        (sum(len(one.ends) for one in first), sum(len(one.ends) for one in second)),
        (_near(pairs), _near([(b, a) for a, b in pairs])),
    )


def _by_piece(tracing: Tracing, labels: Labels) -> Iterator[tuple[int, Traced]]:
    for one in tracing.values():
        pieces = labels.pieces[tuple(one.places.T)]
        for piece in np.unique(pieces).tolist():
            inside = pieces == piece
            numbers = np.cumsum(inside) - 1
            yield piece, Traced(one.places[inside], numbers[one.edges[inside[one.edges].all(axis=1)]])


def _at_faces(skeletons: list[Traced], blocks: Grid) -> int:
    ends = np.concatenate([np.zeros((0, 3), np.int64), *(one.ends for one in skeletons)])
    at = np.zeros(len(ends), bool)
    for axis in range(3):
        for number in range(1, blocks.shape[axis]):
            at |= np.abs(ends[:, axis] - blocks.voxel_offset[axis] - number * blocks.chunk_size[axis]) <= _FACE_VOXELS
    return int(at.sum())


def _near(pairs: list[tuple[Traced, Traced]]) -> float:
    """Return the part of the vertices of the first of each pair that have one of the second near by."""
    from scipy.spatial import cKDTree

    distances = [cKDTree(b.places).query(a.places)[0] for a, b in pairs]
    return float((np.concatenate(distances) <= NEAR_VOXELS).mean()) if distances else 1.0
