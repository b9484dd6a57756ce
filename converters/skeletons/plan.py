"""What a skeletonizing will do, decided before anything is written."""

import math
from dataclasses import dataclass
from pathlib import Path

from converters.budget import Budget
from converters.children import read_volume_info
from converters.errors import DatasetError, OptionError
from converters.geometry import Lengths
from converters.skeletons.options import SkeletonizeOptions
from converters.skeletons.parameters import Parameters, parameters_of
from converters.skeletons.targets import Targets, TargetSpace, read_targets
from converters.storage.any_layout import AnyLayoutStorage
from converters.storage.reader import VolumeReader
from formats.grid import Grid, Triple
from formats.info import Scale, VolumeInfo

PROCESS_BYTES = 300_000_000
"""Memory of a process that has imported kimimaro."""
_VOXEL_BYTES = 80
"""Bytes that kimimaro takes at most for a voxel of a block that one segment fills."""
_LEAST_EDGE, _SMALL_EDGE = 64, 128
"""Voxels of a block: never fewer, and not fewer only so that each worker has some blocks."""
_MOST_VOXELS = 1 << 24
"""Voxels of a block at most: in larger ones paths take longer to find, and progress is shown more seldom."""
_BLOCKS_A_WORKER = 2
_LARGEST_ID = (1 << 64) - 1


@dataclass(frozen=True)
class SkeletonPlan:
    """Everything that is decided before a skeletonizing begins.

    scale: where it is traced. grid: the blocks, without the plane that each shares with the next. segments: None for all.
    before, after: points that paths are led to before and after all others.
    """

    dataset: Path
    info: VolumeInfo
    scale: Scale
    parameters: Parameters
    grid: Grid
    segments: tuple[int, ...] | None
    budget: Budget
    before: Targets
    after: Targets

    @property
    def reader(self) -> VolumeReader:
        """The labels."""
        return VolumeReader(AnyLayoutStorage(self.dataset), self.info)

    @property
    def blocks(self) -> int:
        """How many blocks there are."""
        return math.prod(self.grid.shape)


def make_skeleton_plan(dataset: Path, options: SkeletonizeOptions, budget: Budget) -> SkeletonPlan:
    """Decide everything about a skeletonizing. Raises DatasetError, OptionError."""
    info = read_volume_info(dataset)
    if info.type == "image" or not info.data_type.startswith("uint") or info.num_channels != 1:
        raise DatasetError(
            f"{dataset}: {info.type} of {info.data_type} with {info.num_channels} channels, expected a segmentation: "
            "labels become one with glassine convert --type segmentation"
        )
    scale = _scale(dataset, info, options)
    grid = Grid(scale.voxel_offset, scale.size, _block(scale, budget))
    segments = _segments(options.segments)
    space = TargetSpace(options.targets_unit, info.scales[0].resolution, scale.resolution)
    before, after = (read_targets(table, space).of(segments) for table in (options.targets_before, options.targets_after))
    return SkeletonPlan(dataset, info, scale, parameters_of(options, scale.resolution), grid, segments, budget, before, after)


def _scale(dataset: Path, info: VolumeInfo, options: SkeletonizeOptions) -> Scale:
    """Return the scale that is asked for, else the one whose voxels are as fine as asked for, as nearly as there is."""
    if options.scale is None:
        return min(info.scales, key=lambda scale: abs(math.log(min(scale.resolution) / options.voxel_size)))
    for scale in info.scales:
        if scale.key == options.scale:
            return scale
    raise OptionError(f"--scale {options.scale}: {dataset} has the scales {', '.join(scale.key for scale in info.scales)}")


def _segments(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    ids = tuple(sorted({int(part) for part in text.split(",")}))
    if not 1 <= ids[0] <= ids[-1] <= _LARGEST_ID:
        raise OptionError(f"--segments {text}: expected ids from 1 to {_LARGEST_ID}")
    return ids


def _block(scale: Scale, budget: Budget) -> Triple:
    """Return voxels of a block: as large as is of use and the memory allows, smaller where workers would have nothing to do."""
    room = (budget.memory // budget.workers - PROCESS_BYTES) // _VOXEL_BYTES
    edges = list(scale.size)
    while _worked(edges) > room and max(edges) > _LEAST_EDGE:
        _halve(edges, scale.resolution, _LEAST_EDGE)
    if _worked(edges) > room:
        needed = budget.workers * (PROCESS_BYTES + _VOXEL_BYTES * (_LEAST_EDGE + 1) ** 3)
        raise OptionError(
            f"{budget.memory // 10**6} MB of memory for {budget.workers} workers are too few, skeletons need "
            f"{-(-needed // 10**6)} MB; give more with --memory, or fewer workers with --executor processes:N"
        )
    while max(edges) > 2 * _SMALL_EDGE - 1 and (math.prod(edges) > _MOST_VOXELS or _are_few(edges, scale.size, budget)):
        _halve(edges, scale.resolution, 2 * _SMALL_EDGE - 1)
    return edges[0], edges[1], edges[2]


def _are_few(edges: list[int], size: Triple, budget: Budget) -> bool:
    """Tell whether there are so few blocks that some workers would wait for the others."""
    count = math.prod(-(-n // edge) for n, edge in zip(size, edges, strict=True))
    return budget.workers > 1 and count < _BLOCKS_A_WORKER * budget.workers


def _halve(edges: list[int], resolution: Lengths, above: int) -> None:
    """Halve the edge that is longest in nm, of those of more voxels than above."""
    lengths = [edge * nm if edge > above else 0 for edge, nm in zip(edges, resolution, strict=True)]
    axis = lengths.index(max(lengths))
    edges[axis] = -(-edges[axis] // 2)


def _worked(edges: list[int]) -> int:
    return math.prod(edge + 1 for edge in edges)
