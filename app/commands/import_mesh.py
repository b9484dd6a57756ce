"""`glassine import-mesh`."""

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from app.amounts import amount, duration
from app.commands.flags import with_flags
from app.commands.telling import AsJson
from app.progress import progress_shown
from converters.errors import OptionError
from converters.meshes.importing import Imported, import_meshes
from converters.options import ImportMeshOptions
from converters.steps import Progress


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
    began = time.monotonic()
    with progress_shown() as show:
        imported = import_meshes(
            files[:-1], files[-1], options, lambda done, total: show(Progress("import", done, total, "files"))
        )
    for note in imported.notes:
        print(f"glassine: note: {note}", file=sys.stderr)
    seconds = time.monotonic() - began
    print(json.dumps(_members(imported, seconds), indent=1) if as_json else _text(imported, seconds))
    return 0


def _members(imported: Imported, seconds: float) -> dict[str, Any]:
    """Return what an import gave, for a program."""
    paths = {"dataset": str(imported.dataset), "folder": str(imported.folder)}
    return {**asdict(imported), **paths, "seconds": round(seconds, 3)}


def _text(imported: Imported, seconds: float) -> str:
    """Return what an import gave, one line for a person."""
    what = f"{imported.format} meshes of {imported.segments} segments from {imported.files} files"
    stored = f"{imported.triangles} triangles, {amount(imported.stored_bytes, 'bytes')}"
    return f"{imported.folder}: {what}, {stored}, in {duration(seconds)}"
