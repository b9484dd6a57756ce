"""`glassine mesh`."""

from pathlib import Path
from typing import Any

from app.amounts import amount, duration, lengths
from app.commands.flags import with_flags
from app.commands.telling import AsJson, Telling
from app.progress import progress_shown
from converters.meshes.conversion import MeshSummary, make_meshes
from converters.meshes.export import Export, export_meshes
from converters.options import ExportMeshOptions, MeshOptions
from converters.steps import Progress


@with_flags
def mesh(dataset: Path, /, *, options: MeshOptions, exporting: ExportMeshOptions, as_json: AsJson = False) -> int:
    """Give DATASET, a segmentation, a closed mesh of each of its segments, or write those that it has to files with --export.

    Parameters
    ----------
    dataset
        The folder of a dataset.
    """
    if exporting.export is not None:
        return _export(dataset, Path(exporting.export), options.segments, exporting)
    telling = Telling[MeshSummary](lambda summary: summary.plan.notes, mesh_members, mesh_text)
    return telling.run(lambda show: make_meshes(dataset, options, show), as_json=as_json)


def _export(dataset: Path, folder: Path, segments: tuple[int, ...] | None, exporting: ExportMeshOptions) -> int:
    with progress_shown() as show:
        files = export_meshes(
            dataset,
            segments,
            Export(folder, exporting.export_format, exporting.export_unit),
            lambda done, total: show(Progress("export", done, total, "files")),
        )
    print(f"{folder}: {len(files)} meshes of {dataset} as {exporting.export_format}, coordinates in {exporting.export_unit}")
    return 0


def mesh_members(summary: MeshSummary, seconds: float) -> dict[str, Any]:
    """Return what a meshing gave, for a program. triangles: of each level of detail. max_error: nm. largest: segment ids."""
    record = summary.record
    return {
        "dataset": str(summary.plan.dataset),
        "already": summary.already,
        "blocks_kept": summary.kept,
        "seconds": round(seconds, 3),
        "folder": record.folder,
        "scale": record.scale,
        "resolution": summary.plan.scale.resolution,
        "max_error": record.max_error,
        "meshes": record.meshes,
        "triangles": record.triangles,
        "stored_bytes": record.stored_bytes,
        "largest": [str(segment) for segment in record.largest],
    }


def mesh_text(summary: MeshSummary, seconds: float) -> str:
    """Return what a meshing gave, one line for a person."""
    record = summary.record
    what = f"{summary.plan.dataset}: {record.meshes} meshes of scale {record.scale} ({lengths(summary.plan.scale.resolution)})"
    if summary.already:
        return f"{what}; they were there already, made of the same volume with the same options"
    triangles = " + ".join(amount(count, "").strip() for count in record.triangles)
    kept = f"; went on with {summary.kept} blocks that were done before" if summary.kept else ""
    stored = amount(record.stored_bytes, "bytes")
    return f"{what}, largest error {record.max_error:g} nm, {triangles} triangles, {stored}, in {duration(seconds)}{kept}"
