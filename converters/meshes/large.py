"""A segment that is too large for the memory of a worker, meshed piece by piece.

Its blocks' parts are put together to pieces as large as the memory holds. For the legacy format each piece is a fragment. For the
multi-resolution format each level's pieces are cut at the planes of the octree, alike on both sides of where they meet, and the
fragments are put together from what lies in their boxes. No step holds more than some pieces or some fragments.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.meshes.dividing import divided, runs
from converters.meshes.fragments import (
    CutTask,
    EncodeTask,
    StoreTask,
    cut_piece,
    encode_fragments,
    octants_path,
    sizes_path,
    store_mesh,
)
from converters.meshes.joining import nanometres
from converters.meshes.multires_object import MOST_TRIANGLES, object_manifest
from converters.meshes.octree import OctreeGrid, Sample, grid_for, sample_of_pieces, sampled
from converters.meshes.outputs import LegacyFiles, MultiresFiles, MultiresParts
from converters.meshes.pieces import PieceTask, Stretch, make_piece
from converters.meshes.plan import MeshPlan
from converters.meshes.spool import read_index, read_surfaces
from converters.results import BlockResult
from converters.steps import Step, Work, do_step
from formats.meshes.mesh import Mesh

_ENCODED_TOGETHER = 300_000
"""Triangles of fragments that a task encodes, so that all workers have some."""
_AIMED_AT = MOST_TRIANGLES // 2
"""Triangles of a fragment: they are estimated once, before pieces are cut."""


@dataclass(frozen=True)
class Placed:
    """Triangles in a file. place: about where they lie, voxels. triangles: how many."""

    path: Path
    place: tuple[float, float, float]
    triangles: int


@dataclass(frozen=True)
class LargeSegment:
    """A segment, and what its mesh is made with and goes to.

    group: its number among the groups of segments. room: triangles that a worker's memory holds. spool: a folder of its own.
    told: the folder for what a group tells of its meshes.
    """

    segment: int
    group: int
    plan: MeshPlan
    room: int
    output: LegacyFiles | MultiresFiles | MultiresParts
    spool: Path
    told: Path

    def step_name(self, what: str) -> str:
        """Return the name in the journal of a step that makes some of its mesh."""
        return f"{what} of {self.segment}"


@dataclass(frozen=True)
class _Level:
    """The pieces of a level of detail, none of them empty. volume: inside all of them, cubic steps."""

    pieces: tuple[Path, ...]
    sample: Sample | None
    volume: float

    @property
    def triangles(self) -> int:
        return self.sample.triangles if self.sample else 0


def mesh_large(large: LargeSegment, parts: Sequence[Placed], work: Work) -> list[BlockResult]:
    """Store the mesh of a segment. parts: of the blocks. Raises DatasetError, DiskFullError, EncodeError."""
    levels: list[_Level] = []
    placed = list(parts)
    for lod in range(len(large.plan.simplifiers)):
        pieces, placed = _make_pieces(large, lod, placed, work)
        level = _look_at(large, pieces)
        # As for smaller segments: where nothing is left, the finer level stands for the coarser one.
        levels.append(level if not levels or level.volume > 0 else levels[-1])
    return _stored(large, levels, work)


def _make_pieces(large: LargeSegment, lod: int, placed: Sequence[Placed], work: Work) -> tuple[list[Path], list[Placed]]:
    """Make the pieces of a level, and return them with what those of the next level are made of."""
    stretches = [(item, stretch) for item in placed for stretch in _stretches(item, large.room)]
    places = np.array([item.place for item, _ in stretches]).reshape(-1, 3)
    weights = np.array([stretch.end - stretch.begin for _, stretch in stretches], np.int64)
    simplifiers, folder = large.plan.simplifiers, large.spool / f"pieces{lod}"
    coarser = simplifiers[lod + 1] if lod + 1 < len(simplifiers) else None
    sets = divided(places, weights, large.room)
    tasks = [
        PieceTask(
            large.segment,
            tuple(stretches[n][1] for n in some.tolist()),
            simplifiers[lod],
            coarser,
            folder / str(number),
            folder / f"{number}.next",
            (number,),
        )
        for number, some in enumerate(sets)
    ]
    do_step(work, Step(large.step_name(f"pieces {lod}"), "large segments", make_piece, lambda: iter(tasks), len(tasks), "pieces"))
    following = []
    for task, some in zip(tasks if coarser else [], sets, strict=False):
        x, y, z = np.average(places[some], axis=0, weights=weights[some]).tolist()
        following.append(Placed(task.next_piece, (x, y, z), _triangles_in(task.next_piece)))
    return [task.piece for task in tasks if _triangles_in(task.piece)], [item for item in following if item.triangles]


def _stretches(item: Placed, most: int) -> Iterator[Stretch]:
    for begin in range(0, item.triangles, most):
        yield Stretch(item.path, begin, min(begin + most, item.triangles))


def _triangles_in(path: Path) -> int:
    return int(read_index(path).triangle_ends[-1])


def _look_at(large: LargeSegment, pieces: Sequence[Path]) -> _Level:
    """Return what is told of the pieces of a level, of which one at a time is in memory."""
    total = sum(_triangles_in(path) for path in pieces)
    samples, volume, origin = [], 0.0, None
    for path in pieces:
        found = read_surfaces(path, np.array([large.segment], np.uint64))
        origin = found.vertices[:1] if origin is None else origin
        volume += _volume(origin, found.vertices, found.triangles)
        mesh = Mesh(nanometres(found.vertices, large.plan.scale), found.triangles.astype(np.uint32))
        samples.append(sampled(mesh, total))
    return _Level(tuple(pieces), sample_of_pieces(samples) if samples else None, volume)


def _volume(origin: NDArray[np.int32], vertices: NDArray[np.int32], triangles: NDArray[np.int32]) -> float:
    """Return the volume of the cones from the origin to triangles: of all pieces of a closed surface it is that inside."""
    from converters.meshes.measuring import volume_inside

    # The volume is measured from the first corner, here that of a triangle without an area.
    corners = np.concatenate([np.zeros((1, 3), np.int32), triangles + np.int32(1)])
    return float(volume_inside(np.concatenate([origin, vertices]), corners))


def _stored(large: LargeSegment, levels: Sequence[_Level], work: Work) -> list[BlockResult]:
    row = np.array([[large.segment, *(level.triangles for level in levels)]], np.uint64)
    task = StoreTask(large.output, large.segment, large.plan.scale, b"", levels[0].pieces, large.told, row, (large.group,))
    if not isinstance(large.output, LegacyFiles):
        samples = [level.sample for level in levels if level.sample]
        grid = grid_for(samples, large.output.encoding.bits, _AIMED_AT)
        manifest, files = _fragments(large, levels, grid, work)
        task = replace(task, manifest=manifest, files=files)
    return do_step(work, Step(large.step_name("mesh"), "large segments", store_mesh, lambda: iter([task]), 1, "meshes"))


def _fragments(large: LargeSegment, levels: Sequence[_Level], grid: OctreeGrid, work: Work) -> tuple[bytes, tuple[Path, ...]]:
    """Make all fragments and return the manifest, and the files with the fragments in their order."""
    cuts = _cut(large, levels, grid, work)
    tasks: list[EncodeTask] = []
    of_lods = []
    for lod in cuts:
        some = _encode_tasks(large, lod, len(tasks))
        tasks += some
        of_lods.append(some)
    name = large.step_name("fragments")
    do_step(work, Step(name, "large segments", encode_fragments, lambda: iter(tasks), len(tasks), "fragments"))
    sizes = [dict(row for task in lod for row in np.load(sizes_path(task.fragments)).tolist()) for lod in of_lods]
    octants = [np.unique(np.concatenate([np.load(octants_path(cut)) for cut in lod])) for lod in cuts]
    assert not isinstance(large.output, LegacyFiles)
    manifest = object_manifest(sizes, octants, large.output.encoding.lod_scales, grid)
    return manifest, tuple(task.fragments for task in tasks)


def _cut(large: LargeSegment, levels: Sequence[_Level], grid: OctreeGrid, work: Work) -> list[list[Path]]:
    """Cut all pieces, and return for each level the files of what is left of them."""
    tasks: list[CutTask] = []
    found: list[list[Path]] = []
    for lod, level in enumerate(levels):
        of_level = [large.spool / f"cut{lod}" / path.name for path in level.pieces]
        tasks += [
            CutTask(large.segment, piece, cut, large.plan.scale, grid, lod, (len(tasks) + number,))
            for number, (piece, cut) in enumerate(zip(level.pieces, of_level, strict=True))
        ]
        found.append(of_level)
    do_step(work, Step(large.step_name("cuts"), "large segments", cut_piece, lambda: iter(tasks), len(tasks), "pieces"))
    return found


def _encode_tasks(large: LargeSegment, cuts: Sequence[Path], first: int) -> list[EncodeTask]:
    """Return tasks that encode the fragments of a level in their order. first: the number of the first one."""
    indices = [read_index(path) for path in cuts]
    every = np.concatenate([index.segments for index in indices])
    counts = np.concatenate([np.diff(index.triangle_ends, prepend=0) for index in indices])
    codes, places = np.unique(every, return_inverse=True)
    of_codes = np.bincount(places, counts, len(codes)).astype(np.int64)
    tasks = []
    for number, run in enumerate(runs(of_codes, min(large.room, _ENCODED_TOGETHER)), first):
        holding = tuple(
            path for path, index in zip(cuts, indices, strict=True) if np.isin(index.segments, codes[run], kind="sort").any()
        )
        tasks.append(EncodeTask(large.segment, holding, codes[run], large.spool / "fragments" / str(number), (number,)))
    return tasks
