"""Chunks of a conversion that are not written yet, each computed from the source by itself.

Where a chunk's part of the source can be read in a moment the chunk is the one that the conversion will write. At the coarse
scales, where it cannot, the chunk is made of single voxels of the source, a step of the scale apart, and of fewer of them where
each costs a large block.
"""

import json
import math
import os
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.budget import Budget
from converters.data_types import convert_voxels
from converters.errors import ConverterError, DatasetError
from converters.geometry import unpooled_box
from converters.options import ConvertOptions
from converters.pooling.choice import POOLING
from converters.sources.mapped import MappedSource, mapped_array
from converters.sources.opening import open_source
from converters.sources.packed import PackedSource
from converters.sources.source import Source
from converters.volumes.plan import Plan, plan_volume, source_options, volume_info
from converters.volumes.scales import PlannedScale
from formats.chunks import encode_chunk
from formats.grid import Box, Triple
from formats.info import encode_volume_info, parse_volume_info

_EXACT_BYTES = 1 << 25
"""Of the source, read for one chunk as it will be written; some tenths of a second."""
_SAMPLED_BYTES = 1 << 28
"""Of the source's blocks, read for one chunk made of single voxels; a second or two."""
_WHOLE_BYTES = 1 << 28
"""Of a packed stream, unpacked into memory where it has to be read from its begin."""
_SOME_BLOCK = (64, 64, 64)
"""What is read at a time of a source whose voxels can be had one by one, but not as a view of a file."""
_NICE = 5
_ANY_BUDGET = Budget(1 << 32, 1)
"""Neither scales nor chunks depend on what a run may take."""

_Points = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""Coordinates in the source along x, y, z, ascending, of the voxels of a chunk."""


class NotReadyError(ConverterError):
    """A chunk cannot be computed now, but later."""


def preview_file(begun: bytes, name: str, spool: Path) -> bytes | None:
    """Return a file of the dataset that the conversion of a request writes, None for what it will not have.

    begun: the request as claim.py keeps it. name: "info", which tells of no shards, or a chunk's, `KEY/x0-x1_y0-y1_z0-z1`. spool:
    where the run unpacks its source, if it does. For worker processes, which it makes give way to others.
    Raises NotReadyError, ConverterError.
    """
    _give_way()
    plan = _known_plan(begun)
    if plan is None:
        return None
    if name == "info":
        return _info(plan)
    key, _, last = name.rpartition("/")
    for position, scale in enumerate(plan.scales):
        if scale.key == key:
            cell = scale.grid.cell_of(last)
            return None if cell is None else preview_chunk(plan, position, cell, spool)
    return None


def background_chunk(info: bytes, name: str) -> bytes | None:
    """Return a chunk of zeros of the volume of an info, None where it has none of this name."""
    volume = parse_volume_info(info)
    key, _, last = name.rpartition("/")
    for scale in volume.scales:
        cell = scale.grid().cell_of(last) if scale.key == key else None
        if cell is not None:
            shape = (*scale.grid().chunk_box(cell).shape, volume.num_channels)
            return encode_chunk(np.zeros(shape, volume.data_type, order="F"), volume.chunk_format(scale))
    return None


@lru_cache(1)
def _give_way() -> None:
    os.nice(_NICE)


@lru_cache(4)
def _known_plan(begun: bytes) -> Plan | None:
    try:
        return plan_of_run(begun)
    except ConverterError:
        return None


def _info(plan: Plan) -> bytes:
    members = json.loads(encode_volume_info(volume_info(plan)))
    for scale in members["scales"]:
        scale.pop("sharding", None)
    return json.dumps(members).encode()


def plan_of_run(begun: bytes) -> Plan:
    """Return the plan of the conversion whose request, as claim.py keeps it, these bytes are.

    Raises DatasetError where they are no request of a conversion or the source has changed since, ConverterError.
    """
    try:
        request = json.loads(begun)
        source, fingerprint = str(request["source"]), request["fingerprint"]
        options = ConvertOptions(**request["options"])
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"what is being written is no conversion of a volume ({type(error).__name__})") from error
    opened = open_source(source, source_options(options))
    if json.loads(json.dumps(opened.fingerprint())) != fingerprint:
        raise DatasetError(f"{source} is not what it was when its conversion began")
    return plan_volume(opened, options, _ANY_BUDGET)


def preview_chunk(plan: Plan, position: int, cell: Triple, spool: Path | None = None) -> bytes:
    """Return a chunk of the scale at position, encoded; [x, y, z, channel] of the dataset before that.

    spool: where the run unpacks its source, if it does. Raises NotReadyError for a packed source that is large and not unpacked
    yet, DamagedError, ValueRefusedError, EncodeError.
    """
    return encode_chunk(preview_voxels(plan, position, plan.scales[position].grid.chunk_box(cell), spool), plan.chunk_format)


def preview_voxels(plan: Plan, position: int, box: Box, spool: Path | None = None) -> NDArray[Any]:
    """Return the voxels of a box of the scale at position, [x, y, z, channel], in the dataset's data type; see preview_chunk."""
    source = _readable(plan.source, spool)
    needed = _needed(plan.scales[: position + 1], box)
    if _read_bytes(source, _in_source(plan, needed[0])) <= _EXACT_BYTES:
        return _exact(plan, source, needed)
    return _sampled(plan, source, plan.scales[position], box)


def _readable(source: Source, spool: Path | None) -> Source:
    """Return what a packed source was unpacked to, where that is done; any other source as it is."""
    if not isinstance(source, PackedSource):
        return source
    # The run makes the file under another name and renames it: what is there is whole, and spooled writes nothing.
    if spool is not None and any(spool.glob(f"{source.unpacked.path.name}.*.spool")):
        return source.spooled(spool, lambda done, total: None)
    if math.prod(source.shape) * _voxel_bytes(source) > _WHOLE_BYTES:
        raise NotReadyError(f"{source.name} is being unpacked")
    return source


