"""Closed surfaces of many segments at once, their vertices on a grid of whole numbers so that equal means equal.

A step is 1/128 of a voxel: marching cubes of labels puts vertices half a voxel apart, simplification moves them in between.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

STEPS = 128
"""Steps a voxel."""


@dataclass(frozen=True)
class Surfaces:
    """The surfaces of some segments, one behind the other.

    segments: uint64 [k], ascending. vertex_ends, triangle_ends: int64 [k], where the part of each ends in the next two.
    vertices: int32 [n, 3], x, y, z, steps from the centre of the scale's first voxel. triangles: int32 [m, 3], positions in
    vertices, counter-clockwise as seen from outside.
    """

    segments: NDArray[np.uint64]
    vertex_ends: NDArray[np.int64]
    triangle_ends: NDArray[np.int64]
    vertices: NDArray[np.int32]
    triangles: NDArray[np.int32]

    @property
    def vertex_counts(self) -> NDArray[np.int64]:
        """Vertices of each segment, int64 [k]."""
        return np.diff(self.vertex_ends, prepend=0)

    @property
    def triangle_counts(self) -> NDArray[np.int64]:
        """Triangles of each segment, int64 [k]."""
        return np.diff(self.triangle_ends, prepend=0)

    def parts(self) -> Iterator[tuple[int, NDArray[np.int32], NDArray[np.int32]]]:
        """Yield each segment with its vertices and its triangles, these as positions in the former."""
        first, begin = 0, 0
        for segment, last, end in zip(
            self.segments.tolist(), self.vertex_ends.tolist(), self.triangle_ends.tolist(), strict=True
        ):
            yield segment, self.vertices[first:last], self.triangles[begin:end] - np.int32(first)
            first, begin = last, end

    def volumes(self) -> NDArray[np.float64]:
        """Return the volume inside each segment's surface, cubic steps, float64 [k]."""
        from converters.meshes.measuring import volume_inside

        return np.array([volume_inside(vertices, triangles) for _, vertices, triangles in self.parts()], np.float64)


def stacked(parts: list[tuple[int, NDArray[np.int32], NDArray[np.int32]]]) -> Surfaces:
    """Return the surfaces of segments that come as Surfaces.parts() gives them, in ascending order."""
    vertex_ends = np.cumsum([len(vertices) for _, vertices, _ in parts], dtype=np.int64)
    triangle_ends = np.cumsum([len(triangles) for _, _, triangles in parts], dtype=np.int64)
    vertices = np.empty((int(vertex_ends[-1]) if parts else 0, 3), np.int32)
    triangles = np.empty((int(triangle_ends[-1]) if parts else 0, 3), np.int32)
    first = begin = 0
    for (_, some, corners), last, end in zip(parts, vertex_ends.tolist(), triangle_ends.tolist(), strict=True):
        vertices[first:last] = some
        np.add(corners, np.int32(first), out=triangles[begin:end])
        first, begin = last, end
    return Surfaces(np.array([segment for segment, _, _ in parts], np.uint64), vertex_ends, triangle_ends, vertices, triangles)


def chosen(surfaces: Surfaces, triangles: NDArray[np.bool_]) -> Surfaces:
    """Return the surfaces of these triangles only, vertices without any left out; a segment may be left without triangles.

    triangles: [m], which to keep.
    """
    corners = surfaces.triangles[triangles]
    used = np.zeros(len(surfaces.vertices), bool)
    used[corners] = True
    numbers = np.cumsum(used, dtype=np.int32)
    ends = _counted(triangles)[surfaces.triangle_ends]
    vertex_ends = _counted(used)[surfaces.vertex_ends]
    return Surfaces(surfaces.segments, vertex_ends, ends, surfaces.vertices[used], (numbers - 1)[corners])


def only(surfaces: Surfaces, segments: NDArray[np.bool_]) -> Surfaces:
    """Return the surfaces of some of the segments. segments: [k], which to keep."""
    if segments.all():
        return surfaces
    kept = chosen(surfaces, np.repeat(segments, surfaces.triangle_counts))
    return Surfaces(
        kept.segments[segments], kept.vertex_ends[segments], kept.triangle_ends[segments], kept.vertices, kept.triangles
    )


def joined(parts: list[Surfaces]) -> Surfaces:
    """Return the surfaces that come in parts, the vertices of each segment that lie in the same place joined."""
    return fitted(parts)[0]


def fitted(parts: list[Surfaces]) -> tuple[Surfaces, NDArray[np.bool_]]:
    """Return the surfaces that come in parts, joined, and which vertices stand for several, bool [n]."""
    segments = np.unique(np.concatenate([np.zeros(0, np.uint64), *(part.segments for part in parts)]))
    if len(parts) == 1:
        return parts[0], np.zeros(len(parts[0].vertices), np.bool_)
    numbers = [np.searchsorted(segments, part.segments) for part in parts]
    owners = _concatenated([np.repeat(n, part.vertex_counts) for n, part in zip(numbers, parts, strict=True)])
    vertices = _concatenated([part.vertices for part in parts], (0, 3), np.int32)
    order, first = _alike(owners, vertices)
    places = np.empty(len(order), np.int32)
    places[order] = np.cumsum(first, dtype=np.int32) - 1
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    triangles = [places[part.triangles + np.int32(start)] for part, start in zip(parts, starts[:-1], strict=True)]
    of = _concatenated([np.repeat(n, part.triangle_counts) for n, part in zip(numbers, parts, strict=True)])
    several = np.diff(np.flatnonzero(first), append=len(first)) > 1
    whole = Surfaces(
        segments,
        np.cumsum(np.bincount(owners[order[first]], minlength=len(segments))),
        np.cumsum(np.bincount(of, minlength=len(segments))),
        vertices[order[first]],
        _concatenated(triangles, (0, 3), np.int32)[np.argsort(of, kind="stable")],
    )
    return whole, several


def _concatenated(arrays: list[NDArray[Any]], shape: tuple[int, ...] = (0,), dtype: type[Any] = np.int64) -> NDArray[Any]:
    return np.concatenate([np.zeros(shape, dtype), *arrays])


def _alike(owners: NDArray[np.int64], vertices: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return an order in which equal vertices of a segment follow each other, segments ascending, and which are the first."""
    if not len(owners):
        return np.zeros(0, np.int64), np.zeros(0, bool)
    low = vertices.min(axis=0)
    bits = [int(extent).bit_length() for extent in (vertices.max(axis=0) - low).astype(np.int64)]
    if sum(bits) + int(owners.max()).bit_length() <= 64:
        code = owners.astype(np.uint64)
        for axis in range(3):
            code = code << np.uint64(bits[axis]) | (vertices[:, axis] - low[axis]).astype(np.uint64)
        order = np.argsort(code, kind="stable")
        ordered = code[order]
        return order, np.concatenate([np.ones(1, bool), ordered[1:] != ordered[:-1]])
    order = np.lexsort((*vertices.T, owners))
    rows = np.column_stack([owners, vertices])[order]
    return order, np.concatenate([np.ones(1, bool), (rows[1:] != rows[:-1]).any(axis=1)])


def _counted(kept: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return how many are kept before each place and before the end."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(kept, dtype=np.int64)])
