"""Which reader a mesh file needs, by its name."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from converters.errors import SourceError
from converters.imports.placing import Space
from converters.meshes.files.gifti import read_gifti
from converters.meshes.files.obj import read_obj
from converters.meshes.files.ply import read_ply
from converters.meshes.files.stl import read_stl
from converters.meshes.files.surface import Surface, check_surface
from converters.meshes.files.vtk import read_vtk

_READERS: dict[str, Callable[[Path], Surface]] = {
    ".stl": read_stl,
    ".obj": read_obj,
    ".ply": read_ply,
    ".gii": read_gifti,
    ".gii.gz": read_gifti,
    ".vtk": read_vtk,
}
_SLICER = re.compile(rb"\bSPACE=(RAS|LPS)\b")
_SLICER_SPACES: dict[bytes, Space] = {b"RAS": "ras", b"LPS": "lps"}
_HEAD = 512
"""Bytes that hold the title of a file."""


def ending(path: Path) -> str | None:
    """Return the ending of a mesh file's name, as it is written, None for names that are not of one."""
    name = path.name.lower()
    found = max((known for known in _READERS if name.endswith(known)), key=len, default=None)
    return None if found is None else path.name[len(name) - len(found) :]


def read_surface(path: Path) -> Surface:
    """Return the surface in a file. Raises SourceError, DamagedError for a file that holds none that can be shown."""
    kind = ending(path)
    if kind is None:
        raise SourceError(f"{path}: is no mesh file by its name, expected one that ends in {', '.join(_READERS)}")
    try:
        surface = _READERS[kind.lower()](path)
        if surface.space is None:
            surface = _as_slicer_tells(path, surface)
    except FileNotFoundError:
        raise SourceError(f"{path}: there is no such file") from None
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror or error})") from error
    check_surface(surface, str(path))
    return surface


def _as_slicer_tells(path: Path, surface: Surface) -> Surface:
    """Return the surface with what 3D Slicer writes into a file's title: the directions of its axes, in mm."""
    with path.open("rb") as file:
        found = _SLICER.search(file.read(_HEAD))
    return surface if found is None else replace(surface, unit="mm", space=_SLICER_SPACES[found[1]])
