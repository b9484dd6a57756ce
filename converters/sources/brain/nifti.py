"""NIfTI-1, NIfTI-2 (nifti1.h, nifti2.h) and Analyze 7.5, one file or a pair; nibabel reads the header, the voxels are mapped.

Which of sform, qform and voxel sizes places the volume is nibabel's choice (Nifti1Header.get_best_affine), so that a position
here is a position there. An Analyze header is taken for a NIfTI header that tells neither units nor codes nor intent.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.nifti1 import Nifti1Header, Nifti1PairHeader
from nibabel.nifti2 import Nifti2Header, Nifti2PairHeader
from nibabel.spatialimages import HeaderDataError
from nibabel.spm2analyze import Spm2AnalyzeHeader
from numpy.typing import NDArray

from converters.errors import SourceError
from converters.geometry import Geometry
from converters.sources.brain.header import ImageHeader, channels_or_time, header_source, image_axes, image_shape, is_colour
from converters.sources.brain.pairs import pair, without_gz
from converters.sources.mapped import Scaling
from converters.sources.packed import first_bytes
from converters.sources.placing import MM, VoxelSizes, place
from converters.sources.source import Source, SourceOptions

_SINGLE = {(348, b"n+1\0"): Nifti1Header, (540, b"n+2\0"): Nifti2Header}
_PAIR = {(348, b"ni1\0"): Nifti1PairHeader, (540, b"ni2\0"): Nifti2PairHeader}
"""(sizeof_hdr, first four bytes of magic) -> the header's class."""
_MAGIC = {348: slice(344, 348), 540: slice(4, 8)}
_UNITS = {1: ("m", 1e9), 2: MM, 3: ("um", 1e3)}
"""xyzt_units % 8 -> name, nm."""
_LABEL_INTENT = 1002
_VECTOR_INTENTS = (1007, 2003, 2004)

_quiet = logging.Logger(f"{__name__}.nibabel")
"""Takes what nibabel says about a header that it puts right, which else goes to the terminal."""
_quiet.addHandler(logging.NullHandler())


@dataclass(frozen=True)
class _Found:
    """A header that nibabel has put right, and the voxel sizes as they were before: it makes 1 of 0 and drops signs."""

    path: Path
    header: Any
    sizes: NDArray[Any]

    def number(self, field: str) -> int:
        """Return a whole number of the header, 0 for a field that an Analyze header has not."""
        return int(self.header[field]) if field in self.header else 0

    def unsound(self, error: Exception) -> SourceError:
        """Return the error for a header that nibabel refuses."""
        return SourceError(f"{self.path}: its header is not sound ({error})")


def open_nifti(path: Path, options: SourceOptions) -> Source:
    """Return the source of a .nii or .nii.gz file.

    Raises SourceError for what is no NIfTI file, OptionError where an option is needed or does not fit.
    """
    size, magic, data = _begin(path)
    if (size, magic) in _PAIR:
        raise SourceError(f"{path}: the header of a pair of files: give it the name NAME.hdr, beside its voxels in NAME.img")
    if (size, magic) not in _SINGLE:
        raise SourceError(f"{path}: not a NIfTI file: neither the header of NIfTI-1 nor that of NIfTI-2 stands at its beginning")
    return _source(_read(path, _SINGLE[size, magic], data[:size]), path, path, options)


def open_pair(path: Path, options: SourceOptions) -> Source:
    """Return the source of a .hdr and .img pair, NIfTI or Analyze, of which path is either.

    Raises SourceError for what is no such pair, OptionError where an option is needed or does not fit.
    """
    header, voxels = pair(path)
    size, magic, data = _begin(header)
    known = _SINGLE | _PAIR | ({(348, magic): Spm2AnalyzeHeader} if (348, magic) not in _SINGLE | _PAIR else {})
    if (size, magic) not in known:
        raise SourceError(f"{header}: neither the header of a NIfTI pair nor of an Analyze pair stands at its beginning")
    return _source(_read(header, known[size, magic], data[:size]), path, voxels, options)


