"""`glassine skeletonize`."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from app.amounts import amount, cable, duration, lengths
from app.commands.flags import with_flags
from app.commands.telling import AsJson
from app.progress import progress_shown
from converters.properties.stored import StoredProperties
from converters.skeletons.conversion import SkeletonSummary, make_skeletons
from converters.skeletons.options import SkeletonizeOptions
from converters.skeletons.reading import open_skeletons
from converters.skeletons.record import FOLDER
from converters.skeletons.swc_files import SwcUnit, write_swc_files
from converters.steps import Progress, Report

_NAMED = 10
"""Segments that the summary names."""

Swc = Annotated[Path | None, Parameter(help="Write each skeleton as DIR/ID.swc too.", show_default=False)]
Unit = Annotated[SwcUnit, Parameter(help="Unit of the SWC files.")]


@with_flags
def skeletonize(
    dataset: Path,
    /,
    *,
    options: SkeletonizeOptions,
    swc: Swc = None,
    swc_unit: Unit = "um",
    as_json: AsJson = False,
) -> int:
    """Give the segments of DATASET skeletons (TEASAR, by kimimaro).

    Parameters
    ----------
    dataset
        The folder of a segmentation.
    """
    began = time.monotonic()
    with progress_shown() as show:
        summary = make_skeletons(dataset, options, show)
        files = 0 if swc is None else _write_swc(dataset, swc, swc_unit, show)
    seconds = time.monotonic() - began
    if as_json:
        print(json.dumps({**summary_members(summary, seconds), "swc_files": files}, indent=1))
        return 0
    print(summary_text(summary, seconds))
    if swc is not None:
        print(f"{swc}: {files} SWC files in {swc_unit}")
    return 0


def _write_swc(dataset: Path, folder: Path, unit: SwcUnit, show: Report) -> int:
    reader = open_skeletons(dataset / FOLDER)
    return write_swc_files(reader, folder, unit, lambda done, total: show(Progress("swc", done, total, "files")))


def summary_members(summary: SkeletonSummary, seconds: float) -> dict[str, Any]:
    """Return what a skeletonizing gave, for a program."""
    plan, record = summary.plan, summary.record
    return {
        "dataset": str(plan.dataset),
        "already": summary.already,
        "blocks_kept": summary.kept,
        "seconds": round(seconds, 3),
        "scale": record.scale,
        "blocks": plan.blocks,
        "parameters": record.parameters,
        "counts": record.counts,
        "cable_length": record.cable_length,
        "limited": [str(segment) for segment in record.limited],
    }


def summary_text(summary: SkeletonSummary, seconds: float) -> str:
    """Return what a skeletonizing gave, for a person: one line, one with the parameters, and what should be known."""
    plan, counts = summary.plan, summary.record.counts
    what = f"{plan.dataset}: {counts['skeletons']} skeletons of {counts['segments']} segments"
    if summary.already:
        return f"{what}; they were there already, made from the same volume with the same options"
    lines = [
        f"{what}, {counts['trees']} trees, {counts['end_points']} end points, {cable(summary.record.cable_length)} of cable, "
        f"{amount(counts['stored_bytes'], 'bytes')}, traced on voxels of {lengths(plan.scale.resolution)}, in {duration(seconds)}"
        + (f"; went on where a run was stopped, blocks kept: {summary.kept}" if summary.kept else ""),
        f"parameters: {_parameters_text(summary)}",
        *_without(summary),
        *_targets(summary),
        *_limited(summary),
        *_elsewhere(summary),
    ]
    return "\n".join(lines)


def _parameters_text(summary: SkeletonSummary) -> str:
    return ", ".join(f"{name} {_shown(value)}" for name, value in asdict(summary.plan.parameters).items())


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.12g}"


def _without(summary: SkeletonSummary) -> list[str]:
    """Return why segments have no skeleton."""
    counts = summary.record.counts
    if not counts["segments"]:
        return [f"scale {summary.plan.scale.key} holds no segment, all its voxels are 0"]
    without = counts["segments"] - counts["skeletons"]
    # A path has two voxels at least.
    least = max(1, summary.plan.parameters.dust_threshold)
    return [f"{without} segments have no skeleton: no piece of more than {least} voxels (--dust-threshold)"] if without else []


def _targets(summary: SkeletonSummary) -> list[str]:
    """Return how many of the points of --targets-before and --targets-after have paths, where not all do."""
    counts = summary.record.counts
    told, found = counts.get("targets_told", 0), counts.get("targets", 0)
    if found == told:
        return []
    return [f"{told - found} of {told} points have no path to them: none of their segments is near, or it has no skeleton"]


def _limited(summary: SkeletonSummary) -> list[str]:
    limited = summary.record.limited
    if not limited:
        return []
    more = f" and {len(limited) - _NAMED} more" if len(limited) > _NAMED else ""
    named = ", ".join(str(segment) for segment in limited[:_NAMED]) + more
    return [f"took all the paths there were for them and may be unfinished (--budget, --max-paths): segments {named}"]


def _elsewhere(summary: SkeletonSummary) -> list[str]:
    """Return why the viewer does not list cable lengths."""
    stored = StoredProperties(summary.plan.dataset, summary.plan.info.segment_properties)
    if not stored.is_elsewhere:
        return []
    return [f"its segment properties lie at {stored.member}, so cable lengths, branch and end points were not added to them"]
