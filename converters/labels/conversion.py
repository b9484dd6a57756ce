"""A grey volume becomes a segmentation of its connected components."""

from concurrent.futures import Executor
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from converters.budget import Budget, budget_begun, budget_of
from converters.claim import Claim, Request, check_place, claim, done_before, settle
from converters.errors import DatasetError, OptionError
from converters.executor import place_for_workers
from converters.labels.colours import viewer_colours
from converters.labels.components import Rule
from converters.labels.finding import Blocks, bright_pixels, gathered, joined, label_blocks, measured, otsu_threshold
from converters.labels.joining import Components, label_type
from converters.labels.labelled import LabelledSource
from converters.labels.options import LabelOptions, volume_options
from converters.labels.pictures import encode_picture, pixels_for
from converters.labels.plan import LabelPlan, make_label_plan, plan_labels, rule_of
from converters.labels.spool import LabelSpool
from converters.labels.table import write_table
from converters.labels.tasks import GreySource
from converters.record import PRIVATE, Record
from converters.sources.opening import absolute
from converters.sources.source import Source
from converters.steps import Report, Work
from converters.storage.files import new_file, raise_if_full, write_file
from converters.volumes.conversion import (
    executor_for,
    pending_of,
    publish_volume,
    unpacked,
    volume_record,
    write_scales,
)
from converters.volumes.plan import Plan

TABLE, MASK, LABELS = "components.csv", "mask.png", "labels.png"
"""Names in a dataset's private folder: the table of components, and what lies above the threshold and the components along z."""

_OPTIONS_OF_THE_RUN = {"memory", "executor", "overwrite", "table"}
"""Options that change how a run goes and not what it gives."""

_COPIED_AT_A_TIME = 1 << 20


class NothingKeptError(OptionError):
    """No component has a size that is kept. found: how many there are. largest, least: voxels, found and expected."""

    def __init__(self, message: str, threshold: float, found: int, largest: int, least: int) -> None:
        super().__init__(message)
        self.threshold = threshold
        self.found = found
        self.largest = largest
        self.least = least


@dataclass(frozen=True)
class LabelSummary:
    """What labelling gave; see volumes.conversion.Summary.

    source: the grey volume. plan: of the labels' volume. notes: one sentence each, for the user.
    """

    dataset: Path
    source: Source
    record: Record
    plan: Plan
    notes: tuple[str, ...] = ()
    already: bool = False
    kept: int = 0
    again: int = 0


@dataclass(frozen=True)
class _Labelled:
    """The labels, to be read, and what is to be told of them."""

    source: LabelledSource
    threshold: float
    counts: dict[str, int]
    notes: tuple[str, ...]


def label(source: Path | str, dataset: Path, options: LabelOptions, report: Report) -> LabelSummary:
    """Write the components of a grey source as a dataset, its `info` last, and return what was done.

    Raises ConverterError. Whatever happens, nothing half written can be seen under the viewer's names.
    """
    source, dataset = place_for_workers(source, options.executor), Path(place_for_workers(dataset, options.executor))
    with executor_for(source, volume_options(options)) as executor:
        summary = _label(source, dataset, options, executor, report)
    if options.table is not None:
        _copy_table(dataset / PRIVATE / TABLE, Path(options.table))
    return summary


def _label(source: Path | str, dataset: Path, options: LabelOptions, executor: Executor, report: Report) -> LabelSummary:
    settle(dataset)
    budget = budget_of(options.memory, executor)
    plan = make_label_plan(source, options, budget)
    told = {"command": "label", **options.model_dump(mode="json", exclude=_OPTIONS_OF_THE_RUN)}
    request = Request(version("glassine"), absolute(source), plan.source.fingerprint(), told)
    before = done_before(dataset, request)
    if before is not None:
        return LabelSummary(dataset, plan.source, before, plan.volume, plan.notes, already=True)
    check_place(dataset, request, overwrite=options.overwrite)
    with claim(dataset, request, overwrite=options.overwrite) as held:
        begun, again = sum(len(items) for items in held.journal.done.values()), len(held.journal.begun)
        kept = budget_begun(held.journal, budget)
        if kept != budget:
            plan = make_label_plan(source, options, kept)
        work = Work(executor, held.journal, plan.pending(budget), report)
        labelled = _labelled(plan, options, held, work, budget)
        volume = plan_labels(labelled.source, options, kept)
        results = write_scales(volume, held, replace(work, pending=pending_of(volume, budget)))
        plain = volume_record(volume, request, results)
        record = replace(plain, counts=plain.counts | labelled.counts, threshold=labelled.threshold)
        publish_volume(volume, held, record)
    notes = (*plan.notes, *labelled.notes)
    return LabelSummary(dataset, plan.source, record, volume, notes, kept=max(0, begun - 1), again=again)


