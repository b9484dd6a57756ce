"""A segmentation gets skeletons."""

from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.budget import Budget, budget_begun, budget_of
from converters.cluster import ClusterExecutor
from converters.errors import OptionError
from converters.executor import open_executor, place_for_workers, start_workers
from converters.publishing import (
    ChildClaim,
    check_extendable,
    check_replaceable,
    claim_child,
    done_before,
    finish_publishing,
    request_for,
)
from converters.results import BlockResult
from converters.shards import GroupParts, segment_sharding, segment_shards
from converters.skeletons.fragments import read_fragment_index
from converters.skeletons.groups import (
    ATTRIBUTES,
    Destination,
    GroupTask,
    SegmentCounts,
    join_group,
    read_counts,
)
from converters.skeletons.joining import Joining
from converters.skeletons.options import SkeletonizeOptions
from converters.skeletons.plan import PROCESS_BYTES, SkeletonPlan, make_skeleton_plan
from converters.skeletons.properties import skeleton_numbers
from converters.skeletons.record import SKELETONS, SkeletonRecord, longest
from converters.skeletons.tracing import BlockTask, fragments_path, trace_block
from converters.steps import Report, Step, Work, do_step
from formats.grid import Triple
from formats.skeletons.info import SkeletonInfo, encode_skeleton_info

_GROUP_VERTICES = 2_000_000
"""Vertices that a worker joins at a time; a group has more only where one segment has."""
_VERTEX_BYTES = 500
"""Memory that a vertex takes while its segment is joined."""
_GROUP_SEGMENTS = 1000


@dataclass(frozen=True)
class SkeletonSummary:
    """What a skeletonizing gave. already: the same skeletons were there before. kept: blocks that a stopped run had done."""

    plan: SkeletonPlan
    record: SkeletonRecord
    already: bool = False
    kept: int = 0


@dataclass(frozen=True)
class _Found:
    """What the blocks found, in files below fragments.

    segments: uint64 [k], ascending. vertices: int64 [k], of their fragments. of_blocks: positions of the segments of each block.
    """

    fragments: Path
    segments: NDArray[np.uint64]
    vertices: NDArray[np.int64]
    of_blocks: dict[Triple, NDArray[np.int64]]


def make_skeletons(dataset: Path, options: SkeletonizeOptions, report: Report) -> SkeletonSummary:
    """Give a dataset the skeletons of its segments, its info's `skeletons` member last, and return what was done.

    Raises ConverterError. Whatever happens, nothing half written can be seen under the viewer's names.
    """
    dataset = Path(place_for_workers(dataset, options.executor))
    finish_publishing(dataset, SKELETONS.member)
    with open_executor(options.executor) as executor:
        return _make(dataset, options, executor, report)


def _make(dataset: Path, options: SkeletonizeOptions, executor: Executor, report: Report) -> SkeletonSummary:
    plan = make_skeleton_plan(dataset, options, budget_of(options.memory, executor))
    request = _request(plan, options)
    before = done_before(dataset, SKELETONS, request)
    if before is not None:
        return SkeletonSummary(plan, before, already=True)
    check_replaceable(dataset, plan.info, SKELETONS, overwrite=options.overwrite)
    check_extendable(dataset, plan.info)
    start_workers(executor, trace_block)
    with claim_child(dataset, SKELETONS, request) as held:
        kept = max(0, sum(len(items) for items in held.journal.done.values()) - 1)
        kept_budget = budget_begun(held.journal, plan.budget)
        if kept_budget != plan.budget:
            plan = make_skeleton_plan(dataset, options, kept_budget)
        record = _write(plan, options, held, Work(executor, held.journal, 2 * plan.budget.workers, report))
    return SkeletonSummary(plan, record, kept=kept)


def _request(plan: SkeletonPlan, options: SkeletonizeOptions) -> dict[str, Any]:
    """Return what is asked for: a table of points may have been changed under its name."""
    told = [targets.digest() for targets in (plan.before, plan.after) if len(targets)]
    return {**request_for(plan.dataset, plan.info, options), **({"targets": told} if told else {})}


def _write(plan: SkeletonPlan, options: SkeletonizeOptions, held: ChildClaim[SkeletonRecord], work: Work) -> SkeletonRecord:
    fragments = _folder(held, "fragments")
    _trace(plan, fragments, work)
    found = _found(plan, fragments)
    _check_found(plan, found)
    traced = int((found.vertices > 0).sum())
    sharding = segment_sharding(options.layout, traced, gzipped=True)
    destination = Destination(held.folder, GroupParts(_folder(held, "parts")), _folder(held, "told"), sharding)
    groups = _groups(found, plan.budget)
    results = _join(plan, found, destination, work)
    if sharding is not None:
        results += do_step(work, segment_shards(destination.parts, len(groups), sharding, held.folder))
    counted = list(read_counts(destination, len(groups)))
    record = _record(plan, held.request, counted, sum(result.stored_bytes for result in results))
    held.publish(encode_skeleton_info(SkeletonInfo(ATTRIBUTES, sharding=sharding)), record, skeleton_numbers(counted))
    return record


def _folder(held: ChildClaim[SkeletonRecord], name: str) -> Path:
    folder = held.spool / name
    folder.mkdir(exist_ok=True)
    return folder


