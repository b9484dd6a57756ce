"""What a plan will cost: files, bytes and time, from chunks that are made and thrown away."""

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.data_types import convert_voxels
from converters.geometry import pooled_box
from converters.pooling.average import average_pooling
from converters.pooling.mode import mode_pooling
from converters.volumes.blocks import times_read
from converters.volumes.plan import Plan
from converters.volumes.shards import shard_numbers
from formats.chunks import GZIPPED, encode_chunk
from formats.grid import Box, Triple
from formats.gzip import compress

_SAMPLES = 64
_SAMPLES_POOLED = 24
_SAMPLING_SECONDS = 10.0
"""When so much time is gone no further chunks are looked at."""

_FRONT_BYTES = 1 << 28
"""Of a source that can be read from its begin on only, so much is looked at."""

_START_SECONDS = 0.6
"""What a run takes besides its voxels: workers to start, thumbnail and info to write."""

_COPIED_BYTES_A_SECOND = 5e8
"""How fast what is unpacked, spooled or put into shards is written and read again; of an ordinary disk's cache."""

_OWN_FILES = 3
"""info, record and thumbnail."""


@dataclass(frozen=True)
class Estimate:
    """files: those that will be there at the end. stored_bytes: what they take, seconds: the whole run's; both from a sample."""

    files: int
    stored_bytes: int
    seconds: float


@dataclass(frozen=True)
class _Sample:
    """Chunks that were made. read_seconds: of read_voxels source voxels. made_seconds: of pooling and encoding `voxels`."""

    voxels: int
    stored_bytes: int
    made_seconds: float
    read_voxels: int
    read_seconds: float


@dataclass(frozen=True)
class _Front:
    """The first voxels of a source that can only be read from its begin on, and what reading them took."""

    voxels: NDArray[Any]
    seconds: float


def estimate(plan: Plan) -> Estimate:
    """Return what a plan will cost, from up to 64 chunks of the source and 24 windows pooled once.

    Nothing is written. Raises DamagedError and ValueRefusedError as the conversion would.
    """
    front = _front(plan)
    _measured(plan, front, 1, pooled=len(plan.scales) > 1)  # loads the codecs, so that the clock below does not tell of them
    fine = _measured(plan, front, _SAMPLES, pooled=False)
    coarse = _measured(plan, front, _SAMPLES_POOLED, pooled=True) if len(plan.scales) > 1 else fine
    stored = _stored(plan, fine.stored_bytes / fine.voxels, coarse.stored_bytes / coarse.voxels)
    voxels = plan.scales[0].box.voxels
    made = voxels * fine.made_seconds / fine.voxels + (plan.voxels - voxels) * coarse.made_seconds / coarse.voxels
    seconds = _START_SECONDS + _reading_seconds(plan, fine, front) + (made + _copying_seconds(plan, stored)) / _at_once(plan)
    return Estimate(_files(plan), round(stored), seconds)


def _stored(plan: Plan, fine: float, coarse: float) -> float:
    """Return the bytes of all scales. fine, coarse: bytes a voxel of the first two, whose ratio the others are taken to keep."""
    most = plan.chunk_format.num_channels * np.dtype(plan.chunk_format.data_type).itemsize
    total = plan.scales[0].box.voxels * fine
    for number, scale in enumerate(plan.scales[1:]):
        total += scale.box.voxels * min(coarse * (coarse / fine) ** number, most)
    return total


def _files(plan: Plan) -> int:
    if plan.layout != "sharded":
        return plan.chunks + _OWN_FILES
    shards = (sum(1 for _ in shard_numbers(scale.sharding, scale.grid.shape)) for scale in plan.scales if scale.sharding)
    return sum(shards) + _OWN_FILES


def _at_once(plan: Plan) -> int:
    return max(1, min(plan.workers, math.prod(plan.stages[0].tiles_shape)))


def _reading_seconds(plan: Plan, fine: _Sample, front: _Front | None) -> float:
    """Return what reading the source takes, by all workers or, where there is one stream, by one."""
    voxels = plan.scales[0].box.voxels
    if front is not None:
        return voxels * front.seconds / math.prod(front.voxels.shape[:3])
    times = 1.0 if plan.unit else times_read(plan.source.shape, plan.source.block, plan.stages[0].tile)
    return voxels * times * fine.read_seconds / max(1, fine.read_voxels) / _at_once(plan)