def _labelled(plan: LabelPlan, options: LabelOptions, held: Claim, work: Work, budget: Budget) -> _Labelled:
    """Find the components, write their table, and return their labels. budget: of this run, for what is done here."""
    spool = LabelSpool(held.spool / "labels", plan.blocks, plan.piece)
    spool.folder.mkdir(parents=True, exist_ok=True)
    grey = GreySource(unpacked(plan.source, plan.budget, held, work) if plan.unpack else plan.source, options.smooth)
    threshold = otsu_threshold(grey, spool, work) if options.level is None else options.level
    rule = rule_of(options, threshold)
    pixels = pixels_for(plan.source.shape, plan.source.geometry.resolution)
    label_blocks(grey, spool, rule, pixels, work)
    blocks = gathered(spool, budget)
    components = joined(spool, blocks, rule, work.report)
    _check_found(plan.source.name, blocks, components, rule)
    labels = LabelledSource(plan.source, spool, label_type(len(components.sizes)))
    labels.write_names(components.names, blocks.starts)
    extents, shown = measured(labels, len(components.sizes), pixels, work)
    write_table(held.tables / TABLE, components, extents, plan.source.shape, plan.source.geometry)
    bright = np.repeat(bright_pixels(spool, pixels)[..., np.newaxis], 3, axis=2)
    write_file(held.tables / MASK, encode_picture(np.uint8(255) * bright, pixels))
    write_file(held.tables / LABELS, encode_picture(viewer_colours(shown), pixels))
    counts = {
        "components": len(components.sizes),
        "largest_component": int(components.sizes.max()),
        "components_left_out": blocks.left_out + components.found - len(components.sizes),
        "foreground_voxels": blocks.foreground,
    }
    return _Labelled(labels, threshold, counts, _notes(blocks))


def _check_found(name: str, blocks: Blocks, components: Components, rule: Rule) -> None:
    """Raise OptionError where no component is left to be shown."""
    if not blocks.foreground:
        # NaN alone is not equal to itself.
        most = f"the largest value is {blocks.highest:.9g}" if blocks.highest == blocks.highest else "all are NaN"
        raise OptionError(f"{name}: no voxel is above {rule.threshold:.9g} ({most}): say a lower --threshold")
    if not len(components.sizes):
        wanted = f"{rule.min_size} voxels or more" if rule.max_size is None else f"{rule.min_size} to {rule.max_size} voxels"
        largest = max(blocks.largest_left_out, components.largest)
        found = blocks.left_out + components.found
        message = (
            f"{name}: none of the {found} components above {rule.threshold:.9g} has {wanted} (the largest has {largest}): say "
            "another --min-size or --max-size"
        )
        raise NothingKeptError(message, rule.threshold, found, largest, rule.min_size)


def _notes(blocks: Blocks) -> tuple[str, ...]:
    return (f"{blocks.unordered} voxels are NaN and were taken for background",) if blocks.unordered else ()


def _copy_table(path: Path, to: Path) -> None:
    """Raises DatasetError where the dataset's table is gone or its copy cannot be written, DiskFullError."""
    try:
        with path.open("rb") as table, new_file(to) as copy:
            while part := table.read(_COPIED_AT_A_TIME):
                copy.write(part)
    except OSError as error:
        raise_if_full(error, to)
        raise DatasetError(f"{to}: the table cannot be written ({error.strerror or error}); it is {path} too") from error
