"""A segmentation gets meshes."""

from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.budget import budget_begun, budget_of
from converters.children import SHOWN
from converters.errors import DatasetError, OptionError
from converters.executor import open_executor, place_for_workers, start_workers
from converters.meshes.blocks import BlockTask, MeshSource, mesh_block, part_paths
from converters.meshes.joining import GroupTask, mesh_group, told_path
from converters.meshes.large import LargeSegment, Placed, mesh_large
from converters.meshes.outputs import Encoding, LegacyFiles, MultiresFiles, MultiresParts
from converters.meshes.plan import MeshPlan, make_mesh_plan, plan_groups, room_for_triangles, worker_room
from converters.meshes.record import FOLDER, MESHES, MeshRecord
from converters.meshes.simplification import compile_kernels
from converters.meshes.spool import read_index
from converters.options import MeshOptions
from converters.publishing import ChildClaim, check_replaceable, claim_child, done_before, finish_publishing, request_for
from converters.record import read_record
from converters.results import BlockResult
from converters.shards import GroupParts, segment_sharding, segment_shards
from converters.steps import Progress, Report, Step, Work, do_step
from converters.storage.storage import Layout, open_storage
from formats.grid import Box
from formats.info import Sharding
from formats.meshes.info import LegacyMeshInfo, MultiresMeshInfo, encode_mesh_info

_BITS = 16


@dataclass(frozen=True)
class MeshSummary:
    """What a meshing gave. already: the same meshes were there before. kept: blocks that a run which was stopped had done."""

    plan: MeshPlan
    record: MeshRecord
    already: bool = False
    kept: int = 0


@dataclass(frozen=True)
class _Found:
    """What the blocks found: each segment with its triangles, and which segments each part holds.

    segments: uint64 [k], ascending. triangles: int64 [k]. parts: each block's files, with its box. of_parts: for each part the
    positions of its segments.
    """

    segments: NDArray[np.uint64]
    triangles: NDArray[np.int64]
    parts: list[tuple[Path, Box]]
    of_parts: list[NDArray[np.int64]]


@dataclass(frozen=True)
class _Group:
    """Segments that are joined together. triangles: of all. parts: those that hold some, with the boxes of their blocks."""

    segments: NDArray[np.uint64]
    triangles: int
    parts: tuple[tuple[Path, Box], ...]


def make_meshes(dataset: Path, options: MeshOptions, report: Report) -> MeshSummary:
    """Give a dataset the meshes of its segments, its info's `mesh` member last, and return what was done.

    Raises ConverterError. Whatever happens, nothing half written can be seen under the viewer's names.
    """
    dataset = Path(place_for_workers(dataset, options.executor))
    finish_publishing(dataset, MESHES.member)
    with open_executor(options.executor) as executor:
        return _make(dataset, options, executor, report)


def _make(dataset: Path, options: MeshOptions, executor: Executor, report: Report) -> MeshSummary:
    plan = make_mesh_plan(dataset, options, budget_of(options.memory, executor))
    request = request_for(dataset, plan.info, options)
    before = done_before(dataset, MESHES, request)
    if before is not None:
        return MeshSummary(plan, before, already=True)
    check_replaceable(dataset, plan.info, MESHES, overwrite=options.overwrite)
    start_workers(executor, mesh_block)
    with claim_child(dataset, MESHES, request) as held:
        kept = max(0, sum(len(items) for items in held.journal.done.values()) - 1)
        kept_budget = budget_begun(held.journal, plan.budget)
        if kept_budget != plan.budget:
            plan = make_mesh_plan(dataset, options, kept_budget)
        work = Work(executor, held.journal, 2 * plan.budget.workers, report)
        info, record = _written(plan, options, held, work)
        held.publish(info, record)
    return MeshSummary(plan, record, kept=kept)


def _written(plan: MeshPlan, options: MeshOptions, held: ChildClaim[MeshRecord], work: Work) -> tuple[bytes, MeshRecord]:
    source = MeshSource(plan.reader, plan.scale, plan.simplifiers[0], options.segments and tuple(sorted(set(options.segments))))
    work.report(Progress("compile", 0, 1, "kernels"))
    compile_kernels()
    found = _do_blocks(source, plan, held.spool / "parts", work)
    _check_found(plan, options, found)
    groups = _groups(found, plan)
    output, sharding = _output(plan, options, held, len(found.segments))
    room, told = room_for_triangles(plan.budget), held.spool / "told"
    results = []
    for number, group in enumerate(groups):
        if group.triangles > room:
            spool = held.spool / "large" / str(number)
            large = LargeSegment(int(group.segments[0]), number, plan, room, output, spool, told)
            results += mesh_large(large, _placed(group), work)
    base = GroupTask(source, found.segments[:0], (), plan.simplifiers[1:], output, told, (0,))
    results += _do_groups(base, groups, room, work)
    if isinstance(output, MultiresParts) and sharding is not None:
        results += do_step(work, segment_shards(output.parts, len(groups), sharding, held.folder))
    return _mesh_info(options, sharding), _record(plan, held, len(groups), results)