def _begin(path: Path) -> tuple[int, bytes, bytes]:
    """Return the header's size (0: it is none), its magic and the file's first bytes."""
    data = first_bytes(path, max(_MAGIC))
    told = (int.from_bytes(data[:4], "little"), int.from_bytes(data[:4], "big"))
    size = next((size for size in told if size in _MAGIC and len(data) >= size), 0)
    return size, data[_MAGIC[size]] if size else b"", data


def _read(path: Path, header_class: Any, data: bytes) -> _Found:
    header = header_class(data, check=False)
    found = _Found(path, header, np.array(header["pixdim"][1:4], np.float64))
    try:
        header.check_fix(logger=_quiet)
    except HeaderDataError as error:
        raise found.unsound(error) from error
    return found


def _source(found: _Found, path: Path, voxels: Path, options: SourceOptions) -> Source:
    shape = _shape(found)
    axes, notes = image_axes(found.path, shape, _further_axes(found, shape), options.axes)
    geometry, more = _geometry(found, options)
    header = ImageHeader(
        file=voxels,
        offset=_offset(found, single=voxels == found.path),
        shape=shape,
        axes=axes,
        dtype=found.header.get_data_dtype(),
        geometry=geometry,
        scaling=_scaling(found),
        label=found.number("intent_code") == _LABEL_INTENT,
        notes=notes + more,
        header=found.path,
    )
    return header_source(path, header, options)


def _shape(found: _Found) -> tuple[int, ...]:
    try:
        return image_shape(found.path, found.header.get_data_shape())
    except HeaderDataError as error:
        raise found.unsound(error) from error


def _offset(found: _Found, single: bool) -> int:
    first = found.header.single_vox_offset if single else 0
    offset = float(found.header["vox_offset"])
    if not first <= offset < 2**62:
        raise SourceError(f"{found.path}: its header puts the voxels at byte {offset:g}, expected is {first} or above")
    return int(offset)


def _scaling(found: _Found) -> Scaling | None:
    try:
        slope, intercept = found.header.get_slope_inter()
    except HeaderDataError as error:
        raise found.unsound(error) from error
    # Colours are never scaled (nifti1.h, "DATA SCALING").
    if slope is None or (slope, intercept or 0) == (1, 0) or is_colour(found.header.get_data_dtype()):
        return None
    return Scaling(float(slope), float(intercept or 0), np.asarray(slope).dtype)


def _further_axes(found: _Found, shape: tuple[int, ...]) -> str:
    """Return the letters that the axes after x, y, z can have, the likelier first (see image_axes)."""
    if is_colour(found.header.get_data_dtype()):
        return "t"
    if found.number("intent_code") in _VECTOR_INTENTS:
        return "ct"
    has_time_unit = found.number("xyzt_units") // 8 > 0
    return "tc" if has_time_unit else channels_or_time(shape)


@np.errstate(all="ignore")
def _geometry(found: _Found, options: SourceOptions) -> tuple[Geometry, tuple[str, ...]]:
    unit = _UNITS.get(found.number("xyzt_units") % 8)
    x, y, z = found.sizes
    sizes = VoxelSizes(found.path, (x, y, z), unit or MM)
    has_sform, has_qform = found.number("sform_code") != 0, found.number("qform_code") != 0
    if not has_sform:
        found.header["pixdim"][1:4] = sizes.usable(options)
    geometry, notes = place(_affine(found.header), sizes, options)
    if unit is None and options.resolution is None:
        notes += ("the header names no unit of length, mm is taken; --resolution X,Y,Z (nm) says otherwise",)
    if not has_sform and not has_qform:
        notes += ("neither sform nor qform places the volume: x is taken to run from right to left and 0 to be the centre",)
    if isinstance(found.header, Spm2AnalyzeHeader) and (mat := without_gz(found.path).with_suffix(".mat")).exists():
        notes += (f"{mat.name}, where SPM keeps the orientation of such a pair, is not read",)
    return geometry, notes


def _affine(header: Any) -> NDArray[Any]:
    """Return nibabel's choice of affine, 4 x 4, in the header's unit; of NaN where it can make none."""
    try:
        return np.array(header.get_best_affine(), np.float64)
    except (HeaderDataError, ValueError):
        return np.full((4, 4), np.nan)
