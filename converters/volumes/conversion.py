"""A source becomes a dataset."""

import math
import shutil
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from converters.budget import Budget, budget_begun, budget_of
from converters.claim import Claim, Request, check_place, claim, done_before, settle
from converters.executor import open_executor, place_for_workers, start_workers
from converters.options import ConvertOptions
from converters.pooling.choice import pooling_for
from converters.record import Contrast, Record
from converters.results import BlockResult
from converters.sources.opening import absolute
from converters.sources.source import Source
from converters.steps import Progress, Report, Step, Work, do_step
from converters.storage.reader import VolumeReader
from converters.storage.storage import open_storage
from converters.volumes.contrast import contrast_of, sample_stride
from converters.volumes.encoders import encoder_for
from converters.volumes.inputs import Input, SourceInput, Spool
from converters.volumes.outputs import ChunkFiles, Output, ShardParts
from converters.volumes.plan import Plan, make_plan, unit_for, volume_info, workers_within
from converters.volumes.shards import ShardTask, shard_numbers, write_shard
from converters.volumes.stages import Stage
from converters.volumes.tasks import TileTask, convert_tile
from converters.volumes.thumbnail import thumbnail
from converters.volumes.unpacking import UnpackedSource, unpack
from formats.chunks import GZIPPED
from formats.info import encode_volume_info

_OPTIONS_OF_THE_RUN = {"memory", "executor", "overwrite"}
"""Options that change how a conversion runs and not what it gives."""

_SMALL_SOURCE = 1 << 23
"""Bytes of a file that is converted in this process."""


@dataclass(frozen=True)
class Summary:
    """What a conversion gave.

    already: the dataset was there before, made from the same source with the same options. kept: blocks that a run which was
    stopped had done. again: those that it had begun and not finished.
    """

    dataset: Path
    record: Record
    plan: Plan
    already: bool = False
    kept: int = 0
    again: int = 0


def convert(source: Path | str, dataset: Path, options: ConvertOptions, report: Report) -> Summary:
    """Write the dataset of a source, its `info` last, and return what was done.

    Raises ConverterError. Whatever happens, nothing half written can be seen under the viewer's names.
    """
    source, dataset = place_for_workers(source, options.executor), Path(place_for_workers(dataset, options.executor))
    with executor_for(source, options) as executor:
        return _convert(source, dataset, options, executor, report)


def _convert(source: str, dataset: Path, options: ConvertOptions, executor: Executor, report: Report) -> Summary:
    settle(dataset)
    budget = budget_of(options.memory, executor)
    plan = make_plan(source, options, budget)
    request = _request(source, plan, options)
    before = done_before(dataset, request)
    if before is not None:
        return Summary(dataset, before, plan, already=True)
    check_place(dataset, request, overwrite=options.overwrite)
    with claim(dataset, request, overwrite=options.overwrite) as held:
        begun, again = sum(len(items) for items in held.journal.done.values()), len(held.journal.begun)
        kept = budget_begun(held.journal, plan.budget)
        if kept != plan.budget:
            plan = make_plan(source, options, kept)
        work = Work(executor, held.journal, pending_of(plan, budget), report)
        record = volume_record(plan, request, write_scales(plan, held, work))
        publish_volume(plan, held, record)
    return Summary(dataset, record, plan, kept=max(0, begun - 1), again=again)


def publish_volume(plan: Plan, held: Claim, record: Record) -> None:
    """Put a volume whose chunks are all written in its place, with its `info`, record and thumbnail."""
    info = volume_info(plan)
    picture = thumbnail(VolumeReader(open_storage(held.incoming, plan.layout), info), record.contrast, record.transform)
    held.publish(encode_volume_info(info), record, picture)


def pending_of(plan: Plan, budget: Budget) -> int:
    """Return how many blocks the executor is given at a time: enough to keep its workers busy, if there is memory for all."""
    within = workers_within(plan, budget)
    return 2 * budget.workers if within == budget.workers else within


def _request(source: Path | str, plan: Plan, options: ConvertOptions) -> Request:
    told = options.model_dump(mode="json", exclude=_OPTIONS_OF_THE_RUN)
    return Request(version("glassine"), absolute(source), plan.source.fingerprint(), told)


@contextmanager
def executor_for(source: Path | str, options: ConvertOptions) -> Iterator[Executor]:
    """Open the executor, its workers starting while this process plans; a small file is sooner done than a worker is started."""
    small = Path(source).is_file() and Path(source).stat().st_size < _SMALL_SOURCE
    with open_executor("serial" if small else options.executor) as executor:
        start_workers(executor, convert_tile)
        yield executor


