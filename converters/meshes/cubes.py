"""Kernels of marching cubes: the surfaces of all labels of a block at once, made of the triangles that zmesh gives each cube.

A cube has its corners at the centres of eight voxels; bit 0, 1, 2 of a corner's number is its place along x, y, z. The surface of
a label crosses an edge of the grid halfway, and so may that of the label at the other end: an edge and an end tell a vertex.
"""

from functools import cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from converters.compiled import compiled

_EDGES = tuple((corner, axis) for axis in range(3) for corner in range(8) if not corner >> axis & 1)
"""The twelve edges of a cube: the corner that each begins at, and the axis that it runs along."""
_BEGINS = np.array([corner for corner, _ in _EDGES], np.uint8)
_AXES = np.array([axis for _, axis in _EDGES], np.uint8)
_MOST = 5
"""Triangles that one label has in one cube at most."""
_LEAST_ROOM = 1 << 16
"""Vertices and triangles that there is room for at first."""

_Labels = NDArray[np.int32]
_Cube = tuple[int, int, int]


class CubeTable(NamedTuple):
    """The triangles in a cube for each set of corners that are inside; bit n of a set tells of corner n.

    edge_counts, edges: uint8 [256], [256, 12], of edges that are crossed. normals: int32 [256, 12, 3], of those edges' vertices:
    the sum of the normals of the triangles there, twice their area, in half voxels. counts, corners: uint8 [256], [256, 5, 3], of
    triangles, their corners positions in edges.
    """

    edge_counts: NDArray[np.uint8]
    edges: NDArray[np.uint8]
    normals: NDArray[np.int32]
    counts: NDArray[np.uint8]
    corners: NDArray[np.uint8]


class RawSurfaces(NamedTuple):
    """The surfaces of labels 1, 2, ... one behind the other, each in the order in which its cubes lie.

    vertices: int32 [n, 3], half voxels from the centre of the first voxel. normals: int32 [n, 3], as CubeTable has them. rims:
    bool [n], vertices in an outermost layer of voxels, where the surface goes on elsewhere. triangles: int32 [m, 3], positions
    in vertices, counter-clockwise from outside. vertex_ends, triangle_ends: int64 [k], of each label, of 0 too. labels: that the
    surfaces are of, [z, y, x].
    """

    vertices: NDArray[np.int32]
    normals: NDArray[np.int32]
    rims: NDArray[np.bool_]
    triangles: NDArray[np.int32]
    vertex_ends: NDArray[np.int64]
    triangle_ends: NDArray[np.int64]
    labels: _Labels


@cache
def cube_table() -> CubeTable:
    """Return what zmesh makes of each of 256 cubes."""
    empty = CubeTable(
        np.zeros(256, np.uint8),
        np.zeros((256, len(_EDGES)), np.uint8),
        np.zeros((256, len(_EDGES), 3), np.int32),
        np.zeros(256, np.uint8),
        np.zeros((256, _MOST, 3), np.uint8),
    )
    for inside in range(1, 255):
        _set_cube(empty, inside)
    return empty


def _set_cube(table: CubeTable, inside: int) -> None:
    import zmesh

    bits = np.array([inside >> corner & 1 for corner in range(8)], np.uint8)
    mesher = zmesh.Mesher((1, 1, 1))
    mesher.mesh(bits.reshape(2, 2, 2, order="F"), preserve_order=False)
    mesh = mesher.get(1)
    middles = {tuple(2 * (corner >> k & 1) + (k == axis) for k in range(3)): n for n, (corner, axis) in enumerate(_EDGES)}
    places = (2 * mesh.vertices).astype(np.int32)
    table.edge_counts[inside], table.counts[inside] = len(places), len(mesh.faces)
    table.edges[inside, : len(places)] = [middles[tuple(place)] for place in places.tolist()]
    table.corners[inside, : len(mesh.faces)] = mesh.faces
    a, b, c = places[mesh.faces].transpose(1, 0, 2)
    for corner, normals in product(range(3), [np.cross(b - a, c - a)]):
        np.add.at(table.normals[inside], mesh.faces[:, corner], normals)


def raw_surfaces(labels: _Labels, count: int) -> RawSurfaces:
    """Return the surface between each label but 0 and all others, open where it meets the outermost voxels.

    labels: [x, y, z] in Fortran order, from 0 to below count.
    """
    # From here on axes run z, y, x.
    return _sorted(_marched(labels.T, cube_table(), count), labels.T)


class _Marched(NamedTuple):
    """Surfaces in the order in which their cubes lie, all labels mixed; there is room behind them.

    vertices, normals, triangles: as RawSurfaces has them. rims: bool [n]. vertex_labels, triangle_labels: int32, of each.
    vertex_counts, triangle_counts: int64 [k], of each label; together they tell how much is used.
    """

    vertices: NDArray[np.int32]
    normals: NDArray[np.int32]
    rims: NDArray[np.bool_]
    vertex_labels: NDArray[np.int32]
    triangles: NDArray[np.int32]
    triangle_labels: NDArray[np.int32]
    vertex_counts: NDArray[np.int64]
    triangle_counts: NDArray[np.int64]


