"""What a plan will cost: files, bytes and time, from chunks that are made and thrown away."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.geometry import pooled_box
from converters.pooling.average import average_pooling
from converters.pooling.mode import mode_pooling
from converters.volumes.inputs import SourceInput
from converters.volumes.plan import Plan
from formats.chunks import GZIPPED, encode_chunk
from formats.grid import Box, Triple
from formats.gzip import compress

_SAMPLES = 24
_SAMPLES_POOLED = 6
_START_SECONDS = 0.6
"""What a run takes besides its voxels: workers to start, thumbnail and info to write."""

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
    voxels: int
    stored_bytes: int
    seconds: float


def estimate(plan: Plan) -> Estimate:
    """Return what a plan will cost, from up to 24 chunks of the source and six windows pooled once.

    Nothing is written. Raises DamagedError and ValueRefusedError as the conversion would.
    """
    _measured(plan, [(0, 0, 0)], pooled=len(plan.scales) > 1)  # loads the codecs, so that the clock below does not tell of them
    fine = _measured(plan, _cells(plan.scales[0].grid.shape, _SAMPLES), pooled=False)
    coarse = _measured(plan, _cells(plan.scales[0].grid.shape, _SAMPLES_POOLED), pooled=True) if len(plan.scales) > 1 else fine
    voxels = plan.scales[0].box.voxels
    rest = plan.voxels - voxels
    stored = voxels * fine.stored_bytes / fine.voxels + rest * coarse.stored_bytes / coarse.voxels
    seconds = voxels * fine.seconds / fine.voxels + rest * coarse.seconds / coarse.voxels
    return Estimate(plan.chunks + _OWN_FILES, round(stored), _START_SECONDS + seconds / plan.workers)


def _cells(shape: Triple, count: int) -> list[Triple]:
    """Return up to count grid positions, evenly over the grid."""
    total = int(np.prod(shape, dtype=np.int64))
    picked = sorted({(2 * i + 1) * total // (2 * count) for i in range(count)})
    return [(n % shape[0], n // shape[0] % shape[1], n // (shape[0] * shape[1])) for n in picked]


def _measured(plan: Plan, cells: list[Triple], *, pooled: bool) -> _Sample:
    voxels = stored = 0
    began = time.perf_counter()
    for cell in cells:
        chunk = _pooled_chunk(plan, cell) if pooled else _read(plan, plan.scales[0].grid.chunk_box(cell))
        voxels += int(np.prod(chunk.shape[:3], dtype=np.int64))
        stored += _stored_bytes(plan, chunk)
    return _Sample(voxels, stored, time.perf_counter() - began)


def _pooled_chunk(plan: Plan, cell: Triple) -> NDArray[Any]:
    """Return a chunk of the second scale, or the part of one that lies within the volume."""
    scale, finer = plan.scales[1], plan.scales[0]
    corner = finer.grid.chunk_box(cell).start
    x, y, z = (c * s for c, s in zip(scale.chunk_size, scale.step, strict=True))
    window = Box(corner, (corner[0] + x, corner[1] + y, corner[2] + z)).intersection(finer.box)
    pool = average_pooling if plan.layer == "image" else mode_pooling
    chunk = pool(_read(plan, window), window.start, scale.step)
    x, y, z = (min(n, c) for n, c in zip(pooled_box(window, scale.step).shape, scale.chunk_size, strict=True))
    return chunk[:x, :y, :z]


def _read(plan: Plan, box: Box) -> NDArray[Any]:
    return SourceInput(plan.source, plan.chunk_format.data_type, plan.layer).read(box)[0]


def _stored_bytes(plan: Plan, chunk: NDArray[Any]) -> int:
    data = encode_chunk(np.asfortranarray(chunk), plan.chunk_format)
    compressible = plan.layout != "flat" and plan.chunk_format.encoding in GZIPPED
    return len(compress(data)) if compressible else len(data)
