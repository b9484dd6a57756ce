"""The shards of a scale, from the parts that its tiles left."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from converters.results import BlockResult
from converters.shards import shard_from_parts
from converters.volumes.outputs import ShardParts
from converters.volumes.scales import PlannedScale
from converters.volumes.stages import Stage
from formats.grid import Box, Triple
from formats.info import Sharding
from formats.sharding.choice import shard_cells
from formats.sharding.ids import shard_name


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


def shard_numbers(sharding: Sharding, grid_shape: Triple) -> Iterator[int]:
    """Yield the shards of a grid that hold chunks."""
    for shard in range(1 << sharding.shard_bits):
        if shard_cells(shard, sharding, grid_shape).voxels:
            yield shard


def write_shard(task: ShardTask) -> BlockResult:
    """Put one shard together. Raises DiskFullError."""
    scale = task.stage.scales[task.position]
    parts = (task.parts.path(scale, tile) for tile in task.stage.owners(_voxels(task, scale), task.position))
    return BlockResult(stored_bytes=shard_from_parts(task.root / task.place, parts, task.sharding, task.item[0]))


def _voxels(task: ShardTask, scale: PlannedScale) -> Box:
    """Return the voxels of the chunks of a shard."""
    cells = shard_cells(task.item[0], task.sharding, scale.grid.shape)
    x, y, z = (end - 1 for end in cells.end)
    return scale.grid.chunk_box(cells.start).union(scale.grid.chunk_box((x, y, z)))
