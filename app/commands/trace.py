"""`glassine trace`."""

from pathlib import Path
from typing import Any

from app.amounts import duration, lengths, voxels
from app.commands.flags import with_flags
from app.commands.telling import AsJson, Telling
from converters.labels.conversion import LABELS, MASK, TABLE
from converters.traces.conversion import TraceSummary
from converters.traces.conversion import trace as trace_source
from converters.traces.options import TraceOptions
from converters.traces.results import RECORD, SWC


@with_flags
def trace(source: str, dataset: Path, /, *, options: TraceOptions, as_json: AsJson = False) -> int:
    """Label and trace what is brighter than a threshold in SOURCE, a stack of light microscopy.

    Labels, meshes and skeletons go to DATASET; SWC files, pictures and a table of the components to a folder beside it.

    Parameters
    ----------
    source
        The file, folder, pattern of file names or URL to read.
    dataset
        The folder to write; it is made when it is missing.
    """
    telling = Telling[TraceSummary](_notes, summary_members, summary_text)
    return telling.run(lambda show: trace_source(source, dataset, options, show), as_json=as_json)


def _notes(summary: TraceSummary) -> tuple[str, ...]:
    """Return what the steps have to tell, each once: they read the same source."""
    told = [*summary.labels.notes, *(summary.image.plan.notes if summary.image else ()), *summary.meshes.plan.notes]
    limited = summary.skeletons.record.limited
    if limited:
        told.append(f"{len(limited)} skeletons may be unfinished (--budget, --max-paths); {summary.results / RECORD} names them")
    return tuple(dict.fromkeys(told))


def summary_members(summary: TraceSummary, seconds: float) -> dict[str, Any]:
    """Return what a trace gave, for a program. cable_length and parameters: nm."""
    labels, skeletons = summary.labels.record, summary.skeletons.record
    return {
        "dataset": str(summary.labels.dataset),
        "image": None if summary.image is None else str(summary.image.dataset),
        "already": summary.already,
        "blocks_kept": summary.kept,
        "seconds": round(seconds, 3),
        "shape": summary.labels.source.shape,
        "resolution": summary.labels.source.geometry.resolution,
        "threshold": labels.threshold,
        "labels": labels.counts,
        "meshes": summary.meshes.record.meshes,
        "skeletons": skeletons.counts,
        "cable_length": skeletons.cable_length,
        "parameters": skeletons.parameters,
        "limited": [str(segment) for segment in skeletons.limited],
        "results": str(summary.results),
        "swc_files": summary.swc_files,
        "notes": _notes(summary),
    }


def summary_text(summary: TraceSummary, seconds: float) -> str:
    """Return what a trace gave, one line for a person."""
    labels, skeletons = summary.labels, summary.skeletons.record
    counts = labels.record.counts
    dust = f", {counts['components_left_out']} left out as dust" if counts["components_left_out"] else ""
    what = (
        f"{labels.dataset}: {voxels(labels.source.shape)} voxels of {lengths(labels.source.geometry.resolution)}, "
        f"{counts['components']} components above {labels.record.threshold:.9g}{dust}, "
        f"{skeletons.counts['skeletons']} skeletons with {lengths([float(f'{skeletons.cable_length:.4g}')])} of cable"
    )
    files = f"{SWC}/*.swc, {TABLE}, {MASK} and {LABELS} in {summary.results}"
    if summary.already:
        return f"{what}; {files}; all was there already, made from the same source with the same options"
    kept = f"; went on where a run was stopped, blocks kept: {summary.kept}" if summary.kept else ""
    return f"{what}; {files}, in {duration(seconds)}{kept}"
