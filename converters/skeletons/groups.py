"""Some segments' work: their fragments joined, their skeletons written as files or as parts of shards."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.results import BlockResult
from converters.skeletons.fragments import Fragment, read_fragments
from converters.skeletons.joining import Joined, Joining, joined
from converters.skeletons.tracing import fragments_path
from converters.storage.files import new_file, write_file
from converters.volumes.outputs import check_shared
from formats.grid import Triple
from formats.gzip import compress
from formats.info import Scale, Sharding
from formats.sharding.frame import shard_frame
from formats.sharding.ids import places, shard_name
from formats.skeletons.encoded import encode_skeleton
from formats.skeletons.info import VertexAttribute
from formats.skeletons.skeleton import RADIUS, VERTEX_TYPES, Skeleton

ATTRIBUTES = (VertexAttribute(RADIUS, "float32"), VertexAttribute(VERTEX_TYPES, "uint8"))
"""What is stored at each vertex."""

_SOMA = 1
"""SWC's type of a vertex in a cell body."""


@dataclass(frozen=True)
class SegmentCounts:
    """What one segment's skeleton is. cable_length: nm. limited: it may be unfinished. vertices is 0 where it has none."""

    segment: int
    vertices: int = 0
    cable_length: float = 0.0
    trees: int = 0
    end_points: int = 0
    branch_points: int = 0
    limited: bool = False


@dataclass(frozen=True)
class Destination:
    """Where skeletons go. folder: of the skeletons. parts: of what goes into shards, beside them. sharding: None for files."""

    folder: Path
    parts: Path
    told: Path
    sharding: Sharding | None


@dataclass(frozen=True)
class GroupTask:
    """The segments from first to last. blocks: those that hold fragments of them, in files below fragments."""

    first: int
    last: int
    blocks: tuple[Triple, ...]
    fragments: Path
    scale: Scale
    joining: Joining
    soma_radius: float
    destination: Destination
    item: tuple[int]

    @property
    def place(self) -> str:
        """The group's name in messages."""
        return f"segments {self.first} to {self.last}"


def join_group(task: GroupTask) -> BlockResult:
    """Do one group's work. Raises DiskFullError, DatasetError for what another run has changed."""
    destination = task.destination
    check_shared(destination.folder)
    rows, counts, stored = [], [], 0
    with new_file(part_path(destination, task.item[0])) as part:
        for segment, fragments in _of_segments(task):
            graph = joined(fragments, task.joining)
            limited = any(fragment.limited for fragment in fragments)
            counts.append(_counts(segment, graph, task.scale, limited=limited))
            if graph is None:
                continue
            data = encode_skeleton(_skeleton(graph, task), ATTRIBUTES)
            if destination.sharding is None:
                write_file(destination.folder / str(segment), data)
                stored += len(data)
                continue
            packed = compress(data) if destination.sharding.data_encoding == "gzip" else data
            rows.append((segment, part.tell(), len(packed)))
            part.write(packed)
        part.write(np.array(rows, "<u8").reshape(-1, 3).tobytes())
        part.write(len(rows).to_bytes(8, "little"))
    write_file(told_path(destination, task.item[0]), json.dumps([asdict(one) for one in counts]).encode())
    return BlockResult(stored_bytes=stored)


def part_path(destination: Destination, group: int) -> Path:
    """Return the file of a group's skeletons that go into shards: the data, rows of (segment, begin, bytes), their number."""
    return destination.parts / str(group)


def told_path(destination: Destination, group: int) -> Path:
    """Return the file with the counts of a group's segments."""
    return destination.told / f"{group}.json"


def read_counts(destination: Destination, groups: int) -> Iterator[SegmentCounts]:
    """Yield the counts of each segment, groups one after the other."""
    for group in range(groups):
        members: list[dict[str, Any]] = json.loads(told_path(destination, group).read_bytes())
        yield from (SegmentCounts(**one) for one in members)


def _of_segments(task: GroupTask) -> Iterator[tuple[int, list[Fragment]]]:
    found: dict[int, list[Fragment]] = {}
    for block in task.blocks:
        for fragment in read_fragments(fragments_path(task.fragments, block), task.first, task.last):
            found.setdefault(fragment.segment, []).append(fragment)
    for segment in sorted(found):
        yield segment, found.pop(segment)


def _skeleton(graph: Joined, task: GroupTask) -> Skeleton:
    """Return a skeleton in nm: the middle of voxel i lies at i + 0.5."""
    vertices = ((graph.places + 0.5) * np.array(task.scale.resolution)).astype(np.float32)
    kinds = np.where(graph.radii >= task.soma_radius, np.uint8(_SOMA), np.uint8(0))
    return Skeleton(vertices, graph.edges.astype(np.uint32), {RADIUS: graph.radii, VERTEX_TYPES: kinds})


def _counts(segment: int, graph: Joined | None, scale: Scale, *, limited: bool) -> SegmentCounts:
    if graph is None:
        return SegmentCounts(segment, limited=limited)
    degrees = np.bincount(graph.edges.ravel(), minlength=len(graph.places))
    points = graph.places * np.array(scale.resolution)
    lengths = np.linalg.norm(points[graph.edges[:, 0]] - points[graph.edges[:, 1]], axis=1)
    return SegmentCounts(
        segment,
        vertices=len(graph.places),
        cable_length=round(float(lengths.sum()), 3),
        trees=len(graph.places) - len(graph.edges),
        end_points=int((degrees == 1).sum()),
        branch_points=int((degrees > 2).sum()),
        limited=limited,
    )


@dataclass(frozen=True)
class SkeletonShardTask:
    """One shard of the skeletons in the parts of so many groups."""

    destination: Destination
    sharding: Sharding
    groups: int
    item: tuple[int]

    @property
    def place(self) -> str:
        """The shard's name in messages."""
        return shard_name(self.item[0], self.sharding)


def write_skeleton_shard(task: SkeletonShardTask) -> BlockResult:
    """Put one shard together from the groups' parts, one skeleton in memory at a time. Raises DiskFullError."""
    rows = np.concatenate([np.zeros((0, 4), np.uint64), *(_rows(task, group) for group in range(task.groups))])
    if not len(rows):
        return BlockResult()
    frame = shard_frame(rows[:, 0], rows[:, 2].astype(np.int64), task.sharding)
    with new_file(task.destination.folder / task.place) as shard:
        shard.write(frame.head)
        for _, begin, size, group in rows[frame.order].tolist():
            with open(part_path(task.destination, group), "rb") as file:
                file.seek(begin)
                shard.write(file.read(size))
        shard.write(frame.tail)
        return BlockResult(stored_bytes=shard.tell())


def _rows(task: SkeletonShardTask, group: int) -> NDArray[np.uint64]:
    """Return [n, 4] of the skeletons of a shard in a part: segment, begin, bytes, group."""
    with open(part_path(task.destination, group), "rb") as file:
        end = file.seek(-8, 2)
        count = int.from_bytes(file.read(8), "little")
        file.seek(end - 24 * count)
        rows = np.frombuffer(file.read(24 * count), "<u8").reshape(count, 3)
    shards, _ = places(rows[:, 0], task.sharding)
    ours = rows[shards == task.item[0]]
    return np.column_stack([ours, np.full(len(ours), group, np.uint64)])
