"""Where a file's surface lies in the dataset."""

import numpy as np

from converters.errors import OptionError
from converters.imports.placing import NM, Coordinates, FileCoordinates, Place, to_dataset
from converters.meshes.files.surface import Surface
from formats.meshes.mesh import Mesh, welded


def placed(surface: Surface, place: Place, told: Coordinates, name: str) -> Mesh:
    """Return the surface in the dataset's nm, equal points joined, wound as in the file even where it is mirrored.

    name: the file's, for messages. Raises OptionError when the file's space is not the dataset's and no way between is known.
    """
    unit = None if surface.unit is None else NM[surface.unit]
    matrix = to_dataset(FileCoordinates(unit, surface.space, surface.stored_in, surface.matrices), place, told, name)
    points = surface.points @ matrix[:3, :3].T + matrix[:3, 3]
    if not np.abs(points).max() < np.finfo(np.float32).max:
        raise OptionError(f"{name}: some points lie beyond 3e38 nm; check --unit and --affine")
    triangles = surface.triangles.astype(np.uint32)
    if np.linalg.det(matrix[:3, :3]) < 0:
        triangles = triangles[:, ::-1]
    mesh = welded(Mesh(points.astype(np.float32), np.ascontiguousarray(triangles)))
    if not len(mesh.triangles):
        raise OptionError(f"{name}: no triangle has three different corners left; check --unit and --affine")
    return mesh
