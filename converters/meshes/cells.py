"""Kernels: the vertices in a cell of a grid become one, placed where it lies nearest to the planes of all of them.

Surfaces of labels are staircases of millions of small triangles. Where the planes through a cell's vertices miss the one that
takes their place by no more than a tolerance, as a root mean square over their areas, and their normals do not cancel out, most
of them go in no time; the collapse of edges has to look at a third of the triangles only. What was closed stays closed, because
triangles are only moved, or vanish when two of their corners meet.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from converters.compiled import compiled
from converters.meshes.quadrics import SUMS, Place, Reals, add_plane, nearest_place, squared_error

CORNERS_KEPT = 0.75
"""An agreement above that of two faces of a cube (0.707), so that a single voxel keeps its corners."""
_BITS = 21
"""Of a cell's number along an axis."""
_ROW = SUMS + 7
"""Numbers that are summed for a cell: of its planes, and its normals (3), its vertices' places (3) and their number."""


class Clusters(NamedTuple):
    """Vertices after some have become one.

    places: [n, 3]. sums: [n, 11], of quadrics. fixed: bool [n], which must stay where they are. numbers: int32, for each vertex
    before the number of the one that stands for it. triangles: int32 [m, 3].
    """

    places: Reals
    sums: Reals
    fixed: NDArray[np.bool_]
    numbers: NDArray[np.int32]
    triangles: NDArray[np.int32]


class Part(NamedTuple):
    """A surface as RawSurfaces has it, with positions in its own vertices. unit: length of half a voxel along x, y, z."""

    vertices: NDArray[np.int32]
    normals: NDArray[np.int32]
    rims: NDArray[np.bool_]
    triangles: NDArray[np.int32]
    unit: Reals


@compiled
def clustered(part: Part, shifts: NDArray[np.int64], tolerance: float) -> Clusters:
    """Return a surface with the vertices in cells joined, those of its rims as they are.

    shifts: [3], by which half voxels are shifted to give the cell. tolerance: a length, root mean square.
    """
    count = len(part.vertices)
    cells, numbers_of_cells = _cells(part, shifts)
    rows = np.zeros((numbers_of_cells, _ROW))
    for vertex in range(count):
        if cells[vertex] >= 0:
            _add_vertex(part, vertex, rows, cells[vertex])
    found = Clusters(
        np.empty((count, 3)), np.zeros((count, SUMS)), np.zeros(count, np.bool_), np.empty(count, np.int32), part.triangles
    )
    joined = np.full(numbers_of_cells, -1, np.int32)
    made = 0
    for cell in range(numbers_of_cells):
        is_one, place = _join(rows, cell, tolerance)
        if is_one:
            found.places[made, 0], found.places[made, 1], found.places[made, 2] = place
            for n in range(SUMS):
                found.sums[made, n] = rows[cell, n]
            joined[cell] = made
            made += 1
    for vertex in range(count):
        cell = cells[vertex]
        if cell >= 0 and joined[cell] >= 0:
            found.numbers[vertex] = joined[cell]
            continue
        _add_plane_of(part, vertex, found.sums, made)
        for axis in range(3):
            found.places[made, axis] = part.vertices[vertex, axis] * part.unit[axis]
        found.fixed[made] = part.rims[vertex]
        found.numbers[vertex] = made
        made += 1
    triangles = _renumbered(part.triangles, found.numbers)
    return Clusters(found.places[:made], found.sums[:made], found.fixed[:made], found.numbers, triangles)


@compiled
def _cells(part: Part, shifts: NDArray[np.int64]) -> Any:
    """Return the cell of each vertex, numbered as they are met, int32 [n], -1 on rims; and how many there are."""
    size = 16
    while size < 2 * len(part.vertices):
        size *= 2
    # Open addressing: a table with half its places free.
    keys, taken = np.empty(size, np.int64), np.full(size, -1, np.int32)
    cells = np.full(len(part.vertices), -1, np.int32)
    count = 0
    for vertex in range(len(cells)):
        if part.rims[vertex]:
            continue
        key = np.int64(0)
        for axis in range(3):
            key = key << _BITS | np.int64(part.vertices[vertex, axis] >> shifts[axis])
        place = (key * 0x9E3779B97F4A7C1 >> 20) & (size - 1)
        while taken[place] >= 0 and keys[place] != key:
            place = (place + 1) & (size - 1)
        if taken[place] < 0:
            taken[place], keys[place] = count, key
            count += 1
        cells[vertex] = taken[place]
    return cells, count


@compiled
def _normal(part: Part, vertex: int) -> Place:
    """Return the sum of the normals of the triangles at a vertex, twice their areas."""
    a, b, c = part.unit[0], part.unit[1], part.unit[2]
    x, y, z = part.normals[vertex, 0], part.normals[vertex, 1], part.normals[vertex, 2]
    return x * b * c, y * a * c, z * a * b


@compiled
def _add_plane_of(part: Part, vertex: int, sums: Reals, row: int) -> None:
    """Add to a row the plane through a vertex that its triangles lie about, with a third of their areas."""
    x, y, z = _normal(part, vertex)
    double = np.sqrt(x * x + y * y + z * z)
    if double > 0:
        x, y, z = x / double, y / double, z / double
        p, q, r = part.vertices[vertex, 0], part.vertices[vertex, 1], part.vertices[vertex, 2]
        distance = x * p * part.unit[0] + y * q * part.unit[1] + z * r * part.unit[2]
        add_plane(sums, row, ((x, y, z), distance), double / 6)


@compiled
def _add_vertex(part: Part, vertex: int, rows: Reals, cell: int) -> None:
    _add_plane_of(part, vertex, rows, cell)
    x, y, z = _normal(part, vertex)
    rows[cell, SUMS] += x
    rows[cell, SUMS + 1] += y
    rows[cell, SUMS + 2] += z
    for axis in range(3):
        rows[cell, SUMS + 3 + axis] += part.vertices[vertex, axis] * part.unit[axis]
    rows[cell, SUMS + 6] += 1


@compiled
def _join(rows: Reals, cell: int, tolerance: float) -> Any:
    """Tell whether a cell's vertices become one, and its place."""
    count, area = rows[cell, SUMS + 6], rows[cell, SUMS - 1]
    x, y, z = rows[cell, SUMS], rows[cell, SUMS + 1], rows[cell, SUMS + 2]
    if count < 2 or area <= 0 or x * x + y * y + z * z < (CORNERS_KEPT * 6 * area) ** 2:
        return False, (0.0, 0.0, 0.0)
    start = rows[cell, SUMS + 3] / count, rows[cell, SUMS + 4] / count, rows[cell, SUMS + 5] / count
    place = nearest_place(rows, cell, start)
    return squared_error(rows, cell, place) <= tolerance * tolerance * area, place


@compiled
def _renumbered(triangles: NDArray[np.int32], numbers: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the triangles whose corners have three different numbers, by those."""
    found = np.empty_like(triangles)
    count = 0
    for t in range(len(triangles)):
        a, b, c = numbers[triangles[t, 0]], numbers[triangles[t, 1]], numbers[triangles[t, 2]]
        if a != b and b != c and c != a:
            found[count, 0], found[count, 1], found[count, 2] = a, b, c
            count += 1
    return found[:count]
