"""`glassine import-mesh`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from app.amounts import amount, duration
from app.commands.flags import with_flags
from app.commands.telling import AsJson, Telling
from converters.errors import OptionError
from converters.meshes.importing import Imported, import_meshes
from converters.options import ImportMeshOptions
from converters.steps import Progress, Report


@with_flags
def import_mesh(*files: Path, options: ImportMeshOptions, as_json: AsJson = False) -> int:
    """Add the surfaces in mesh FILES (STL, OBJ, PLY, GIfTI, VTK) to the DATASET that stands last, as meshes of its segments.

    The dataset is a segmentation, a dataset of meshes alone, or a new folder that becomes one. Coordinates go through --affine,
    then the unit, then the space. In the dataset's own space 0,0,0 is the corner of voxel 0,0,0, so that a voxel's centre is half
    a voxel from it. Files of one segment become one mesh. What is mirrored on the way keeps its outside.

    Parameters
    ----------
    files
        The mesh files, and last the dataset; the dataset alone when --table lists the files.
    """
    if not files:
        raise OptionError("nothing is given, expected FILES and then the DATASET to write")

    def work(show: Report) -> Imported:
        return import_meshes(files[:-1], files[-1], options, lambda done, total: show(Progress("import", done, total, "files")))

    return Telling[Imported](lambda imported: imported.notes, _members, _text).run(work, as_json=as_json)


def _members(imported: Imported, seconds: float) -> dict[str, Any]:
    """Return what an import gave, for a program."""
    paths = {"dataset": str(imported.dataset), "folder": str(imported.folder)}
    return {**asdict(imported), **paths, "seconds": round(seconds, 3)}


def _text(imported: Imported, seconds: float) -> str:
    """Return what an import gave, one line for a person."""
    what = f"{imported.format} meshes of {imported.segments} segments from {imported.files} files"
    stored = f"{imported.triangles} triangles, {amount(imported.stored_bytes, 'bytes')}"
    return f"{imported.folder}: {what}, {stored}, in {duration(seconds)}"
