"""What a plan will cost: files, bytes and time, from chunks that are made and thrown away."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.data_types import convert_voxels
from converters.geometry import pooled_box
from converters.native import WORTH_COMPILING
from converters.pooling.choice import Pooling, pooling_for
from converters.volumes.blocks import times_read
from converters.volumes.encoders import encoder_for
from converters.volumes.plan import Plan
from converters.volumes.shards import shard_numbers
from formats.chunks import GZIPPED
from formats.grid import Box, Triple
from formats.gzip import compress

_SAMPLES = 64
_SAMPLES_POOLED = 24
_SAMPLING_SECONDS = 3.0
"""When so much time is gone no further chunks are looked at."""

_SEPARATE_BYTES = 1 << 28
"""Chunks are read one by one where all the blocks that they meet have no more."""

_LOOKS = 4
_LOOK_BYTES = 1 << 26
"""Of a source whose blocks are large, so much or one block is looked at in as many places."""

_FRONT_BYTES = 1 << 28
"""Of a source that can be read from its begin on only, so much is looked at."""

_START_SECONDS = 0.6
"""What a run takes besides its voxels: workers to start, thumbnail and info to write."""

_COPIED_BYTES_A_SECOND = 5e8
"""How fast what is unpacked, spooled or put into shards is written and read again; of an ordinary disk's cache."""

_OWN_FILES = 4
"""info, record, thumbnail and lock."""


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
class _Look:
    """Voxels of a source that were read at one go because each of its blocks holds many chunks, and what reading them took."""

    box: Box
    voxels: NDArray[Any]
    seconds: float


def estimate(plan: Plan) -> Estimate:
    """Return what a plan will cost, from up to 64 chunks of the source and 24 windows pooled once.

    Nothing is written. Raises DamagedError and ValueRefusedError as the conversion would.
    """
    looks = _looks(plan)
    for pooled in (False, len(plan.scales) > 1):
        _measured(plan, looks, 1, pooled=pooled)  # loads the codecs, so that the clock below does not tell of them
    fine = _measured(plan, looks, _SAMPLES, pooled=False)
    coarse = _measured(plan, looks, _SAMPLES_POOLED, pooled=True) if len(plan.scales) > 1 else fine
    stored = _stored(plan, fine.stored_bytes / fine.voxels, coarse.stored_bytes / coarse.voxels)
    voxels = plan.scales[0].box.voxels
    made = voxels * fine.made_seconds / fine.voxels + (plan.voxels - voxels) * coarse.made_seconds / coarse.voxels
    seconds = _START_SECONDS + _reading_seconds(plan, fine, looks) + (made + _copying_seconds(plan, stored)) / _at_once(plan)
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


def _reading_seconds(plan: Plan, fine: _Sample, looks: tuple[_Look, ...]) -> float:
    """Return what reading the source takes, by all workers or, where there is one stream, by one."""
    voxels = plan.scales[0].box.voxels
    each = fine.read_seconds / max(1, fine.read_voxels)
    if looks:
        each = sum(look.seconds for look in looks) / sum(look.box.voxels for look in looks)
    if _is_stream(plan):
        return voxels * each
    times = 1.0 if plan.unit else times_read(plan.source.shape, plan.source.block, plan.stages[0].tile)
    return voxels * times * each / _at_once(plan)


def _is_mapped(plan: Plan) -> bool:
    return plan.source.block == (1, 1, 1)


def _copying_seconds(plan: Plan, stored: float) -> float:
    source = plan.source
    mapped = math.prod(source.shape) * source.num_channels * source.dtype.itemsize if _is_mapped(plan) else 0
    copied = mapped + 2 * plan.unpacked_bytes + (stored if plan.layout == "sharded" else 0)
    return copied / _COPIED_BYTES_A_SECOND


def _is_stream(plan: Plan) -> bool:
    source = plan.source
    return source.block == source.shape and math.prod(source.shape) > math.prod(plan.scales[0].chunk_size)


