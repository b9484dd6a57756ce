"""How a volume is labelled: what is read, in which blocks, and the plan of the volume that its labels become."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

from converters.budget import Budget
from converters.data_types import data_type
from converters.errors import OptionError, ValueRefusedError
from converters.labels.components import Rule
from converters.labels.joining import label_type
from converters.labels.labelled import LabelledSource
from converters.labels.options import LabelOptions, volume_options
from converters.labels.spool import LabelSpool
from converters.labels.threshold import halo
from converters.sources.opening import open_source
from converters.sources.source import Source
from converters.volumes.plan import Plan, plan_volume, source_options
from converters.volumes.scales import default_chunk_size, plan_scales
from converters.volumes.stages import plan_stages
from formats.grid import Grid, Triple

_PROCESS_BYTES = 120_000_000
"""Memory of a process before it reads a voxel: the interpreter, numpy, scipy, cc3d and the codecs."""

_LABELLING_BYTES = 24
"""Bytes a voxel of a block takes while its components are found."""

_LARGEST_BLOCK = 1 << 23
"""Voxels; larger blocks are not faster."""

_MOST_READ = 3.0
"""A source that would be read more often, all blocks and their surroundings counted, is unpacked first."""

_COMPONENT_BYTES = 192
"""Memory that a component of a block takes while components are joined and measured."""

_FEW_COMPONENTS = 1 << 16
"""So many are joined whatever the budget is."""


@dataclass(frozen=True)
class LabelPlan:
    """Everything that is decided before voxels are labelled; the same for the same source, options and budget.

    source: the grey volume. blocks: counted from its first voxel. piece: voxels that are packed together. unpack: the source is
    unpacked first. worker_bytes: what one worker takes at most. volume: how the labels become a volume. notes: one sentence each,
    for the user.
    """

    source: Source
    blocks: Grid
    piece: Triple
    unpack: bool
    budget: Budget
    worker_bytes: int
    volume: Plan
    notes: tuple[str, ...]

    def pending(self, budget: Budget) -> int:
        """Return how many blocks the executor is given at a time: enough to keep its workers busy, if there is memory for all.

        budget: of this run, which may go on with another one's plan.
        """
        within = max(1, (budget.memory - _PROCESS_BYTES) // self.worker_bytes)
        return 2 * budget.workers if within >= budget.workers else within


def most_components(budget: Budget) -> int:
    """Return how many components of blocks can be joined within a budget."""
    return max(_FEW_COMPONENTS, (budget.memory - (budget.workers + 1) * _PROCESS_BYTES) // _COMPONENT_BYTES)


def make_label_plan(place: Path | str, options: LabelOptions, budget: Budget) -> LabelPlan:
    """Open a source and decide everything. Raises SourceError, OptionError, ValueRefusedError."""
    source = open_source(place, source_options(volume_options(options)))
    _check_source(source, options)
    piece = options.chunk_size or default_chunk_size(source.shape)
    block, bytes_of_it = _block(source, source.block, piece, options, budget)
    unpack = bytes_of_it > _share(budget) or _times_read(source.shape, source.block, block, options) > _MOST_READ
    if unpack:
        block, bytes_of_it = _block(source, (1, 1, 1), piece, options, budget)
    blocks = Grid((0, 0, 0), source.shape, block)
    labels = LabelledSource(source, LabelSpool(Path(), blocks, piece), label_type(1))
    volume = plan_labels(labels, options, budget)
    worker_bytes = _PROCESS_BYTES + bytes_of_it
    notes = (*volume.notes, *_notes(worker_bytes, math.prod(blocks.shape), budget))
    return LabelPlan(source, blocks, piece, unpack, budget, worker_bytes, volume, notes)


def plan_labels(labels: LabelledSource, options: LabelOptions, budget: Budget) -> Plan:
    """Decide everything about the volume of the labels. Raises OptionError."""
    # Pieces are chunks: a tile is whole ones, and nothing is gained by unpacking them first, however little memory there is.
    return replace(plan_volume(labels, volume_options(options), budget), unit=None)


def rule_of(options: LabelOptions, threshold: float) -> Rule:
    """Return which voxels belong together. Raises OptionError where delta has no meaning."""
    if options.delta is not None and threshold < 0:
        raise OptionError(
            f"--delta needs a threshold of 0 or more, and it is {threshold:.9g}: leave --delta out, or say a higher --threshold"
        )
    return Rule(threshold, options.connectivity, options.delta, options.min_size, options.max_size)


def _check_source(source: Source, options: LabelOptions) -> None:
    if source.num_channels > 1:
        raise OptionError(
            f"{source.name}: has {source.num_channels} channels, and one is labelled: say which with --channel, counted from 0"
        )
    try:
        data_type(source.dtype, "image")
    except ValueRefusedError as refused:
        raise ValueRefusedError(f"{source.name}: {refused}") from refused
    if source.label and options.level is None:
        raise OptionError(
            f"{source.name}: holds labels already, among which Otsu finds no threshold: `glassine convert` takes them as they "
            "are; to label the connected parts of all that is not 0 say --threshold 0"
        )
    if options.max_size is not None and options.max_size < options.min_size:
        raise OptionError(f"--max-size {options.max_size} is less than --min-size {options.min_size}: nothing would be left")
    rule_of(options, options.level or 0)


def _share(budget: Budget) -> int:
    """Return the bytes that each worker may take for its voxels."""
    return max(0, budget.memory - (budget.workers + 1) * _PROCESS_BYTES) // budget.workers


def _block(source: Source, packed: Triple, piece: Triple, options: LabelOptions, budget: Budget) -> tuple[Triple, int]:
    """Return the voxels of a block, whole pieces, and the bytes that its voxels take: too many where no block fits.

    packed: what is read of the source at one go.
    """
    scales = plan_scales(source.geometry, source.shape, piece, 1)
    most = _LARGEST_BLOCK
    while True:
        block = plan_stages(scales, most)[0].tile
        needed = _block_bytes(source, packed, block, options)
        if needed <= _share(budget) or most <= math.prod(piece):
            return block, needed
        most //= 2


def _block_bytes(source: Source, packed: Triple, block: Triple, options: LabelOptions) -> int:
    """Return the bytes that a block takes, with what lies around it as it is read, smoothed, and masked for delta."""
    margin, grey = halo(options.smooth), source.dtype.itemsize
    around = 2 * grey + (0 if options.smooth is None else 8) + (0 if options.delta is None else max(8, grey))
    unpacked = 0 if packed == (1, 1, 1) else 2 * grey
    return (
        _LABELLING_BYTES * _voxels(source.shape, block)
        + around * _voxels(source.shape, (block[0] + 2 * margin, block[1] + 2 * margin, block[2] + 2 * margin))
        + unpacked * _voxels(source.shape, packed)
    )


def _notes(worker_bytes: int, blocks: int, budget: Budget) -> tuple[str, ...]:
    planned = _PROCESS_BYTES + min(budget.workers, blocks) * worker_bytes
    if planned <= budget.memory:
        return ()
    return (
        f"the smallest blocks need about {planned / 1e9:.1f} GB, more than --memory {budget.memory / 1e9:.1f} GB: use fewer "
        "processes, or a smaller --smooth",
    )


def _voxels(shape: Triple, extents: Triple) -> int:
    return math.prod(min(n, e) for n, e in zip(shape, extents, strict=True))


def _times_read(shape: Triple, packed: Triple, block: Triple, options: LabelOptions) -> float:
    """Return how many times over the source's voxels are unpacked while all blocks are read. packed: the source's own blocks."""
    if packed == (1, 1, 1):
        return 0.0
    passes = 2 if options.level is None else 1
    return passes * math.prod(_along(n, p, b, halo(options.smooth)) for n, p, b in zip(shape, packed, block, strict=True))


def _along(extent: int, packed: int, block: int, margin: int) -> float:
    """Return the times that voxels along one axis are unpacked."""
    read = 0
    for begin in range(0, extent, block):
        low, high = max(0, begin - margin), min(begin + block + margin, extent)
        read += min(-(-high // packed) * packed, extent) - low // packed * packed
    return read / extent