def _trace(plan: SkeletonPlan, fragments: Path, work: Work) -> None:
    def tasks() -> Iterator[BlockTask]:
        return (
            BlockTask(plan.reader, plan.scale, plan.grid, cell, plan.parameters, plan.segments, fragments, before, after)
            for cell in plan.grid.cells()
            for before, after in [[targets.within(plan.grid.chunk_box(cell)) for targets in (plan.before, plan.after)]]
        )

    do_step(work, Step("blocks", "trace", trace_block, tasks, plan.grid.box.voxels, "voxels"))


def _found(plan: SkeletonPlan, fragments: Path) -> _Found:
    """Return which segments there are; label 0 is none."""
    indices = {cell: read_fragment_index(fragments_path(fragments, cell)) for cell in plan.grid.cells()}
    every = np.concatenate([index.segments for index in indices.values()])
    segments, places = np.unique(every, return_inverse=True)
    counts = np.concatenate([index.vertices for index in indices.values()])
    vertices = np.bincount(places.ravel(), counts, len(segments)).astype(np.int64)
    ends = np.cumsum([len(index.segments) for index in indices.values()])
    return _Found(fragments, segments, vertices, dict(zip(indices, np.split(places.ravel(), ends[:-1]), strict=True)))


def _check_found(plan: SkeletonPlan, found: _Found) -> None:
    missing = sorted(set(plan.segments or ()) - set(found.segments.tolist()))
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise OptionError(f"--segments: there is no segment {missing[0]}{more} in scale {plan.scale.key} of {plan.dataset}")


def _groups(found: _Found, budget: Budget) -> list[slice]:
    """Return runs of segments that are joined at a time, so that their fragments are not too many for the memory of a worker.

    A segment that has more by itself is a group alone.
    """
    most = min(_GROUP_VERTICES, _vertices_within(budget.memory // budget.workers - PROCESS_BYTES))
    groups, begin, total = [], 0, 0
    for place, count in enumerate(found.vertices.tolist()):
        if place > begin and (total + count > most or place - begin == _GROUP_SEGMENTS):
            groups.append(slice(begin, place))
            begin, total = place, 0
        total += count
    return [*groups, slice(begin, len(found.segments))] if len(found.segments) else []


def _vertices_within(memory: int) -> int:
    return max(0, memory // _VERTEX_BYTES)


def _are_large(found: _Found, groups: list[slice], work: Work, budget: Budget) -> list[bool]:
    """Tell which groups take more memory than a worker has, and must be joined while nothing else is.

    Raises OptionError for a segment that takes more than all workers have. A worker of a cluster has its own memory alone.
    """
    own = budget.memory // budget.workers - PROCESS_BYTES
    room = own if isinstance(work.executor, ClusterExecutor) else budget.memory - budget.workers * PROCESS_BYTES
    most = int(found.vertices.max(initial=0))
    if most > _vertices_within(room):
        segment = int(found.segments[found.vertices.argmax()])
        raise OptionError(
            f"segment {segment} has {most} vertices in its blocks: joining them takes {most * _VERTEX_BYTES // 10**6} MB of "
            f"memory, and there are {max(0, room) // 10**6} MB; give more with --memory, trace on a coarser scale with "
            "--voxel-size, or name the other segments with --segments"
        )
    return [int(found.vertices[group].sum()) > _vertices_within(own) for group in groups]


def _join(plan: SkeletonPlan, found: _Found, destination: Destination, work: Work) -> list[BlockResult]:
    groups = _groups(found, plan.budget)
    large = _are_large(found, groups, work, plan.budget)
    joining = Joining(plan.scale.resolution, plan.grid, plan.parameters)

    def task(number: int) -> GroupTask:
        group = groups[number]
        blocks = tuple(
            cell for cell, places in found.of_blocks.items() if ((places >= group.start) & (places < group.stop)).any()
        )
        first, last = int(found.segments[group.start]), int(found.segments[group.stop - 1])
        return GroupTask(first, last, blocks, found.fragments, plan.scale, joining, destination, (number,))

    def step(name: str, *, are_large: bool) -> Step:
        numbers = [number for number, is_large in enumerate(large) if is_large == are_large]
        alone = sum(group.stop - group.start for group, is_large in zip(groups, large, strict=True) if is_large)
        total = len(found.segments)
        return Step(name, "join", join_group, lambda: map(task, numbers), total, "segments", total - alone if are_large else 0)

    results = do_step(work, step("groups", are_large=False))
    return results + do_step(replace(work, pending=1), step("large groups", are_large=True))


def _record(plan: SkeletonPlan, request: dict[str, Any], counted: list[SegmentCounts], stored: int) -> SkeletonRecord:
    counts = dict.fromkeys(("segments", "skeletons", "trees", "vertices", "end_points", "branch_points"), 0)
    limited, cable = [], 0.0
    for one in counted:
        counts["segments"] += 1
        counts["skeletons"] += one.vertices > 0
        for name in ("trees", "vertices", "end_points", "branch_points"):
            counts[name] += getattr(one, name)
        cable += one.cable_length
        limited += [one.segment] if one.limited else []
    counts["stored_bytes"] = stored
    if told := len(plan.before) + len(plan.after):
        counts["targets_told"], counts["targets"] = told, sum(one.targets for one in counted)
    largest = longest({one.segment: one.cable_length for one in counted})
    return SkeletonRecord(request, plan.scale.key, asdict(plan.parameters), counts, round(cable, 3), tuple(limited), largest)
