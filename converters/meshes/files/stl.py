"""STL files, text and binary, read by trimesh.

trimesh gives an empty surface for a file that is cut short, so what the file tells of its length is looked at first.
"""

import io
import logging
import re
from pathlib import Path

import numpy as np

from converters.errors import DamagedError
from converters.meshes.files.surface import Surface

_STL_HEAD, _STL_TRIANGLE = 84, 50
_DAMAGED = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    NameError,
    AssertionError,
    OverflowError,
    MemoryError,
)
"""What trimesh raises for bytes that it does not understand."""


def read_stl(path: Path) -> Surface:
    """Return the surface of an STL file, equal points not yet joined. Raises DamagedError."""
    data = path.read_bytes()
    _check_stl(path, data)
    import trimesh

    # Without a handler of its own what it logs goes to the terminal, with a traceback.
    logging.getLogger("trimesh").addHandler(logging.NullHandler())
    try:
        with np.errstate(all="ignore"):
            found = trimesh.load_mesh(io.BytesIO(data), file_type="stl", process=False)
            points, triangles = np.asarray(found.vertices), np.asarray(found.faces).reshape(-1, 3)
            return Surface(points.reshape(-1, 3).astype(np.float64), triangles.astype(np.int64))
    except _DAMAGED as error:
        raise DamagedError(f"{path}: cannot be read as STL, it is damaged ({str(error)[:100]}); export it again") from error


def _check_stl(path: Path, data: bytes) -> None:
    """Raise DamagedError unless the file is as long as it says, or is text from `solid` to `endsolid`."""
    told = int.from_bytes(data[80:84], "little") if len(data) >= _STL_HEAD else 0
    if len(data) == _STL_HEAD + _STL_TRIANGLE * told and len(data) >= _STL_HEAD:
        return
    is_text = data[:512].lstrip().lower().startswith(b"solid") and b"\0" not in data[:512]
    if not is_text:
        needed = (
            f"{_STL_HEAD + _STL_TRIANGLE * told} bytes for the {told} triangles that it tells"
            if told
            else "STL's 84 bytes and more"
        )
        raise DamagedError(f"{path}: has {len(data)} bytes, expected {needed}; it is cut short or no STL file, export it again")
    lowered = data.lower()
    facets, ends = len(re.findall(rb"\bfacet\s+normal\b", lowered)), lowered.count(b"endfacet")
    vertices = len(re.findall(rb"\bvertex\b", lowered))
    if b"endsolid" not in lowered[-512:] or facets != ends or vertices != 3 * facets:
        raise DamagedError(
            f"{path}: has {facets} facets, {vertices} vertices and {'an' if b'endsolid' in lowered[-512:] else 'no'} endsolid, "
            "expected three vertices a facet and endsolid last; it is cut short or damaged, export it again"
        )
