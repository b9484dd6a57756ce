"""Boxes of voxels, chunk grids, chunk names and the compressed Morton code.

Follows docs/datasource/precomputed/volume.md ("unsharded chunk storage") and sharded.md ("compressed Morton code").
A grid starts at its scale's voxel_offset, never at 0; its upper edge chunks are cut, its lower ones never.
"""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from formats.errors import ChunkNameError

Triple = tuple[int, int, int]

# 19 digits hold every 64-bit coordinate; a name comes from a URL and may be anything.
_NUMBER = r"(-?\d{1,19})"
_CODE_BITS = 64
_NAME = re.compile("_".join([f"{_NUMBER}-{_NUMBER}"] * 3), re.ASCII)


@dataclass(frozen=True, slots=True)
class Box:
    """A half-open box of voxels, start <= voxel < end, in x, y, z."""

    start: Triple
    end: Triple

    @property
    def shape(self) -> Triple:
        """Extents in voxels, x, y, z."""
        (a, b, c), (d, e, f) = self.start, self.end
        return d - a, e - b, f - c

    @property
    def voxels(self) -> int:
        """Number of voxels; 0 when an extent is not positive."""
        return math.prod(max(0, n) for n in self.shape)

    def intersection(self, other: "Box") -> "Box":
        """Return what both boxes hold; its extents are 0 or less where they do not meet."""
        return Box(_pairwise(max, self.start, other.start), _pairwise(min, self.end, other.end))

    def union(self, other: "Box") -> "Box":
        """Return the smallest box that holds both."""
        return Box(_pairwise(min, self.start, other.start), _pairwise(max, self.end, other.end))

    def shifted(self, offset: Triple) -> "Box":
        """Return the box moved by offset voxels."""
        return Box(_pairwise(_add, self.start, offset), _pairwise(_add, self.end, offset))

    def slices(self, origin: Triple = (0, 0, 0)) -> tuple[slice, slice, slice]:
        """Return the slices of this box in an array whose first voxel is origin."""
        x, y, z = (slice(a - o, b - o) for a, b, o in zip(self.start, self.end, origin, strict=True))
        return x, y, z


