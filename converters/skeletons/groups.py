"""Some segments' work: their fragments joined, their skeletons written as files or as parts of shards."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from converters.results import BlockResult
from converters.shards import GroupParts, new_part
from converters.skeletons.fragments import Fragment, read_fragments
from converters.skeletons.joining import Joined, Joining, joined
from converters.skeletons.tracing import fragments_path
from converters.storage.files import write_file
from converters.volumes.outputs import check_shared
from formats.grid import Triple
from formats.gzip import compress
from formats.info import Scale, Sharding
from formats.skeletons.encoded import encode_skeleton
from formats.skeletons.info import VertexAttribute
from formats.skeletons.skeleton import RADIUS, VERTEX_TYPES, Skeleton

ATTRIBUTES = (VertexAttribute(RADIUS, "float32"), VertexAttribute(VERTEX_TYPES, "float32"))
"""What is stored at each vertex."""

_SOMA = 1
"""SWC's type of a vertex in a cell body."""


@dataclass(frozen=True)
class SegmentCounts:
    """What one segment's skeleton is. cable_length: nm. limited: it may be unfinished. vertices is 0 where it has none.

    targets: points that the user told which it has paths to.
    """

    segment: int
    vertices: int = 0
    cable_length: float = 0.0
    trees: int = 0
    end_points: int = 0
    branch_points: int = 0
    limited: bool = False
    targets: int = 0


@dataclass(frozen=True)
class Destination:
    """Where skeletons go. folder: of the skeletons. parts: of what goes into shards. sharding: None for files."""

    folder: Path
    parts: GroupParts
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
    counts, stored = [], 0
    with new_part(destination.parts.path(task.item[0])) as part:
        for segment, fragments in _of_segments(task):
            graph = joined(fragments, task.joining)
            counts.append(_counted(segment, fragments, graph, task.scale))
            if graph is None:
                continue
            data = encode_skeleton(_skeleton(graph, task), ATTRIBUTES)
            if destination.sharding is None:
                write_file(destination.folder / str(segment), data)
                stored += len(data)
                continue
            part.put(segment, compress(data) if destination.sharding.data_encoding == "gzip" else data)
    write_file(told_path(destination, task.item[0]), json.dumps([asdict(one) for one in counts]).encode())
    return BlockResult(segments=len(counts), stored_bytes=stored)


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
    kinds = np.where(graph.radii >= task.joining.parameters.soma_acceptance_threshold, np.float32(_SOMA), np.float32(0))
    return Skeleton(vertices, graph.edges.astype(np.uint32), {RADIUS: graph.radii, VERTEX_TYPES: kinds})


def _counted(segment: int, fragments: list[Fragment], graph: Joined | None, scale: Scale) -> SegmentCounts:
    told = SegmentCounts(segment, limited=any(fragment.limited for fragment in fragments))
    if graph is None:
        return told
    degrees = np.bincount(graph.edges.ravel(), minlength=len(graph.places))
    points = graph.places * np.array(scale.resolution)
    lengths = np.linalg.norm(points[graph.edges[:, 0]] - points[graph.edges[:, 1]], axis=1)
    wanted = {tuple(place) for place in graph.places[graph.wanted].tolist()}
    return replace(
        told,
        vertices=len(graph.places),
        cable_length=round(float(lengths.sum()), 3),
        trees=len(graph.places) - len(graph.edges),
        end_points=int((degrees == 1).sum()),
        branch_points=int((degrees > 2).sum()),
        targets=sum(tuple(place) in wanted for fragment in fragments for place in fragment.targets.tolist()),
    )
