"""Simplification: the vertices in a cell of an octree become one, placed where it lies nearest to the planes of all of them.

Surfaces of labels are staircases of millions of small triangles, and nearly flat. From the largest cells down to the finest,
halved along one axis after the other, a cell's vertices are joined when the planes through them miss the one that takes their
place by no more than a tolerance, as a root mean square over their areas, and when their normals do not cancel out: thin parts,
tips and edges stay as they are. Cells begin at multiples of their size and all sums are of whole numbers, so that two blocks
that see the same cell join it alike, to the last bit: surfaces simplified in blocks fit. What was closed stays closed, because
triangles are only moved, or vanish when two of their corners meet.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from converters.geometry import Lengths
from converters.meshes.surfaces import STEPS, Surfaces, chosen
from formats.grid import Triple

CORNERS_KEPT = 0.75
"""An agreement above that of two faces of a cube (0.707), so that a single voxel keeps its corners."""
_TOWARDS_THE_MEAN = 0.03
"""How much of the error is the distance from the mean of the vertices: along a flat surface nothing else tells where to lie."""
_FIXED_POINT = float(1 << 20)
"""What planes are multiplied with before they are rounded."""
_SLICE = 1 << 16
"""Triangles or vertices that are worked on at a time, so that all about them stays in the processor's cache."""


@dataclass(frozen=True)
class Octree:
    """Cells that vertices are joined in.

    cells: voxels along x, y, z of a cell of each level, powers of two, the finest first; none is smaller than the one before.
    resolution: nm a voxel. tolerance: nm, root mean square, by which a vertex may miss the planes of those that it stands for.
    agreement: of the normals of vertices that become one, at least: the length of their sum over the sum of their lengths.
    """

    cells: tuple[Triple, ...]
    resolution: Lengths
    tolerance: float
    agreement: float = CORNERS_KEPT

    @property
    def halo(self) -> Triple:
        """Extents of the largest cells, voxels."""
        return self.cells[-1]


def make_octree(resolution: Lengths, tolerance: float, levels: int, agreement: float = CORNERS_KEPT) -> Octree:
    """Return an octree whose finest cells are two of the shortest voxel edges wide along every axis, as nearly as can be."""
    shortest = min(resolution)
    cells = []
    for level in range(1, levels + 1):
        wanted = (shortest * 2**level / length for length in resolution)
        x, y, z = (2 ** max(0, round(math.log2(voxels))) for voxels in wanted)
        cells.append((x, y, z))
    return Octree(tuple(cells), resolution, tolerance, agreement)


@dataclass(frozen=True)
class _Cells:
    """The vertices in the order of their cells.

    codes: uint64 [n], of each vertex's finest cell. bits: low bits of a code that tell the cell in its largest one.
    places: steps from the lowest corner of the largest cell, float64 [3, n]. normals: whole numbers, float64 [3, n].
    """

    codes: NDArray[np.uint64]
    bits: int
    places: NDArray[np.float64]
    normals: NDArray[np.float64]


def clustered(surfaces: Surfaces, octree: Octree, wanted: NDArray[np.bool_] | None = None) -> Surfaces:
    """Return the surfaces simplified; a segment may be left without triangles.

    wanted: [m], the triangles to return; the others are only looked at. All when it is None. A vertex's normal comes from all
    triangles at it: where some are missing, at the open end of a block, the result does not fit that of the next block.
    """
    order, codes, bits = _ordered(surfaces, octree)
    vertices = surfaces.vertices[order]
    # Cells are powers of two wide: shifts are faster than divisions.
    shifts = np.array([_shift(cell) for cell in octree.halo], np.int32)
    base = vertices >> shifts << shifts
    cells = _Cells(codes, bits, (vertices - base).T.astype(np.float64, order="C"), _vertex_normals(surfaces)[:, order])
    leader, moved = _joined(cells, octree)
    renumbered = np.empty(len(order), np.int32)
    renumbered[order] = leader
    simplified = replace(surfaces, vertices=base + moved.T, triangles=renumbered[surfaces.triangles])
    a, b, c = simplified.triangles.T
    proper = (a != b) & (b != c) & (c != a)
    return chosen(simplified, proper if wanted is None else proper & wanted)


