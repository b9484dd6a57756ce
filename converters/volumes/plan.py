"""What a conversion will do, decided before anything is written."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from converters.budget import Budget, budget_of
from converters.data_types import LayerType, data_type, layer_type
from converters.errors import OptionError, ValueRefusedError
from converters.executor import open_executor
from converters.options import ConvertOptions
from converters.shards import MOST_FILES
from converters.sources.opening import open_source
from converters.sources.packed import PackedSource
from converters.sources.pieces.pieces import PiecesSource
from converters.sources.source import Source, SourceOptions
from converters.storage.storage import Layout
from converters.volumes.blocks import fitted_stages, times_read, unpacking_unit
from converters.volumes.scales import PlannedScale, default_chunk_size, plan_scales
from converters.volumes.stages import Stage, flat_stages, plan_stages
from formats.chunks import GZIPPED, ChunkFormat, check_chunk_format, check_chunk_size
from formats.errors import EncodeError
from formats.grid import Triple
from formats.info import Scale, VolumeInfo
from formats.sharding.choice import volume_sharding

_PROCESS_BYTES = 90_000_000
"""Memory of a process before it reads a voxel: the interpreter, numpy and the codecs."""

_KERNEL_BYTES = 50_000_000
"""Memory of a worker that encodes labels by kernels: the kernels and what compiles them."""

_LARGEST_TILE = 1 << 24
"""Voxels; larger tiles are not faster."""

_EXACT_FLOAT32 = 1 << 24
"""The viewer computes positions in float32, which holds every whole number up to here."""


@dataclass(frozen=True)
class Plan:
    """Everything that is decided before a conversion begins; the same for the same source, options and budget.

    unit: voxels x, y, z that are unpacked at a time when the source is unpacked first, else None. skip_empty: chunks whose voxels
    are all 0 are not written. worker_bytes: what one worker takes at most, memory_bytes: the whole run. notes: one sentence each,
    for the user.
    """

    source: Source
    layer: LayerType
    chunk_format: ChunkFormat
    scales: tuple[PlannedScale, ...]
    stages: tuple[Stage, ...]
    unit: Triple | None
    layout: Layout
    skip_empty: bool
    budget: Budget
    worker_bytes: int
    memory_bytes: int
    notes: tuple[str, ...]

    @property
    def workers(self) -> int:
        """How many blocks are worked on at once."""
        return self.budget.workers

    @property
    def unpacked_bytes(self) -> int:
        """What the unpacked source takes on the disk while the conversion runs, 0 where it is not unpacked."""
        return math.prod(self.source.shape) * _source_voxel(self.source) if self.unit else 0

    @property
    def voxels(self) -> int:
        """Voxels of all scales together."""
        return sum(scale.box.voxels for scale in self.scales)

    @property
    def chunks(self) -> int:
        """Chunks of all scales together."""
        return sum(int(np.prod(scale.grid.shape, dtype=np.int64)) for scale in self.scales)


@dataclass(frozen=True)
class _Passes:
    """How the source is gone through; see Plan."""

    stages: tuple[Stage, ...]
    unit: Triple | None
    worker_bytes: int


def make_plan(place: Path | str, options: ConvertOptions, budget: Budget | None = None) -> Plan:
    """Open a source and decide everything about its conversion. Raises SourceError, OptionError, ValueRefusedError.

    budget: of the run that is gone on with; else what the options and the machine give now.
    """
    if budget is None:
        with open_executor(options.executor) as executor:
            budget = budget_of(options.memory, executor)
    return plan_volume(open_source(place, source_options(options)), options, budget)


def plan_volume(source: Source, options: ConvertOptions, budget: Budget) -> Plan:
    """Decide everything about the conversion of a source that is open. Raises OptionError, ValueRefusedError."""
    layer = layer_type(source, options.type)
    chunk_size = options.chunk_size or default_chunk_size(source.shape)
    chunk_format = _chunk_format(source, layer, chunk_size, options)
    scales = plan_scales(source.geometry, source.shape, chunk_size, options.scales)
    layout = _layout(options, scales)
    if layout == "sharded":
        scales = _sharded(scales, chunk_format)
    passes = _passes(source, scales, chunk_format, budget)
    blocks = max(math.prod(stage.tiles_shape) for stage in passes.stages)
    planned = _PROCESS_BYTES + min(_at_once(passes.worker_bytes, budget), blocks) * passes.worker_bytes
    notes = (*source.notes, *_notes(scales, planned, budget.memory))
    return Plan(
        source=source,
        layer=layer,
        chunk_format=chunk_format,
        scales=scales,
        stages=passes.stages,
        unit=passes.unit,
        layout=layout,
        skip_empty=options.skip_empty,
        budget=budget,
        worker_bytes=passes.worker_bytes,
        memory_bytes=planned,
        notes=notes,
    )


def workers_within(plan: Plan, budget: Budget) -> int:
    """Return how many blocks of a plan may be worked on at once with another budget than its own; one at least."""
    return _at_once(plan.worker_bytes, budget)


def _at_once(worker_bytes: int, budget: Budget) -> int:
    return max(1, min(budget.workers, (budget.memory - _PROCESS_BYTES) // worker_bytes))


def source_options(options: ConvertOptions) -> SourceOptions:
    """Return the part of the options that says how to read a source."""
    return SourceOptions(options.axes, options.channel, options.time, options.resolution, options.voxel_offset, options.array)


def volume_info(plan: Plan) -> VolumeInfo:
    """Return the `info` of the dataset that a plan makes."""
    chunk_format = plan.chunk_format
    labels = chunk_format.encoding == "compressed_segmentation"
    scales = tuple(
        Scale(
            key=scale.key,
            size=scale.box.shape,
            resolution=scale.resolution,
            chunk_sizes=(scale.chunk_size,),
            encoding=chunk_format.encoding,
            voxel_offset=scale.box.start,
            compressed_segmentation_block_size=chunk_format.block_size if labels else None,
            sharding=scale.sharding,
            jpeg_quality=chunk_format.jpeg_quality if chunk_format.encoding == "jpeg" else None,
        )
        for scale in plan.scales
    )
    return VolumeInfo(plan.layer, chunk_format.data_type, chunk_format.num_channels, scales)


def _chunk_format(source: Source, layer: LayerType, chunk_size: Triple, options: ConvertOptions) -> ChunkFormat:
    encoding: str = options.encoding
    if encoding == "auto":
        encoding = "raw" if layer == "image" else "compressed_segmentation"
    try:
        target = data_type(source.dtype, layer)
    except ValueRefusedError as refused:
        raise ValueRefusedError(f"{source.name}: {refused}") from refused
    chunk_format = ChunkFormat(encoding, target, source.num_channels, jpeg_quality=options.jpeg_quality)
    try:
        check_chunk_format(chunk_format)
        check_chunk_size(chunk_size, chunk_format)
    except EncodeError as error:
        raise OptionError(f"--encoding {encoding} does not fit this source: {error}") from error
    return chunk_format


def _layout(options: ConvertOptions, scales: tuple[PlannedScale, ...]) -> Layout:
    if options.layout != "auto":
        return options.layout
    return "sharded" if sum(math.prod(scale.grid.shape) for scale in scales) > MOST_FILES else "nested"


def _sharded(scales: tuple[PlannedScale, ...], chunk_format: ChunkFormat) -> tuple[PlannedScale, ...]:
    gzipped = chunk_format.encoding in GZIPPED
    return tuple(replace(scale, sharding=volume_sharding(scale.grid.shape, gzipped=gzipped)) for scale in scales)


def _passes(source: Source, scales: tuple[PlannedScale, ...], chunk_format: ChunkFormat, budget: Budget) -> _Passes:
    """Return stages whose tiles read the source about once within the budget, after unpacking it where there are none."""
    shape, block, packed = source.shape, source.block, _source_voxel(source)
    process = _worker_process_bytes(chunk_format)
    share = max(0, budget.memory - _PROCESS_BYTES - budget.workers * process) // budget.workers
    voxel_bytes = _working_bytes(source, chunk_format)
    # A block is there twice while it is unpacked: as it lies in the file or the library's buffer, and as voxels.
    block_bytes = 2 * packed * _voxels_within(block, shape) if math.prod(block) > 1 else 0
    tile_voxels = min(_LARGEST_TILE, share // voxel_bytes)
    stages = plan_stages(scales, tile_voxels)
    whole: tuple[Stage, ...] | None = stages
    if times_read(shape, block, stages[0].tile) > 1:
        most = max(0, share - block_bytes) // voxel_bytes
        whole = fitted_stages((stages, flat_stages(scales, tile_voxels)), block, most, 2 * budget.workers)
    tight = block_bytes > share and block != (1, 1, 1)
    if whole is not None and not tight:
        return _Passes(whole, None, process + block_bytes + _tile_bytes(whole, voxel_bytes))
    unit = unit_for(source, budget)
    unpacking = 0 if _is_spooled(source) else 2 * packed * _voxels_within(unit, shape)
    return _Passes(stages, unit, process + max(unpacking, _tile_bytes(stages, voxel_bytes)))


def _is_spooled(source: Source) -> bool:
    """Tell whether a source is a packed stream, or many: written to the disk as it is unpacked, a few MB at a time."""
    if isinstance(source, PiecesSource):
        return all(_is_spooled(piece.source) for piece in source.pieces)
    return isinstance(source, PackedSource)


def unit_for(source: Source, budget: Budget) -> Triple:
    """Return the voxels x, y, z of a source that are unpacked at a time within the budget."""
    share = max(0, budget.memory - (budget.workers + 1) * _PROCESS_BYTES) // budget.workers
    return unpacking_unit(source.shape, source.block, share // (2 * _source_voxel(source)))


def _worker_process_bytes(chunk_format: ChunkFormat) -> int:
    """Return the memory of a worker before it reads a voxel, at most: kernels are not loaded for a few chunks."""
    return _PROCESS_BYTES + (_KERNEL_BYTES if chunk_format.encoding == "compressed_segmentation" else 0)


def _working_bytes(source: Source, chunk_format: ChunkFormat) -> int:
    """Return the bytes a voxel of a tile takes while it is worked on: as read, as converted, and while it is pooled."""
    target = np.dtype(chunk_format.data_type)
    mapped = source.dtype == target and math.prod(source.block) == 1
    read = 0 if mapped else source.dtype.itemsize
    return source.num_channels * (read + 5 * target.itemsize // 2 + (target.itemsize == 1))


def _source_voxel(source: Source) -> int:
    """Return the bytes of a voxel in the source's own data type."""
    return source.num_channels * source.dtype.itemsize


def _tile_bytes(stages: tuple[Stage, ...], voxel_bytes: int) -> int:
    return max(voxel_bytes * _voxels_within(stage.tile, stage.scales[0].box.shape) for stage in stages)


def _voxels_within(extents: Triple, shape: Triple) -> int:
    return math.prod(min(n, t) for n, t in zip(shape, extents, strict=True))


def _notes(scales: tuple[PlannedScale, ...], planned: int, memory: int) -> tuple[str, ...]:
    notes = []
    farthest = max(max(abs(n) for n in (*scales[0].box.start, *scales[0].box.end)), 0)
    if farthest > _EXACT_FLOAT32:
        notes.append(
            f"the volume reaches voxel {farthest}, the viewer is exact up to {_EXACT_FLOAT32}: chunks beyond may not be found"
        )
    if planned > memory:
        notes.append(
            f"the smallest tiles need about {planned / 1e9:.1f} GB, more than --memory {memory / 1e9:.1f} GB: use fewer processes"
        )
    return tuple(notes)
