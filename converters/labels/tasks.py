"""One block's work: its grey values counted, or its components found."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.errors import ValueRefusedError
from converters.labels.components import Rule, block_components
from converters.labels.labelled import LabelledSource
from converters.labels.measuring import block_extents
from converters.labels.pictures import Pixels
from converters.labels.spool import LabelSpool, Measured
from converters.labels.threshold import above, grey_values, halo, level_counts
from converters.results import BlockResult
from converters.sources.source import Source
from converters.volumes.outputs import check_shared
from formats.grid import Box, Triple, chunk_name


@dataclass(frozen=True)
class GreySource:
    """The grey values of a source of one channel, smoothed when sigma (voxels) is given."""

    source: Source
    sigma: float | None

    def read(self, box: Box) -> NDArray[Any]:
        """Return the values [x, y, z] of box, the same whatever the box. Raises DamagedError, ValueRefusedError."""
        margin = halo(self.sigma)
        outer = Box(
            (box.start[0] - margin, box.start[1] - margin, box.start[2] - margin),
            (box.end[0] + margin, box.end[1] + margin, box.end[2] + margin),
        ).intersection(Box((0, 0, 0), self.source.shape))
        try:
            values = grey_values(self.source.read(outer)[..., 0], self.sigma)
        except ValueRefusedError as refused:
            raise ValueRefusedError(f"{self.source.name}: {refused}") from refused
        return values[box.slices(outer.start)]


@dataclass(frozen=True)
class BlockTask:
    """What one block's work needs to know. item: the block. rule, pixels: None where grey values are counted only."""

    grey: GreySource
    spool: LabelSpool
    item: Triple
    rule: Rule | None = None
    pixels: Pixels | None = None

    @property
    def box(self) -> Box:
        """The block's voxels, counted from the source's first."""
        return self.spool.blocks.chunk_box(self.item)

    @property
    def place(self) -> str:
        """The block's name in messages: its voxels in the source."""
        return f"voxels {chunk_name(self.box)}"


def count_levels(task: BlockTask) -> BlockResult:
    """Write the histogram of a block. Raises DamagedError, ValueRefusedError, DiskFullError."""
    check_shared(task.spool.folder)
    task.spool.write_histogram(task.item, level_counts(task.grey.read(task.box)))
    return BlockResult(voxels=task.box.voxels)


def label_block(task: BlockTask) -> BlockResult:
    """Write the components of a block. Raises DamagedError, ValueRefusedError, DiskFullError."""
    if task.rule is None or task.pixels is None:
        raise ValueError("a block is labelled by a rule and seen in pixels, and they were not given")
    check_shared(task.spool.folder)
    values = task.grey.read(task.box)
    block = block_components(values, task.box, task.grey.source.shape, task.rule)
    task.spool.write_bright(task.item, task.pixels.shrunk(_bright(values, task.rule), task.box))
    task.spool.write(task.item, block, *_facts(values))
    return BlockResult(voxels=task.box.voxels)


@dataclass(frozen=True)
class MeasureTask:
    """One block of the volume's labels. item: the block."""

    labels: LabelledSource
    pixels: Pixels
    item: Triple

    @property
    def box(self) -> Box:
        """The block's voxels, counted from the source's first."""
        return self.labels.spool.blocks.chunk_box(self.item)

    @property
    def place(self) -> str:
        """The block's name in messages: its voxels in the source."""
        return f"voxels {chunk_name(self.box)}"


def measure_block(task: MeasureTask) -> BlockResult:
    """Write where the components of a block lie, and how it looks along z. Raises DamagedError, DiskFullError."""
    spool, box = task.labels.spool, task.box
    check_shared(spool.folder)
    names, labels = task.labels.block_names(task.item), spool.read_labels(task.item, box)
    ids, extents = block_extents(labels, names, box)
    shown = task.pixels.shrunk(_shown(labels, names), box)
    spool.write_measured(task.item, Measured(ids, extents, shown))
    return BlockResult(voxels=box.voxels)


def _bright(values: NDArray[Any], rule: Rule) -> NDArray[np.bool_]:
    """Return in which columns along z values lie above the threshold, [x, y]."""
    bright = np.zeros(values.shape[:2], np.bool_, order="F")
    for z in range(values.shape[2]):
        bright |= above(values[:, :, z], rule.threshold)
    return bright


def _shown(labels: NDArray[np.uint32], names: NDArray[Any]) -> NDArray[Any]:
    """Return the largest name in each column along z, [x, y]."""
    shown = np.zeros(labels.shape[:2], names.dtype, order="F")
    for z in range(labels.shape[2]):
        plane = labels[:, :, z]
        if plane.any():
            np.maximum(shown, names[plane], out=shown)
    return shown


def _facts(values: NDArray[Any]) -> tuple[int, float]:
    """Return how many values are NaN, and the largest of the others, NaN where there is none."""
    highest = float(np.fmax.reduce(values, axis=None))
    if values.dtype.kind != "f" or not np.isnan(values.min()):
        return 0, highest
    return sum(int(np.isnan(values[:, :, z]).sum()) for z in range(values.shape[2])), highest