def _ordered(surfaces: Surfaces, octree: Octree) -> tuple[NDArray[np.int64], NDArray[np.uint64], int]:
    """Return the vertices' order by segment and cell, their codes in that order, and how many bits tell the cell in its largest.

    A code is the number of the segment, that of its largest cell, and the way through the octree down to the finest one.
    """
    axes = np.ascontiguousarray(surfaces.vertices.T)
    code = np.repeat(np.arange(len(surfaces.segments), dtype=np.uint64), surfaces.vertex_counts)
    for axis, cell in zip(axes, octree.halo, strict=True):
        place = axis >> np.int32(_shift(cell))
        low = int(place.min(initial=0))
        code = code * np.uint64(int(place.max(initial=0)) - low + 1) + (place - low).astype(np.uint64)
    bits = 0
    for coarse, fine in zip(octree.cells[:0:-1], octree.cells[-2::-1], strict=True):
        for axis, large, small in zip(axes, coarse, fine, strict=True):
            while large > small:
                large //= 2
                code = code << np.uint64(1) | (axis >> np.int32(_shift(large)) & 1).astype(np.uint64)
                bits += 1
    order = np.argsort(code, kind="stable")
    return order, code[order], bits


def _shift(cell: int) -> int:
    """Return by how many bits a place in steps is shifted to give the number of its cell of so many voxels, a power of two."""
    return (cell * STEPS).bit_length() - 1


def _vertex_normals(surfaces: Surfaces) -> NDArray[np.float64]:
    """Return the sum of the normals of the triangles at each vertex in square steps, whole numbers, float64 [3, n]."""
    count, triangles = len(surfaces.vertices), surfaces.triangles
    faces = np.empty((3, len(triangles)))
    axes = np.ascontiguousarray(surfaces.vertices.T)
    for begin in range(0, len(triangles), _SLICE):
        part = slice(begin, begin + _SLICE)
        a, b, c = np.ascontiguousarray(triangles[part].T)
        first = [(axis[b] - axis[a]).astype(np.float64) for axis in axes]
        second = [(axis[c] - axis[a]).astype(np.float64) for axis in axes]
        for k in range(3):
            i, j = (k + 1) % 3, (k + 2) % 3
            faces[k, part] = first[i] * second[j] - first[j] * second[i]
    normals = np.zeros((3, count))
    for corner in triangles.T:
        corners = np.ascontiguousarray(corner)
        for axis, face in zip(normals, faces, strict=True):
            axis += np.bincount(corners, face, count)
    return normals


def _joined(cells: _Cells, octree: Octree) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return for each vertex the first one of those that it is joined with, int32 [n], and its place in steps, int32 [3, n]."""
    count = len(cells.codes)
    leader, moved = np.empty(count, np.int32), np.empty((3, count), np.int32)
    largest = cells.codes >> np.uint64(cells.bits)
    begins = np.flatnonzero(np.concatenate([np.ones(1, bool), largest[1:] != largest[:-1]])[:count])
    # Cut where a largest cell begins: nothing in one slice meets anything in another.
    cuts = begins[np.unique(np.searchsorted(begins, np.arange(0, count, _SLICE)).clip(max=len(begins) - 1))] if count else begins
    for begin, end in zip(cuts, [*cuts[1:], count], strict=True):
        part = slice(int(begin), int(end))
        some = _Cells(cells.codes[part], cells.bits, cells.places[:, part], cells.normals[:, part])
        leader[part], moved[:, part] = _joined_slice(some, octree)
        leader[part] += part.start
    return leader, moved


@dataclass(frozen=True)
class _Level:
    """The cells of one level that hold vertices. parents: of these in the next level. first: vertex. joins: whether its vertices
    become one, at places, voxels of the shortest edge, [3, k]."""

    parents: NDArray[np.int64]
    first: NDArray[np.int64]
    joins: NDArray[np.bool_]
    places: NDArray[np.float64]


def _joined_slice(cells: _Cells, octree: Octree) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return what _joined does for whole largest cells."""
    shortest = min(octree.resolution)
    units = np.array([length / (shortest * STEPS) for length in octree.resolution])[:, None]
    sums, codes, first = _planes(cells, units), cells.codes, np.arange(len(cells.codes))
    lows = highs = cells.places
    levels = []
    for bit in range(cells.bits + 1):
        codes = codes >> np.uint64(min(bit, 1))
        begins = np.flatnonzero(np.concatenate([np.ones(1, bool), codes[1:] != codes[:-1]]))
        parents = np.repeat(np.arange(len(begins)), np.diff(begins, append=len(codes)))
        sums, codes, first = np.add.reduceat(sums, begins, axis=1), codes[begins], first[begins]
        lows, highs = np.minimum.reduceat(lows, begins, axis=1), np.maximum.reduceat(highs, begins, axis=1)
        squares, agreement, places = _fit(sums, units, (lows * units, highs * units))
        area = sums[10] / _FIXED_POINT
        flat = squares <= (octree.tolerance / shortest) ** 2 * area
        joins = flat & (agreement >= octree.agreement * area) & (sums[-1] > 1)
        levels.append(_Level(parents, first, joins, places))
    leader, places = np.full(len(first), -1), np.zeros((3, len(first)))
    for level in reversed(levels):
        taken = leader < 0
        leader = np.where(taken & level.joins, level.first, leader)
        places = np.where(taken & level.joins, level.places, places)
        leader, places = leader[level.parents], places[:, level.parents]
    own = leader < 0
    moved = np.where(own, cells.places, np.rint(places / units))
    return np.where(own, np.arange(len(leader)), leader), moved.astype(np.int32)


