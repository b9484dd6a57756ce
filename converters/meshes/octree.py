"""Cutting a surface at the planes of a multi-resolution mesh's octree.

All work is on whole numbers: vertices are quantized first, over the whole object and not fragment by fragment, and edges are cut
where whole numbers say. So a vertex is the same from both sides of a plane, a cut lies exactly in its plane, and a closed surface
stays closed: quantizing moves vertices and cutting adds them on edges, in both triangles of an edge alike.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from formats.meshes.mesh import Mesh
from formats.meshes.multires import Floats, z_curve_codes, z_curve_positions

MOST_COORDINATE_BITS = 30
"""Bits of a quantized coordinate over the whole object, so that no product of two overflows 64 bits."""

_COUNTING_BITS = 12
_MOST_COUNTED = 1 << 17
_SPARE = 0.9
"""Room in a fragment for the triangles that cutting adds, and for the error of a count of some."""

MOST_PIECES = 2
"""Triangles that cutting may make of one, on average: beyond that they are larger than the fragments, which finer ones worsen."""

_Places = NDArray[np.float32]
_Coordinates = NDArray[np.int32]
_Triangles = NDArray[np.uint32]


@dataclass(frozen=True)
class OctreeGrid:
    """The boxes of an octree and the whole numbers in them.

    origin: lowest corner, nm, x, y, z. extent: of the object, nm, x, y, z. depth: at level of detail 0 the object spans 2**depth
    boxes along its longest axis. bits: of a coordinate inside a fragment.
    """

    origin: Floats
    extent: Floats
    depth: int
    bits: int

    @property
    def chunk_shape(self) -> Floats:
        """Edges of a box at level of detail 0, nm, as a manifest holds them: a cube, flatter where the object is flatter.

        A flat box costs no fragment, as the object spans one box along that axis either way, and keeps two sides of a thin object
        apart.
        """
        edge = _float32_not_below(max(self.extent)) / (1 << self.depth)
        x, y, z = (min(edge, _float32_not_below(length)) if length > 0 else edge for length in self.extent)
        return x, y, z

    def quantized(self, vertices: NDArray[np.float32], lod: int) -> _Coordinates:
        """Return vertices, nm, as whole steps of a level from the origin, int32 [n, 3]."""
        steps_a_fragment = (1 << self.bits) - 1
        scale = steps_a_fragment / (np.array(self.chunk_shape) * 2.0**lod)
        most = steps_a_fragment << max(0, self.depth - lod)
        steps: NDArray[np.float64] = np.rint((vertices - np.array(self.origin)) * scale)
        return steps.clip(0, most).astype(np.int32)


@dataclass(frozen=True)
class Fragment:
    """The triangles of one node.

    code: the node's on the Z curve. vertices: int32 [n, 3], steps inside the node. triangles: uint32 [m, 3].
    """

    code: int
    vertices: _Coordinates
    triangles: _Triangles


@dataclass(frozen=True)
class CutSurface:
    """A surface without a triangle that crosses a plane between two fragments.

    vertices: int32 [n, 3], steps over the whole object. triangles: uint32 [m, 3], each with three different corners. bits: of a
    coordinate inside a fragment.
    """

    vertices: _Coordinates
    triangles: _Triangles
    bits: int

    @property
    def node_codes(self) -> NDArray[np.uint64]:
        """The Z-curve code of the node that each triangle lies in, uint64 [m]; one in a plane belongs to the node below."""
        return self._octants >> np.uint64(3)

    def octant_codes(self) -> NDArray[np.uint64]:
        """Return the Z-curve codes, each once, of the next finer level's nodes in whose boxes the viewer draws triangles."""
        return np.unique(self._octants)

    @cached_property
    def _octants(self) -> NDArray[np.uint64]:
        """The Z-curve code of the octant of a node that each triangle lies in."""
        from converters.meshes.octants import octant_codes

        return octant_codes(self.vertices, self.triangles, self.bits)

    def largest_fragment(self) -> int:
        """Return how many triangles the fragment with the most of them has."""
        return int(np.unique(self.node_codes, return_counts=True)[1].max(initial=0))

    def fragments(self) -> Iterator[Fragment]:
        """Yield the fragments in Z-curve order, none without triangles."""
        # The smaller the type, the faster it sorts.
        codes = self.node_codes
        codes = codes.astype(np.min_scalar_type(codes.max(initial=0)))
        order = np.argsort(codes, kind="stable")
        nodes, begins = np.unique(codes[order], return_index=True)
        scratch = np.zeros(len(self.vertices), np.int64)
        for code, (begin, end) in zip(nodes, pairwise([*begins, len(order)]), strict=True):
            x, y, z = z_curve_positions(np.array([code], np.uint64))[0].tolist()
            used, triangles = _renumbered(self.triangles[order[begin:end]], scratch)
            lowest = np.array([x, y, z], np.int32) * np.int32(_steps(self.bits))
            yield Fragment(int(code), self.vertices[used] - lowest, triangles)


