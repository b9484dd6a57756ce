"""A group of segments: their parts joined, levels of detail made, and each object encoded and stored."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.meshes.blocks import MeshSource, block_surfaces
from converters.meshes.outputs import MeshOutput
from converters.meshes.simplification import Simplifier, coarser, without_seams
from converters.meshes.spool import read_surfaces
from converters.meshes.surfaces import STEPS, Surfaces, fitted, joined, only
from converters.results import BlockResult
from converters.storage.files import new_file
from formats.grid import Box
from formats.info import Scale
from formats.meshes.mesh import Mesh


@dataclass(frozen=True)
class GroupTask:
    """Some segments.

    segments: uint64 [k], ascending. parts: each file that holds surfaces of them, and the box of its block. coarser: how each
    coarser level of detail is made of the one before, the finest first. told: the folder for what a group tells of its meshes.
    """

    source: MeshSource
    segments: NDArray[np.uint64]
    parts: tuple[tuple[Path, Box], ...]
    coarser: tuple[Simplifier, ...]
    output: MeshOutput
    told: Path
    item: tuple[int]

    @property
    def place(self) -> str:
        """The group's name in messages."""
        return f"segments {self.segments[0]} to {self.segments[-1]}"


def mesh_group(task: GroupTask) -> BlockResult:
    """Store the meshes of one group. Raises DatasetError, DiskFullError, EncodeError."""
    whole = _whole(task)
    levels = [whole]
    for simplifier in task.coarser:
        levels.append(_closed_or(coarser(levels[-1], simplifier), levels[-1]))
    scale = task.source.scale
    with task.output.open(task.item[0]) as sink:
        for parts in zip(*(level.parts() for level in levels), strict=True):
            meshes = [Mesh(nanometres(vertices, scale), triangles.astype(np.uint32)) for _, vertices, triangles in parts]
            sink.put(parts[0][0], meshes)
    counts = np.column_stack([level.triangle_counts for level in levels]).astype(np.uint64)
    tell(task.told, task.item[0], np.column_stack([whole.segments, counts]))
    return BlockResult(voxels=int(counts[:, 0].sum()), chunks=len(whole.segments), stored_bytes=sink.stored_bytes)


def told_path(folder: Path, number: int) -> Path:
    """Return the file in which a group tells of its meshes: uint64 [k, 1 + levels], the segment and its triangles."""
    return folder / f"{number}.npy"


def tell(folder: Path, number: int, rows: NDArray[np.uint64]) -> None:
    """Write what a group tells of its meshes. Raises DiskFullError."""
    with new_file(told_path(folder, number)) as file:
        np.save(file, rows)


def _whole(task: GroupTask) -> Surfaces:
    """Return the finest level of a group's meshes."""
    parts = [read_surfaces(path, task.segments) for path, _ in task.parts]
    return whole_surfaces(task.source, list(dict.fromkeys(box for _, box in task.parts)), parts)


def whole_surfaces(source: MeshSource, boxes: Sequence[Box], parts: list[Surfaces]) -> Surfaces:
    """Return whole surfaces of the parts in blocks: what simplification left nothing of as marching cubes made it."""
    found, seams = fitted(parts)
    if source.simplifier is not None:
        found = without_seams(found, seams, source.simplifier)
    lost = found.volumes() <= 0
    if not lost.any():
        return found
    exact = replace(source, simplifier=None, segments=tuple(found.segments[lost].tolist()))
    return joined([only(found, ~lost), joined([block_surfaces(exact, box) for box in boxes])])


def _closed_or(coarse: Surfaces, fine: Surfaces) -> Surfaces:
    """Return the coarser surfaces, the finer one of a segment of which nothing is left."""
    lost = coarse.volumes() <= 0
    return joined([only(coarse, ~lost), only(fine, lost)]) if lost.any() else coarse


def nanometres(vertices: NDArray[np.int32], scale: Scale) -> NDArray[np.float32]:
    """Return vertices in the dataset's nm: a voxel's centre lies half a voxel from its corner."""
    offset, resolution = np.array(scale.voxel_offset, np.float64), np.array(scale.resolution)
    places: NDArray[np.float64] = (vertices / STEPS + (offset + 0.5)) * resolution
    return places.astype(np.float32)
