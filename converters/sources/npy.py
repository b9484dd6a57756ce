"""Arrays of numpy, .npy (numpy.lib.format)."""

from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.lib import format as npy_format

from converters.errors import OptionError, SourceError
from converters.geometry import Geometry
from converters.sources.axes import arrange, check_axes, shape_text
from converters.sources.mapped import MappedSource, StoredArray
from converters.sources.source import SourceOptions

_ASSUMED = {(2, False): "yx", (3, False): "zyx", (2, True): "xy", (3, True): "xyz"}
"""(dimensions, Fortran order) -> axes: x is what varies fastest on disk."""


_READERS = {
    (1, 0): npy_format.read_array_header_1_0,
    (2, 0): npy_format.read_array_header_2_0,
    (3, 0): npy_format.read_array_header_2_0,
}
_UNREADABLE = (ValueError, TypeError, KeyError, EOFError, SyntaxError, TokenError, RecursionError, MemoryError)
"""What numpy's reader of headers, a reader of Python literals, raises when it is given something else."""


def open_npy(path: Path, options: SourceOptions) -> MappedSource:
    """Return the source of a .npy file of 2 to 5 dimensions.

    Axes stand in the order of the array's shape. Raises SourceError for what is no array of numbers and for a file that is cut
    short, OptionError where --axes or --resolution is needed.
    """
    shape, fortran_order, dtype, offset = _header(path)
    axes = options.axes or _assumed_axes(path, shape, fortran_order)
    check_axes(str(path), axes, shape)
    notes = () if options.axes else (_note(axes, shape, fortran_order),)
    if not fortran_order:
        axes, shape = axes[::-1], shape[::-1]
    arrangement = arrange(str(path), axes, shape, options)
    if options.resolution is None:
        raise OptionError(f"{path}: a .npy file tells no voxel size: add --resolution X,Y,Z in nm, e.g. --resolution 8,8,40")
    array = StoredArray(path, offset, shape, dtype, path.stat().st_mtime_ns)
    array.check_size()
    return MappedSource(path, array, arrangement, Geometry(options.resolution, options.voxel_offset), notes=notes)


def _header(path: Path) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Return shape, whether in Fortran order, data type and the bytes before the voxels."""
    try:
        with path.open("rb") as file:
            # The headers of versions 2 and 3 differ in how they spell the names of fields, which no volume has.
            read = _READERS[npy_format.read_magic(file)]
            shape, fortran_order, dtype = read(file)
            offset = file.tell()
    except _UNREADABLE as error:
        raise SourceError(f"{path}: not a .npy file, or one whose header is not sound ({error})") from error
    if dtype.hasobject:
        raise SourceError(f"{path}: holds Python objects (pickled), which are never loaded; save the array as numbers")
    if not 2 <= len(shape) <= 5 or min(shape) < 1:
        raise SourceError(f"{path}: its header tells a shape of {shape_text(shape)}; 2 to 5 axes of at least 1 are read")
    return shape, fortran_order, dtype, offset


def _assumed_axes(path: Path, shape: tuple[int, ...], fortran_order: bool) -> str:
    axes = _ASSUMED.get((len(shape), fortran_order))
    if axes is None:
        raise OptionError(
            f"{path}: the array has {len(shape)} dimensions ({shape_text(shape)}) and nothing tells what they "
            "are: add --axes with one letter a dimension, e.g. --axes zyxc or --axes czyx (c channels, t time)"
        )
    return axes


def _note(axes: str, shape: tuple[int, ...], fortran_order: bool) -> str:
    order = "Fortran" if fortran_order else "C"
    extents = ", ".join(f"{axis}={n}" for axis, n in zip(axes, shape, strict=True))
    return f"axes taken as {axes} ({extents}), as x varies fastest in {order} order; --axes says otherwise"
