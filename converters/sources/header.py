"""What the header of a brain image tells, whatever its format, and the source that it makes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converters.geometry import Geometry
from converters.sources.axes import arrange
from converters.sources.gzipped import GzippedSource, is_gzip
from converters.sources.mapped import MappedSource, Scaling, StoredArray
from converters.sources.source import Source, SourceOptions


@dataclass(frozen=True)
class ImageHeader:
    """Where the voxels lie in their file and in the world.

    file: that holds the voxels, perhaps packed. offset: bytes before them once unpacked. shape: x fastest, first.
    axes: one letter an axis of shape. label: the header says that these are labels.
    """

    file: Path
    offset: int
    shape: tuple[int, ...]
    axes: str
    dtype: np.dtype[Any]
    geometry: Geometry
    scaling: Scaling | None
    label: bool
    notes: tuple[str, ...]


def header_source(path: Path, header: ImageHeader, options: SourceOptions) -> Source:
    """Return the source of path. Raises OptionError for --channel or --time, SourceError for a file that is cut short."""
    axes, shape, dtype = _colours_apart(header)
    arrangement = arrange(str(path), axes, shape, options)
    array = StoredArray(header.file, header.offset, shape, dtype, header.file.stat().st_mtime_ns)
    source = MappedSource(path, array, arrangement, header.geometry, header.scaling, header.label, header.notes)
    if is_gzip(header.file):
        return GzippedSource(source)
    array.check_size()
    return source


def _colours_apart(header: ImageHeader) -> tuple[str, tuple[int, ...], np.dtype[Any]]:
    """Return axes, shape and data type with RGB and RGBA records as a channel axis, the fastest on disk."""
    names = header.dtype.names
    if names not in (("R", "G", "B"), ("R", "G", "B", "A")):
        return header.axes, header.shape, header.dtype
    return "c" + header.axes, (len(names), *header.shape), np.dtype(np.uint8)
