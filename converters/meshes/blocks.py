"""One block's surfaces: its labels are read, cut by marching cubes, and simplified.

A cube of eight neighbouring voxels belongs to the block that its lowest one lies in, so that a block reads one voxel more at its
upper end, and where the scale begins one of background.
"""

import ctypes
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.meshes.simplification import Simplifier, simplified_block
from converters.meshes.spool import write_part
from converters.meshes.surfaces import Surfaces, stacked
from converters.results import BlockResult
from converters.storage.reader import VolumeReader
from formats.grid import Box, Triple
from formats.info import Scale

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""From glibc's malloc.h."""
_KEPT_BYTES = 1 << 30

_LABEL_BYTES = 24
"""Memory that a voxel takes while its label is read and numbered."""
_SEGMENT_BYTES = 450
_VERTEX_BYTES = 200
"""Memory of a vertex of marching cubes with its triangles, at worst: measured on noise, of which nothing can be left out."""
_SIMPLIFIED_BYTES = 220
"""Memory a vertex takes beyond that while its segment is simplified."""
_LEAST_EDGE = 8
"""Voxels of a block that is not cut."""


@dataclass(frozen=True)
class MeshSource:
    """The labels that meshes are made of.

    simplifier: None leaves surfaces as marching cubes made them. segments: the only ones to mesh, ascending; all but 0 when it
    is None.
    """

    reader: VolumeReader
    scale: Scale
    simplifier: Simplifier | None
    segments: tuple[int, ...] | None = None


@dataclass(frozen=True)
class BlockTask:
    """One block. box: its voxels, 0 at the scale's first one. folder: for its parts. room: bytes that it may take."""

    source: MeshSource
    box: Box
    folder: Path
    room: int
    item: tuple[int]

    @property
    def place(self) -> str:
        """The block's name in messages."""
        return f"{self.source.scale.key} from voxel {self.box.start}"


def part_path(folder: Path, number: int, piece: int = 0) -> Path:
    """Return the file of a block's surfaces, or of a piece of them where they are in several."""
    return folder / f"{number // 1000}" / (f"{number}.{piece}" if piece else f"{number}")


def part_paths(folder: Path, number: int) -> Iterator[Path]:
    """Yield the files of a block that is done."""
    yield part_path(folder, number)
    for piece in count(1):
        path = part_path(folder, number, piece)
        if not path.exists():
            return
        yield path


def mesh_block(task: BlockTask) -> BlockResult:
    """Write the surfaces of one block. Raises DatasetError, DiskFullError."""
    _keep_memory()
    stored = 0
    for piece, surfaces in enumerate(surfaces_within(task.source, task.box, task.room)):
        stored += write_part(part_path(task.folder, task.item[0], piece), surfaces)
    return BlockResult(voxels=task.box.voxels, stored_bytes=stored)


@cache
def _keep_memory() -> None:
    """Ask glibc to keep what arrays leave for the next ones: a fifth of the time went to pages given back and cleared again."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def surfaces_within(source: MeshSource, box: Box, room: int) -> Iterator[Surfaces]:
    """Yield the surfaces of a block as block_surfaces returns them, those of parts of it where all together take too much.

    Noise has fifty times the triangles of tissue. room: bytes.
    """
    waiting = [box]
    while waiting:
        some = waiting.pop()
        numbered = _numbered(source, some)
        if numbered.needed_bytes <= room or max(some.shape) <= _LEAST_EDGE:
            yield _surfaces(source, numbered)
        else:
            waiting += _halves(some)


def block_surfaces(source: MeshSource, box: Box) -> Surfaces:
    """Return the triangles that belong to a block, simplified; all surfaces are closed at the faces of the scale.

    box: as BlockTask has it. Raises DatasetError for chunks that cannot be read.
    """
    return _surfaces(source, _numbered(source, box))


@dataclass(frozen=True)
class _Numbered:
    """The labels of a block, with what they are numbered by, and how large their surfaces are.

    labels: int32 [x, y, z] in Fortran order. numbers: of each segment. origin: of the first voxel.
    """

    labels: NDArray[np.int32]
    numbers: dict[int, int]
    origin: Triple

    @property
    def needed_bytes(self) -> int:
        """What making the surfaces takes, about."""
        from converters.meshes.counting import surface_sizes

        vertices = surface_sizes(self.labels.T, len(self.numbers) + 1)
        surfaces = _VERTEX_BYTES * int(vertices.sum()) + _SIMPLIFIED_BYTES * int(vertices.max())
        return _LABEL_BYTES * self.labels.size + _SEGMENT_BYTES * len(self.numbers) + surfaces


def _numbered(source: MeshSource, box: Box) -> _Numbered:
    import fastremap

    outer = _with_neighbours(source, box)
    labels, found_numbers = fastremap.renumber(_labels(source, outer), preserve_zero=True, in_place=False)
    numbers = {int(segment): int(number) for segment, number in found_numbers.items() if segment}
    return _Numbered(np.asfortranarray(labels, np.int32), numbers, outer.start)


def _surfaces(source: MeshSource, numbered: _Numbered) -> Surfaces:
    from converters.meshes.cubes import raw_surfaces

    numbers = numbered.numbers
    if not numbers:
        return stacked([])
    raw = raw_surfaces(numbered.labels, len(numbers) + 1)
    found = simplified_block(raw, numbers, numbered.origin, source.simplifier)
    # Also those of which simplification left nothing here: whoever joins the parts looks whether anything is left of them.
    here = np.diff(raw.triangle_ends)[[numbers[segment] - 1 for segment in found.segments.tolist()]] > 0
    return Surfaces(found.segments[here], found.vertex_ends[here], found.triangle_ends[here], found.vertices, found.triangles)


def _halves(box: Box) -> list[Box]:
    """Return a box cut across its longest edge, the end first."""
    axis = box.shape.index(max(box.shape))
    middle = box.start[axis] + box.shape[axis] // 2
    begin, end = list(box.start), list(box.end)
    begin[axis] = end[axis] = middle
    (x, y, z), (u, v, w) = begin, end
    return [Box((x, y, z), box.end), Box(box.start, (u, v, w))]


def _with_neighbours(source: MeshSource, box: Box) -> Box:
    """Return the voxels to read: where the scale begins or ends, one of background."""
    x, y, z = (begin - (begin == 0) for begin in box.start)
    u, v, w = (end + 1 for end in box.end)
    return Box((x, y, z), (u, v, w))


def _labels(source: MeshSource, outer: Box) -> NDArray[Any]:
    """Return the labels of a box, 0 outside of the scale, [x, y, z], uint8, uint16, uint32 or uint64."""
    scale = source.scale
    inside = outer.intersection(Box((0, 0, 0), scale.size))
    found = source.reader.read(scale, inside.shifted(scale.voxel_offset))[..., 0]
    if found.dtype.kind == "i":
        found = found.astype(np.uint64)
    if source.segments is not None:
        found = np.where(np.isin(found, np.array(source.segments, np.uint64)), found, found.dtype.type(0))
    if inside == outer:
        return found
    labels = np.zeros(outer.shape, found.dtype, order="F")
    labels[inside.slices(outer.start)] = found
    return labels