@dataclass(frozen=True, slots=True)
class Grid:
    """The chunks of one scale: voxel_offset, size and chunk_size in voxels, x, y, z."""

    voxel_offset: Triple
    size: Triple
    chunk_size: Triple

    @property
    def box(self) -> Box:
        """All voxels of the scale."""
        return Box(self.voxel_offset, _pairwise(_add, self.voxel_offset, self.size))

    @property
    def shape(self) -> Triple:
        """Number of chunks along x, y, z."""
        return _pairwise(lambda n, c: -(-n // c), self.size, self.chunk_size)

    def chunk_box(self, cell: Triple) -> Box:
        """Return the voxels of one chunk, cut at the upper end of the scale."""
        (a, b, c), (x, y, z), (u, v, w), (i, j, k) = self.voxel_offset, self.size, self.chunk_size, cell
        start = a + i * u, b + j * v, c + k * w
        return Box(start, (min(start[0] + u, a + x), min(start[1] + v, b + y), min(start[2] + w, c + z)))

    def cell_of(self, name: str) -> Triple | None:
        """Return the grid position of the chunk of this name, None for a name that no chunk has."""
        try:
            box = parse_chunk_name(name)
        except ChunkNameError:
            return None
        x, y, z = ((a - o) // c for a, o, c in zip(box.start, self.voxel_offset, self.chunk_size, strict=True))
        inside = all(0 <= n < count for n, count in zip((x, y, z), self.shape, strict=True))
        return (x, y, z) if inside and self.chunk_box((x, y, z)) == box else None

    def cells(self) -> Iterator[Triple]:
        """Yield every chunk's grid position, x fastest."""
        for z, y, x in product(*(range(n) for n in reversed(self.shape))):
            yield x, y, z

    def cells_within(self, box: Box) -> Iterator[Triple]:
        """Yield the grid positions, x fastest, of the chunks that begin inside box."""
        ranges = (
            range(max(0, -(-(a - o) // c)), min(n, -(-(b - o) // c)))
            for a, b, o, c, n in zip(box.start, box.end, self.voxel_offset, self.chunk_size, self.shape, strict=True)
        )
        xs, ys, zs = ranges
        for z, y, x in product(zs, ys, xs):
            yield x, y, z

    def cells_meeting(self, box: Box) -> Iterator[Triple]:
        """Yield the grid positions, x fastest, of the chunks that hold voxels of box."""
        inside = self.box.intersection(box)
        if not inside.voxels:
            return
        x, y, z = (a - (a - o) % c for a, o, c in zip(inside.start, self.voxel_offset, self.chunk_size, strict=True))
        yield from self.cells_within(Box((x, y, z), inside.end))


def chunk_name(box: Box) -> str:
    """Return the viewer's name of a chunk, `x0-x1_y0-y1_z0-z1`, in absolute voxels."""
    return "_".join(f"{a}-{b}" for a, b in zip(box.start, box.end, strict=True))


def parse_chunk_name(name: str) -> Box:
    """Return the box that a chunk name tells.

    Raises ChunkNameError unless the name is exactly what chunk_name gives for a box with positive extents.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise ChunkNameError(f"chunk name {name!r}: expected x0-x1_y0-y1_z0-z1 with whole numbers")
    x0, x1, y0, y1, z0, z1 = (int(n) for n in match.groups())
    box = Box((x0, y0, z0), (x1, y1, z1))
    if min(box.shape) < 1 or chunk_name(box) != name:
        raise ChunkNameError(f"chunk name {name!r}: expected each begin below its end, written without leading zeros")
    return box


def is_chunk_name(name: str) -> bool:
    """Tell whether a name has the form of a chunk's, whatever its numbers are."""
    return _NAME.fullmatch(name) is not None


def compressed_morton_code(cell: Triple, grid_shape: Triple) -> int:
    """Return the chunk id of a grid position in a sharded scale (sharded.md, "compressed Morton code").

    Bit i of axis d is emitted only where 2**i < grid_shape[d]; x, y, z take turns.
    Raises ValueError for a cell outside the grid and for a grid that needs more than 64 bits.
    """
    if any(not 0 <= c < n for c, n in zip(cell, grid_shape, strict=True)):
        raise ValueError(f"grid position {cell} lies outside the grid of {grid_shape} chunks")
    return sum((cell[axis] >> bit & 1) << position for position, (axis, bit) in enumerate(_code_bits(grid_shape)))


def compressed_morton_codes(cells: NDArray[np.integer[Any]], grid_shape: Triple) -> NDArray[np.uint64]:
    """Return compressed_morton_code of many grid positions at once, uint64 [n].

    cells: whole numbers [n, 3], x, y, z. Raises ValueError as compressed_morton_code does.
    """
    code_bits = _code_bits(grid_shape)
    outside = ((cells < 0) | (cells >= np.array(grid_shape))).any(axis=1)
    if outside.any():
        raise ValueError(f"grid position {tuple(cells[outside][0].tolist())} lies outside the grid of {grid_shape} chunks")
    axes = np.ascontiguousarray(cells.T, np.uint64)
    codes = np.zeros(len(cells), np.uint64)
    for position, (axis, bit) in enumerate(code_bits):
        codes |= (axes[axis] >> np.uint64(bit) & np.uint64(1)) << np.uint64(position)
    return codes


def morton_cell(code: int, grid_shape: Triple) -> Triple:
    """Return the position that a compressed Morton code names; where an extent is no power of two it may lie outside the grid.

    Raises ValueError for a code of more bits than the grid's have, and for a grid that needs more than 64.
    """
    code_bits = _code_bits(grid_shape)
    if code >> len(code_bits):
        raise ValueError(f"chunk id {code} has more than the {len(code_bits)} bits of a grid of {grid_shape} chunks")
    cell = [0, 0, 0]
    for position, (axis, bit) in enumerate(code_bits):
        cell[axis] |= (code >> position & 1) << bit
    return cell[0], cell[1], cell[2]


def morton_bits(grid_shape: Triple) -> int:
    """Return how many bits the compressed Morton codes of a grid have. Raises ValueError for more than 64."""
    return len(_code_bits(grid_shape))


def morton_cuboid(bits: int, grid_shape: Triple) -> Triple:
    """Return the extents in chunks, powers of two, of the cuboid in which only the lowest bits of the code differ."""
    extents = [1, 1, 1]
    for axis, _ in _code_bits(grid_shape)[:bits]:
        extents[axis] *= 2
    return extents[0], extents[1], extents[2]


def _code_bits(grid_shape: Triple) -> list[tuple[int, int]]:
    """Return the axis and the bit of its coordinate that each bit of a compressed Morton code is, from the lowest."""
    bits = [(n - 1).bit_length() for n in grid_shape]
    if sum(bits) > _CODE_BITS:
        raise ValueError(f"a grid of {grid_shape} chunks needs {sum(bits)} bits, a chunk id has {_CODE_BITS}: use larger chunks")
    return [(axis, bit) for bit in range(max(bits)) for axis in range(3) if bit < bits[axis]]


def _add(a: int, b: int) -> int:
    return a + b


def _pairwise(function: Callable[[int, int], int], a: Triple, b: Triple) -> Triple:
    return function(a[0], b[0]), function(a[1], b[1]), function(a[2], b[2])
