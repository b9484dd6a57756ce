"""What a TIFF file's metadata tell of its voxels: their size (OME-XML, ImageJ, LSM, MetaMorph, Micro-Manager, tags) and look."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray

from converters.sources.tiff.pages import PALETTE, WHITE_IS_ZERO
from converters.sources.units import unit_nm

Size = tuple[float | None, str | None]
"""A length and its unit as found, None where the metadata have none."""

_Sizes = tuple[float | None, float | None, float | None]
_Units = tuple[str | None, str | None, str | None]

_TAG_UNITS = {2: 25_400.0, 3: 10_000.0, 4: 1_000.0, 5: 1.0}
"""ResolutionUnit -> how many micrometres it is (TIFF 6.0, "ResolutionUnit"; 4 and 5 are tifffile's)."""
_NO_SIZE: Size = (None, None)
_ORIENTATION = 274


@dataclass(frozen=True)
class VoxelSize:
    """The voxel size along a file's own axes X, Y and Z. notes: one sentence each, for the user."""

    x: Size = _NO_SIZE
    y: Size = _NO_SIZE
    z: Size = _NO_SIZE
    notes: tuple[str, ...] = ()

    @property
    def told(self) -> bool:
        """Whether any length is there."""
        return any(size is not None for size, _ in (self.x, self.y, self.z))

    def along(self, axis: str) -> Size:
        """Return the size along an axis X, Y or Z."""
        return {"X": self.x, "Y": self.y, "Z": self.z}[axis]

    def placed(self, own: str, axes: str) -> tuple[_Sizes, _Units]:
        """Return sizes and units along x, y, z where these are the array's axes, one letter each, which the file calls own.

        Where the file calls no axis Z (its pages are called time, or nothing), the size that it tells along Z is that along z.
        """
        found = {axis: self.along(letter) for axis, letter in zip(axes, own, strict=True) if letter in "XYZ"}
        if "Z" not in own:
            found.setdefault("z", self.z)
        x, y, z = (found.get(axis, _NO_SIZE) for axis in "xyz")
        return (x[0], y[0], z[0]), (x[1], y[1], z[1])

    def coarser(self, factors: Mapping[str, float]) -> "VoxelSize":
        """Return the voxel size of a level of the pyramid that is so many times coarser along X, Y, Z."""
        x, y, z = (_times(self.along(axis), factors.get(axis, 1.0)) for axis in "XYZ")
        return VoxelSize(x, y, z, self.notes)


def voxel_size(tif: tifffile.TiffFile, image: int, images: int) -> VoxelSize:
    """Return the voxel size of one of a file's images, counted from 0: the first that its metadata tell, most explicit first."""
    readers: tuple[Callable[[], VoxelSize], ...] = (
        lambda: _ome(tif, image, images),
        lambda: _micro_manager(tif),
        lambda: _imagej(tif),
        lambda: _lsm(tif),
        lambda: _metamorph(tif),
    )
    for read in readers:
        size = read()
        if size.told:
            return size
    return _tags(tif.pages.first)


def look(tif: tifffile.TiffFile, page: tifffile.TiffPage) -> tuple[bool, tuple[str, ...]]:
    """Return whether the voxels are labels, and notes on what of the pages' look is left out."""
    notes = []
    palette = page.photometric == PALETTE and not tif.is_imagej and not rising(page.colormap)
    if palette:
        notes.append(
            "a palette gives its voxels colours: the numbers of the colours are taken, as labels; --type image says otherwise"
        )
    if page.photometric == WHITE_IS_ZERO:
        notes.append("its tags say that 0 is white: the values are taken as they are stored")
    if page.tags.valueof(_ORIENTATION, default=1) not in (0, 1):
        notes.append("its tags say that the image is to be turned or mirrored: rows and columns are taken as they are stored")
    return palette, tuple(notes)


def rising(colours: NDArray[np.uint16] | None) -> bool:
    """Tell whether a palette is a ramp from dark to light, which shows grey values and not labels."""
    return colours is not None and bool((np.diff(colours.astype(np.int64), axis=1) >= 0).all())


def ome_files(tif: tifffile.TiffFile) -> tuple[str, ...]:
    """Return the names of all files that OME-XML says an image lies in, in the order in which they are named."""
    root = _ome_root(tif)
    named = [] if root is None else [element.get("FileName") for element in root.iter() if _tag(element) == "UUID"]
    return tuple(dict.fromkeys(name for name in named if name))


def ome_master(tif: tifffile.TiffFile) -> str | None:
    """Return the name of the file that holds the OME-XML of this part of an image; None where it is here."""
    root = _ome_root(tif)
    found = None if root is None else next((element for element in root if _tag(element) == "BinaryOnly"), None)
    return None if found is None else found.get("MetadataFile", "another file")


def _ome_root(tif: tifffile.TiffFile) -> ElementTree.Element | None:
    return ElementTree.fromstring(tif.ome_metadata) if tif.is_ome and tif.ome_metadata else None


def _ome(tif: tifffile.TiffFile, image: int, images: int) -> VoxelSize:
    root = _ome_root(tif)
    pixels = [] if root is None else [child for child in root.iter() if _tag(child) == "Pixels"]
    if len(pixels) != images:
        return VoxelSize()
    told = pixels[image].attrib
    x, y, z = ((_number(told.get(f"PhysicalSize{axis}")), told.get(f"PhysicalSize{axis}Unit", "µm")) for axis in "XYZ")
    return VoxelSize(_whole(x), _whole(y), _whole(z))


def _micro_manager(tif: tifffile.TiffFile) -> VoxelSize:
    summary = ((tif.micromanager_metadata or {}).get("Summary") if tif.is_micromanager else None) or {}
    pixel, step = _number(summary.get("PixelSize_um")), _number(summary.get("z-step_um"))
    return VoxelSize(_whole((pixel, "um")), _whole((pixel, "um")), _whole((step and abs(step), "um")))


def _imagej(tif: tifffile.TiffFile) -> VoxelSize:
    """Return what ImageJ tells, and tifffile in its own files the same way: pixels a unit in tags, spacing and unit in text."""
    told = tif.imagej_metadata or (tif.shaped_metadata or ({},))[0]
    unit = told.get("unit")
    if unit is None:
        x, y = _tags(tif.pages.first).x, _tags(tif.pages.first).y
    else:
        width, height = _pixel_sizes(tif.pages.first)
        x, y = (width, str(unit)), (height, str(told.get("yunit", unit)))
    spacing, z_unit = _number(told.get("spacing")), str(told.get("zunit", unit or ""))
    if spacing is not None:
        # ImageJ may write a negative one, and reads it without its sign.
        return VoxelSize(x, y, (abs(spacing), z_unit or x[1]))
    if "ImageJ" in told and told.get("images", 1) > 1 and unit_nm(z_unit) is not None:
        note = f"no spacing is told, which for ImageJ means slices 1 {z_unit} apart; --resolution X,Y,Z (nm) says otherwise"
        return VoxelSize(x, y, (1.0, z_unit), (note,))
    return VoxelSize(x, y)


def _lsm(tif: tifffile.TiffFile) -> VoxelSize:
    told = (tif.lsm_metadata if tif.is_lsm else None) or {}
    x, y, z = (_whole((_micrometres(told.get(f"VoxelSize{axis}"), 1e6), "um")) for axis in "XYZ")
    return VoxelSize(x, y, z)


def _metamorph(tif: tifffile.TiffFile) -> VoxelSize:
    told = (tif.stk_metadata if tif.is_stk else None) or {}
    unit = str(told.get("CalibrationUnits") or "") or None
    distances = np.unique(np.abs(np.asarray(told.get("ZDistance", ()), np.float64)))
    step = float(distances[-1]) if len(distances) and np.ptp(distances) <= 1e-6 * distances[-1] else None
    x, y = ((_number(told.get(f"{axis}Calibration")), unit) for axis in "XY")
    return VoxelSize(_whole(x), _whole(y), _whole((step or None, unit)))


def _tags(page: tifffile.TiffPage) -> VoxelSize:
    micrometres = _TAG_UNITS.get(int(page.resolutionunit))
    x, y = (_whole((_micrometres(size, micrometres), "um")) for size in _pixel_sizes(page))
    return VoxelSize(x, y)


def _pixel_sizes(page: tifffile.TiffPage) -> tuple[float | None, float | None]:
    """Return how many units a pixel is wide and high, from the tags XResolution and YResolution, pixels a unit."""
    width, height = (_inverse(page.tags.valueof(code)) for code in (282, 283))
    return width, height


def _inverse(resolution: Any) -> float | None:
    if not isinstance(resolution, tuple) or len(resolution) != 2 or not all(resolution):
        return None
    return float(resolution[1]) / float(resolution[0])


def _micrometres(length: Any, factor: float | None) -> float | None:
    number = _number(length)
    return None if number is None or factor is None else number * factor


def _number(text: Any) -> float | None:
    try:
        number = float(text)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _times(size: Size, factor: float) -> Size:
    return (None if size[0] is None else size[0] * factor), size[1]


def _whole(size: Size) -> Size:
    return _NO_SIZE if size[0] is None else size


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]
