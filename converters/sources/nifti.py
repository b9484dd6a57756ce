"""NIfTI-1 and NIfTI-2 (nifti1.h, nifti2.h) in one file, or as a pair; nibabel reads the header, the voxels are mapped.

Which of sform, qform and voxel sizes places the volume is nibabel's choice (Nifti1Header.get_best_affine), so that a position
here is a position there.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.nifti1 import Nifti1Header, Nifti1PairHeader
from nibabel.nifti2 import Nifti2Header, Nifti2PairHeader
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from converters.errors import OptionError, SourceError
from converters.geometry import Geometry
from converters.sources.axes import shape_text
from converters.sources.gzipped import first_bytes
from converters.sources.header import ImageHeader, header_source
from converters.sources.mapped import Scaling
from converters.sources.placing import lengths, placed, sizes_refused, usable_affine, usable_sizes
from converters.sources.source import Source, SourceOptions

_CLASSES = {
    (348, b"n+1\0"): Nifti1Header,
    (348, b"ni1\0"): Nifti1PairHeader,
    (540, b"n+2\0"): Nifti2Header,
    (540, b"ni2\0"): Nifti2PairHeader,
}
"""(sizeof_hdr, first four bytes of magic) -> the header's class."""
_MAGIC = {348: slice(344, 348), 540: slice(4, 8)}
_UNITS = {1: ("m", 1e9), 2: ("mm", 1e6), 3: ("um", 1e3)}
"""xyzt_units % 8 -> name, nm."""
_LABEL_INTENT = 1002
_VECTOR_INTENTS = (1007, 2003, 2004)
_MOST_CHANNELS = 4
"""A fourth axis without a unit of time is taken for channels up to this extent."""

_quiet = logging.Logger(f"{__name__}.nibabel")
"""Takes what nibabel says about a header that it puts right; it would go to the terminal."""
_quiet.addHandler(logging.NullHandler())


@dataclass(frozen=True)
class _Found:
    """A checked header, and its voxel sizes as they were: nibabel's checks put 1 for 0 and drop signs."""

    path: Path
    header: Any
    sizes: NDArray[Any]


def open_nifti(path: Path, options: SourceOptions) -> Source:
    """Return the source of a .nii or .nii.gz file.

    Raises SourceError for what is no NIfTI file, OptionError where an option is needed or does not fit.
    """
    found = _read_header(path)
    if not found.header.is_single:
        raise SourceError(f"{path}: is the header of a pair of files (magic ni1): give it the name NAME.hdr beside NAME.img")
    return nifti_source(path, found, path, options)


def _read_header(path: Path) -> _Found:
    data = first_bytes(path, 540)
    try:
        header = _header_class(path, data)(data[: _size(data)], check=False)
        sizes = np.array(header["pixdim"][1:4], np.float64)
        header.check_fix(logger=_quiet)
    except HeaderDataError as error:
        raise SourceError(f"{path}: its NIfTI header is not sound ({error})") from error
    return _Found(path, header, sizes)


def _size(data: bytes) -> int:
    sizes = [int.from_bytes(data[:4], order) for order in ("little", "big")]
    return next((size for size in sizes if size in _MAGIC and len(data) >= size), 0)


def _header_class(path: Path, data: bytes) -> Any:
    size = _size(data)
    found = _CLASSES.get((size, data[_MAGIC[size]])) if size else None
    if found is None:
        raise SourceError(f"{path}: not a NIfTI file: it begins with neither a NIfTI-1 nor a NIfTI-2 header")
    return found


def nifti_source(path: Path, found: _Found, voxels: Path, options: SourceOptions) -> Source:
    header = found.header
    shape = _shape(path, header)
    dtype = header.get_data_dtype()
    axes, notes = _axes(found, shape, options)
    geometry, more = _geometry(found, options)
    shape = shape[: len(axes)]
    image = ImageHeader(
        file=voxels,
        offset=_offset(path, header),
        shape=shape,
        axes=axes,
        dtype=dtype,
        geometry=geometry,
        scaling=_scaling(path, header),
        label=int(header["intent_code"]) == _LABEL_INTENT,
        notes=(*notes, *more),
    )
    return header_source(path, image, options)


