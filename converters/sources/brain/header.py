"""What the header of a brain image tells, whatever its format, and the source that it makes."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converters.errors import OptionError, SourceError
from converters.geometry import Geometry
from converters.sources.axes import arrange, shape_text
from converters.sources.mapped import MappedSource, Scaling, StoredArray
from converters.sources.packed import PackedSource, is_gzip
from converters.sources.source import Source, SourceOptions

_MOST_CHANNELS = 4
"""A fourth axis that no header calls time is taken for channels up to this extent."""
_COLOURS = (("R", "G", "B"), ("R", "G", "B", "A"))


@dataclass(frozen=True)
class ImageHeader:
    """Where the voxels lie in their file and in the world.

    file: that holds the voxels, perhaps packed. offset: bytes before them once unpacked. shape: x fastest, first.
    axes: one letter an axis of shape. label: the header says that these are labels. header: the header's file where it is
    another one.
    """

    file: Path
    offset: int
    shape: tuple[int, ...]
    axes: str
    dtype: np.dtype[Any]
    geometry: Geometry
    scaling: Scaling | None = None
    label: bool = False
    notes: tuple[str, ...] = ()
    header: Path | None = None


def image_shape(path: Path, told: Iterable[Any]) -> tuple[int, ...]:
    """Return the shape that a header tells, without axes of 1 at its end. Raises SourceError for one that is no volume's."""
    shape = tuple(int(n) for n in told)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if not 2 <= len(shape) <= 5 or min(shape) < 1:
        raise SourceError(f"{path}: its header tells a shape of {shape_text(shape)}; 2 to 5 axes of at least 1 are read")
    return shape


def image_axes(path: Path, shape: tuple[int, ...], more: str, told: str | None) -> tuple[str, tuple[str, ...]]:
    """Return the axes of an image whose header fixes x, y, z, and notes for the user.

    more: the letters that the axes after them can have, the one that a single axis has first, e.g. "tc". told: the user's axes.
    Raises OptionError where these are others, SourceError where there are more axes than letters.
    """
    spatial, extra = "xyz"[: len(shape)], len(shape) - 3
    if told is not None:
        if not told.startswith(spatial) or not set(told[len(spatial) :]) <= set(more):
            raise OptionError(
                f"{path}: --axes {told} cannot be: the header fixes the axes {spatial}, which come first; only a letter for each "
                f"axis after them can be told, e.g. --axes xyz{more[0]}"
            )
        return told, ()
    if extra < 1:
        return spatial, ()
    if extra > len(more):
        raise SourceError(
            f"{path}: an image of colours whose header tells a shape of {shape_text(shape)}; 4 axes at most are read"
        )
    if extra == 2:
        return "xyztc", ()
    note = f"the fourth axis, of {shape[3]}, is taken for channels; --axes xyzt takes it for time"
    return f"xyz{more[0]}", (note,) if more[0] == "c" else ()


def channels_or_time(shape: tuple[int, ...]) -> str:
    """Return "ct" where a fourth axis that the header does not explain is taken for channels, "tc" where for time."""
    return "ct" if len(shape) == 4 and shape[3] <= _MOST_CHANNELS else "tc"


def header_source(path: Path, header: ImageHeader, options: SourceOptions) -> Source:
    """Return the source of path. Raises OptionError for --channel or --time, SourceError for a file that is cut short."""
    axes, shape, dtype = header.axes, header.shape, header.dtype
    if is_colour(dtype):
        # Records of R, G, B (and A) are a channel axis, the fastest on disk.
        axes, shape, dtype = "c" + axes, (dtype.itemsize, *shape), np.dtype(np.uint8)
    arrangement = arrange(str(path), axes, shape, options)
    array = StoredArray(header.file, header.offset, shape, dtype, header.file.stat().st_mtime_ns)
    source = MappedSource(path, array, arrangement, header.geometry, header.scaling, header.label, header.notes, header.header)
    if is_gzip(header.file):
        return PackedSource(source)
    array.check_size()
    return source


def is_colour(dtype: np.dtype[Any]) -> bool:
    """Return whether voxels of dtype are records of uint8 colours."""
    return dtype.names in _COLOURS