class _Scratch(NamedTuple):
    """What is remembered between cubes.

    slots: int32, the number of the vertex on each edge of two layers of voxels, by the layer, y, x, and axis and end, -1 for none
    yet. offsets: int32 [2, 256, 12], for an even and an odd layer, each set of corners and each of its edges, the place of the
    edge's vertex in slots, counted from that of the cube's lowest voxel in the even layer. corners: int32 [8], labels. numbers:
    int32 [12], of the vertices of one label in one cube.
    """

    slots: NDArray[np.int32]
    offsets: NDArray[np.int32]
    corners: NDArray[np.int32]
    numbers: NDArray[np.int32]


@compiled
def _marched(labels: _Labels, table: CubeTable, count: int) -> _Marched:
    """Return all surfaces. labels: [z, y, x]."""
    nz, ny, nx = labels.shape
    scratch = _scratch(table, ny, nx)
    found = _Marched(
        np.empty((_LEAST_ROOM, 3), np.int32),
        np.empty((_LEAST_ROOM, 3), np.int32),
        np.empty(_LEAST_ROOM, np.bool_),
        np.empty(_LEAST_ROOM, np.int32),
        np.empty((_LEAST_ROOM, 3), np.int32),
        np.empty(_LEAST_ROOM, np.int32),
        np.zeros(count, np.int64),
        np.zeros(count, np.int64),
    )
    used = (0, 0)
    mixed = np.empty(nx, np.bool_)
    layer = len(scratch.slots) // 2
    for z in range(nz - 1):
        begin = layer * ((z + 1) & 1)
        scratch.slots[begin : begin + layer] = -1
        for y in range(ny - 1):
            _find_mixed(labels, z, y, mixed)
            found = _with_room(found, used, nx)
            for x in range(nx - 1):
                if mixed[x]:
                    used = _march(labels, (z, y, x), (table, scratch), found, used)
    return found


@compiled
def _scratch(table: CubeTable, ny: int, nx: int) -> _Scratch:
    """Return the scratch for layers of ny * nx voxels."""
    offsets = np.zeros((2, 256, 12), np.int32)
    for parity in range(2):
        for inside in range(256):
            for place in range(table.edge_counts[inside]):
                edge = table.edges[inside, place]
                begin = _BEGINS[edge]
                row = ((parity ^ begin >> 2) * ny + (begin >> 1 & 1)) * nx + (begin & 1)
                offsets[parity, inside, place] = 6 * row + 2 * _AXES[edge] + (inside >> begin & 1)
    return _Scratch(np.full(12 * ny * nx, -1, np.int32), offsets, np.empty(8, np.int32), np.empty(12, np.int32))


@compiled
def _find_mixed(labels: _Labels, z: int, y: int, mixed: NDArray[np.bool_]) -> None:
    """Tell of each cube of a row whether its corners have several labels."""
    a, b, c, d = labels[z, y], labels[z, y + 1], labels[z + 1, y], labels[z + 1, y + 1]
    for x in range(len(a) - 1):
        label = a[x]
        here = (b[x] != label) | (c[x] != label) | (d[x] != label)
        mixed[x] = here | (a[x + 1] != label) | (b[x + 1] != label) | (c[x + 1] != label) | (d[x + 1] != label)


@compiled
def _with_room(found: _Marched, used: tuple[int, int], cubes: int) -> _Marched:
    """Return the surfaces with room for those in some more cubes. used: vertices and triangles."""
    vertices, triangles = used
    while vertices + 24 * cubes > len(found.vertices):
        found = _Marched(
            _doubled(found.vertices),
            _doubled(found.normals),
            _doubled(found.rims),
            _doubled(found.vertex_labels),
            found.triangles,
            found.triangle_labels,
            found.vertex_counts,
            found.triangle_counts,
        )
    while triangles + 8 * _MOST * cubes > len(found.triangles):
        found = _Marched(
            found.vertices,
            found.normals,
            found.rims,
            found.vertex_labels,
            _doubled(found.triangles),
            _doubled(found.triangle_labels),
            found.vertex_counts,
            found.triangle_counts,
        )
    return found


@compiled
def _doubled(rows: Any) -> Any:
    return np.concatenate((rows, np.empty_like(rows)))


@compiled
def _march(labels: _Labels, cube: _Cube, told: tuple[CubeTable, _Scratch], found: _Marched, used: Any) -> Any:
    """Write the surfaces of all labels in one cube. used: vertices and triangles before; the result is after."""
    z, y, x = cube
    corners = told[1].corners
    for corner in range(8):
        corners[corner] = labels[z + (corner >> 2), y + (corner >> 1 & 1), x + (corner & 1)]
    left, first = 255, 0
    while left:
        while not left >> first & 1:
            first += 1
        label, inside = corners[first], 0
        for corner in range(8):
            inside |= (corners[corner] == label) << corner
        left &= ~inside
        if label:
            used = _add_label((cube, labels.shape, label, inside), told, found, used)
    return used


