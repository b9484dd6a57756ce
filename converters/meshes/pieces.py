"""Pieces of a segment that is too large to be whole in a worker's memory.

A piece is any set of the segment's triangles. Along its open edges other pieces go on, so what they end at stays where it is;
everything else is simplified as if the piece were whole. So pieces fit at each level of detail, to the last bit, and those of a
coarser level, which are smaller, become fewer and lose the triangles along what was open between them.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.meshes.simplification import Simplifier, coarser, without_seams
from converters.meshes.spool import read_surfaces, write_part
from converters.meshes.surfaces import Surfaces, chosen, fitted
from converters.results import BlockResult


@dataclass(frozen=True)
class Stretch:
    """Triangles of a segment that follow one another in a file of surfaces. begin, end: among the segment's there."""

    path: Path
    begin: int
    end: int


@dataclass(frozen=True)
class PieceTask:
    """One piece of a segment at one level of detail.

    stretches: what it is made of. simplifier: of the level, for where stretches meet. coarser: of the next level, None at the
    last one. piece, next_piece: the files of the piece, and of what the next level is made of.
    """

    segment: int
    stretches: tuple[Stretch, ...]
    simplifier: Simplifier
    coarser: Simplifier | None
    piece: Path
    next_piece: Path
    item: tuple[int]

    @property
    def place(self) -> str:
        """The piece's name in messages."""
        return f"piece {self.item[0]} of segment {self.segment}"


def make_piece(task: PieceTask) -> BlockResult:
    """Write one piece, and what the next level is made of. Raises DatasetError, DiskFullError."""
    found, seams = fitted([_read(stretch, task.segment) for stretch in task.stretches])
    found = without_seams(found, seams, task.simplifier, open_vertices(found))
    stored = write_part(task.piece, found)
    if task.coarser is not None:
        stored += write_part(task.next_piece, coarser(found, task.coarser, open_vertices(found)))
    return BlockResult(voxels=len(found.triangles), stored_bytes=stored)


def open_vertices(surfaces: Surfaces) -> NDArray[np.bool_]:
    """Return which vertices lie on an edge that has not as many triangles along it one way as the other, bool [n]."""
    count = len(surfaces.vertices)
    ways = np.concatenate([_ways(surfaces.triangles[:, corner], surfaces.triangles[:, corner - 1], count) for corner in range(3)])
    ways.sort()
    edges = ways >> 1
    begins = np.flatnonzero(np.diff(edges, prepend=-1))
    sums = np.add.reduceat((ways & 1) * 2 - 1, begins) if len(ways) else ways
    unequal = edges[begins[sums != 0]]
    found = np.zeros(count, np.bool_)
    found[unequal // count] = True
    found[unequal % count] = True
    return found


def _ways(begins: NDArray[np.int32], ends: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """Return a number for each edge with a direction, those of the same edge next to each other."""
    low, high = np.minimum(begins, ends).astype(np.int64), np.maximum(begins, ends)
    low *= count
    low += high
    low *= 2
    low += begins < ends
    return low


def _read(stretch: Stretch, segment: int) -> Surfaces:
    whole = read_surfaces(stretch.path, np.array([segment], np.uint64))
    if stretch.end - stretch.begin == len(whole.triangles):
        return whole
    places = np.arange(len(whole.triangles))
    return chosen(whole, (places >= stretch.begin) & (places < stretch.end))
