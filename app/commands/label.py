"""`glassine label`."""

import json
import sys
import time
from pathlib import Path
from typing import Any

from app.amounts import amount, duration, lengths, voxels
from app.commands.convert import AsJson, plan_members
from app.commands.flags import with_flags
from app.progress import progress_shown
from converters.labels.conversion import TABLE, LabelSummary
from converters.labels.conversion import label as label_source
from converters.labels.options import LabelOptions
from converters.record import PRIVATE


@with_flags
def label(source: str, dataset: Path, /, *, options: LabelOptions, as_json: AsJson = False) -> int:
    """Label the connected parts of SOURCE that are brighter than a threshold, and write them to DATASET as a segmentation.

    Parameters
    ----------
    source
        The file, folder, pattern of file names or URL to read.
    dataset
        The folder to write; it is made when it is missing.
    """
    began = time.monotonic()
    with progress_shown() as show:
        summary = label_source(source, dataset, options, show)
    seconds = time.monotonic() - began
    for note in summary.notes:
        print(f"glassine: note: {note}", file=sys.stderr)
    print(json.dumps(summary_members(summary, seconds), indent=1) if as_json else summary_text(summary, seconds))
    return 0


def summary_members(summary: LabelSummary, seconds: float) -> dict[str, Any]:
    """Return what labelling gave, for a program. counts: voxels, and components by what became of them."""
    return {
        "dataset": str(summary.dataset),
        "already": summary.already,
        "blocks_kept": summary.kept,
        "blocks_again": summary.again,
        "seconds": round(seconds, 3),
        **plan_members(summary.plan),
        "source_dtype": str(summary.source.dtype),
        "threshold": summary.record.threshold,
        "counts": summary.record.counts,
        "table": str(summary.dataset / PRIVATE / TABLE),
        "notes": summary.notes,
    }


def summary_text(summary: LabelSummary, seconds: float) -> str:
    """Return what labelling gave, one line for a person."""
    planned, counts = summary.plan, summary.record.counts
    size = f"{voxels(planned.source.shape)} voxels of {lengths(planned.source.geometry.resolution)}"
    left_out = f", {counts['components_left_out']} left out by size" if counts["components_left_out"] else ""
    found = f"{counts['components']} components above {summary.record.threshold:.9g}{left_out}"
    what = f"{summary.dataset}: {size}, {found}, the largest has {counts['largest_component']} voxels"
    if summary.already:
        return f"{what}; it was there already, made from the same source with the same options"
    stored = f"{len(planned.scales)} scales, {amount(counts['stored_bytes'], 'bytes')}"
    again = f"; went on with {summary.kept} blocks that were done before, {summary.again} that were begun were done again"
    return f"{what}, {stored}, in {duration(seconds)}{again if summary.kept + summary.again else ''}"