def _shape(path: Path, header: Any) -> tuple[int, ...]:
    try:
        shape = tuple(int(n) for n in header.get_data_shape())
    except HeaderDataError as error:
        raise SourceError(f"{path}: its NIfTI header is not sound ({error})") from error
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if not 2 <= len(shape) <= 5 or min(shape) < 1:
        raise SourceError(f"{path}: its header tells the shape {shape_text(shape)}; 2 to 5 axes of 1 voxel or more are read")
    return shape


def _offset(path: Path, header: Any) -> int:
    first = header.single_vox_offset if header.is_single else 0
    offset = float(header["vox_offset"])
    if not first <= offset < 2**62:
        raise SourceError(f"{path}: its header puts the voxels at byte {offset:g}, {first} at least was expected")
    return int(offset)


def _scaling(path: Path, header: Any) -> Scaling | None:
    try:
        slope, intercept = header.get_slope_inter()
    except HeaderDataError as error:
        raise SourceError(f"{path}: its NIfTI header is not sound ({error})") from error
    if slope is None or (slope, intercept) == (1, 0) or header.get_data_dtype().names:
        return None
    return Scaling(float(slope), float(intercept))


def _axes(found: _Found, shape: tuple[int, ...], options: SourceOptions) -> tuple[str, tuple[str, ...]]:
    spatial, more = "xyz"[: len(shape)], len(shape) - 3
    if options.axes is not None:
        return _axes_told(found, spatial, options.axes), ()
    if more < 1:
        return spatial, ()
    if more == 2:
        return "xyztc", ()
    if not _fourth_axis_is_channels(found.header, shape[3]):
        return "xyzt", ()
    return "xyzc", (f"the 4th axis, {shape[3]} long, is taken for channels; --axes xyzt takes it for time",)


def _axes_told(found: _Found, spatial: str, axes: str) -> str:
    letters = "t" if found.header.get_data_dtype().names else "ct"
    if not axes.startswith(spatial) or not set(axes[len(spatial) :]) <= set(letters):
        raise OptionError(
            f"{found.path}: --axes {axes} cannot be: the axes of a NIfTI file begin with {spatial}, and only what follows can be told, "
            f"e.g. --axes xyz{letters[0]}"
        )
    return axes


def _fourth_axis_is_channels(header: Any, extent: int) -> bool:
    if header.get_data_dtype().names:
        return False
    has_time_unit = int(header["xyzt_units"]) // 8 > 0
    return int(header["intent_code"]) in _VECTOR_INTENTS or (extent <= _MOST_CHANNELS and not has_time_unit)


def _geometry(found: _Found, options: SourceOptions) -> tuple[Geometry, tuple[str, ...]]:
    unit, nm, notes = _unit(found.header, options)
    affine = _affine(found, options, unit, nm)
    if usable_affine(affine):
        if not int(found.header["sform_code"]) and not int(found.header["qform_code"]):
            notes += (
                "neither sform nor qform says where the volume lies: x is taken to run from right to left, the centre for 0",
            )
        return placed(np.diag([nm, nm, nm, 1]) @ affine, options), notes
    if options.resolution is None and not usable_sizes(found.sizes):
        raise sizes_refused(str(found.path), found.sizes, unit)
    notes += ("the affine of the header is singular and left out: the volume has a voxel size but no place in the world",)
    return Geometry(options.resolution or lengths(found.sizes * nm), options.voxel_offset), notes


def _unit(header: Any, options: SourceOptions) -> tuple[str, float, tuple[str, ...]]:
    known = _UNITS.get(int(header["xyzt_units"]) % 8)
    if known is not None:
        return *known, ()
    note = "the header names no unit of length, mm is taken; --resolution X,Y,Z (nm) says otherwise"
    return *_UNITS[2], () if options.resolution else (note,)


def _affine(found: _Found, options: SourceOptions, unit: str, nm: float) -> NDArray[Any]:
    """Return nibabel's choice of affine, 4 x 4, in the header's unit; of NaN where it cannot be made."""
    header = found.header
    if not int(header["sform_code"]) and not usable_sizes(found.sizes):
        if options.resolution is None:
            raise sizes_refused(str(found.path), found.sizes, unit)
        header["pixdim"][1:4] = np.array(options.resolution) / nm
    try:
        return np.array(header.get_best_affine(), np.float64)
    except (HeaderDataError, ValueError):
        return np.full((4, 4), np.nan)