def cut(vertices: _Coordinates, triangles: _Triangles, bits: int, *, octants: bool) -> CutSurface:
    """Return the surface with every triangle that crosses a plane between two fragments cut at it.

    vertices: int32 [n, 3], steps over the whole object, below 2**30. octants: cut at the half of each fragment too, as the viewer
    wants it above level 0. Triangles with two equal corners are left out: their other two edges run along one another, so that
    nothing opens.
    """
    from converters.meshes.octants import proper_triangles

    planes = _Planes(bits, octants)
    for axis in range(3):
        vertices, triangles = _cut_along(axis, vertices, triangles, planes)
    return CutSurface(vertices, proper_triangles(vertices, triangles), bits)


@dataclass(frozen=True)
class Sample:
    """Some triangles of a level of detail, which stand for all.

    corners: the first, second and third ones, float32 [n, 3] each, nm. triangles: how many there are in all. box: the lowest and
    the highest x, y, z of all, nm.
    """

    corners: tuple[_Places, _Places, _Places]
    triangles: int
    box: tuple[_Places, _Places]


def sampled(level: Mesh, total: int | None = None) -> Sample:
    """Return a sample of a level of detail; total: its triangles, where the mesh is only a piece of it."""
    total = len(level.triangles) if total is None else total
    some = level.triangles[:: max(1, -(-total // _MOST_COUNTED))]
    a, b, c = (level.vertices[some[:, corner]] for corner in range(3))
    return Sample((a, b, c), len(level.triangles), level.box)


def sample_of_pieces(pieces: Sequence[Sample]) -> Sample:
    """Return one sample of the samples of all pieces of a level of detail."""
    a, b, c = (np.concatenate([piece.corners[corner] for piece in pieces]) for corner in range(3))
    lows, highs = zip(*(piece.box for piece in pieces), strict=True)
    return Sample((a, b, c), sum(piece.triangles for piece in pieces), (np.min(lows, axis=0), np.max(highs, axis=0)))


def choose_grid(levels: Sequence[Mesh], bits: int, most_triangles: int) -> OctreeGrid:
    """Return the octree of levels of detail as grid_for does of samples of them."""
    return grid_for([sampled(level) for level in levels], bits, most_triangles)


def grid_for(levels: Sequence[Sample], bits: int, most_triangles: int) -> OctreeGrid:
    """Return the octree with the fewest fragments in which none should have more than most_triangles triangles.

    levels: of detail, finest first. The count is an estimate, before any triangle is cut: whoever needs the bound to hold counts
    those of the fragments and takes a `finer` grid. Large triangles among many small ones keep the fragments large. Raises
    ValueError for surfaces that are points.
    """
    boxes = np.array([level.box for level in levels], np.float64)
    low, extent = boxes[:, 0].min(axis=0), np.ptp(boxes, axis=(0, 1))
    if not 0 < extent.max() < np.inf:
        raise ValueError(f"a surface of {extent.max()} nm, expected one with an extent")
    cube = low, float(extent.max())
    halvings = [_halvings(level, cube, most_triangles) for level in levels]
    depth = max(needed + lod if needed else 0 for lod, needed in enumerate(halvings))
    depth = min(depth, MOST_COORDINATE_BITS - bits)
    while depth and any(_pieces(level, cube, depth - max(0, lod - 1)) > MOST_PIECES for lod, level in enumerate(levels)):
        depth -= 1
    return OctreeGrid(_floats(low), _floats(extent), depth, bits)


def finer(grid: OctreeGrid) -> OctreeGrid | None:
    """Return the grid with cubes half as large, None when a coordinate has no bit for it."""
    if grid.depth + grid.bits >= MOST_COORDINATE_BITS:
        return None
    return OctreeGrid(grid.origin, grid.extent, grid.depth + 1, grid.bits)


@dataclass(frozen=True)
class _Planes:
    """Where the planes of one level cut an axis: at each end of a fragment and, where `halves`, at half of it.

    The viewer takes a coordinate's highest bit for the half: 2**(bits - 1), half a step above the middle.
    """

    bits: int
    halves: bool

    @property
    def first(self) -> int:
        """The place of the first plane above 0."""
        return 1 << self.bits - 1 if self.halves else _steps(self.bits)

    def place(self, number: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where the planes of these numbers lie, steps."""
        if not self.halves:
            return number * _steps(self.bits)
        places: NDArray[np.int64] = (number >> 1) * _steps(self.bits) + (number & 1) * self.first
        return places

    def at_or_below(self, coordinates: _Coordinates) -> NDArray[np.int64]:
        """Return the number of the last plane at or below each coordinate."""
        fragments, inside = np.divmod(coordinates, np.int32(_steps(self.bits)))
        return fragments.astype(np.int64) * 2 + (inside >= self.first) if self.halves else fragments.astype(np.int64)

    def at_or_above(self, coordinates: _Coordinates) -> NDArray[np.int64]:
        """Return the number of the first plane at or above each coordinate."""
        below = self.at_or_below(coordinates)
        above: NDArray[np.int64] = below + (self.place(below) != coordinates)
        return above


def _cut_along(axis: int, vertices: _Coordinates, triangles: _Triangles, planes: _Planes) -> tuple[_Coordinates, _Triangles]:
    """Cut at all planes across one axis; the vertices of the cuts come behind those that there were."""
    if vertices[:, axis].max(initial=0) <= planes.first:
        return vertices, triangles
    # Most triangles lie between two planes, which is soon seen.
    a, b, c = planes.at_or_below(vertices[:, axis]).astype(np.int32)[triangles.T]
    between = (a == b) & (b == c)
    done, left = [triangles[between]], triangles[~between]
    while len(left):
        coordinates = vertices[:, axis][left]
        below, above = planes.at_or_below(coordinates.min(axis=1)), planes.at_or_above(coordinates.max(axis=1))
        crossing = above - below > 1
        done.append(left[~crossing])
        place = planes.place(_foremost(below[crossing], above[crossing]))
        vertices, left = _halved(axis, vertices, left[crossing], place)
    return vertices, np.concatenate(done)


def _foremost(below: NDArray[np.int64], above: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number strictly between below and above that the highest power of two divides.

    Cut in this order, an edge is cut alike in both its triangles, however far each of them reaches: of the planes that cross a
    triangle the foremost either leaves the edge whole or is the foremost of those that cross the edge.
    """
    last = above - 1
    shift = np.frexp((below ^ last).astype(np.float64))[1].astype(np.int64) - 1
    foremost: NDArray[np.int64] = last >> shift << shift
    return foremost


def _halved(
    axis: int, vertices: _Coordinates, triangles: _Triangles, place: NDArray[np.int64]
) -> tuple[_Coordinates, _Triangles]:
    """Cut each triangle at the plane that it crosses. place: int64 [m], steps along the axis, one for each triangle."""
    sides = np.sign(vertices[:, axis][triangles] - place[:, None])
    through = (sides == 0).any(axis=1)
    # The corner in the plane, or else the one that lies alone on its side, comes first.
    first = np.where(through[:, None], sides == 0, sides == -sides.sum(axis=1, keepdims=True)).argmax(axis=1)
    turned = np.take_along_axis(triangles, (first[:, None] + np.arange(3)) % 3, axis=1)
    a, b, c = turned[through].T
    p, q, r = turned[~through].T
    places = np.concatenate([place[through], place[~through], place[~through]])
    cuts = _crossings(axis, vertices[np.concatenate([b, p, p])], vertices[np.concatenate([c, q, r])], places)
    numbers = np.arange(len(vertices), len(vertices) + len(cuts), dtype=np.uint32)
    bc, pq, pr = np.split(numbers, [len(b), len(b) + len(p)])
    vertices = np.concatenate([vertices, cuts])
    # The shorter of two diagonals, or slivers reach far and are cut again and again.
    shorter = _distances(vertices, pq, r) <= _distances(vertices, q, pr)
    parts = [(a, b, bc), (a, bc, c), (p, pq, pr), (pq, q, np.where(shorter, r, pr)), (np.where(shorter, pq, q), r, pr)]
    return vertices, np.concatenate([np.stack(part, axis=1) for part in parts])


def _distances(vertices: _Coordinates, begins: NDArray[np.uint32], ends: NDArray[np.uint32]) -> NDArray[np.float64]:
    """Return the squares of the distances between vertices, steps."""
    squares: NDArray[np.float64] = ((vertices[ends] - vertices[begins]).astype(np.float64) ** 2).sum(axis=1)
    return squares


def _crossings(axis: int, begins: _Coordinates, ends: _Coordinates, place: NDArray[np.int64]) -> _Coordinates:
    """Return where edges cross their planes, rounded to whole steps; the same for both directions of an edge."""
    ascending = (begins[:, axis] < ends[:, axis])[:, None]
    low, high = np.where(ascending, begins, ends).astype(np.int64), np.where(ascending, ends, begins).astype(np.int64)
    whole = high[:, axis] - low[:, axis]
    part = (high - low) * (place - low[:, axis])[:, None]
    crossings: NDArray[np.int64] = low + (2 * part + whole[:, None]) // (2 * whole[:, None])
    return crossings.astype(np.int32)


def _renumbered(triangles: _Triangles, scratch: NDArray[np.int64]) -> tuple[NDArray[np.uint32], _Triangles]:
    """Return the vertices that triangles use, and the triangles with positions in those. scratch: a place for each vertex."""
    corners = triangles.ravel()
    places = np.arange(len(corners))
    scratch[corners] = places
    kept = scratch[corners]
    used = kept == places
    return corners[used], (np.cumsum(used) - 1)[kept].astype(np.uint32).reshape(-1, 3)


def _halvings(level: Sample, cube: tuple[NDArray[np.float64], float], most_triangles: int) -> int:
    """Return how often a cube, told by its lowest corner and its edge, is halved until no part has too many triangles."""
    if level.triangles <= most_triangles:
        return 0
    (low, edge), most = cube, (1 << _COUNTING_BITS) - 1
    a, b, c = level.corners
    bound = _SPARE * most_triangles * len(a) / level.triangles
    cells = (((a + b + c) / 3 - low) * (most / edge)).clip(0, most).astype(np.uint32)
    codes = z_curve_codes(cells)
    for depth in range(1, _COUNTING_BITS):
        if np.unique(codes >> np.uint64(3 * (_COUNTING_BITS - depth)), return_counts=True)[1].max() <= bound:
            return depth
    return _COUNTING_BITS


def _pieces(level: Sample, cube: tuple[NDArray[np.float64], float], depth: int) -> float:
    """Return into how many parts of a cube that has been halved a triangle reaches, on average and about."""
    if depth <= 0:
        return 1
    (low, edge), (a, b, c) = cube, level.corners
    first = ((np.minimum(np.minimum(a, b), c) - low) * ((1 << depth) / edge)).astype(np.int64)
    last = ((np.maximum(np.maximum(a, b), c) - low) * ((1 << depth) / edge)).astype(np.int64)
    spans = np.sort(last - first + 1, axis=1)
    return float((spans[:, 1] * spans[:, 2]).mean())


def _steps(bits: int) -> int:
    """Return the quantization steps from one end of a fragment to the other."""
    return (1 << bits) - 1


def _float32_not_below(length: float) -> float:
    nearest = np.float32(length)
    # As float64: numpy would round the length to compare it.
    return float(nearest if float(nearest) >= length else np.nextafter(nearest, np.float32(np.inf)))


def _floats(numbers: NDArray[np.float64]) -> Floats:
    x, y, z = (float(number) for number in numbers)
    return x, y, z
