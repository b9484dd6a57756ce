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
from converters.meshes.quadrics import SUMS, Place, Reals, add_plane, nearest_place, of_row, squared_error

CORNERS_KEPT = 0.75
"""An agreement above that of two faces of a cube (0.707), so that a single voxel keeps its corners."""
_FLAT, _LARGE_TOLERANCE = 0.9, 0.5
"""The agreement in a large cell, twice as wide, and the part of the tolerance that holds there: what is flat goes at once."""
_LAYERS = 4
"""Of cells that are remembered, a power of two."""
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
    cells, count = _cells(part, shifts)
    rows = _rows_of_cells(part, cells, count)
    parents, large_rows = _large_cells(part, shifts + 1, cells, rows)
    size = len(part.vertices)
    found = Clusters(
        np.empty((size, 3)), np.zeros((size, SUMS)), np.zeros(size, np.bool_), np.empty(size, np.int32), part.triangles
    )
    numbers, large_numbers = np.full(count, -1, np.int32), np.full(len(large_rows), -1, np.int32)
    made = _join(found, large_rows, (_LARGE_TOLERANCE * tolerance, _FLAT), (large_numbers, 0))
    for cell in range(count):
        numbers[cell] = large_numbers[parents[cell]]
    made = _join(found, rows, (tolerance, CORNERS_KEPT), (numbers, made))
    made = _keep_others(part, found, cells, (numbers, made))
    triangles = _renumbered(part.triangles, found.numbers)
    return Clusters(found.places[:made], found.sums[:made], found.fixed[:made], found.numbers, triangles)


@compiled
def _rows_of_cells(part: Part, cells: NDArray[np.int32], count: int) -> Reals:
    """Return what is summed over the vertices of each cell, [count, 18]."""
    rows = np.zeros((count, _ROW))
    for vertex in range(len(cells)):
        if cells[vertex] >= 0:
            _add_vertex(part, vertex, rows, cells[vertex])
    return rows


@compiled
def _large_cells(part: Part, shifts: NDArray[np.int64], cells: NDArray[np.int32], rows: Reals) -> Any:
    """Return the large cell that each cell lies in, and the sums of these. rows: of the cells."""
    of_vertices, count = _cells(part, shifts)
    parents, sums = np.empty(len(rows), np.int32), np.zeros((count, _ROW))
    for vertex in range(len(cells)):
        if cells[vertex] >= 0:
            parents[cells[vertex]] = of_vertices[vertex]
    for cell in range(len(rows)):
        for n in range(_ROW):
            sums[parents[cell], n] += rows[cell, n]
    return parents, sums


@compiled
def _join(found: Clusters, rows: Reals, rule: tuple[float, float], numbering: Any) -> int:
    """Make a vertex of each cell whose vertices become one, and return how many vertices there are then.

    rule: the tolerance, and the agreement of normals. numbering: of each cell the number of its vertex, set where it is -1; and
    how many vertices there are before.
    """
    numbers, made = numbering
    for cell in range(len(rows)):
        if numbers[cell] >= 0 or not _is_flat(rows, cell, rule[1]):
            continue
        count, of_row_ = rows[cell, SUMS + 6], of_row(rows, cell)
        place = nearest_place(of_row_, (rows[cell, SUMS + 3] / count, rows[cell, SUMS + 4] / count, rows[cell, SUMS + 5] / count))
        if squared_error(of_row_, place) <= rule[0] * rule[0] * rows[cell, SUMS - 1]:
            found.places[made, 0], found.places[made, 1], found.places[made, 2] = place
            for n in range(SUMS):
                found.sums[made, n] = rows[cell, n]
            numbers[cell] = made
            made += 1
    return made  # type: ignore[no-any-return]


@compiled
def _is_flat(rows: Reals, cell: int, agreement: float) -> bool:
    """Tell whether a cell has vertices to join whose normals agree."""
    x, y, z = rows[cell, SUMS], rows[cell, SUMS + 1], rows[cell, SUMS + 2]
    area = rows[cell, SUMS - 1]
    return bool(rows[cell, SUMS + 6] >= 2 and area > 0 and x * x + y * y + z * z >= (agreement * 6 * area) ** 2)


@compiled
def _keep_others(part: Part, found: Clusters, cells: NDArray[np.int32], numbering: Any) -> int:
    """Number all vertices, make those that are not joined, and return how many there are. numbering: as in _join."""
    numbers, made = numbering
    for vertex in range(len(cells)):
        cell = cells[vertex]
        if cell >= 0 and numbers[cell] >= 0:
            found.numbers[vertex] = numbers[cell]
            continue
        _add_plane_of(part, vertex, found.sums, made)
        for axis in range(3):
            found.places[made, axis] = part.vertices[vertex, axis] * part.unit[axis]
        found.fixed[made] = part.rims[vertex]
        found.numbers[vertex] = made
        made += 1
    return made  # type: ignore[no-any-return]


@compiled
def _cells(part: Part, shifts: NDArray[np.int64]) -> Any:
    """Return the cell of each vertex, numbered as they are met, int32 [n], -1 on rims; and how many there are.

    Marching cubes goes through the layers of a block in turn: of four layers of cells the numbers are remembered. A cell that is
    met again later than that is another one.
    """
    low, high = _extent(part.vertices)
    x, y = low[0] >> shifts[0], low[1] >> shifts[1]
    width, depth = (high[0] >> shifts[0]) - x + 1, (high[1] >> shifts[1]) - y + 1
    layers, numbers = np.full(_LAYERS * depth * width, -1, np.int32), np.empty(_LAYERS * depth * width, np.int32)
    cells = np.full(len(part.vertices), -1, np.int32)
    count = 0
    for vertex in range(len(cells)):
        if part.rims[vertex]:
            continue
        layer = (part.vertices[vertex, 2] >> shifts[2]) - (low[2] >> shifts[2])
        row = (layer & _LAYERS - 1) * depth + (part.vertices[vertex, 1] >> shifts[1]) - y
        place = row * width + (part.vertices[vertex, 0] >> shifts[0]) - x
        if layers[place] != layer:
            layers[place], numbers[place] = layer, count
            count += 1
        cells[vertex] = numbers[place]
    return cells, count


@compiled
def _extent(vertices: NDArray[np.int32]) -> Any:
    """Return the lowest and the highest of the coordinates of vertices, int64 [3] each; 0 where there are none."""
    low, high = np.zeros(3, np.int64), np.zeros(3, np.int64)
    for axis in range(3):
        for vertex in range(len(vertices)):
            place = vertices[vertex, axis]
            low[axis] = place if vertex == 0 else min(low[axis], place)
            high[axis] = place if vertex == 0 else max(high[axis], place)
    return low, high


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