def _planes(cells: _Cells, units: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what is summed over the vertices of a cell, whole numbers, float64 [18, n].

    Of the plane through each vertex, weighed with its area: the products of its normal's members (6), those with its distance
    from the corner (3), the distance's square, the area, and the area times the normal (3), all in voxels of the shortest edge;
    then the place in steps (3), and one.
    """
    spans = np.array([units[1] * units[2], units[0] * units[2], units[0] * units[1]])
    x, y, z = normal = cells.normals * spans
    area = np.sqrt(x * x + y * y + z * z)
    a, b, c = normal / np.where(area > 0, area, 1)
    p, q, r = cells.places * units
    away = a * p + b * q + c * r
    rows = [x * a, x * b, x * c, y * b, y * c, z * c, x * away, y * away, z * away, area * away * away, area, x, y, z]
    found = np.empty((len(rows) + 4, len(area)))
    np.rint(np.multiply(rows, _FIXED_POINT, out=found[:-4]), out=found[:-4])
    found[-4:-1] = cells.places
    found[-1] = 1
    return found


def _fit(
    sums: NDArray[np.float64], units: NDArray[np.float64], box: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return where the vertices of each cell become one, if they do: [3, k], from the corner.

    Before it, [k] each, the sum of the squares of its distances from their planes, weighed with areas, and the length of the sum
    of their normals. sums: of _planes. box: the lowest and the highest place of the vertices, which it does not leave; like the
    result in voxels of the shortest edge.
    """
    mean = sums[-4:-1] / sums[-1] * units
    xx, xy, xz, yy, yz, zz, bx, by, bz, away, area, *normal = sums[:14] / _FIXED_POINT
    matrix, right = (xx, xy, xz, yy, yz, zz), np.stack([bx, by, bz])
    stiff = np.maximum(_TOWARDS_THE_MEAN * area, 1e-9)
    shift = _solved((xx + stiff, xy, xz, yy + stiff, yz, zz + stiff), right - _times(matrix, mean))
    place = np.clip(mean + shift, *box)
    squares = (place * (_times(matrix, place) - 2 * right)).sum(axis=0) + away
    x, y, z = normal
    return squares, np.sqrt(x * x + y * y + z * z), place


_Symmetric = tuple[
    NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]
]
"""The members xx, xy, xz, yy, yz, zz of many matrices."""


def _times(matrix: _Symmetric, vector: NDArray[np.float64]) -> NDArray[np.float64]:
    xx, xy, xz, yy, yz, zz = matrix
    x, y, z = vector
    return np.stack([xx * x + xy * y + xz * z, xy * x + yy * y + yz * z, xz * x + yz * y + zz * z])


def _solved(matrix: _Symmetric, right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the solutions of many systems of three equations, [3, k], by Cramer's rule."""
    xx, xy, xz, yy, yz, zz = matrix
    inverse = (yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy, xx * zz - xz * xz, xy * xz - xx * yz, xx * yy - xy * xy)
    determinant = xx * inverse[0] + xy * inverse[1] + xz * inverse[2]
    return _times(inverse, right) / determinant
