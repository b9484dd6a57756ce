"""One tile's work: read it, write its chunks at every scale of the stage, spool the coarsest."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.data_types import LayerType
from converters.errors import DamagedError
from converters.geometry import unpooled_box
from converters.pooling.average import average_pooling
from converters.pooling.mode import mode_pooling
from converters.storage.storage import Storage
from converters.volumes.contrast import sampled
from converters.volumes.inputs import Input, Spool
from converters.volumes.scales import PlannedScale
from converters.volumes.stages import Stage
from formats.chunks import GZIPPED, ChunkFormat, encode_chunk
from formats.grid import Box, Triple, chunk_name

_POOLING = {"image": average_pooling, "segmentation": mode_pooling}


@dataclass(frozen=True)
class TileTask:
    """What one tile's work needs to know; writes whole files that no other task writes, so it may be done again.

    sample_stride: 0 for none, else the step at which source voxels are kept for the contrast.
    """

    stage: Stage
    tile: Triple
    input: Input
    storage: Storage
    chunk_format: ChunkFormat
    layer: LayerType
    spool: Spool | None
    sample_stride: int


@dataclass(frozen=True)
class TileResult:
    """What one tile's work gave: counts, the largest error of a data type change, and what the contrast is made from.

    failure: why the tile's part of the source could not be read; nothing was written then.
    """

    voxels: int = 0
    chunks: int = 0
    empty_chunks: int = 0
    stored_bytes: int = 0
    largest_error: float = 0.0
    sample: NDArray[Any] | None = None
    failure: str | None = None


@dataclass(frozen=True)
class _Written:
    chunks: int
    empty_chunks: int
    stored_bytes: int


def prepare_worker() -> None:
    """Do nothing: a worker that is asked to has imported this module before the first tile is there."""


def convert_tile(task: TileTask) -> TileResult:
    """Do one tile's work. Raises ValueRefusedError and DiskFullError; a damaged part of the source is told in the result."""
    stage = task.stage
    needed = stage.needed(task.tile)
    try:
        voxels, error = task.input.read(needed[0])
    except DamagedError as damage:
        return TileResult(failure=str(damage))
    owned = stage.owned(task.tile, 0)
    first = voxels[owned.slices(needed[0].start)]
    written = [_write_chunks(task, stage.scales[0], first, owned)] if stage.first else []
    x, y, z = stage.scales[0].box.start
    sample = sampled(first, owned.shifted((-x, -y, -z)), task.sample_stride) if task.sample_stride else None
    written += _write_coarser(task, voxels, needed)
    return TileResult(
        owned.voxels,
        sum(w.chunks for w in written),
        sum(w.empty_chunks for w in written),
        sum(w.stored_bytes for w in written),
        error,
        sample,
    )


def _write_coarser(task: TileTask, voxels: NDArray[Any], needed: tuple[Box, ...]) -> list[_Written]:
    """Pool from scale to scale, write what the tile owns of each, and spool the last."""
    written = []
    stage = task.stage
    for position in range(1, len(stage.scales)):
        scale, finer, box = stage.scales[position], stage.scales[position - 1], needed[position]
        window = unpooled_box(box, scale.step).intersection(finer.box)
        voxels = _POOLING[task.layer](voxels[window.slices(needed[position - 1].start)], window.start, scale.step)
        owned = stage.owned(task.tile, position)
        written.append(_write_chunks(task, scale, voxels[owned.slices(box.start)], owned))
    if task.spool is not None:
        last = stage.owned(task.tile, -1)
        task.spool.write(task.tile, voxels[last.slices(needed[-1].start)])
    return written


def _write_chunks(task: TileTask, scale: PlannedScale, voxels: NDArray[Any], owned: Box) -> _Written:
    """Encode and store the chunks of a scale that lie in owned, whose voxels these are."""
    chunks = empty = stored = 0
    compressible = task.chunk_format.encoding in GZIPPED
    for cell in scale.grid.cells_within(owned):
        box = scale.grid.chunk_box(cell)
        chunk = np.asfortranarray(voxels[box.slices(owned.start)])
        data = encode_chunk(chunk, task.chunk_format)
        stored += task.storage.put(f"{scale.key}/{chunk_name(box)}", data, compressible=compressible)
        chunks += 1
        empty += not chunk.any()
    return _Written(chunks, empty, stored)
