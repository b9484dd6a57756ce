"""HDF5 files (HDF5 File Format Specification 3.0), by h5py and the filters of hdf5plugin; Chimera maps among them."""

import os
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from converters.errors import OptionError, SourceError
from converters.geometry import Geometry
from converters.sources.array import ArraySource
from converters.sources.axes import arrange, check_axes, shape_text
from converters.sources.hdf5.datasets import (
    check_filters,
    choose_dataset,
    chunk_of,
    files_of,
    is_chimera_map,
    raw_file_of,
    read_attributes,
)
from converters.sources.hdf5.metadata import (
    DATASET_ATTRIBUTES,
    GROUP_ATTRIBUTES,
    Attributes,
    told_affine,
    told_axes,
    told_labels,
    told_size,
)
from converters.sources.hdf5.reader import Hdf5Reader, filters_to_unpack, latest_change, open_file
from converters.sources.mapped import MappedSource, StoredArray
from converters.sources.source import Source, SourceOptions
from converters.sources.units import told_resolution

_HDF4 = b"\x0e\x03\x13\x01"
_ASSUMED = {2: "yx", 3: "zyx"}
"""Dimensions -> axes: x is what varies fastest on disk."""


@dataclass(frozen=True)
class _Described:
    """What is known of a dataset besides its voxels. axes: one letter an axis, in the order of its shape."""

    axes: str
    geometry: Geometry
    label: bool
    notes: tuple[str, ...]


def open_hdf5(path: Path, options: SourceOptions) -> Source:
    """Return the source of a dataset of an HDF5 file: the one that options.array names, else the only one that can be a volume.

    A dataset that is neither packed nor cut in chunks is memory-mapped. Raises SourceError for what is no HDF5 file, is cut
    short or holds no array of numbers, OptionError where --array, --axes or --resolution is needed or does not fit.
    """
    with closing(_open(path)) as file:
        dataset = choose_dataset(path, file, options.array)
        check_filters(path, dataset)
        map_attributes = read_attributes(dataset.parent, GROUP_ATTRIBUTES) if is_chimera_map(path, dataset.file) else None
        described = _described(path, dataset, map_attributes, options)
        return _source(path, dataset, described, options)


def _open(path: Path) -> Any:
    with path.open("rb") as plain:
        if plain.read(len(_HDF4)) == _HDF4:
            raise SourceError(f"{path}: an HDF4 file, and HDF5 ones are read: turn it into one with `h4toh5`")
    if not h5py.is_hdf5(path):
        raise SourceError(
            f"{path}: not an HDF5 file: its signature is not found; is it cut short at its beginning, or another kind?"
        )
    try:
        return open_file(path)
    except OSError as error:
        reason = str(error)
        if "truncated" in reason:
            raise SourceError(f"{path}: the HDF5 file is cut short ({reason}); copy it again") from error
        if "already open for" in reason:
            raise SourceError(
                f"{path}: a program is still writing the HDF5 file, or ended without closing it; in that case `h5clear -s` "
                "makes it readable"
            ) from error
        raise SourceError(f"{path}: the HDF5 file is damaged ({reason}); copy it again") from error


def _described(path: Path, dataset: Any, map_attributes: Attributes | None, options: SourceOptions) -> _Described:
    attributes, shape = read_attributes(dataset, DATASET_ATTRIBUTES), dataset.shape
    told = options.axes or told_axes(attributes, map_attributes, len(shape))
    axes = told or _assumed_axes(path, shape)
    check_axes(str(path), axes, shape)
    size = told_size(attributes, map_attributes, axes)
    resolution = told_resolution(str(path), size.sizes, size.units, options)
    affine = told_affine(attributes, map_attributes, axes, resolution)
    notes = (() if told else (_note(axes, shape),)) + (() if options.resolution else size.notes)
    return _Described(axes, Geometry(resolution, options.offset, affine), told_labels(attributes), notes)


def _source(path: Path, dataset: Any, described: _Described, options: SourceOptions) -> Source:
    axes, shape, geometry, label, notes = described.axes, dataset.shape, described.geometry, described.label, described.notes
    # An external link leads into another file.
    home = path if Path(dataset.file.filename) == path else Path(os.path.abspath(dataset.file.filename))
    is_numpys = h5py.h5t.py_create(dataset.dtype, logical=True) == dataset.id.get_type()
    array = _stored(home, dataset) if is_numpys else None
    if array is not None:
        arrangement = arrange(str(path), axes[::-1], array.shape, options)
        named = path if array.file == path else Path(os.path.abspath(path))
        return MappedSource(named, array, arrangement, geometry, None, label, notes)
    files = tuple(dict.fromkeys([Path(os.path.abspath(path)), *files_of(home, dataset)]))
    reader = Hdf5Reader(
        file=path,
        dataset=options.array or str(dataset.name).lstrip("/"),
        shape=shape,
        dtype=_dtype(dataset),
        chunk=chunk_of(home, dataset),
        files=files,
        modified_ns=latest_change(files),
        filters=filters_to_unpack(dataset) if is_numpys else (),
    )
    return ArraySource(str(path), reader, arrange(str(path), axes, shape, options), geometry, label, notes)


def _stored(path: Path, dataset: Any) -> StoredArray | None:
    """Return where a dataset lies as it is, None where it is packed, in chunks, virtual or not there at all."""
    file, offset = raw_file_of(path, dataset) if dataset.external else (path, dataset.id.get_offset())
    if dataset.chunks is not None or offset is None:
        return None
    array = StoredArray(file, offset, dataset.shape[::-1], _dtype(dataset), file.stat().st_mtime_ns)
    array.check_size()
    return array


def _dtype(dataset: Any) -> np.dtype[Any]:
    """Return the data type without what h5py adds to it, such as the names of an enumeration."""
    dtype: np.dtype[Any] = np.dtype(dataset.dtype.str)
    return dtype


def _assumed_axes(path: Path, shape: tuple[int, ...]) -> str:
    axes = _ASSUMED.get(len(shape))
    if axes is None:
        raise OptionError(
            f"{path}: the dataset has {len(shape)} axes ({shape_text(shape)}) and its attributes do not tell which is which: add "
            "--axes with one letter an axis, e.g. --axes zyxc or --axes czyx (c channels, t time)"
        )
    return axes


def _note(axes: str, shape: tuple[int, ...]) -> str:
    extents = ", ".join(f"{axis}={n}" for axis, n in zip(axes, shape, strict=True))
    return f"axes taken as {axes} ({extents}), as x varies fastest in HDF5; --axes says otherwise"