def _looks(plan: Plan) -> tuple[_Look, ...]:
    """Read a source in a few places where reading its chunks one by one would take too long, else in none."""
    source = plan.source
    voxel = source.num_channels * source.dtype.itemsize
    if _is_stream(plan):
        x, y, z = source.shape
        return (_look(plan, Box((0, 0, 0), (x, y, min(z, max(1, _FRONT_BYTES // (x * y * voxel)))))),)
    boxes = _separate_boxes(plan, _SAMPLES, pooled=False)
    if sum(_met(source.shape, source.block, box) for box in boxes) * voxel <= _SEPARATE_BYTES:
        return ()
    extents = _look_extents(plan, _LOOK_BYTES // voxel)
    starts = {
        tuple((2 * i + 1) * n // (2 * _LOOKS) // e * e for n, e in zip(source.shape, extents, strict=True)) for i in range(_LOOKS)
    }
    return tuple(_look(plan, Box((0, 0, 0), extents).shifted((x, y, z))) for x, y, z in sorted(starts))


def _look(plan: Plan, box: Box) -> _Look:
    box = box.intersection(Box((0, 0, 0), plan.source.shape))
    began = time.perf_counter()
    voxels = plan.source.read(box)
    return _Look(box, voxels, time.perf_counter() - began)


def _look_extents(plan: Plan, most_voxels: int) -> Triple:
    """Return whole blocks of at most so many voxels, or one block, that no chunk of the second scale exceeds by far."""
    shape, chunk = plan.source.shape, _chunk_extents(plan, pooled=len(plan.scales) > 1)
    extents = plan.source.block
    while True:
        growing = [axis for axis in range(3) if extents[axis] < min(chunk[axis], shape[axis])]
        if not growing:
            return extents
        axis = min(growing, key=lambda axis: extents[axis])
        x, y, z = (n * 2 if a == axis else n for a, n in enumerate(extents))
        if math.prod(min(n, e) for n, e in zip(shape, (x, y, z), strict=True)) > most_voxels:
            return extents
        extents = (x, y, z)


def _cells(shape: Triple, count: int) -> list[Triple]:
    """Return up to count grid positions, evenly over the grid."""
    total = math.prod(shape)
    picked = sorted({(2 * i + 1) * total // (2 * count) for i in range(count)})
    return [(n % shape[0], n // shape[0] % shape[1], n // (shape[0] * shape[1])) for n in picked]


def _measured(plan: Plan, looks: tuple[_Look, ...], count: int, *, pooled: bool) -> _Sample:
    voxels = stored = read_voxels = 0
    read_seconds = made_seconds = 0.0
    # A look compiles no kernels.
    share = min(plan.scales[0].box.voxels // plan.workers, WORTH_COMPILING - 1)
    encode, pool = encoder_for(plan.chunk_format, share), pooling_for(plan.layer, plan.chunk_format.dtype, share)
    began = time.perf_counter()
    for box, look in _boxes(plan, looks, count, pooled):
        if _is_mapped(plan):
            plan.source.read(box).copy()  # pages that many chunks share come from the disk once, not for each of them
        started = time.perf_counter()
        read = look.voxels[box.slices(look.box.start)] if look else plan.source.read(box)
        part = np.asfortranarray(convert_voxels(read, plan.chunk_format.data_type, plan.layer)[0])
        converted = time.perf_counter()
        read_voxels += _met(plan.source.shape, plan.source.block, box)
        chunk = _pooled(plan, part, box, pool) if pooled else part
        voxels += math.prod(chunk.shape[:3])
        stored += _stored_bytes(plan, encode(np.asfortranarray(chunk), plan.chunk_format))
        read_seconds += converted - started
        made_seconds += time.perf_counter() - converted
        if time.perf_counter() - began > _SAMPLING_SECONDS:
            break
    return _Sample(voxels, stored, made_seconds, read_voxels, read_seconds)


def _boxes(plan: Plan, looks: tuple[_Look, ...], count: int, pooled: bool) -> Iterator[tuple[Box, _Look | None]]:
    """Yield boxes of source voxels that are chunks of the first scale or become one of the second, and in which look they lie."""
    if not looks:
        yield from ((box, None) for box in _separate_boxes(plan, count, pooled))
    # One of each look in turn, so that all are seen when time is short.
    each = [_boxes_within(plan, look.box, -(-count // len(looks)), pooled) for look in looks]
    for row in zip_longest(*each):
        yield from ((box, look) for box, look in zip(row, looks, strict=True) if box is not None)


def _separate_boxes(plan: Plan, count: int, pooled: bool) -> list[Box]:
    return _boxes_within(plan, Box((0, 0, 0), plan.source.shape), count, pooled)


def _boxes_within(plan: Plan, whole: Box, count: int, pooled: bool) -> list[Box]:
    """Return up to count boxes, evenly over whole, each of a chunk's extents or cut where whole ends."""
    extents = _chunk_extents(plan, pooled)
    # Chunks that only the end of a look cuts are left out, those that the volume's end cuts are not.
    ends = zip(whole.shape, whole.end, plan.source.shape, extents, strict=True)
    x, y, z = (-(-n // e) if end == last else max(1, n // e) for n, end, last, e in ends)
    corners = [tuple(c * e for c, e in zip(cell, extents, strict=True)) for cell in _cells((x, y, z), count)]
    return [Box((0, 0, 0), extents).shifted((a, b, c)).shifted(whole.start).intersection(whole) for a, b, c in corners]


def _chunk_extents(plan: Plan, pooled: bool) -> Triple:
    """Return the source voxels x, y, z of a chunk of the first scale, or of one of the second."""
    if not pooled:
        return plan.scales[0].chunk_size
    x, y, z = (c * s for c, s in zip(plan.scales[1].chunk_size, plan.scales[1].step, strict=True))
    return x, y, z


def _met(shape: Triple, block: Triple, box: Box) -> int:
    """Return the voxels of all blocks that a box meets."""
    parts = zip(shape, block, box.start, box.end, strict=True)
    return math.prod(min(-(-end // b) * b, n) - start // b * b for n, b, start, end in parts)


def _pooled(plan: Plan, voxels: NDArray[Any], box: Box, pool: Pooling) -> NDArray[Any]:
    """Return a chunk of the second scale, or the part of one that lies within the volume."""
    scale = plan.scales[1]
    placed = box.shifted(plan.scales[0].box.start)
    chunk = pool(voxels, placed.start, scale.step)
    x, y, z = (min(n, c) for n, c in zip(pooled_box(placed, scale.step).shape, scale.chunk_size, strict=True))
    return chunk[:x, :y, :z]


def _stored_bytes(plan: Plan, data: bytes) -> int:
    compressible = plan.layout != "flat" and plan.chunk_format.encoding in GZIPPED
    return len(compress(data)) if compressible else len(data)