def _copying_seconds(plan: Plan, stored: float) -> float:
    copied = 2 * plan.unpacked_bytes + (stored if plan.layout == "sharded" else 0)
    return copied / _COPIED_BYTES_A_SECOND


def _front(plan: Plan) -> _Front | None:
    source = plan.source
    if source.block != source.shape or math.prod(source.shape) <= math.prod(plan.scales[0].chunk_size):
        return None
    x, y, z = source.shape
    slice_bytes = x * y * source.num_channels * source.dtype.itemsize
    box = Box((0, 0, 0), (x, y, min(z, max(1, _FRONT_BYTES // slice_bytes))))
    began = time.perf_counter()
    voxels = source.read(box)
    return _Front(voxels, time.perf_counter() - began)


def _cells(shape: Triple, count: int) -> list[Triple]:
    """Return up to count grid positions, evenly over the grid."""
    total = math.prod(shape)
    picked = sorted({(2 * i + 1) * total // (2 * count) for i in range(count)})
    return [(n % shape[0], n // shape[0] % shape[1], n // (shape[0] * shape[1])) for n in picked]


def _measured(plan: Plan, front: _Front | None, count: int, *, pooled: bool) -> _Sample:
    voxels = stored = read_voxels = 0
    read_seconds = 0.0
    began = time.perf_counter()
    for box in _boxes(plan, front, count, pooled):
        started = time.perf_counter()
        part = _read(plan, front, box)
        read_seconds += time.perf_counter() - started
        read_voxels += _met(plan.source.shape, plan.source.block, box)
        chunk = _pooled(plan, part, box) if pooled else part
        voxels += math.prod(chunk.shape[:3])
        stored += _stored_bytes(plan, chunk)
        if time.perf_counter() - began > _SAMPLING_SECONDS:
            break
    return _Sample(voxels, stored, time.perf_counter() - began - read_seconds, read_voxels, read_seconds)


def _boxes(plan: Plan, front: _Front | None, count: int, pooled: bool) -> list[Box]:
    """Return boxes of source voxels, counted from its first, that are chunks of the first scale or become one of the second."""
    shape = front.voxels.shape[:3] if front else plan.source.shape
    extents = plan.scales[0].chunk_size
    if pooled:
        x, y, z = (c * s for c, s in zip(plan.scales[1].chunk_size, plan.scales[1].step, strict=True))
        extents = (x, y, z)
    # Chunks that only the front cuts are left out, those that the volume's end cuts are not.
    whole_cells = zip(shape, plan.source.shape, extents, strict=True)
    x, y, z = (-(-n // e) if n == end else max(1, n // e) for n, end, e in whole_cells)
    whole = Box((0, 0, 0), (shape[0], shape[1], shape[2]))
    corners = [tuple(c * e for c, e in zip(cell, extents, strict=True)) for cell in _cells((x, y, z), count)]
    return [Box((0, 0, 0), extents).shifted((a, b, c)).intersection(whole) for a, b, c in corners]


def _met(shape: Triple, block: Triple, box: Box) -> int:
    """Return the voxels of all blocks that a box meets."""
    parts = zip(shape, block, box.start, box.end, strict=True)
    return math.prod(min(-(-end // b) * b, n) - start // b * b for n, b, start, end in parts)


def _read(plan: Plan, front: _Front | None, box: Box) -> NDArray[Any]:
    """Return the voxels of a box as they are converted."""
    read = front.voxels[box.slices()] if front else plan.source.read(box)
    return np.asfortranarray(convert_voxels(read, plan.chunk_format.data_type, plan.layer)[0])


def _pooled(plan: Plan, voxels: NDArray[Any], box: Box) -> NDArray[Any]:
    """Return a chunk of the second scale, or the part of one that lies within the volume."""
    scale = plan.scales[1]
    placed = box.shifted(plan.scales[0].box.start)
    pool = average_pooling if plan.layer == "image" else mode_pooling
    chunk = pool(voxels, placed.start, scale.step)
    x, y, z = (min(n, c) for n, c in zip(pooled_box(placed, scale.step).shape, scale.chunk_size, strict=True))
    return chunk[:x, :y, :z]


def _stored_bytes(plan: Plan, chunk: NDArray[Any]) -> int:
    data = encode_chunk(np.asfortranarray(chunk), plan.chunk_format)
    compressible = plan.layout != "flat" and plan.chunk_format.encoding in GZIPPED
    return len(compress(data)) if compressible else len(data)
