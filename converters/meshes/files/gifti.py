"""GIfTI surfaces, `.gii` and `.gii.gz` (GIFTI Surface Data Format, version 1.0)."""

import warnings
import zlib
from gzip import BadGzipFile
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

import numpy as np

from converters.errors import DamagedError, SourceError
from converters.imports.placing import Matrix
from converters.meshes.files.surface import Surface

_POINTS, _TRIANGLES = 1008, 1009
_SPACES = {0: "unknown", 1: "scanner", 2: "aligned", 3: "talairach", 4: "mni"}
"""NIfTI's numbers of coordinate systems, which GIfTI uses too."""

_DAMAGED = (
    ExpatError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    AssertionError,
    OverflowError,
    MemoryError,
    BadGzipFile,
    zlib.error,
    EOFError,
)
"""What nibabel raises for bytes that it does not understand, besides its own error."""

_TURNED = np.array([[-1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
"""FreeSurfer's surface RAS of an image's first, second and third axis: its columns."""


def read_gifti(path: Path) -> Surface:
    """Return the surface of a GIfTI file: mm, RAS unless it is moved.

    Raises SourceError for a file without one surface, DamagedError for one that cannot be read.
    """
    import nibabel

    try:
        with warnings.catch_warnings():
            # Such as of a wrong count of arrays in the header; what is needed of them is looked at below.
            warnings.simplefilter("ignore")
            image: Any = nibabel.load(path)
            arrays = image.darrays
    except (nibabel.filebasedimages.ImageFileError, *_DAMAGED) as error:
        raise DamagedError(f"{path}: cannot be read as GIfTI ({error}); repair it, or export the surface again") from error
    points, triangles = (_one(path, arrays, intent) for intent in (_POINTS, _TRIANGLES))
    coordinates = points.coordsys
    with np.errstate(invalid="ignore"):  # NaNs are told later, by their places
        places, corners = points.data.astype(np.float64), triangles.data.astype(np.int64)
    return Surface(
        np.ascontiguousarray(places),
        np.ascontiguousarray(corners),
        unit="mm",
        space="ras",
        stored_in="unknown" if coordinates is None else _SPACES.get(coordinates.dataspace, "unknown"),
        matrices=_matrices(path, points),
    )


def _one(path: Path, arrays: list[Any], intent: int) -> Any:
    """Return the one array of points or of triangles, three numbers a row."""
    what = {_POINTS: "points", _TRIANGLES: "triangles"}[intent]
    found = [array for array in arrays if array.intent == intent]
    if len(found) != 1:
        raise SourceError(
            f"{path}: holds {len(found)} arrays of {what}, expected one; "
            "a surface (.surf.gii) is needed, not its values, labels or several surfaces in one file"
        )
    data = found[0].data
    if data is None or data.ndim != 2 or data.shape[1] != 3:
        shape = "missing" if data is None else " x ".join(str(n) for n in data.shape)
        raise DamagedError(f"{path}: its array of {what} is {shape}, expected n x 3; export the surface again")
    return found[0]


def _matrices(path: Path, points: Any) -> dict[str, Matrix]:
    """Return the matrices to other spaces that move the points at all."""
    found: dict[str, Matrix] = {}
    coordinates = points.coordsys
    if coordinates is not None and coordinates.xform is not None:
        matrix = np.asarray(coordinates.xform, np.float64)
        if matrix.size != 16 or not np.isfinite(matrix).all():
            raise DamagedError(f"{path}: its coordinate system's matrix is not 4 x 4 finite numbers; export the surface again")
        found[_SPACES.get(coordinates.xformspace, "unknown")] = matrix.reshape(4, 4)
    if coordinates is None or _SPACES.get(coordinates.dataspace) != "scanner":
        found |= _freesurfer(points.meta)
    return {name: matrix for name, matrix in found.items() if not np.array_equal(matrix, np.eye(4))}


def _freesurfer(meta: Any) -> dict[str, Matrix]:
    """Return the matrix to scanner RAS of a surface that FreeSurfer wrote in its own surface RAS, where the file tells it.

    There 0 is the centre of the image and the axes are the image's, turned; the metadata hold the image's axes and centre.
    """
    try:
        columns = [[float(meta[f"VolGeom{axis}_{world}"]) for world in "RAS"] for axis in "XYZC"]
    except (KeyError, ValueError):
        return {}
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(columns[:3]).T @ _TURNED.T
    matrix[:3, 3] = columns[3]
    return {"scanner": matrix} if np.isfinite(matrix).all() else {}
