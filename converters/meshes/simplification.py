"""Surfaces with fewer triangles, within a largest error that is measured.

In a block each segment's vertices are joined in small cells first, then edges collapse. Vertices in the block's outermost voxels
stay where marching cubes put them, on both sides of a block's face alike, so that the blocks' parts fit without a seam; once they
are joined, edges collapse along those seams too. Kernels are imported where they run: that takes a third of a second.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from converters.geometry import Lengths
from converters.meshes.surfaces import STEPS, Surfaces, stacked
from formats.grid import Triple

if TYPE_CHECKING:
    from converters.meshes.cells import Part
    from converters.meshes.cubes import RawSurfaces

_KERNELS = ("cells", "collapsing", "counting", "cubes", "measuring", "octants", "quadrics")
"""The modules that hold them."""
CORNERS_KEPT = 0.72
"""An agreement above that of two faces of a cube: tips and thin parts keep their ends."""
_HALF = STEPS // 2
_TRIES = 3
"""How often a surface that strays too far is simplified again, each time with half the tolerance."""
_CELL = 2
"""Shortest voxel edges along a cell of the first step, as nearly as a power of two of voxels can be."""
_OTHER_VOLUME, _OTHER_AT_SEAMS = 0.015, 0.004
"""The parts of its volume that an object may gain or lose in a block and at seams where volumes are kept."""
_AROUND_SEAMS = 2
"""Triangles to both sides of a seam whose vertices may move."""
_AROUND_STRAYS = 4
"""Triangles around what strays at a seam whose vertices stay where they are then."""

_IN_BLOCKS, _AT_SEAMS = 1.25, 0.75
"""How far a vertex may stray in a block, and once more at a seam, in largest errors: together twice that."""

_Reals = NDArray[np.float64]
_Flags = NDArray[np.bool_]
_Vertices = NDArray[np.int32]
_Triangles = NDArray[np.int32]


@dataclass(frozen=True)
class Simplifier:
    """How surfaces lose triangles.

    resolution: nm a voxel. tolerance: nm, root mean square, by which a vertex may miss the planes of those that it stands for.
    max_error: nm, the largest distance of a vertex from the simplified surface. agreement: of the normals around an edge that
    collapses.
    """

    resolution: Lengths
    tolerance: float
    max_error: float
    agreement: float = CORNERS_KEPT

    @property
    def step(self) -> _Reals:
        """A step along x, y, z in the shortest edges of a voxel, in which the kernels measure, [3]."""
        found: _Reals = np.array(self.resolution) / (min(self.resolution) * STEPS)
        return found

    @property
    def keeps_volumes(self) -> bool:
        """Whether the largest error is half a voxel or less: objects then keep their volumes within two parts in a hundred."""
        return 2 * self.max_error <= min(self.resolution)

    @property
    def shifts(self) -> NDArray[np.int64]:
        """The bits by which half voxels are shifted to give their cells."""
        voxels = _CELL * min(self.resolution) / np.array(self.resolution)
        return 1 + np.maximum(0, np.rint(np.log2(voxels))).astype(np.int64)

    def in_edges(self, length: float) -> float:
        """Return a length in nm in shortest edges of a voxel."""
        return length / min(self.resolution)


def compile_kernels() -> None:
    """Compile all kernels of meshes, unless that was done before: half a minute that no two processes should spend."""
    from converters.compiled import are_kept

    folder = Path(__file__).parent
    if are_kept(folder / f"{name}.py" for name in _KERNELS):
        return
    from converters.meshes.counting import surface_sizes
    from converters.meshes.cubes import raw_surfaces
    from converters.meshes.octants import octant_codes, proper_triangles

    labels = np.zeros((4, 4, 4), np.int32, order="F")
    labels[1:3, 1:3, 1:3] = 1
    surface_sizes(labels.T, 2)
    simplifier = Simplifier((1.0, 1.0, 1.0), 0.1, 0.5)
    surfaces = simplified_block(raw_surfaces(labels, 2), {1: 1}, (0, 0, 0), simplifier)
    coarser(without_seams(surfaces, np.ones(len(surfaces.vertices), np.bool_), simplifier), simplifier).volumes()
    octant_codes(surfaces.vertices, proper_triangles(surfaces.vertices, surfaces.triangles.astype(np.uint32)), 16)


def simplified_block(raw: "RawSurfaces", numbers: Mapping[int, int], origin: Triple, simplifier: Simplifier | None) -> Surfaces:
    """Return the surfaces of a block, those at its faces as they are there; a segment may be left without triangles.

    numbers: of each segment in raw. origin: of its first voxel, 0 at the scale's. None for the simplifier changes nothing.
    """
    shift = np.array(origin, np.int32) * STEPS
    voxels = _voxels(raw, simplifier)
    parts = []
    for segment in sorted(numbers):
        number = numbers[segment]
        vertices, triangles = _block_part(raw, number, simplifier, float(voxels[number]))
        parts.append((segment, vertices + shift, triangles))
    return stacked(parts)


def _voxels(raw: "RawSurfaces", simplifier: Simplifier | None) -> _Reals:
    """Return the voxels of each label where volumes are to be kept, else zeros."""
    from converters.meshes.cubes import voxels_between

    count = len(raw.vertex_ends)
    return voxels_between(raw.labels, count) if simplifier and simplifier.keeps_volumes else np.zeros(count)


def _block_part(raw: "RawSurfaces", number: int, simplifier: Simplifier | None, voxels: float) -> tuple[_Vertices, _Triangles]:
    first, last = raw.vertex_ends[number - 1 : number + 1].tolist()
    begin, end = raw.triangle_ends[number - 1 : number + 1].tolist()
    vertices, triangles = raw.vertices[first:last], raw.triangles[begin:end] - np.int32(first)
    if simplifier is not None:
        from converters.meshes.cells import Part

        part = Part(vertices, raw.normals[first:last], raw.rims[first:last], triangles, simplifier.step * _HALF)
        for attempt in range(_TRIES):
            found = _simplified(part, simplifier, simplifier.tolerance / 2**attempt)
            if found is not None and not _is_lost(part, found, simplifier, voxels):
                return found
    return vertices * np.int32(_HALF), triangles


def _is_lost(part: "Part", found: tuple[_Vertices, _Triangles], simplifier: Simplifier, voxels: float) -> bool:
    """Tell whether nothing is left inside a surface, or another volume where that is to be kept.

    voxels: of the part, where its surface goes on in other blocks.
    """
    from converters.meshes.measuring import volume_from, volume_inside

    is_open = bool(part.rims.any())
    if not simplifier.keeps_volumes:
        return not is_open and bool(volume_inside(*found) <= 0)
    whole = volume_inside(part.vertices, part.triangles)
    if is_open:
        # Marching cubes takes no more than an eighth of a voxel off at each vertex.
        whole = max(0, voxels - len(part.vertices) / 8) * 2**3
    changed = volume_from((0.0, 0.0, 0.0), *found) / _HALF**3 - volume_from((0.0, 0.0, 0.0), part.vertices, part.triangles)
    return bool(abs(changed) > _OTHER_VOLUME * whole)


def _simplified(part: "Part", simplifier: Simplifier, tolerance: float) -> tuple[_Vertices, _Triangles] | None:
    """Return the vertices, steps, and triangles that are left, None where a vertex strays too far from them."""
    from converters.meshes.cells import clustered
    from converters.meshes.collapsing import Rule, collapsed
    from converters.meshes.measuring import strays

    rule = Rule(simplifier.in_edges(tolerance), simplifier.agreement)
    some = clustered(part, simplifier.shifts, rule.tolerance)
    triangles, became = collapsed(some.places, some.sums, some.fixed, some.triangles, rule)
    bounds = simplifier.in_edges(simplifier.max_error), simplifier.in_edges(_IN_BLOCKS * simplifier.max_error)
    if strays((part.vertices, part.unit), became[some.numbers], (some.places, triangles), bounds):
        return None
    return _compact(some.places, triangles, simplifier)


def _compact(places: _Reals, triangles: _Triangles, simplifier: Simplifier) -> tuple[_Vertices, _Triangles]:
    """Return the vertices that triangles use, steps, and the triangles with positions in those."""
    from converters.meshes.collapsing import used_vertices

    used, found = used_vertices(triangles, len(places))
    return np.rint(places[used] / simplifier.step).astype(np.int32), found


def without_seams(surfaces: Surfaces, seams: _Flags, simplifier: Simplifier, fixed: _Flags | None = None) -> Surfaces:
    """Return surfaces simplified along the seams between the blocks that they were made in.

    seams: [n], the vertices there. fixed: [n], vertices that must stay where they are, none when it is None.
    """
    parts, first = [], 0
    for segment, vertices, triangles in surfaces.parts():
        here = slice(first, first + len(vertices))
        first = here.stop
        found = vertices, triangles
        if seams[here].any():
            stay = np.zeros(len(vertices), np.bool_) if fixed is None else fixed[here]
            found = _without_seam(vertices, triangles, (seams[here], stay), simplifier)
        parts.append((segment, *found))
    return stacked(parts)


def _without_seam(
    vertices: _Vertices, triangles: _Triangles, flags: tuple[_Flags, _Flags], simplifier: Simplifier
) -> tuple[_Vertices, _Triangles]:
    """Return one surface simplified along its seam; only the triangles about it are looked at.

    flags: the vertices of the seam, and those that must stay where they are.
    """
    from converters.meshes.collapsing import spread, touching, used_vertices
    from converters.meshes.measuring import astray

    bound = simplifier.in_edges(_AT_SEAMS * simplifier.max_error)
    free = spread(triangles, flags[0], _AROUND_SEAMS)
    # Also what lies around their neighbours, so that it is known what meets what.
    about = touching(triangles, spread(triangles, free, 1))
    numbers, corners = used_vertices(triangles[about], len(vertices))
    fixed = flags[1][numbers] | ~free[numbers]
    for _ in range(_TRIES):
        near = _Collapsed(vertices[numbers], corners, fixed, simplifier)
        away = astray((near.near, simplifier.step), near.became, (near.places, near.triangles), bound)
        if not away.any():
            places = vertices.copy()
            places[numbers] = near.moved()
            left, found = used_vertices(np.concatenate([triangles[~about], numbers[near.triangles]]), len(vertices))
            after = places[left], found
            return (vertices, triangles) if _is_other((vertices, triangles), after, simplifier) else after
        fixed |= spread(corners, away, _AROUND_STRAYS)
    return vertices, triangles


def _is_other(before: tuple[_Vertices, _Triangles], after: tuple[_Vertices, _Triangles], simplifier: Simplifier) -> bool:
    """Tell whether a closed surface has got another volume along its seam, where that is to be kept."""
    from converters.meshes.measuring import volume_inside

    if not simplifier.keeps_volumes:
        return False
    volume = volume_inside(*before)
    return bool(abs(volume_inside(*after) - volume) > _OTHER_AT_SEAMS * abs(volume))


def coarser(surfaces: Surfaces, simplifier: Simplifier, fixed: _Flags | None = None) -> Surfaces:
    """Return surfaces with fewer triangles. fixed: [n], vertices that must stay where they are, none when it is None."""
    parts, first = [], 0
    for segment, vertices, triangles in surfaces.parts():
        stay = np.zeros(len(vertices), np.bool_) if fixed is None else fixed[first : first + len(vertices)]
        first += len(vertices)
        parts.append((segment, *_Collapsed(vertices, triangles, stay, simplifier).compact()))
    return stacked(parts)


class _Collapsed:
    """A surface after edges have collapsed. near: its vertices before, from the first of them, so that squares lose no digits."""

    def __init__(self, vertices: _Vertices, triangles: _Triangles, fixed: _Flags, simplifier: Simplifier) -> None:
        from converters.meshes.collapsing import Rule, collapsed
        from converters.meshes.quadrics import SUMS, add_triangles

        self.first, self.near, self.simplifier = vertices[:1], vertices - vertices[:1], simplifier
        self.places, sums = self.near * simplifier.step, np.zeros((len(vertices), SUMS))
        add_triangles(self.places, triangles, sums)
        rule = Rule(simplifier.in_edges(simplifier.tolerance), simplifier.agreement)
        self.triangles, self.became = collapsed(self.places, sums, fixed, triangles.copy(), rule)

    def moved(self) -> _Vertices:
        """Return where the vertices are now, steps."""
        found: _Vertices = np.rint(self.places / self.simplifier.step).astype(np.int32) + self.first
        return found

    def compact(self) -> tuple[_Vertices, _Triangles]:
        """Return the vertices that are left, steps, and the triangles."""
        vertices, triangles = _compact(self.places, self.triangles, self.simplifier)
        return vertices + self.first, triangles
