"""One tile's work: read it, write its chunks at every scale of the stage, spool the coarsest."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.geometry import pooled_box, unpooled_box
from converters.pooling.choice import Pooling
from converters.results import BlockResult
from converters.volumes.contrast import sampled
from converters.volumes.encoders import Encoder
from converters.volumes.inputs import Input, Spool
from converters.volumes.outputs import ChunkSink, Output, check_shared
from converters.volumes.stages import Stage
from formats.chunks import ChunkFormat
from formats.grid import Box, Triple, chunk_name


@dataclass(frozen=True)
class TileTask:
    """What one tile's work needs to know; writes whole files that no other task writes, so it may be done again.

    item: the tile. sample_stride: 0 for none, else the step at which source voxels are kept for the contrast. skip_empty: chunks
    whose voxels are all 0 are counted and not written.
    """

    stage: Stage
    item: Triple
    input: Input
    output: Output
    chunk_format: ChunkFormat
    encode: Encoder
    pool: Pooling
    spool: Spool | None
    sample_stride: int
    skip_empty: bool

    @property
    def place(self) -> str:
        """The tile's name in messages: its scale and voxels."""
        return f"{self.stage.scales[0].key}/{chunk_name(self.stage.owned(self.item, 0))}"


@dataclass
class _Written:
    """What has been written of a tile so far."""

    chunks: int = 0
    empty_chunks: int = 0
    stored_bytes: int = 0


def convert_tile(task: TileTask) -> BlockResult:
    """Do one tile's work. Raises DamagedError, when nothing was written yet, ValueRefusedError, DiskFullError, DatasetError."""
    check_shared(task.output.root)
    stage = task.stage
    needed = stage.needed(task.item)
    voxels, error = task.input.read(needed[0])
    owned = stage.owned(task.item, 0)
    sample = _sample(task, voxels[owned.slices(needed[0].start)], owned) if task.sample_stride else None
    written = _Written()
    for position in range(len(stage.scales)):
        voxels = _write_scale(task, position, voxels, needed, written)
    if task.spool is not None:
        last = stage.owned(task.item, -1)
        task.spool.write(task.item, voxels[last.slices(needed[-1].start)])
    return BlockResult(owned.voxels, written.chunks, written.empty_chunks, written.stored_bytes, error, sample)


def _sample(task: TileTask, voxels: NDArray[Any], owned: Box) -> NDArray[Any]:
    x, y, z = task.stage.scales[0].box.start
    return sampled(voxels, owned.shifted((-x, -y, -z)), task.sample_stride)


def _write_scale(task: TileTask, position: int, voxels: NDArray[Any], needed: tuple[Box, ...], written: _Written) -> NDArray[Any]:
    """Write the chunks of the scale at position that the tile owns, and return the voxels of the next scale that it needs.

    voxels: those of needed[position]. The last scale has no next: its own voxels are returned.
    """
    stage = task.stage
    scale, owned = stage.scales[position], stage.owned(task.item, position)
    is_last = position + 1 == len(stage.scales)
    if not (position or stage.first):
        return voxels if is_last else _pooled(task, position, voxels, needed)
    # While a chunk is in the processor's cache it is pooled too, where no window reaches into its neighbours.
    coarser = None if is_last else _whole_windows(task, position, owned, needed)
    with task.output.open(scale, task.item) as sink:
        for cell in scale.grid.cells_within(owned):
            box = scale.grid.chunk_box(cell)
            chunk = _compact(voxels[box.slices(needed[position].start)])
            _write_chunk(task, sink, cell, chunk, written)
            if coarser is not None:
                step = stage.scales[position + 1].step
                pooled = pooled_box(box, step).slices(needed[position + 1].start)
                coarser[pooled] = task.pool(chunk, box.start, step)
    if is_last:
        return voxels
    return _pooled(task, position, voxels, needed) if coarser is None else coarser


def _compact(voxels: NDArray[Any]) -> NDArray[Any]:
    """Return a copy in Fortran order of voxels whose rows along x are contiguous.

    Each row is copied as one item: numpy's copy of an array goes row by row at twice the cost.
    """
    rows = voxels.T.view(f"V{voxels.shape[0] * voxels.itemsize}")
    return np.ascontiguousarray(rows).view(voxels.dtype).T


def _whole_windows(task: TileTask, position: int, owned: Box, needed: tuple[Box, ...]) -> NDArray[Any] | None:
    """Return room for the next scale's voxels when they can be made chunk by chunk, None when windows lie across chunks."""
    stage = task.stage
    scale, coarse = stage.scales[position], stage.scales[position + 1]
    parts = zip(scale.box.start, scale.chunk_size, coarse.step, strict=True)
    apart = all(start % step == 0 and chunk % step == 0 for start, chunk, step in parts)
    if not (apart and owned == needed[position] and pooled_box(owned, coarse.step) == needed[position + 1]):
        return None
    return np.empty((*needed[position + 1].shape, task.chunk_format.num_channels), task.chunk_format.dtype, order="F")


def _pooled(task: TileTask, position: int, voxels: NDArray[Any], needed: tuple[Box, ...]) -> NDArray[Any]:
    """Return the voxels of needed[position + 1], pooled from those of needed[position] at once."""
    scale, coarse = task.stage.scales[position], task.stage.scales[position + 1]
    window = unpooled_box(needed[position + 1], coarse.step).intersection(scale.box)
    return task.pool(voxels[window.slices(needed[position].start)], window.start, coarse.step)


def _write_chunk(task: TileTask, sink: ChunkSink, cell: Triple, chunk: NDArray[Any], written: _Written) -> None:
    # Most chunks need not be looked through.
    is_empty = not (chunk[0, 0, 0].any() or chunk.any())
    written.empty_chunks += is_empty
    if is_empty and task.skip_empty:
        return
    written.stored_bytes += sink.put(cell, task.encode(chunk, task.chunk_format))
    written.chunks += 1
