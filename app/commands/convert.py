"""`glassine plan` and `glassine convert`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from app.amounts import amount, duration, lengths, voxels
from app.commands.flags import with_flags
from app.commands.telling import AsJson, Telling, gone_on
from converters.options import ConvertOptions
from converters.volumes.conversion import Summary
from converters.volumes.conversion import convert as convert_source
from converters.volumes.estimate import Estimate, estimate
from converters.volumes.plan import Plan, make_plan


@with_flags
def plan(source: str, /, *, options: ConvertOptions, as_json: AsJson = False) -> int:
    """Show what convert would do with SOURCE, and write nothing.

    Parameters
    ----------
    source
        The file, folder, pattern of file names or URL to read.
    """
    planned = make_plan(source, options)
    cost = estimate(planned)
    print(json.dumps(planned_members(planned, cost), indent=1) if as_json else plan_text(planned, cost))
    return 0


@with_flags
def convert(source: str, dataset: Path, /, *, options: ConvertOptions, as_json: AsJson = False) -> int:
    """Convert SOURCE to DATASET, a folder that the viewer can open once it is served.

    Parameters
    ----------
    source
        The file, folder, pattern of file names or URL to read.
    dataset
        The folder to write; it is made when it is missing.
    """
    return convert_and_tell(source, dataset, options, as_json=as_json)


def convert_and_tell(source: str | Path, dataset: Path, options: ConvertOptions, *, as_json: bool = False) -> int:
    """Convert with progress, notes and the summary line on the terminal, and return the exit status."""
    telling = Telling[Summary](lambda summary: summary.plan.notes, summary_members, summary_text)
    return telling.run(lambda show: convert_source(source, dataset, options, show), as_json=as_json)


def planned_members(planned: Plan, cost: Estimate) -> dict[str, Any]:
    """Return a plan and what it costs for a program."""
    return {**plan_members(planned), **{f"{name}_about": value for name, value in asdict(cost).items()}}


def plan_members(planned: Plan) -> dict[str, Any]:
    """Return a plan for a program. shape, chunk_size: voxels x, y, z. resolution: nm. uncompressed_bytes: of all scales."""
    return {
        "source": planned.source.name,
        "shape": planned.source.shape,
        "resolution": planned.source.geometry.resolution,
        "type": planned.layer,
        "source_dtype": str(planned.source.dtype),
        "data_type": planned.chunk_format.data_type,
        "num_channels": planned.chunk_format.num_channels,
        "encoding": planned.chunk_format.encoding,
        "layout": planned.layout,
        "scales": [
            {"key": scale.key, "size": scale.box.shape, "resolution": scale.resolution, "chunk_size": scale.chunk_size}
            for scale in planned.scales
        ],
        "chunks": planned.chunks,
        "uncompressed_bytes": _uncompressed_bytes(planned),
        "unpacked_bytes": planned.unpacked_bytes,
        "memory_bytes": planned.memory_bytes,
        "workers": planned.workers,
        "notes": planned.notes,
    }


def plan_text(planned: Plan, cost: Estimate) -> str:
    """Return a plan and what it costs for a person, some lines."""
    form = planned.chunk_format
    channels = f", {form.num_channels} channels" if form.num_channels > 1 else ""
    rows = [
        ("source", planned.source.name),
        ("shape", "x={}, y={}, z={} voxels".format(*planned.source.shape) + channels),
        ("voxel", lengths(planned.source.geometry.resolution)),
        ("type", f"{planned.layer}, {planned.source.dtype} -> {form.data_type}, {form.encoding}, {planned.layout}"),
        *(("scale", _scale_text(scale.box.shape, scale.resolution, scale.chunk_size)) for scale in planned.scales),
        ("files", f"{cost.files}, {planned.chunks} {'chunks in shards' if planned.layout == 'sharded' else 'of them chunks'}"),
        (
            "bytes",
            f"about {amount(cost.stored_bytes, 'bytes')}, {amount(_uncompressed_bytes(planned), 'bytes')} before compression",
        ),
        *_unpacking_text(planned),
        ("time", f"about {duration(cost.seconds)}"),
        ("memory", f"at most {amount(planned.memory_bytes, 'bytes')}, {planned.workers} workers"),
        *(("note", note) for note in planned.notes),
    ]
    return "\n".join(f"{name:7} {text}" for name, text in rows)


def _unpacking_text(planned: Plan) -> list[tuple[str, str]]:
    if not planned.unit:
        return []
    return [("unpack", f"{amount(planned.unpacked_bytes, 'bytes')} beside the dataset while it is converted")]


def summary_members(summary: Summary, seconds: float) -> dict[str, Any]:
    """Return what a conversion gave, for a program."""
    return {
        "dataset": str(summary.dataset),
        "already": summary.already,
        "blocks_kept": summary.kept,
        "blocks_again": summary.again,
        "seconds": round(seconds, 3),
        **plan_members(summary.plan),
        "counts": summary.record.counts,
        "contrast": [vars(contrast) for contrast in summary.record.contrast],
        "largest_error": summary.record.largest_error,
    }


def summary_text(summary: Summary, seconds: float) -> str:
    """Return what a conversion gave, one line for a person."""
    planned = summary.plan
    size = f"{voxels(planned.source.shape)} voxels of {lengths(planned.source.geometry.resolution)}"
    what = f"{summary.dataset}: {planned.layer}, {size}"
    if summary.already:
        return f"{what}; it was there already, made from the same source with the same options"
    counts = summary.record.counts
    stored = f"{counts['chunks']} chunks, {amount(counts['stored_bytes'], 'bytes')}"
    error = summary.record.largest_error
    rounded = f", {planned.source.dtype} rounded by {error:.2g} at most" if error else ""
    return f"{what}, {len(planned.scales)} scales, {stored}{rounded}, in {duration(seconds)}{_gone_on(summary)}"


def _gone_on(summary: Summary) -> str:
    return gone_on(summary.kept, summary.again)


def _scale_text(size: tuple[int, int, int], resolution: tuple[float, float, float], chunk_size: tuple[int, int, int]) -> str:
    return f"{voxels(size)} voxels of {lengths(resolution)} in chunks of {voxels(chunk_size)}"


def _uncompressed_bytes(planned: Plan) -> int:
    import numpy as np

    return planned.voxels * planned.chunk_format.num_channels * np.dtype(planned.chunk_format.data_type).itemsize
