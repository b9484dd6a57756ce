"""`glassine label`."""

from pathlib import Path
from typing import Any

from app.amounts import amount, duration, lengths, voxels
from app.commands.convert import plan_members
from app.commands.flags import with_flags
from app.commands.telling import AsJson, Telling, gone_on
from converters.labels.conversion import LABELS, MASK, TABLE, LabelSummary
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
    telling = Telling[LabelSummary](lambda summary: summary.notes, summary_members, summary_text)
    return telling.run(lambda show: label_source(source, dataset, options, show), as_json=as_json)


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
        **{name: str(summary.dataset / PRIVATE / file) for name, file in (("table", TABLE), ("mask", MASK), ("labels", LABELS))},
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
    return f"{what}, {stored}, in {duration(seconds)}{gone_on(summary.kept, summary.again)}"
