"""NRRD files (teem.sourceforge.net/nrrd/format.html) of teem, Slicer, ITK and Fiji, with an attached or a detached header."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from converters.errors import OptionError, SourceError
from converters.geometry import Geometry
from converters.sources.array import ArraySource
from converters.sources.axes import arrange, check_axes, shape_text
from converters.sources.mapped import MappedSource
from converters.sources.nrrd.files import voxel_parts
from converters.sources.nrrd.header import NrrdHeader, Vector, read_header
from converters.sources.nrrd.joined import JoinedReader
from converters.sources.packed import PackedSource
from converters.sources.placing import VoxelSizes, place
from converters.sources.source import Source, SourceOptions
from converters.sources.units import told_resolution, unit_nm

_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_DATA_TYPES = {name: code for code, names in _TYPES.items() for name in names}
_ORDERS: dict[str, Literal["<", ">"]] = {"little": "<", "big": ">"}
_SPACES = {
    "ras": ("right-anterior-superior", (1, 1, 1)),
    "las": ("left-anterior-superior", (-1, 1, 1)),
    "lps": ("left-posterior-superior", (-1, -1, 1)),
}
"""Anatomical spaces: short and long name, and what turns them to right, anterior, superior."""
_TURNS = {name: turn for short, (long, turn) in _SPACES.items() for name in (short, long, f"{short}t", f"{long}-time")}
_SPATIAL_KINDS = ("domain", "space")
_UNKNOWN_KINDS = ("???", "none")
_MOST_CHANNELS = 4
"""An axis of kind list, which may be either, is taken for channels up to this extent, else for time."""
_MM = "mm"


@dataclass(frozen=True)
class _Axes:
    """One letter an axis, and notes for the user."""

    letters: str
    notes: tuple[str, ...] = ()


@np.errstate(all="ignore")
def open_nrrd(path: Path, options: SourceOptions) -> Source:
    """Return the source of an .nrrd or .nhdr file of 2 to 5 dimensions; axes stand in the order of its sizes, the fastest first.

    Raises SourceError for what is no such file, for encodings that are not read and for data that are cut short or not there,
    OptionError where --axes or --resolution is needed or does not fit.
    """
    header = read_header(path)
    shape, dtype = _shape(header), _data_type(header)
    axes = _axes(header, shape, options)
    arrangement = arrange(str(path), axes.letters, shape, options)
    geometry, more = _geometry(header, axes.letters, options)
    notes, label = axes.notes + more, _is_label(header)
    parts = voxel_parts(header, shape, dtype)
    if len(parts) > 1:
        return ArraySource(str(path), JoinedReader(path, shape, parts), arrangement, geometry, label, notes)
    source = MappedSource(path, parts[0].array, arrangement, geometry, label=label, notes=notes)
    return PackedSource(source, parts[0].packing) if parts[0].packing else source


def _shape(header: NrrdHeader) -> tuple[int, ...]:
    shape, dimension = header.integers("sizes"), header.integers("dimension")
    if dimension != (len(shape),):
        raise SourceError(f"{header.path}: its header tells dimension {header.text('dimension')} and {len(shape)} sizes")
    if not 2 <= len(shape) <= 5 or min(shape) < 1:
        raise SourceError(f"{header.path}: its header tells a shape of {shape_text(shape)}; 2 to 5 axes of at least 1 are read")
    return shape


def _data_type(header: NrrdHeader) -> np.dtype[Any]:
    told = " ".join(header.text("type").lower().split())
    if told not in _DATA_TYPES:
        reason = "blocks of bytes that nothing explains" if told == "block" else "no data type of NRRD"
        raise SourceError(f"{header.path}: its voxels are of the type {told[:40]}: {reason}; save them as numbers")
    dtype = np.dtype(_DATA_TYPES[told])
    if dtype.itemsize == 1:
        return dtype
    order = header.text("endian").lower()
    if order not in _ORDERS:
        raise header.unsound("endian", "little or big")
    return dtype.newbyteorder(_ORDERS[order])


def _is_label(header: NrrdHeader) -> bool:
    return ".seg." in header.path.name.lower() or any(key.startswith("Segment0_") for key in header.keys)


def _axes(header: NrrdHeader, shape: tuple[int, ...], options: SourceOptions) -> _Axes:
    if options.axes is not None:
        check_axes(str(header.path), options.axes, shape)
        return _Axes(options.axes)
    roles = _roles(header, len(shape))
    if not any(roles) and len(shape) <= 3:
        letters = "xyz"[: len(shape)]
        extents = ", ".join(f"{axis}={n}" for axis, n in zip(letters, shape, strict=True))
        return _Axes(letters, (f"axes taken as {letters} ({extents}), as x varies fastest on disk; --axes says otherwise",))
    return _lettered(header, shape, roles)


def _roles(header: NrrdHeader, dimension: int) -> list[str]:
    """Return of each axis "space", "time", "list", "channels" or, where the header does not tell it, ""."""
    kinds = _per_axis(header, "kinds", header.words("kinds"), dimension)
    roles = [_role(kind.lower()) for kind in kinds or [""] * dimension]
    directions = _per_axis(header, "spacedirections", header.vectors("spacedirections"), dimension)
    for axis, direction in enumerate(directions or ()):
        if direction is not None and len(direction) == 4 and not any(direction[:3]):
            # A space with time (right-anterior-superior-time), along which this axis runs.
            roles[axis] = "time"
        elif direction is not None:
            roles[axis] = roles[axis] or "space"
        elif roles[axis] == "space":
            roles[axis] = ""
    return roles


def _role(kind: str) -> str:
    if kind in _SPATIAL_KINDS:
        return "space"
    if kind in ("", *_UNKNOWN_KINDS):
        return ""
    return kind if kind in ("time", "list") else "channels"


def _per_axis(header: NrrdHeader, field: str, values: tuple[Any, ...] | None, dimension: int) -> tuple[Any, ...] | None:
    """Return the values of a field that tells one an axis. Raises SourceError where it tells more or fewer."""
    if values is not None and len(values) != dimension:
        raise header.unsound(field, f"one for each of {dimension} axes")
    return values


def _lettered(header: NrrdHeader, shape: tuple[int, ...], roles: list[str]) -> _Axes:
    """Return the axes' letters: x, y, z in the header's order, c, t. Raises OptionError where they cannot be told."""
    spatial, letters, notes = iter("xyz"), "", []
    for role, extent in zip(roles, shape, strict=True):
        letter = next(spatial, "?") if role == "space" else {"time": "t", "channels": "c"}.get(role, "")
        if not letter:
            letter = _channels_or_time(header, extent, roles)
            meaning = "channels" if letter == "c" else "time"
            notes.append(f"the axis of {extent} that is none of space is taken for {meaning}; --axes says otherwise")
        letters += letter
    if "?" in letters or "y" not in letters or len(set(letters)) != len(letters):
        kinds = header.fields.get("kinds", "not told")
        raise OptionError(
            f"{header.path}: which of its axes ({shape_text(shape)}, kinds {kinds[:80]}) are x, y, z is not clear: add --axes "
            "with one letter an axis, the fastest first, e.g. --axes xyzt or --axes cxyz (c channels, t time)"
        )
    return _Axes(letters, tuple(notes))


def _channels_or_time(header: NrrdHeader, extent: int, roles: list[str]) -> str:
    if "time" in (label.lower() for label in header.words("labels") or ()) and "time" not in roles:
        return "t"
    few = extent <= _MOST_CHANNELS or _is_label(header)
    return "c" if "time" in roles or (few and "channels" not in roles) else "t"


def _geometry(header: NrrdHeader, axes: str, options: SourceOptions) -> tuple[Geometry, tuple[str, ...]]:
    directions = _along_xyz(axes, _per_axis(header, "spacedirections", header.vectors("spacedirections"), len(axes)))
    spacings = _along_xyz(axes, _per_axis(header, "spacings", header.numbers("spacings"), len(axes)))
    sizes = tuple(math.hypot(*vector) if vector else spacing for vector, spacing in zip(directions, spacings, strict=True))
    turn = _TURNS.get("-".join(header.fields.get("space", "").lower().split()))
    units, notes = _units(header, axes, directions, turn is not None, options)
    resolution = told_resolution(str(header.path), (sizes[0], sizes[1], sizes[2]), units, options)
    affine = _affine(header, directions, units)
    if affine is None:
        return Geometry(resolution, options.offset), notes
    # + 0.0 makes 0 of -0.
    affine = affine * np.array(turn or (1, 1, 1))[:, np.newaxis] + 0.0
    geometry, more = place(affine, VoxelSizes(header.path, resolution, ("nm", 1.0)), options)
    if turn is None:
        told = geometry.affine if "spaceorigin" in header.fields or _is_turned(affine) else None
        geometry = replace(geometry, affine=told, world="")
    return geometry, notes + more


def _along_xyz(axes: str, values: tuple[Any, ...] | None) -> tuple[Any, Any, Any]:
    """Return those of one value an axis that are along x, y, z; None where there is none."""
    told = dict(zip(axes, values or (), strict=False))
    return told.get("x"), told.get("y"), told.get("z")


def _units(
    header: NrrdHeader, axes: str, directions: tuple[Vector | None, ...], anatomical: bool, options: SourceOptions
) -> tuple[tuple[str | None, ...], tuple[str, ...]]:
    """Return the units of the sizes along x, y, z, and notes."""
    units: tuple[str | None, ...] = _along_xyz(axes, header.words("units"))
    of_space = header.words("spaceunits")
    if of_space:
        units = tuple(_unit_of(vector, of_space) or unit for vector, unit in zip(directions, units, strict=True))
    if any(units) or not anatomical:
        return units, ()
    note = "the header names no unit of length; its space is anatomical and mm is taken; --resolution X,Y,Z (nm) says otherwise"
    return (_MM,) * 3, (note,) if options.resolution is None else ()


def _unit_of(vector: Vector | None, of_space: tuple[str, ...]) -> str | None:
    """Return the unit of the direction of space that a vector runs along most."""
    if vector is None:
        return None
    most = max(range(len(vector)), key=lambda axis: abs(vector[axis]))
    return of_space[most] if most < len(of_space) else None


def _affine(
    header: NrrdHeader, directions: tuple[Vector | None, ...], units: tuple[str | None, ...]
) -> NDArray[np.float64] | None:
    """Return 3 x 4, directions of x, y, z and origin as columns, in nm; None where they span no space in one unit."""
    nm = unit_nm(units[0])
    vectors = [vector[:3] for vector in directions if vector is not None and len(vector) >= 3]
    if len(vectors) < 3 or nm is None or len(set(units)) > 1:
        return None
    return np.array([*vectors, _origin(header)], np.float64).T * nm


def _is_turned(affine: NDArray[np.float64]) -> bool:
    """Tell whether x, y, z run along other directions than those of space: else they tell the voxels' size alone."""
    sizes = affine[:, :3].diagonal()
    return bool((affine[:, :3] != np.diag(sizes)).any() or (sizes < 0).any())


def _origin(header: NrrdHeader) -> Vector:
    """Return the first voxel's centre, 0 where the header does not tell it."""
    vectors = header.vectors("spaceorigin")
    if not vectors or vectors[0] is None:
        return 0.0, 0.0, 0.0
    if len(vectors[0]) < 3:
        raise header.unsound("spaceorigin", "a vector of 3 numbers")
    return vectors[0][:3]
