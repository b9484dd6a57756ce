"""Shards from the parts that tasks left: each shard is written once, with some MB of an object in memory at a time.

A part is a file with objects as they will lie in shards, and behind them rows of uint64 (id, begin, bytes before, bytes) and the
number of rows. What lies before an object goes with it, and no index tells of it: a mesh has its fragments before its manifest.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from converters.results import BlockResult
from converters.steps import Step
from converters.storage.files import new_file
from formats.info import Sharding
from formats.sharding.choice import hashed_sharding
from formats.sharding.frame import shard_frame
from formats.sharding.ids import places, shard_name

MOST_FILES = 10_000
"""Chunks of a volume, or objects of its segments, that are a file each, when nothing is said."""
_ROW = 4
_COUNT_BYTES = 8
_COPIED_BYTES = 1 << 24


def segment_sharding(layout: str, segments: int, *, gzipped: bool) -> Sharding | None:
    """Return how the objects of so many segments lie in shards, None for files of their own. layout: auto, files or sharded."""
    if layout == "sharded" or (layout == "auto" and segments > MOST_FILES):
        return hashed_sharding(segments, gzipped=gzipped)
    return None


@dataclass
class Part:
    """A part that is being written."""

    file: BinaryIO
    rows: list[tuple[int, int, int, int]] = field(default_factory=list)

    def put(self, number: int, data: bytes, before: Iterable[bytes] = ()) -> None:
        """Append the object of an id, as it is stored, with what lies before it, in pieces of any size. Raises DiskFullError."""
        begin = self.file.tell()
        for piece in before:
            self.file.write(piece)
        self.rows.append((number, begin, self.file.tell() - begin, len(data)))
        self.file.write(data)


@contextmanager
def new_part(path: Path) -> Iterator[Part]:
    """Give a part to write, which is there when the context is left without an error. Raises DiskFullError."""
    with new_file(path) as file:
        part = Part(file)
        yield part
        file.write(np.array(part.rows, "<u8").reshape(-1, _ROW).tobytes())
        file.write(len(part.rows).to_bytes(_COUNT_BYTES, "little"))


def shard_from_parts(path: Path, parts: Iterable[Path], sharding: Sharding, number: int) -> int:
    """Write a shard of the objects of it that are in parts, and return its bytes; without objects none is written, 0.

    Raises DiskFullError.
    """
    paths = list(parts)
    rows = np.concatenate(
        [np.zeros((0, _ROW + 1), np.uint64), *(_rows(path, n, sharding, number) for n, path in enumerate(paths))]
    )
    if not len(rows):
        return 0
    frame = shard_frame(rows[:, 0], rows[:, 3].astype(np.int64), sharding, rows[:, 2].astype(np.int64))
    with new_file(path) as shard:
        shard.write(frame.head)
        # One part is open at a time: there may be thousands. A part's objects often follow one another in a shard.
        for n, run in groupby(rows[frame.order].tolist(), itemgetter(_ROW)):
            with open(paths[n], "rb") as part:
                for _, begin, before, size, _ in run:
                    part.seek(begin)
                    _copy(part, shard, before + size)
        shard.write(frame.tail)
        return shard.tell()


def _copy(part: BinaryIO, shard: BinaryIO, size: int) -> None:
    for begin in range(0, size, _COPIED_BYTES):
        shard.write(part.read(min(_COPIED_BYTES, size - begin)))


def _rows(path: Path, n: int, sharding: Sharding, number: int) -> NDArray[np.uint64]:
    """Return [k, 5] of the objects of a shard in the nth part: id, begin, bytes before, bytes, n."""
    with open(path, "rb") as file:
        end = file.seek(-_COUNT_BYTES, 2)
        count = int.from_bytes(file.read(_COUNT_BYTES), "little")
        file.seek(end - 8 * _ROW * count)
        rows = np.frombuffer(file.read(8 * _ROW * count), "<u8").reshape(count, _ROW)
    shards, _ = places(rows[:, 0], sharding)
    ours = rows[shards == number]
    return np.column_stack([ours, np.full(len(ours), n, np.uint64)])


@dataclass(frozen=True)
class GroupParts:
    """The parts that groups of segments leave, each named by its number. folder: of the parts."""

    folder: Path

    def path(self, group: int) -> Path:
        """Return the file of a group's objects."""
        return self.folder / str(group)


@dataclass(frozen=True)
class SegmentShardTask:
    """One shard of the objects of segments. groups: how many parts there are. folder: where the shard goes."""

    parts: GroupParts
    groups: int
    sharding: Sharding
    folder: Path
    item: tuple[int]

    @property
    def place(self) -> str:
        """The shard's name in messages."""
        return shard_name(self.item[0], self.sharding)


def write_segment_shard(task: SegmentShardTask) -> BlockResult:
    """Put one shard together from the groups' parts. Raises DiskFullError."""
    parts = map(task.parts.path, range(task.groups))
    return BlockResult(stored_bytes=shard_from_parts(task.folder / task.place, parts, task.sharding, task.item[0]))


def segment_shards(parts: GroupParts, groups: int, sharding: Sharding, folder: Path) -> Step:
    """Return the step that puts the shards of a volume's segments together."""
    first, shards = SegmentShardTask(parts, groups, sharding, folder, (0,)), 1 << sharding.shard_bits

    def tasks() -> Iterator[SegmentShardTask]:
        return (replace(first, item=(number,)) for number in range(shards))

    return Step("shards", "shards", write_segment_shard, tasks, shards, "shards")
