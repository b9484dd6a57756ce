"""One block's surfaces: read with what lies around it, cut by marching cubes, simplified, and only its own triangles kept.

Each triangle belongs to the block that its lowest corner lies in. A block reads one largest cell of the octree more at its upper
end and one voxel more at its lower end, so that it knows all triangles at each vertex of its own triangles and all vertices of
their cells: its neighbours move those vertices to the very same places, and the parts fit without a seam.
"""

import ctypes
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.meshes.clustering import Octree, clustered
from converters.meshes.spool import write_part
from converters.meshes.surfaces import STEPS, Surfaces, chosen, marching_cubes
from converters.results import BlockResult
from converters.storage.reader import VolumeReader
from formats.grid import Box, Triple
from formats.info import Scale

_BELOW_ALL_ENDS = 0b111
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""From glibc's malloc.h."""
_KEPT_BYTES = 1 << 30


@dataclass(frozen=True)
class MeshSource:
    """The labels that meshes are made of.

    octree: how they are simplified; None leaves them as marching cubes made them. segments: the only ones to mesh, ascending;
    all but 0 when it is None.
    """

    reader: VolumeReader
    scale: Scale
    octree: Octree | None
    segments: tuple[int, ...] | None = None


@dataclass(frozen=True)
class BlockTask:
    """One block. box: its voxels, 0 at the scale's first one, multiples of the octree's largest cells. folder: for its part."""

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
    outer = _with_surroundings(source, box)
    surfaces = marching_cubes(_labels(source, outer), outer.start)
    if not len(surfaces.segments):
        return surfaces
    ours = _owned(surfaces, box, source.scale.size)
    here = np.logical_or.reduceat(ours, surfaces.triangle_ends - surfaces.triangle_counts)
    found = chosen(surfaces, ours) if source.octree is None else clustered(surfaces, source.octree, ours)
    # Also those of which simplification left nothing here: whoever joins the parts looks whether anything is left of them.
    return Surfaces(found.segments[here], found.vertex_ends[here], found.triangle_ends[here], found.vertices, found.triangles)


def _with_surroundings(source: MeshSource, box: Box) -> Box:
    """Return the voxels to read: where the scale ends, one of background."""
    halo = source.octree.halo if source.octree else (1, 1, 1)
    x, y, z = (begin - 1 for begin in box.start)
    u, v, w = (min(end + more, size) + 1 for end, more, size in zip(box.end, halo, source.scale.size, strict=True))
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


def _owned(surfaces: Surfaces, box: Box, size: Triple) -> NDArray[np.bool_]:
    """Tell which triangles belong to a block. Those below the scale's first voxel belong to the first block.

    A triangle's lowest corner lies below an end where any of its corners does, and not below a begin where none does.
    """
    below_ends = np.zeros(len(surfaces.vertices), np.uint8)
    below_begin = np.zeros(len(surfaces.vertices), bool)
    for bit, axis in enumerate(surfaces.vertices.T):
        if box.start[bit] > 0:
            below_begin |= axis < box.start[bit] * STEPS
        below_ends |= (axis < box.end[bit] * STEPS).view(np.uint8) << bit if box.end[bit] < size[bit] else np.uint8(1 << bit)
    places = below_ends | below_begin.view(np.uint8) << 3
    found = np.zeros(len(surfaces.triangles), np.uint8)
    for corner in surfaces.triangles.T:
        found |= places[corner]
    ours: NDArray[np.bool_] = found == _BELOW_ALL_ENDS
    return ours
