"""Arrays of numpy, .npy (numpy.lib.format)."""

from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO

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


@dataclass(frozen=True)
class NpyHeader:
    """What the header of an array in numpy's format tells, and how many bytes stand before the voxels."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype[Any]
    offset: int


def open_npy(path: Path, options: SourceOptions) -> MappedSource:
    """Return the source of a .npy file of 2 to 5 dimensions.

    Axes stand in the order of the array's shape. Raises SourceError for what is no array of numbers and for a file that is cut
    short, OptionError where --axes or --resolution is needed.
    """
    with path.open("rb") as file:
        header = read_header(str(path), file)
    source = npy_source(path, str(path), header, options)
    source.array.check_size()
    return source


def read_header(name: str, file: BinaryIO) -> NpyHeader:
    """Return the header at the file's position, which is the beginning; name is for the messages.

    Raises SourceError where there is none or none of 2 to 5 dimensions of numbers.
    """
    header = parse_header(name, file)
    if header.dtype.hasobject:
        raise SourceError(f"{name}: holds Python objects (pickled), which are never loaded; save the array as numbers")
    if not 2 <= len(header.shape) <= 5 or min(header.shape) < 1:
        raise SourceError(f"{name}: its header tells a shape of {shape_text(header.shape)}; 2 to 5 axes of at least 1 are read")
    return header


def parse_header(name: str, file: BinaryIO) -> NpyHeader:
    """Return the header at the file's position, whatever array it tells. Raises SourceError where there is none."""
    try:
        # The headers of versions 2 and 3 differ in how they spell the names of fields, which no volume has.
        read = _READERS[npy_format.read_magic(file)]
        return NpyHeader(*read(file), file.tell())
    except _UNREADABLE as error:
        raise SourceError(f"{name}: not a .npy file, or one whose header is not sound ({error})") from error


def npy_source(path: Path, name: str, header: NpyHeader, options: SourceOptions) -> MappedSource:
    """Return the source of the array that header tells, as if it lay in the file with header.offset bytes before it.

    name: of the array, for the messages. Raises OptionError where --axes or --resolution is needed.
    """
    axes, shape = options.axes or _assumed_axes(name, header), header.shape
    check_axes(name, axes, shape)
    notes = () if options.axes else (_note(axes, header),)
    if not header.fortran_order:
        axes, shape = axes[::-1], shape[::-1]
    arrangement = arrange(name, axes, shape, options)
    if options.resolution is None:
        raise OptionError(
            f"{name}: a {path.suffix} file tells no voxel size: add --resolution X,Y,Z in nm, e.g. --resolution 8,8,40"
        )
    array = StoredArray(path, header.offset, shape, header.dtype, path.stat().st_mtime_ns)
    return MappedSource(path, array, arrangement, Geometry(options.resolution, options.offset), notes=notes)


def _assumed_axes(name: str, header: NpyHeader) -> str:
    axes = _ASSUMED.get((len(header.shape), header.fortran_order))
    if axes is None:
        raise OptionError(
            f"{name}: the array has {len(header.shape)} dimensions ({shape_text(header.shape)}) and nothing tells what they "
            "are: add --axes with one letter a dimension, e.g. --axes zyxc or --axes czyx (c channels, t time)"
        )
    return axes


def _note(axes: str, header: NpyHeader) -> str:
    order = "Fortran" if header.fortran_order else "C"
    extents = ", ".join(f"{axis}={n}" for axis, n in zip(axes, header.shape, strict=True))
    return f"axes taken as {axes} ({extents}), as x varies fastest in {order} order; --axes says otherwise"
