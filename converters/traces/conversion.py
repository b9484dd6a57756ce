"""A grey source becomes labels, meshes, skeletons, and files of what was found."""

import os
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from converters.errors import DatasetError, OptionError
from converters.executor import place_for_workers
from converters.labels.conversion import LABELS, MASK, TABLE, LabelSummary, NothingKeptError, label
from converters.meshes.conversion import MeshSummary, make_meshes
from converters.record import PRIVATE
from converters.skeletons.conversion import SkeletonSummary, make_skeletons
from converters.skeletons.reading import SkeletonReader, open_skeletons
from converters.skeletons.record import FOLDER
from converters.skeletons.swc_files import write_swc_files
from converters.sources.opening import absolute, open_source
from converters.sources.source import Source
from converters.steps import Progress, Report
from converters.storage.files import write_file
from converters.traces.options import (
    TraceOptions,
    image_options,
    label_options,
    mesh_options,
    reading_options,
    skeleton_options,
)
from converters.traces.results import SWC, Results
from converters.traces.table import Counts, Scaling, counts_of, write_table
from converters.volumes.conversion import Summary, convert
from converters.volumes.plan import source_options

_OPTIONS_OF_THE_RUN = {"memory", "executor", "overwrite", "image", "results"}
"""Options that change how a run goes and where it writes, and not what it finds."""


@dataclass(frozen=True)
class TraceSummary:
    """What a trace gave: what each of its steps did, and what was written into results. image: None where none was asked for.

    already: all of it was there before.
    """

    results: Path
    labels: LabelSummary
    image: Summary | None
    meshes: MeshSummary
    skeletons: SkeletonSummary
    swc_files: int
    already: bool

    @property
    def kept(self) -> int:
        """Blocks that a run which was stopped had done."""
        image = 0 if self.image is None else self.image.kept
        return self.labels.kept + image + self.meshes.kept + self.skeletons.kept


def trace(place: Path | str, dataset: Path, options: TraceOptions, report: Report) -> TraceSummary:
    """Label a grey source, give the labels meshes and skeletons, and write what was found into a folder of results.

    Each step is a dataset's own: what is there of the same is kept, and what a run that was stopped left is gone on with.
    Raises ConverterError.
    """
    place, dataset = place_for_workers(place, options.executor), Path(place_for_workers(dataset, options.executor))
    source = open_source(place, source_options(reading_options(options)))
    _check_outside(dataset, "--image", options.image)
    results = Results(_results_folder(dataset, options), _request(place, source, options))
    results.check(overwrite=options.overwrite)
    labels = _labelled(place, source, dataset, options, report)
    image = None if options.image is None else convert(place, options.image, image_options(options), report)
    meshes = make_meshes(dataset, mesh_options(options), report)
    skeletons = make_skeletons(dataset, skeleton_options(options, source.geometry.resolution), report)
    told = results.done()
    steps = (labels, meshes, skeletons) if image is None else (labels, image, meshes, skeletons)
    already = told is not None and all(step.already for step in steps)
    if told is None:
        scaling = Scaling(options.unit, options.nanometres, source.geometry.resolution)
        told = _write_results(results, dataset, scaling, report)
        results.finish(told | _told(labels, skeletons))
    return TraceSummary(results.folder, labels, image, meshes, skeletons, told["swc_files"], already)


def _results_folder(dataset: Path, options: TraceOptions) -> Path:
    whole = dataset if dataset.name not in ("", "..") else dataset.resolve()
    _check_outside(dataset, "--results", options.results)
    return whole.with_name(f"{whole.name}-results") if options.results is None else options.results


def _check_outside(dataset: Path, flag: str, folder: Path | None) -> None:
    if folder is not None and Path(os.path.abspath(folder)).is_relative_to(os.path.abspath(dataset)):
        raise OptionError(f"{flag} {folder}: lies in the dataset of the labels; choose a folder outside of {dataset}")


def _request(place: str, source: Source, options: TraceOptions) -> dict[str, Any]:
    return {
        "glassine": version("glassine"),
        "source": absolute(place),
        "fingerprint": source.fingerprint(),
        "options": options.model_dump(mode="json", exclude=_OPTIONS_OF_THE_RUN),
    }


def _labelled(place: str, source: Source, dataset: Path, options: TraceOptions, report: Report) -> LabelSummary:
    try:
        return label(place, dataset, label_options(options, source.geometry.resolution), report)
    except NothingKeptError as nothing:
        raise OptionError(
            f"{source.name}: all {nothing.found} components above {nothing.threshold:.9g} are dust, the largest has "
            f"{nothing.largest} voxels and {nothing.least} are expected: say a smaller --dust, or another --threshold"
        ) from nothing


def _write_results(results: Results, dataset: Path, scaling: Scaling, report: Report) -> dict[str, Any]:
    """Write all files but the record, and return how many SWC files there are. Raises DatasetError, DiskFullError."""
    results.begin()
    for name in (MASK, LABELS):
        write_file(results.folder / name, _picture(dataset / PRIVATE / name))
    reader = open_skeletons(dataset / FOLDER)
    files = write_swc_files(reader, results.folder / SWC, "um", lambda done, total: report(Progress("swc", done, total, "files")))
    write_table(results.folder / TABLE, dataset / PRIVATE / TABLE, _counts(reader), scaling)
    return {"swc_files": files}


def _picture(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error}); label the volume again with --overwrite") from error


def _counts(reader: SkeletonReader) -> dict[int, Counts]:
    found = ((segment, reader.read(segment)) for segment in reader.segments())
    return {segment: counts_of(skeleton) for segment, skeleton in found if skeleton is not None}


def _told(labels: LabelSummary, skeletons: SkeletonSummary) -> dict[str, Any]:
    """Return what came of the steps, for who finds the folder later."""
    return {
        "threshold": labels.record.threshold,
        "components": labels.record.counts["components"],
        "components_left_out": labels.record.counts["components_left_out"],
        "skeletons": skeletons.record.counts,
        "cable_length_nm": skeletons.record.cable_length,
        "parameters_nm": skeletons.record.parameters,
        "limited": [str(segment) for segment in skeletons.record.limited],
    }
