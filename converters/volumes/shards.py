"""Shards from the parts that tiles left: each shard is written once, with a few chunks in memory at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import numpy as np

from converters.results import BlockResult
from converters.storage.files import new_file
from converters.volumes.outputs import ShardParts, part_entries
from converters.volumes.scales import PlannedScale
from converters.volumes.stages import Stage
from formats.grid import Box, Triple
from formats.info import Sharding
from formats.sharding.choice import shard_cells
from formats.sharding.frame import shard_frame
from formats.sharding.ids import places, shard_name


@dataclass(frozen=True)
class ShardTask:
    """One shard of the scale at position of a stage whose tiles are all done. root: the folder that scales are written to."""

    stage: Stage
    position: int
    sharding: Sharding
    parts: ShardParts
    root: Path
    item: tuple[int]

    @property
    def place(self) -> str:
        """The shard's name in messages."""
        return f"{self.stage.scales[self.position].key}/{shard_name(self.item[0], self.sharding)}"


@dataclass(frozen=True)
class _Piece:
    """A chunk in a part."""

    part: Path
    begin: int
    length: int


def shard_numbers(sharding: Sharding, grid_shape: Triple) -> Iterator[int]:
    """Yield the shards of a grid that hold chunks."""
    for shard in range(1 << sharding.shard_bits):
        if shard_cells(shard, sharding, grid_shape).voxels:
            yield shard


def write_shard(task: ShardTask) -> BlockResult:
    """Put one shard together. Raises DiskFullError."""
    scale = task.stage.scales[task.position]
    ids: list[int] = []
    pieces: list[_Piece] = []
    for tile in task.stage.owners(_voxels(task, scale), task.position):
        path = task.parts.path(scale, tile)
        with open(path, "rb") as file:
            entries = part_entries(file)
        shards, _ = places(entries[:, 0], task.sharding)
        for number, begin, length in entries[shards == task.item[0]].tolist():
            ids.append(number)
            pieces.append(_Piece(path, begin, length))
    size = _write(task, scale, ids, pieces)
    return BlockResult(stored_bytes=size)


def _write(task: ShardTask, scale: PlannedScale, ids: list[int], pieces: list[_Piece]) -> int:
    lengths = np.array([piece.length for piece in pieces], np.int64)
    frame = shard_frame(np.array(ids, np.uint64), lengths, task.sharding)
    with new_file(task.root / scale.key / shard_name(task.item[0], task.sharding)) as shard:
        shard.write(frame.head)
        # One part is open at a time: there may be thousands. A tile's chunks mostly follow one another in a shard.
        for path, run in groupby((pieces[position] for position in frame.order.tolist()), attrgetter("part")):
            with open(path, "rb") as part:
                for piece in run:
                    part.seek(piece.begin)
                    shard.write(part.read(piece.length))
        shard.write(frame.tail)
        return shard.tell()


def _voxels(task: ShardTask, scale: PlannedScale) -> Box:
    """Return the voxels of the chunks of a shard."""
    cells = shard_cells(task.item[0], task.sharding, scale.grid.shape)
    x, y, z = (end - 1 for end in cells.end)
    return scale.grid.chunk_box(cells.start).union(scale.grid.chunk_box((x, y, z)))