def _do_blocks(source: MeshSource, plan: MeshPlan, folder: Path, work: Work) -> _Found:
    boxes, room = plan.blocks(), worker_room(plan.budget)

    def tasks() -> Iterator[BlockTask]:
        return (BlockTask(source, box, folder, room, (number,)) for number, box in enumerate(boxes))

    do_step(work, Step("blocks", "mesh", mesh_block, tasks, sum(box.voxels for box in boxes), "voxels"))
    return _found([(path, box) for number, box in enumerate(boxes) for path in part_paths(folder, number)])


def _found(parts: list[tuple[Path, Box]]) -> _Found:
    indices = [read_index(path) for path, _ in parts]
    every = np.concatenate([index.segments for index in indices])
    segments, places = np.unique(every, return_inverse=True)
    counts = np.concatenate([np.diff(index.triangle_ends, prepend=0) for index in indices])
    triangles = np.bincount(places, counts, len(segments)).astype(np.int64)
    ends = np.cumsum([len(index.segments) for index in indices])
    return _Found(segments, triangles, parts, np.split(places, ends[:-1]))


def _check_found(plan: MeshPlan, options: MeshOptions, found: _Found) -> None:
    missing = sorted(set(options.segments or ()) - set(found.segments.tolist()))
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise OptionError(f"--segments: there is no segment {missing[0]}{more} in scale {plan.scale.key} of {plan.dataset}")
    if not len(found.segments):
        raise DatasetError(
            f"{plan.dataset}: scale {plan.scale.key} holds no segment, all its voxels are 0, so there is nothing to mesh"
        )


def _groups(found: _Found, plan: MeshPlan) -> list[_Group]:
    slices = plan_groups(found.triangles, plan.budget)
    number_of = np.repeat(np.arange(len(slices)), [some.stop - some.start for some in slices])
    parts_of: list[list[tuple[Path, Box]]] = [[] for _ in slices]
    for part, places in zip(found.parts, found.of_parts, strict=True):
        for number in np.unique(number_of[places]).tolist():
            parts_of[number].append(part)
    return [
        _Group(found.segments[some], int(found.triangles[some].sum()), tuple(parts))
        for some, parts in zip(slices, parts_of, strict=True)
    ]


def _do_groups(base: GroupTask, groups: list[_Group], room: int, work: Work) -> list[BlockResult]:
    """Join the groups that are not of one large segment."""

    def tasks() -> Iterator[GroupTask]:
        for number, group in enumerate(groups):
            if group.triangles <= room:
                yield replace(base, segments=group.segments, parts=group.parts, item=(number,))

    return do_step(work, Step("groups", "join", mesh_group, tasks, len(groups), "groups"))


def _placed(group: _Group) -> list[Placed]:
    """Return where the parts of a segment that is a group alone lie."""
    found = []
    for path, box in group.parts:
        index = read_index(path)
        counts = np.diff(index.triangle_ends, prepend=0)
        x, y, z = ((begin + end) / 2 for begin, end in zip(box.start, box.end, strict=True))
        found.append(Placed(path, (x, y, z), int(counts[index.segments == group.segments[0]][0])))
    return found


def _output(
    plan: MeshPlan, options: MeshOptions, held: ChildClaim[MeshRecord], count: int
) -> tuple[LegacyFiles | MultiresFiles | MultiresParts, Sharding | None]:
    if options.format == "legacy":
        if options.layout == "sharded":
            raise OptionError("--layout sharded: the legacy format has no shards; leave one of --layout and --format out")
        return LegacyFiles(open_storage(held.incoming, _layout(plan.dataset)), FOLDER), None
    encoding = Encoding(plan.lod_scales, _BITS)
    sharding = segment_sharding(options.layout, count, gzipped=False)
    if sharding is not None:
        return MultiresParts(GroupParts(held.spool / "objects"), encoding), sharding
    return MultiresFiles(held.incoming, FOLDER, encoding), None


def _layout(dataset: Path) -> Layout:
    """Return how the dataset's other files lie: a folder that a plain file host serves gets no `.gz`."""
    record = read_record(dataset)
    told = record.options.get("layout") if record else "flat"
    return "nested" if told in ("auto", "nested") else "flat"


def _mesh_info(options: MeshOptions, sharding: Sharding | None) -> bytes:
    if options.format == "legacy":
        return encode_mesh_info(LegacyMeshInfo())
    return encode_mesh_info(MultiresMeshInfo(_BITS, sharding=sharding))


def _record(plan: MeshPlan, held: ChildClaim[MeshRecord], groups: int, results: list[BlockResult]) -> MeshRecord:
    rows = np.concatenate([np.load(told_path(held.spool / "told", number)) for number in range(groups)])
    largest = rows[np.argsort(rows[:, 1].astype(np.int64) * -1, kind="stable")[:SHOWN], 0]
    return MeshRecord(
        **held.request,
        folder=FOLDER,
        scale=plan.scale.key,
        max_error=plan.max_error,
        meshes=len(rows),
        triangles=tuple(rows[:, 1:].sum(axis=0).tolist()),
        stored_bytes=sum(result.stored_bytes for result in results),
        largest=tuple(largest.tolist()),
    )
