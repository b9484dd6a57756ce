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
    in vertices, counter-clockwise from outside. vertex_ends, triangle_ends: int64 [k], of each label, of 0 too.
    """

    vertices: NDArray[np.int32]
    normals: NDArray[np.int32]
    rims: NDArray[np.bool_]
    triangles: NDArray[np.int32]
    vertex_ends: NDArray[np.int64]
    triangle_ends: NDArray[np.int64]


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
    vertices, triangles = np.zeros(count, np.int64), np.zeros(count, np.int64)
    _count(labels, cube_table().counts, vertices, triangles)
    vertex_ends, triangle_ends = np.cumsum(vertices), np.cumsum(triangles)
    found = RawSurfaces(
        np.empty((int(vertex_ends[-1]), 3), np.int32),
        np.zeros((int(vertex_ends[-1]), 3), np.int32),
        np.empty(int(vertex_ends[-1]), np.bool_),
        np.empty((int(triangle_ends[-1]), 3), np.int32),
        vertex_ends - vertices,
        triangle_ends - triangles,
    )
    # What is given as ends are begins, and as ends they come back.
    _fill(labels, cube_table(), found)
    return found


@compiled
def _count(labels: _Labels, counts: NDArray[np.uint8], vertices: NDArray[np.int64], triangles: NDArray[np.int64]) -> None:
    """Add up each label's vertices and triangles, [k]. counts: of triangles in a cube."""
    _count_vertices(labels, vertices)
    nx, ny, nz = labels.shape
    for z in range(nz - 1):
        for y in range(ny - 1):
            for x in range(nx - 1):
                if _is_uniform(labels, x, y, z):
                    continue
                for corner in range(8):
                    label = _new_label(labels, (x, y, z), corner)
                    if label:
                        triangles[label] += counts[_corners_inside(labels, (x, y, z), label)]


@compiled
def _count_vertices(labels: _Labels, vertices: NDArray[np.int64]) -> None:
    nx, ny, nz = labels.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                label = labels[x, y, z]
                right = labels[x + 1, y, z] if x + 1 < nx else label
                behind = labels[x, y + 1, z] if y + 1 < ny else label
                above = labels[x, y, z + 1] if z + 1 < nz else label
                for other in (right, behind, above):
                    if other != label:
                        vertices[label] += 1
                        vertices[other] += 1
    vertices[0] = 0


@compiled
def _is_uniform(labels: _Labels, x: int, y: int, z: int) -> bool:
    """Tell whether all corners of a cube have the same label."""
    label = labels[x, y, z]
    return bool(
        labels[x + 1, y, z] == label
        and labels[x, y + 1, z] == label
        and labels[x + 1, y + 1, z] == label
        and labels[x, y, z + 1] == label
        and labels[x + 1, y, z + 1] == label
        and labels[x, y + 1, z + 1] == label
        and labels[x + 1, y + 1, z + 1] == label
    )


@compiled
def _label_at(labels: _Labels, cube: _Cube, corner: int) -> int:
    x, y, z = cube
    return labels[x + (corner & 1), y + (corner >> 1 & 1), z + (corner >> 2)]  # type: ignore[no-any-return]


@compiled
def _new_label(labels: _Labels, cube: _Cube, corner: int) -> int:
    """Return the label of a cube's corner, 0 where a corner before it has the same."""
    label = _label_at(labels, cube, corner)
    for other in range(corner):
        if _label_at(labels, cube, other) == label:
            return 0
    return label


@compiled
def _corners_inside(labels: _Labels, cube: _Cube, label: int) -> int:
    """Return the set of a cube's corners that have a label."""
    found = 0
    for corner in range(8):
        if _label_at(labels, cube, corner) == label:
            found |= 1 << corner
    return found


@compiled
def _fill(labels: _Labels, table: CubeTable, found: RawSurfaces) -> None:
    """Write all vertices and triangles. found: its ends are where each label's begin, and are moved to where they end."""
    nx, ny, nz = labels.shape
    slots = np.full((2, ny, nx, 6), -1, np.int32)
    numbers = np.empty(12, np.int32)
    for z in range(nz - 1):
        slots[(z + 1) & 1] = -1
        for y in range(ny - 1):
            for x in range(nx - 1):
                if _is_uniform(labels, x, y, z):
                    continue
                for corner in range(8):
                    label = _new_label(labels, (x, y, z), corner)
                    if not label:
                        continue
                    inside = _corners_inside(labels, (x, y, z), label)
                    _number_vertices(((x, y, z), labels.shape, label, inside), table, (slots, numbers), found)
                    row = found.triangle_ends[label]
                    for triangle in range(table.counts[inside]):
                        for k in range(3):
                            found.triangles[row, k] = numbers[table.corners[inside, triangle, k]]
                        row += 1
                    found.triangle_ends[label] = row


@compiled
def _number_vertices(where: Any, table: CubeTable, scratch: Any, found: RawSurfaces) -> None:
    """Set the numbers of the vertices of one label in one cube, and write those that are new.

    where: the cube, the labels' shape, the label, and the set of its corners. scratch: the number of the vertex on each edge of
    two layers of voxels, by the layer, y, x, and axis and end, -1 for none yet; and the numbers to set, [12].
    """
    (x, y, z), shape, label, inside = where
    slots, numbers = scratch
    for place in range(table.edge_counts[inside]):
        edge = table.edges[inside, place]
        axis, begin = _AXES[edge], _BEGINS[edge]
        u, v, w = x + (begin & 1), y + (begin >> 1 & 1), z + (begin >> 2)
        slot = 2 * axis + (inside >> begin & 1)
        number = slots[w & 1, v, u, slot]
        if number < 0:
            number = found.vertex_ends[label]
            found.vertex_ends[label] = number + 1
            slots[w & 1, v, u, slot] = number
            found.vertices[number, 0] = 2 * u + (axis == 0)
            found.vertices[number, 1] = 2 * v + (axis == 1)
            found.vertices[number, 2] = 2 * w + (axis == 2)
            found.rims[number] = _is_outermost(axis, (u, v, w), shape)
        for k in range(3):
            found.normals[number, k] += table.normals[inside, place, k]
        numbers[place] = number


@compiled
def _is_outermost(axis: int, begin: _Cube, shape: _Cube) -> bool:
    """Tell whether an edge of the grid lies in an outermost layer of voxels."""
    u, v, w = begin
    nx, ny, nz = shape
    return bool(
        (axis != 0 and (u == 0 or u == nx - 1))
        or (axis != 1 and (v == 0 or v == ny - 1))
        or (axis != 2 and (w == 0 or w == nz - 1))
    )