def _needed(scales: tuple[PlannedScale, ...], box: Box) -> list[Box]:
    """Return, for each scale, the voxels that box, of the last one, is made from."""
    boxes = [box]
    for finer, coarser in reversed(list(pairwise(scales))):
        boxes.insert(0, unpooled_box(boxes[0], coarser.step).intersection(finer.box))
    return boxes


def _exact(plan: Plan, source: Source, needed: list[Box]) -> NDArray[Any]:
    """Return the voxels of the last box, pooled scale by scale as the conversion does."""
    box = _in_source(plan, needed[0])
    voxels = _converted(plan, _whole(source)[box.slices()] if isinstance(source, PackedSource) else source.read(box))
    for finer, coarser in zip(needed[:-1], plan.scales[1 : len(needed)], strict=True):
        voxels = POOLING[plan.layer](voxels, finer.start, coarser.step)
    return voxels


def _sampled(plan: Plan, source: Source, scale: PlannedScale, box: Box) -> NDArray[Any]:
    """Return, for each voxel of box, one voxel of the source near the middle of what it is made from."""
    points = _middles(plan, scale, box)
    pick = _picker(source)
    if pick is not None:
        return _converted(plan, pick(points))
    block = source.block if math.prod(source.block) > 1 else _SOME_BLOCK
    while _touched_bytes(source, block, points) > _SAMPLED_BYTES and any(len(set(each.tolist())) > 1 for each in points):
        points = _fewer(block, points)
    return _converted(plan, _picked_from_blocks(source, block, points))


def _middles(plan: Plan, scale: PlannedScale, box: Box) -> _Points:
    whole = plan.scales[0].box
    axes = []
    for axis in range(3):
        factor, low = scale.factors[axis], whole.start[axis]
        middles = np.arange(box.start[axis], box.end[axis], dtype=np.int64) * factor + factor // 2
        axes.append(np.clip(middles, low, whole.end[axis] - 1) - low)
    return axes[0], axes[1], axes[2]


def _picker(source: Source) -> Callable[[_Points], NDArray[Any]] | None:
    """Return a function that gives single voxels of a source, None where they cost whole blocks."""
    if isinstance(source, PackedSource):
        whole = _whole(source)
        return lambda points: whole[np.ix_(*points)]
    if isinstance(source, MappedSource):
        mapped, everything = source, Box((0, 0, 0), source.shape)
        # Grey values are computed from what was picked: of the whole volume they would not fit into memory.
        stored = mapped.arrangement.view(mapped_array(mapped.array)[mapped.arrangement.index(everything)])
        return lambda points: mapped.scaled(stored[np.ix_(*points)])
    return None


@lru_cache(1)
def _whole(source: PackedSource) -> NDArray[Any]:
    return source.read(Box((0, 0, 0), source.shape))


def _picked_from_blocks(source: Source, block: Triple, points: _Points) -> NDArray[Any]:
    """Return the voxels at points, each of the source's blocks read once."""
    shape = tuple(len(each) for each in points)
    picked = np.empty((*shape, source.num_channels), source.dtype.newbyteorder("="), order="F")
    for parts in product(*(list(_runs(each // extent)) for each, extent in zip(points, block, strict=True))):
        inside = [each[part] for each, part in zip(points, parts, strict=True)]
        x, y, z = ((int(each[0]), int(each[-1]) + 1) for each in inside)
        read = source.read(Box((x[0], y[0], z[0]), (x[1], y[1], z[1])))
        picked[parts] = read[np.ix_(*(each - each[0] for each in inside))]
    return picked


def _runs(numbers: NDArray[np.int64]) -> Iterator[slice]:
    """Yield where each run of one number lies in ascending numbers."""
    bounds = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
    for begin, end in pairwise(bounds):
        yield slice(begin, end)


def _fewer(block: Triple, points: _Points) -> _Points:
    """Return half as many different points along the axis along which they lie in most blocks."""
    blocks = [len(set((each // extent).tolist())) for each, extent in zip(points, block, strict=True)]
    longest = blocks.index(max(blocks))
    if blocks[longest] == 1:
        longest = max(range(3), key=lambda axis: len(set(points[axis].tolist())))
    halved = list(points)
    different, place = np.unique(points[longest], return_inverse=True)
    halved[longest] = different[place // 2 * 2]
    return halved[0], halved[1], halved[2]


def _touched_bytes(source: Source, block: Triple, points: _Points) -> int:
    count = math.prod(len(set((each // extent).tolist())) for each, extent in zip(points, block, strict=True))
    return count * math.prod(min(n, extent) for n, extent in zip(source.shape, block, strict=True)) * _voxel_bytes(source)


def _read_bytes(source: Source, box: Box) -> int:
    """Return the bytes of all blocks that hold voxels of a box; of what is unpacked in memory, those of the box."""
    block = (1, 1, 1) if isinstance(source, PackedSource) else source.block
    extents = (
        min(n, -(-b // extent) * extent) - a // extent * extent
        for n, a, b, extent in zip(source.shape, box.start, box.end, block, strict=True)
    )
    return math.prod(extents) * _voxel_bytes(source)


def _voxel_bytes(source: Source) -> int:
    return source.num_channels * source.dtype.itemsize


def _in_source(plan: Plan, box: Box) -> Box:
    x, y, z = plan.source.geometry.voxel_offset
    return box.shifted((-x, -y, -z))


def _converted(plan: Plan, voxels: NDArray[Any]) -> NDArray[Any]:
    converted, _ = convert_voxels(voxels, plan.chunk_format.data_type, plan.layer)
    return np.asfortranarray(converted)
