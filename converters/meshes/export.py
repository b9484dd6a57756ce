"""Meshes of a dataset as files for other programs: PLY, OBJ, STL."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from converters.errors import OptionError
from converters.meshes.files.segments import segment_id
from converters.meshes.files.surface import NM, Unit
from converters.meshes.reading import MeshReader, open_meshes
from converters.storage.files import write_file
from formats.meshes.mesh import Mesh

ExportFormat = Literal["ply", "obj", "stl"]

_DIGITS = 9
"""Digits behind the point of a number in OBJ: a coordinate of 0.1 m in mm keeps what float32 holds of it."""
_NAMED = 5
"""Segments that a message names."""


def parse_segments(text: str) -> tuple[int, ...]:
    """Return the ids in `1,2,3`, each once. Raises OptionError."""
    return tuple(dict.fromkeys(segment_id(word.strip()) for word in text.split(",")))


def export_meshes(
    dataset: Path, folder: Path, segments: Sequence[int], form: ExportFormat = "ply", unit: Unit = "nm"
) -> tuple[Path, ...]:
    """Write the finest mesh of each segment as `ID.ply`, and return the files; the same bytes for the same mesh.

    dataset: a volume with meshes, or a dataset of meshes alone. The coordinates are the dataset's, in the unit: 0 is the corner
    of its voxel 0, 0, 0.

    Raises OptionError, before anything is written, for segments without a mesh, DatasetError for meshes that cannot be read.
    """
    meshes = open_meshes(dataset)
    missing = [segment for segment in segments if not meshes.holds(segment)]
    if missing:
        named = ", ".join(map(str, missing[:_NAMED])) + (", ..." if len(missing) > _NAMED else "")
        raise OptionError(f"{dataset}: {len(missing)} of {len(segments)} segments have no mesh there ({named}); leave them out")
    return tuple(_export(meshes, folder, segment, form, unit) for segment in segments)


def _export(meshes: MeshReader, folder: Path, segment: int, form: ExportFormat, unit: Unit) -> Path:
    mesh = meshes.read(segment)
    path = folder / f"{segment}.{form}"
    write_file(path, encode_mesh_file(mesh, form, unit))
    return path


def encode_mesh_file(mesh: Mesh, form: ExportFormat, unit: Unit = "nm") -> bytes:
    """Return a mesh as a file: PLY and STL binary, OBJ text."""
    import trimesh

    exchange: Any = trimesh.exchange
    surface = trimesh.Trimesh(mesh.vertices.astype(np.float64) / NM[unit], mesh.triangles.astype(np.int64), process=False)
    if form == "ply":
        return _bytes(exchange.ply.export_ply(surface, vertex_normal=False))
    if form == "obj":
        return _bytes(exchange.obj.export_obj(surface, include_normals=False, digits=_DIGITS, header=f"unit {unit}"))
    return _bytes(exchange.stl.export_stl(surface))


def _bytes(data: bytes | str) -> bytes:
    return data.encode() if isinstance(data, str) else data