@compiled
def _add_label(where: Any, told: tuple[CubeTable, _Scratch], found: _Marched, used: Any) -> Any:
    """Write the triangles of one label in one cube. where: the cube, the labels' shape, the label, and the set of its corners."""
    (z, y, x), shape, label, inside = where
    (table, scratch), (vertices, triangles) = told, used
    base = 6 * (y * shape[2] + x)
    for place in range(table.edge_counts[inside]):
        slot = base + scratch.offsets[z & 1, inside, place]
        number = scratch.slots[slot]
        if number < 0:
            number = vertices
            scratch.slots[slot] = number
            _new_vertex(where, table.edges[inside, place], found, number)
            vertices += 1
        for k in range(3):
            found.normals[number, k] += table.normals[inside, place, k]
        scratch.numbers[place] = number
    for triangle in range(table.counts[inside]):
        for k in range(3):
            found.triangles[triangles, k] = scratch.numbers[table.corners[inside, triangle, k]]
        found.triangle_labels[triangles] = label
        triangles += 1
    found.triangle_counts[label] += table.counts[inside]
    return vertices, triangles


@compiled
def _new_vertex(where: Any, edge: int, found: _Marched, number: int) -> None:
    """Write a vertex on an edge of a cube, without a normal yet. where: as in _add_label."""
    (z, y, x), shape, label, _ = where
    axis, begin = _AXES[edge], _BEGINS[edge]
    u, v, w = x + (begin & 1), y + (begin >> 1 & 1), z + (begin >> 2)
    found.vertices[number, 0] = 2 * u + (axis == 0)
    found.vertices[number, 1] = 2 * v + (axis == 1)
    found.vertices[number, 2] = 2 * w + (axis == 2)
    for k in range(3):
        found.normals[number, k] = 0
    found.rims[number] = _is_outermost(axis, (w, v, u), shape)
    found.vertex_labels[number] = label
    found.vertex_counts[label] += 1


@compiled
def _is_outermost(axis: int, begin: _Cube, shape: _Cube) -> bool:
    """Tell whether an edge of the grid lies in an outermost layer of voxels."""
    w, v, u = begin
    nz, ny, nx = shape
    return bool(
        (axis != 0 and (u == 0 or u == nx - 1))
        or (axis != 1 and (v == 0 or v == ny - 1))
        or (axis != 2 and (w == 0 or w == nz - 1))
    )


@compiled
def _sorted(found: _Marched, labels: _Labels) -> RawSurfaces:
    """Return the surfaces one label behind the other."""
    vertex_ends, triangle_ends = np.cumsum(found.vertex_counts), np.cumsum(found.triangle_counts)
    vertices, triangles = vertex_ends[-1], triangle_ends[-1]
    raw = RawSurfaces(
        np.empty((vertices, 3), np.int32),
        np.empty((vertices, 3), np.int32),
        np.empty(vertices, np.bool_),
        np.empty((triangles, 3), np.int32),
        vertex_ends - found.vertex_counts,
        triangle_ends - found.triangle_counts,
        labels,
    )
    # What is given as ends are begins, and as ends they come back.
    numbers = np.empty(vertices, np.int32)
    for old in range(vertices):
        label = found.vertex_labels[old]
        new = raw.vertex_ends[label]
        raw.vertex_ends[label] = new + 1
        numbers[old] = new
        raw.rims[new] = found.rims[old]
        for k in range(3):
            raw.vertices[new, k] = found.vertices[old, k]
            raw.normals[new, k] = found.normals[old, k]
    for old in range(triangles):
        label = found.triangle_labels[old]
        new = raw.triangle_ends[label]
        raw.triangle_ends[label] = new + 1
        for k in range(3):
            raw.triangles[new, k] = numbers[found.triangles[old, k]]
    return raw


@compiled
def voxels_between(labels: _Labels, count: int) -> NDArray[np.float64]:
    """Return how many voxels of each label lie between the centres of the outermost ones, float64 [count].

    labels: [z, y, x], from 0 to below count. Of a voxel in an outermost layer one half does, of one in three layers an eighth.
    """
    nz, ny, nx = labels.shape
    found = np.zeros(count)
    for z in range(nz):
        for y in range(ny):
            row = labels[z, y]
            part = (0.5 if z == 0 or z == nz - 1 else 1.0) * (0.5 if y == 0 or y == ny - 1 else 1.0)
            for x in range(nx):
                found[row[x]] += part
            found[row[0]] -= part / 2
            found[row[nx - 1]] -= part / 2
    return found
