"""One block's surfaces: its labels are read, cut by marching cubes, and simplified.

A cube of eight neighbouring voxels belongs to the block that its lowest one lies in, so that a block reads one voxel more at its
upper end, and where the scale begins one of background.
"""

import ctypes
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.meshes.simplification import Simplifier, simplified_block
from converters.meshes.spool import write_part
from converters.meshes.surfaces import Surfaces, stacked
from converters.results import BlockResult
from converters.storage.reader import VolumeReader
from formats.grid import Box
from formats.info import Scale

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""From glibc's malloc.h."""
_KEPT_BYTES = 1 << 30


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
    """One block. box: its voxels, 0 at the scale's first one. folder: for its part."""

    source: MeshSource
    box: Box
    folder: Path
    item: tuple[int]

    @property
    def place(self) -> str:
        """The block's name in messages."""
        return f"{self.source.scale.key} from voxel {self.box.start}"

    @property
    def part(self) -> Path:
        """The file that the block's surfaces go to."""
        return part_path(self.folder, self.item[0])


def part_path(folder: Path, number: int) -> Path:
    """Return the file of a block's surfaces."""
    return folder / f"{number // 1000}" / f"{number}"


def mesh_block(task: BlockTask) -> BlockResult:
    """Write the surfaces of one block. Raises DatasetError, DiskFullError."""
    _keep_memory()
    surfaces = block_surfaces(task.source, task.box)
    return BlockResult(voxels=task.box.voxels, stored_bytes=write_part(task.part, surfaces))


@cache
def _keep_memory() -> None:
    """Ask glibc to keep what arrays leave for the next ones: a fifth of the time went to pages given back and cleared again."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def block_surfaces(source: MeshSource, box: Box) -> Surfaces:
    """Return the triangles that belong to a block, simplified; all surfaces are closed at the faces of the scale.

    box: as BlockTask has it. Raises DatasetError for chunks that cannot be read.
    """
    import fastremap

    from converters.meshes.cubes import raw_surfaces

    outer = _with_neighbours(source, box)
    labels, found_numbers = fastremap.renumber(_labels(source, outer), preserve_zero=True, in_place=False)
    numbers = {int(segment): int(number) for segment, number in found_numbers.items() if segment}
    if not numbers:
        return stacked([])
    raw = raw_surfaces(np.asfortranarray(labels, np.int32), len(numbers) + 1)
    found = simplified_block(raw, numbers, outer.start, source.simplifier)
    # Also those of which simplification left nothing here: whoever joins the parts looks whether anything is left of them.
    here = np.diff(raw.triangle_ends)[[numbers[segment] - 1 for segment in found.segments.tolist()]] > 0
    return Surfaces(found.segments[here], found.vertex_ends[here], found.triangle_ends[here], found.vertices, found.triangles)


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
