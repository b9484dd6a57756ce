"""What a conversion will do, decided before anything is written."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from converters.data_types import LayerType, data_type, layer_type
from converters.errors import OptionError, ValueRefusedError
from converters.executor import worker_count
from converters.options import ConvertOptions, byte_count
from converters.sources.opening import open_source
from converters.sources.source import Source, SourceOptions
from converters.storage.storage import Layout
from converters.volumes.scales import PlannedScale, default_chunk_size, plan_scales
from converters.volumes.stages import Stage, plan_stages
from formats.chunks import ChunkFormat, check_chunk_format, check_chunk_size
from formats.errors import EncodeError
from formats.grid import Triple
from formats.info import Scale, VolumeInfo

_PROCESS_BYTES = 90_000_000
"""Memory of a process before it reads a voxel: the interpreter, numpy and the codecs."""

_LARGEST_TILE = 1 << 24
"""Voxels; larger tiles are not faster."""

_EXACT_FLOAT32 = 1 << 24
"""The viewer computes positions in float32, which holds every whole number up to here."""


@dataclass(frozen=True)
class Plan:
    """Everything that is decided before a conversion begins.

    memory_bytes: what the whole run is planned to take at most. notes: one sentence each, for the user.
    """

    source: Source
    layer: LayerType
    chunk_format: ChunkFormat
    scales: tuple[PlannedScale, ...]
    stages: tuple[Stage, ...]
    layout: Layout
    workers: int
    memory_bytes: int
    notes: tuple[str, ...]

    @property
    def voxels(self) -> int:
        """Voxels of all scales together."""
        return sum(scale.box.voxels for scale in self.scales)

    @property
    def chunks(self) -> int:
        """Chunks of all scales together."""
        return sum(int(np.prod(scale.grid.shape, dtype=np.int64)) for scale in self.scales)


def make_plan(source_path: Path | str, options: ConvertOptions) -> Plan:
    """Open a source and decide everything about its conversion. Raises SourceError, OptionError, ValueRefusedError."""
    source = open_source(source_path, source_options(options))
    layer = layer_type(source, options.type)
    chunk_size = options.chunk_size or default_chunk_size(source.shape)
    chunk_format = _chunk_format(source, layer, chunk_size, options)
    scales = plan_scales(source.geometry, source.shape, chunk_size, options.scales)
    workers = worker_count(options.executor)
    voxel_bytes = _working_bytes(source, chunk_format)
    memory = byte_count(options.memory or "1GB")
    stages = plan_stages(scales, _tile_voxels(memory, workers, voxel_bytes))
    planned = max(_stage_bytes(stage, voxel_bytes, workers) for stage in stages)
    notes = (*source.notes, *_notes(scales, planned, memory))
    layout: Layout = "flat" if options.layout == "flat" else "nested"
    return Plan(source, layer, chunk_format, scales, stages, layout, workers, planned, notes)


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


def _working_bytes(source: Source, chunk_format: ChunkFormat) -> int:
    """Return the bytes a voxel of a tile takes while it is worked on: as read, as converted, and while it is pooled."""
    target = np.dtype(chunk_format.data_type)
    read = 0 if source.dtype == target else source.dtype.itemsize
    return source.num_channels * (read + 5 * target.itemsize // 2 + (target.itemsize == 1))


def _tile_voxels(memory: int, workers: int, voxel_bytes: int) -> int:
    free = memory - (workers + 1) * _PROCESS_BYTES
    return min(_LARGEST_TILE, max(0, free) // (workers * voxel_bytes))


def _stage_bytes(stage: Stage, voxel_bytes: int, workers: int) -> int:
    tile = [min(t, n) for t, n in zip(stage.tile, stage.scales[0].box.shape, strict=True)]
    at_once = min(workers, int(np.prod(stage.tiles_shape, dtype=np.int64)))
    return (at_once + 1) * _PROCESS_BYTES + at_once * voxel_bytes * int(np.prod(tile, dtype=np.int64))


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
