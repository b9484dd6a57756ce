"""Meshes of a dataset as files for other programs: PLY, OBJ, STL."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from converters.errors import DatasetError, OptionError
from converters.imports.placing import NM, Unit
from converters.meshes.reading import open_meshes
from converters.storage.files import write_file
from formats.meshes.mesh import Mesh

ExportFormat = Literal["ply", "obj", "stl"]

Report = Callable[[int, int], None]
"""Called with how many files are done and how many there are."""

_DIGITS = 9
"""Digits behind the point of a number in OBJ: a coordinate of 0.1 m in mm keeps what float32 holds of it."""
_NAMED = 5
"""Segments that a message names."""


@dataclass(frozen=True)
class Export:
    """Where meshes are written and how: each as `ID.ply` in the folder, its coordinates in the unit."""

    folder: Path
    form: ExportFormat = "ply"
    unit: Unit = "nm"


def export_meshes(
    dataset: Path, segments: Iterable[int] | None, export: Export, report: Report = lambda done, total: None
) -> tuple[Path, ...]:
    """Write the finest mesh of each segment, of all that there are for None, and return the files.

    dataset: a volume with meshes, or a dataset of meshes alone. The coordinates are the dataset's: 0 is the corner of its voxel
    0, 0, 0. The same mesh gives the same bytes.

    Raises OptionError, before anything is written, for segments without a mesh, DatasetError for meshes that cannot be read.
    """
    meshes = open_meshes(dataset)
    chosen = list(dict.fromkeys(meshes.segments().tolist() if segments is None else segments))
    missing = [segment for segment in chosen if not meshes.holds(segment)]
    if segments is None:
        chosen = [segment for segment in chosen if segment not in set(missing)]
    elif missing:
        named = ", ".join(map(str, missing[:_NAMED])) + (", ..." if len(missing) > _NAMED else "")
        raise OptionError(f"{dataset}: {len(missing)} of {len(chosen)} segments have no mesh there ({named}); leave them out")
    if not chosen:
        raise DatasetError(f"{dataset}: holds no mesh that could be exported")
    return tuple(_written(meshes.read, chosen, export, report))


def _written(read: Callable[[int], Mesh], segments: list[int], export: Export, report: Report) -> Iterator[Path]:
    for number, segment in enumerate(segments, 1):
        path = export.folder / f"{segment}.{export.form}"
        write_file(path, encode_mesh_file(read(segment), export.form, export.unit))
        report(number, len(segments))
        yield path


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
