"""FreeSurfer's MGH and MGZ (FreeSurfer wiki, "MghFormat"): big endian, lengths in mm, the affine from direction cosines."""

from pathlib import Path
from typing import Any

import numpy as np
from nibabel.freesurfer.mghformat import MGHHeader

from converters.errors import SourceError
from converters.sources.brain.header import ImageHeader, channels_or_time, header_source, image_axes, image_shape
from converters.sources.packed import first_bytes
from converters.sources.placing import MM, VoxelSizes, place
from converters.sources.source import Source, SourceOptions

_HEADER_BYTES = 284
_RAS_FLAG = slice(28, 30)
_VERSION = 1


@np.errstate(all="ignore")
def open_mgh(path: Path, options: SourceOptions) -> Source:
    """Return the source of a .mgh or .mgz file.

    Raises SourceError for what is no such file, OptionError where an option is needed or does not fit.
    """
    data = first_bytes(path, _HEADER_BYTES)
    header: Any = MGHHeader(data, check=False) if len(data) == _HEADER_BYTES else None  # type: ignore[no-untyped-call]
    if header is None or header["version"] != _VERSION:
        raise SourceError(f"{path}: not an MGH file: it does not begin with the header of MGH version {_VERSION}")
    shape = image_shape(path, header.get_data_shape())
    axes, notes = image_axes(path, shape, channels_or_time(shape), options.axes)
    x, y, z = (float(size) for size in header["delta"])
    sizes = VoxelSizes(path, (x, y, z), MM)
    header["delta"] = sizes.usable(options)
    geometry, more = place(np.array(header.get_affine(), np.float64), sizes, options)
    if data[_RAS_FLAG] == b"\0\0":
        more += ("the header tells neither voxel size nor orientation: 1 mm and coronal slices are taken, as FreeSurfer does",)
    image = ImageHeader(path, _HEADER_BYTES, shape, axes, _dtype(path, header), geometry, notes=notes + more)
    return header_source(path, image, options)


def _dtype(path: Path, header: Any) -> np.dtype[Any]:
    try:
        dtype: np.dtype[Any] = header.get_data_dtype()
    except KeyError:
        raise SourceError(f"{path}: its header tells the data type {header['type']}, which is not one of MGH's") from None
    return dtype
