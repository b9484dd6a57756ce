"""A source becomes a dataset."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from converters.claim import Claim, Request, check_place, claim, done_before
from converters.errors import DamagedError
from converters.executor import open_executor, run, worker_count
from converters.options import ConvertOptions
from converters.record import Contrast, Record
from converters.sources.opening import absolute
from converters.storage.storage import open_storage
from converters.volumes.contrast import contrast_of, sample_stride
from converters.volumes.inputs import Input, SourceInput, Spool
from converters.volumes.plan import Plan, make_plan, volume_info
from converters.volumes.reader import VolumeReader
from converters.volumes.tasks import TileResult, TileTask, convert_tile, prepare_worker
from converters.volumes.thumbnail import thumbnail
from formats.info import encode_volume_info

_OPTIONS_OF_THE_RUN = {"memory", "executor", "overwrite"}
"""Options that change how a conversion runs and not what it gives."""

_SMALL_SOURCE = 1 << 23
"""Bytes of a file that is converted in this process."""


@dataclass(frozen=True)
class Progress:
    """How far a step has come. step: what is being done; done, total: in unit ("bytes" or "voxels")."""

    step: str
    done: int
    total: int
    unit: str


Report = Callable[[Progress], None]


@dataclass(frozen=True)
class Summary:
    """What a conversion gave. already: the dataset was there before, made from the same source with the same options."""

    dataset: Path
    record: Record
    plan: Plan
    already: bool = False


def convert(source: Path | str, dataset: Path, options: ConvertOptions, report: Report) -> Summary:
    """Write the dataset of a source, its `info` last, and return what was done.

    Raises ConverterError. Whatever happens, nothing half written can be seen under the viewer's names.
    """
    with _executor(source, options) as executor:
        return _convert(source, dataset, options, executor, report)


def _convert(source: Path | str, dataset: Path, options: ConvertOptions, executor: Executor, report: Report) -> Summary:
    plan = make_plan(source, options)
    request = _request(source, plan, options)
    before = done_before(dataset, request)
    if before is not None:
        return Summary(dataset, before, plan, already=True)
    check_place(dataset, request, overwrite=options.overwrite)
    with claim(dataset, request, overwrite=options.overwrite) as held:
        results = _write_scales(plan, held, executor, report)
        contrast = _contrast(results)
        record = _record(plan, request, results, contrast)
        info = volume_info(plan)
        picture = thumbnail(VolumeReader(open_storage(held.incoming, plan.layout), info), contrast, record.transform)
        held.publish(encode_volume_info(info), record, picture)
    return Summary(dataset, record, plan)


def _request(source: Path | str, plan: Plan, options: ConvertOptions) -> Request:
    told = options.model_dump(mode="json", exclude=_OPTIONS_OF_THE_RUN)
    return Request(absolute(source), plan.source.fingerprint(), told)


@contextmanager
def _executor(source: Path | str, options: ConvertOptions) -> Iterator[Executor]:
    """Open the executor, its workers starting while this process plans; a small file is sooner done than a worker is started."""
    small = Path(source).is_file() and Path(source).stat().st_size < _SMALL_SOURCE
    with open_executor("serial" if small else options.executor) as executor:
        for _ in range(worker_count(options.executor)):
            executor.submit(prepare_worker)
        yield executor


def _write_scales(plan: Plan, held: Claim, executor: Executor, report: Report) -> list[TileResult]:
    """Write all chunks below held.incoming and return what each tile gave."""
    source = plan.source.spooled(held.spool, lambda done, total: report(Progress("unpack", done, total, "bytes")))
    storage = open_storage(held.incoming, plan.layout)
    chunk_format = plan.chunk_format
    results: list[TileResult] = []
    voxels: Input = SourceInput(source, chunk_format.data_type, plan.layer)
    total = sum(stage.scales[0].box.voxels for stage in plan.stages)
    for stage in plan.stages:
        spool = None
        if stage is not plan.stages[-1]:
            spool = Spool(held.spool, stage, chunk_format.data_type, chunk_format.num_channels)
        stride = sample_stride(stage.scales[0].box.voxels) if stage.first and plan.layer == "image" else 0
        base = TileTask(stage, (0, 0, 0), voxels, storage, chunk_format, plan.layer, spool, stride)
        tasks = (replace(base, tile=tile) for tile in stage.tiles())
        _run_stage(plan, executor, tasks, results, lambda done: report(Progress("convert", done, total, "voxels")))
        if spool is not None:
            voxels = spool
    return results


def _run_stage(
    plan: Plan, executor: Executor, tasks: Iterator[TileTask], results: list[TileResult], report: Callable[[int], None]
) -> None:
    """Run a stage's tasks, adding to results. Raises DamagedError at the end when parts of the source could not be read."""
    failures = []
    done = sum(result.voxels for result in results)
    with closing(run(executor, convert_tile, tasks, max_pending=2 * plan.workers)) as finished:
        for task, result in finished:
            results.append(result)
            done += task.stage.owned(task.tile, 0).voxels
            if result.failure is not None:
                failures.append(result.failure)
            report(done)
    if failures:
        raise DamagedError(
            f"{len(failures)} of {len(results)} blocks could not be read, so the dataset was not made; the first: {failures[0]}"
        )


def _contrast(results: list[TileResult]) -> tuple[Contrast, ...]:
    samples = [result.sample for result in results if result.sample is not None]
    return contrast_of(samples) if samples else ()


def _record(plan: Plan, request: Request, results: list[TileResult], contrast: tuple[Contrast, ...]) -> Record:
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
        contrast=contrast,
        counts=counts,
        largest_error=max((result.largest_error for result in results), default=0.0),
    )