def write_scales(plan: Plan, held: Claim, work: Work) -> list[BlockResult]:
    """Write all chunks below held.incoming and return what each block of the last pass over them gave."""
    chunk_format = plan.chunk_format
    source = unpacked(plan.source, plan.budget, held, work) if plan.unit else plan.source
    voxels: Input = SourceInput(source, chunk_format.data_type, plan.layer)
    results: list[BlockResult] = []
    shards: list[BlockResult] = []
    done = 0
    for number, stage in enumerate(plan.stages):
        spool = None
        if stage is not plan.stages[-1]:
            spool = Spool(held.spool, stage, chunk_format.data_type, chunk_format.num_channels)
        step = _tile_step(plan, held, number, voxels, spool)
        results += do_step(work, replace(step, done=done, total=sum(each.scales[0].box.voxels for each in plan.stages)))
        done += stage.scales[0].box.voxels
        shards += _write_shards(held, work, stage)
        if spool is not None:
            voxels = spool
    # In a sharded dataset the shards are what is stored: what their chunks took by themselves was there for a while only.
    return [replace(result, stored_bytes=0) for result in results] + shards if shards else results


def unpacked(source: Source, budget: Budget, held: Claim, work: Work) -> Source:
    """Return a source unpacked below held.spool, so that each voxel can be had by itself."""
    source = source.spooled(held.spool, lambda done, total: work.report(Progress("unpack", done, total, "bytes")))
    if source.block == (1, 1, 1):
        return source
    units = UnpackedSource(source, held.spool / "source", unit_for(source, budget))
    units.folder.mkdir(parents=True, exist_ok=True)
    do_step(work, Step("unpack", "unpack", unpack, units.tasks, math.prod(source.shape), "voxels"))
    return units


def _tile_step(plan: Plan, held: Claim, number: int, voxels: Input, spool: Spool | None) -> Step:
    stage = plan.stages[number]
    stride = sample_stride(stage.scales[0].box.voxels) if stage.first and plan.layer == "image" else 0
    chunk_format, share = plan.chunk_format, plan.scales[0].box.voxels // plan.workers
    encode, pool = encoder_for(chunk_format, share), pooling_for(plan.layer, chunk_format.dtype, share)
    base = TileTask(stage, (0, 0, 0), voxels, _output(plan, held), chunk_format, encode, pool, spool, stride, plan.skip_empty)

    def tasks() -> Iterator[TileTask]:
        return (replace(base, item=tile) for tile in stage.tiles())

    return Step(f"stage {number}", "convert", convert_tile, tasks, stage.scales[0].box.voxels, "voxels")


def _output(plan: Plan, held: Claim) -> Output:
    compressible = plan.chunk_format.encoding in GZIPPED
    if plan.layout == "sharded":
        parts = held.spool / "parts"
        parts.mkdir(parents=True, exist_ok=True)
        return ShardParts(parts, compressible)
    return ChunkFiles(open_storage(held.incoming, plan.layout), compressible)


def _write_shards(held: Claim, work: Work, stage: Stage) -> list[BlockResult]:
    """Put the shards of a stage's scales together and remove the parts that they were in; return what each shard gave."""
    results: list[BlockResult] = []
    parts = ShardParts(held.spool / "parts", compressible=False)
    for position, scale in enumerate(stage.scales):
        if scale.sharding is None or not (position or stage.first):
            continue
        base = ShardTask(stage, position, scale.sharding, parts, held.incoming, (0,))
        numbers = list(shard_numbers(scale.sharding, scale.grid.shape))

        def tasks(base: ShardTask = base, numbers: list[int] = numbers) -> Iterator[ShardTask]:
            return (replace(base, item=(number,)) for number in numbers)

        results += do_step(work, Step(f"shards of {scale.key}", "shards", write_shard, tasks, len(numbers), "shards"))
        shutil.rmtree(parts.root / scale.key, ignore_errors=True)
    return results


def _contrast(results: list[BlockResult]) -> tuple[Contrast, ...]:
    samples = [result.sample for result in results if result.sample is not None]
    return contrast_of(samples) if samples else ()


def volume_record(plan: Plan, request: Request, results: list[BlockResult]) -> Record:
    """Return the record of a volume. results: what write_scales returned."""
    geometry = plan.source.geometry
    counts: dict[str, Any] = {
        "chunks": sum(result.chunks for result in results),
        "empty_chunks": sum(result.empty_chunks for result in results),
        "stored_bytes": sum(result.stored_bytes for result in results),
    }
    return Record(
        glassine=version("glassine"),
        source=request.source,
        fingerprint=request.fingerprint,
        options=request.options,
        resolution=geometry.resolution,
        affine=geometry.affine,
        transform=geometry.transform(),
        world=geometry.world,
        contrast=_contrast(results),
        counts=counts,
        largest_error=max((result.largest_error for result in results), default=0.0),
    )
