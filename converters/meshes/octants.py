"""Kernels: which triangles of a cut surface have three different corners, and in which octants of an octree's nodes they lie."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.compiled import compiled

_Coordinates = NDArray[np.int32]
_Triangles = NDArray[np.uint32]


@compiled
def proper_triangles(vertices: _Coordinates, triangles: _Triangles) -> _Triangles:
    """Return the triangles whose corners lie in three different places. vertices: [n, 3]. triangles: [m, 3]."""
    found = np.empty_like(triangles)
    count = 0
    for t in range(len(triangles)):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        if not (_is_same(vertices, a, b) or _is_same(vertices, b, c) or _is_same(vertices, c, a)):
            found[count, 0], found[count, 1], found[count, 2] = a, b, c
            count += 1
    return found[:count]


@compiled
def _is_same(vertices: _Coordinates, one: int, other: int) -> bool:
    return bool(
        vertices[one, 0] == vertices[other, 0]
        and vertices[one, 1] == vertices[other, 1]
        and vertices[one, 2] == vertices[other, 2]
    )


@compiled
def octant_codes(vertices: _Coordinates, triangles: _Triangles, bits: int) -> NDArray[np.uint64]:
    """Return the Z-curve code of the octant of a node that each triangle lies in, uint64 [m]; in a plane, of the one below.

    vertices: steps, [n, 3]. triangles: [m, 3], none across a plane. bits: of a coordinate inside a node.
    """
    steps, half = (1 << bits) - 1, 1 << (bits - 1)
    spread = np.empty(vertices.shape, np.uint64)
    for vertex in range(len(vertices)):
        for axis in range(3):
            place: Any = np.int64(vertices[vertex, axis])
            node = max(place - 1, 0) // steps
            spread[vertex, axis] = _spread(2 * node + (place - node * steps > half)) << np.uint64(axis)
    codes = np.empty(len(triangles), np.uint64)
    for t in range(len(triangles)):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        # Numbers keep their order when their bits are spread.
        x = max(spread[a, 0], spread[b, 0], spread[c, 0])
        y = max(spread[a, 1], spread[b, 1], spread[c, 1])
        codes[t] = x | y | max(spread[a, 2], spread[b, 2], spread[c, 2])
    return codes


@compiled
def _spread(number: Any) -> Any:
    """Return a number with two empty bits between any two of its bits, an unsigned one."""
    found, place = np.uint64(0), np.uint64(0)
    while number:
        found |= np.uint64(number & 1) << place
        number >>= 1
        place += np.uint64(3)
    return found
