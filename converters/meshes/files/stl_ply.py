"""STL and PLY files, text and binary, read by trimesh.

trimesh gives an empty or a shorter surface for a file that is cut short, so what the file tells of its length is looked at first.
"""

import io
import logging
import re
from pathlib import Path

import numpy as np

from converters.errors import DamagedError, SourceError
from converters.meshes.files.surface import Surface

_STL_HEAD, _STL_TRIANGLE = 84, 50
_LARGEST_HEADER = 1 << 20
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
    return _read(path, data, "stl")


def read_ply(path: Path) -> Surface:
    """Return the surface of a PLY file, polygons cut into triangles.

    Raises SourceError for another kind of file, DamagedError.
    """
    data = path.read_bytes()
    _check_ply(path, data)
    return _read(path, data, "ply")


def _read(path: Path, data: bytes, kind: str) -> Surface:
    import trimesh

    # Without a handler of its own what it logs goes to the terminal, with a traceback.
    logging.getLogger("trimesh").addHandler(logging.NullHandler())
    try:
        with np.errstate(all="ignore"):
            found = trimesh.load_mesh(io.BytesIO(data), file_type=kind, process=False)
            points, triangles = np.asarray(found.vertices), np.asarray(found.faces).reshape(-1, 3)
            return Surface(points.reshape(-1, 3).astype(np.float64), triangles.astype(np.int64))
    except _DAMAGED as error:
        hint = "; faces of different numbers of corners are read from text files only" if kind == "ply" else ""
        raise DamagedError(
            f"{path}: cannot be read as {kind.upper()}, it is cut short or damaged ({str(error)[:100]}){hint}; "
            "export it again, as triangles"
        ) from error


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


def _check_ply(path: Path, data: bytes) -> None:
    """Raise unless the header is whole and a text file has as many lines as it tells; binary ones trimesh looks after."""
    header = re.match(rb"ply\r?\n(.*?)\bend_header\r?\n", data[:_LARGEST_HEADER], re.DOTALL)
    if header is None:
        raise SourceError(f"{path}: is no PLY file (it has no header from `ply` to `end_header`); export it again")
    counts = {name: int(count) for name, count in re.findall(rb"^element\s+(\S+)\s+(\d{1,12})\s*$", header[1], re.MULTILINE)}
    if not counts.get(b"face"):
        raise SourceError(
            f"{path}: holds {counts.get(b'vertex', 0)} points and no faces, expected a surface; a point cloud is no mesh"
        )
    if not re.search(rb"^format\s+ascii\b", header[1], re.MULTILINE):
        return
    told = sum(counts.values())
    lines = sum(1 for line in data[header.end() :].splitlines() if line.strip())
    if lines < told:
        raise DamagedError(f"{path}: has {lines} lines after its header, which tells {told}; it is cut short, export it again")
