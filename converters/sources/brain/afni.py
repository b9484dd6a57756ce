"""AFNI's .HEAD and .BRIK (README.attributes): a text header and the voxels, perhaps packed; lengths in mm."""

from pathlib import Path
from typing import Any

import numpy as np
from nibabel.brikhead import AFNIHeader, AFNIHeaderError

from converters.errors import OptionError, SourceError
from converters.sources.brain.header import ImageHeader, channels_or_time, header_source, image_axes, image_shape
from converters.sources.brain.pairs import pair
from converters.sources.mapped import Scaling
from converters.sources.placing import MM, VoxelSizes, place
from converters.sources.source import Source, SourceOptions


def open_afni(path: Path, options: SourceOptions) -> Source:
    """Return the source of a .HEAD and .BRIK pair of which path is either.

    Raises SourceError for what is no such pair, OptionError where an option is needed or does not fit.
    """
    file, voxels = pair(path)
    header = _read(file)
    shape = image_shape(file, header.get_data_shape())
    further = "tc" if "TAXIS_FLOATS" in header.info or _slopes(header).size > 1 else channels_or_time(shape)
    axes, notes = image_axes(file, shape, further, options.axes)
    x, y, z = (float(size) for size in header.get_zooms()[:3])
    geometry, more = place(np.array(header.get_affine(), np.float64), VoxelSizes(file, (x, y, z), MM), options)
    scaling = _scaling(file, header, axes, options)
    image = ImageHeader(voxels, 0, shape, axes, header.get_data_dtype(), geometry, scaling, notes=notes + more, header=file)
    return header_source(path, image, options)


def _read(file: Path) -> Any:
    try:
        with file.open() as text:
            header = AFNIHeader.from_fileobj(text)  # type: ignore[no-untyped-call]
            header.get_affine()
    except (AFNIHeaderError, KeyError, ValueError, TypeError, IndexError) as error:
        raise SourceError(f"{file}: not a header of AFNI, or one that is not sound ({error})") from error
    return header


def _slopes(header: Any) -> Any:
    """Return the different factors of the sub-bricks; none where they are not scaled."""
    factors = header.get_data_scaling()
    return np.unique(factors) if factors is not None else np.empty(0)


def _scaling(file: Path, header: Any, axes: str, options: SourceOptions) -> Scaling | None:
    factors = header.get_data_scaling()
    if factors is None:
        return None
    if "c" in axes and _slopes(header).size > 1:
        raise OptionError(
            f"{file}: its sub-bricks are scaled each by a factor of its own, and channels share one: say --axes xyzt"
        )
    # A point of time that is not there is refused where the axes are arranged.
    factor = float(factors[min(options.time or 0, len(factors) - 1)])
    return None if factor == 1 else Scaling(factor, 0.0, factors.dtype)
