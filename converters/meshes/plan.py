"""What a meshing will do, decided before anything is written."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.budget import Budget
from converters.children import read_volume_info
from converters.errors import DatasetError, OptionError
from converters.geometry import Lengths
from converters.meshes.simplification import CORNERS_KEPT, Simplifier
from converters.options import MeshOptions
from converters.storage.any_layout import AnyLayoutStorage
from converters.storage.reader import VolumeReader
from formats.grid import Box, Grid, Triple
from formats.info import Scale, VolumeInfo

_TOLERATED = 0.3
"""The part of the largest error by which, as a root mean square, a vertex may miss the planes of those that it stands for: so the
surfaces of tissue lose nine tenths of their triangles, and lie nearer to the voxels than those of igneous at the same error."""
_COARSER = 3.0
"""How much more each level of detail tolerates than the one before."""
_COARSE_AGREEMENT = 0.3
"""Of normals in the coarser levels of detail: seen from afar thin parts may lose their ends."""
_LODS = 3
_NEAR_ISOTROPIC = 2.0
"""How much longer the longest edge of a voxel may be than the shortest."""

_LARGEST_BLOCK = (256, 128, 128)
"""Voxels; larger ones read less twice, but what is made of them fits no cache, and the kernel has to clear their pages."""
_LEAST_EDGE = 32
_PROCESS_BYTES = 160_000_000
"""Memory of a process before it reads a voxel."""
_VOXEL_BYTES = 64
"""Memory a voxel of a block takes with all that is made of it, measured on tissue where all is neurites."""
_TRIANGLE_BYTES = 300
"""Memory a triangle takes while a group of segments is joined, levelled and encoded; of one large segment of noise the most."""
_GROUP_TRIANGLES = 300_000
_GROUP_SEGMENTS = 2000


@dataclass(frozen=True)
class MeshPlan:
    """Everything that is decided before meshes are made; the same for the same dataset, options and budget.

    max_error: nm. simplifiers: of each level of detail, the finest first. block: voxels. notes: for the user.
    """

    dataset: Path
    info: VolumeInfo
    scale: Scale
    max_error: float
    simplifiers: tuple[Simplifier, ...]
    block: Triple
    budget: Budget
    notes: tuple[str, ...]

    @property
    def reader(self) -> VolumeReader:
        """The labels."""
        return VolumeReader(AnyLayoutStorage(self.dataset), self.info)

    @property
    def lod_scales(self) -> tuple[float, ...]:
        """What a detail of each level measures, nm."""
        return tuple(self.max_error * _COARSER**lod for lod in range(len(self.simplifiers)))

    def blocks(self) -> list[Box]:
        """Return the blocks, 0 at the scale's first voxel."""
        grid = Grid((0, 0, 0), self.scale.size, self.block)
        return [grid.chunk_box(cell) for cell in grid.cells()]


def make_mesh_plan(dataset: Path, options: MeshOptions, budget: Budget) -> MeshPlan:
    """Open a dataset and decide how its meshes are made. Raises DatasetError, OptionError."""
    info = read_volume_info(dataset)
    if info.type != "segmentation" or info.num_channels != 1 or info.data_type == "float32":
        raise DatasetError(
            f"{dataset}: its type is {info.type}, {info.data_type} with {info.num_channels} channels; meshes are made of a "
            "segmentation of whole numbers with one channel: convert the labels with --type segmentation"
        )
    scale = _scale(dataset, info, options)
    max_error = options.max_error or max(scale.resolution)
    lods = 1 if options.format == "legacy" else options.lods or _LODS
    if options.format == "legacy" and (options.lods or 1) > 1:
        raise OptionError(
            f"--lods {options.lods}: the legacy format has one level of detail; leave --lods or --format legacy out"
        )
    errors = [max_error * _COARSER**lod for lod in range(lods)]
    simplifiers = tuple(
        Simplifier(scale.resolution, _TOLERATED * error, error, CORNERS_KEPT if lod == 0 else _COARSE_AGREEMENT)
        for lod, error in enumerate(errors)
    )
    return MeshPlan(dataset, info, scale, max_error, simplifiers, _block(scale, budget), budget, ())


def _scale(dataset: Path, info: VolumeInfo, options: MeshOptions) -> Scale:
    if options.scale is not None:
        found = [scale for scale in info.scales if scale.key == options.scale]
        if not found:
            raise OptionError(
                f"--scale {options.scale}: {dataset} has the scales {', '.join(scale.key for scale in info.scales)}"
            )
        return found[0]
    if options.max_error is not None:
        fine = [scale for scale in info.scales if max(scale.resolution) <= options.max_error]
        return fine[-1] if fine else info.scales[0]
    return min(info.scales, key=lambda scale: max(_NEAR_ISOTROPIC, _elongation(scale.resolution)))


def _elongation(resolution: Lengths) -> float:
    return max(resolution) / min(resolution)


def _block(scale: Scale, budget: Budget) -> Triple:
    """Return voxels of a block, as large as the memory allows."""
    room = worker_room(budget) // _VOXEL_BYTES
    edges = list(_LARGEST_BLOCK)
    while math.prod(edge + 2 for edge in edges) > room and max(edges) > _LEAST_EDGE:
        edges[edges.index(max(edges))] //= 2
    x, y, z = (min(edge, size) for edge, size in zip(edges, scale.size, strict=True))
    if (x + 2) * (y + 2) * (z + 2) > room:
        needed = _processes(budget) * _PROCESS_BYTES + budget.workers * _VOXEL_BYTES * (_LEAST_EDGE + 2) ** 3
        raise OptionError(
            f"{budget.memory // 10**6} MB of memory for {budget.workers} workers are too few, meshes need {-(-needed // 10**6)} "
            "MB; give more with --memory, or fewer workers with --executor processes:N"
        )
    return x, y, z


def worker_room(budget: Budget) -> int:
    """Return the bytes that a worker has for a block or for triangles of segments."""
    return max(0, (budget.memory - _processes(budget) * _PROCESS_BYTES) // budget.workers)


def _processes(budget: Budget) -> int:
    """Return how many processes there are: the workers, and the one that gives them their work where there are several."""
    return budget.workers + (budget.workers > 1)


def room_for_triangles(budget: Budget) -> int:
    """Return how many triangles of segments the memory of a worker holds with all that is made of them."""
    return max(1, worker_room(budget) // _TRIANGLE_BYTES)


def plan_groups(triangles: NDArray[np.int64], budget: Budget) -> list[slice]:
    """Return runs of segments that are joined together: as many as the memory of a worker holds, and enough for all workers.

    triangles: of each segment, int64 [k]. One that no worker's memory holds is alone.
    """
    most = max(1, min(room_for_triangles(budget), _GROUP_TRIANGLES, int(triangles.sum()) // (4 * budget.workers)))
    groups, begin, sum_ = [], 0, 0
    for place, count in enumerate(triangles.tolist()):
        if place > begin and (sum_ + count > most or place - begin == _GROUP_SEGMENTS):
            groups.append(slice(begin, place))
            begin, sum_ = place, 0
        sum_ += count
    return [*groups, slice(begin, len(triangles))] if len(triangles) else []
