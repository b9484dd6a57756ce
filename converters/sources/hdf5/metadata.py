"""What the attributes of an HDF5 file tell of a dataset: its axes, the size of its voxels, and where they lie.

HDF5 itself has no such attributes. Read are: `axistags` and `axis_units` (vigra and ilastik), DIMENSION_LABELS (HDF5 Dimension
Scales), `element_size_um` (Fiji's HDF5 plugin: z, y, x in micrometres), `resolution` and `offset` (CREMI: z, y, x in nm) and what
a Chimera map has (ChimeraX, map_data/cmap: a group's `step`, `origin`, `cell_angles`, `rotation_axis`, `rotation_angle`, in x, y,
z and ångström; `subsample_spacing` of its coarser copies).
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.geometry import Affine, Lengths
from converters.sources.units import unit_nm

Attributes = Mapping[str, Any]
Sizes = tuple[float | None, float | None, float | None]
Units = tuple[str | None, str | None, str | None]

DATASET_ATTRIBUTES = (
    "axistags", "axis_units", "display_mode", "DIMENSION_LABELS", "element_size_um", "resolution", "offset", "subsample_spacing",
)  # fmt: skip
GROUP_ATTRIBUTES = ("step", "origin", "cell_angles", "rotation_axis", "rotation_angle")

_LETTERS = "xyzct"
_ANGSTROM = 0.1
_NO_SIZES: Sizes = (None, None, None)
_NO_UNITS: Units = (None, None, None)
_SAY_OTHERWISE = "--resolution X,Y,Z (nm) says otherwise"


@dataclass(frozen=True)
class VoxelSize:
    """A voxel size as found, along x, y, z, with its units, and a sentence for the user where it takes knowing to read it."""

    sizes: Sizes = _NO_SIZES
    units: Units = _NO_UNITS
    notes: tuple[str, ...] = ()

    def complete(self) -> bool:
        """Tell whether all three are lengths."""
        return all(_is_length(size) and unit_nm(unit) is not None for size, unit in zip(self.sizes, self.units, strict=True))


def told_axes(attributes: Attributes, map_attributes: Attributes | None, dimensions: int) -> str | None:
    """Return one letter an axis of the dataset as its attributes tell, None where they tell none that can be used.

    map_attributes: those of the group of a Chimera map, whose arrays are always z, y, x, else None.
    """
    if map_attributes is not None and dimensions == 3:
        return "zyx"
    for axes in (_tagged_axes(attributes), _labelled_axes(attributes)):
        if len(axes) == dimensions == len(set(axes)) and set("xy") <= set(axes) <= set(_LETTERS):
            return axes
    return None


def told_labels(attributes: Attributes) -> bool:
    """Tell whether ilastik shows the dataset in the random colours that it has for labels."""
    return _text(attributes.get("display_mode")) == "random-colortable"


def told_size(attributes: Attributes, map_attributes: Attributes | None, axes: str) -> VoxelSize:
    """Return the voxel size that the attributes tell, the first that is complete, else the first that is told in part.

    map_attributes: those of the group of a Chimera map, else None. axes: one letter an axis of the dataset.
    """
    found = [
        _tagged_size(attributes),
        _size_in_micrometres(attributes, axes),
        _size_in_nm(attributes, axes),
        _step_of_map(attributes, map_attributes or {}, axes),
    ]
    told = [size for size in found if any(length is not None for length in size.sizes)]
    return next((size for size in told if size.complete()), told[0] if told else VoxelSize())


def told_affine(attributes: Attributes, map_attributes: Attributes | None, axes: str, resolution: Lengths) -> Affine | None:
    """Return 3 x 4, from the index of a voxel's centre to nm, None where the attributes tell no place."""
    if map_attributes is not None:
        return _affine_of_map(map_attributes, resolution) if axes == "zyx" else None
    offset = _by_axis(_numbers(attributes.get("offset")), axes) if "resolution" in attributes else {}
    if not set("xyz") <= set(offset):
        return None
    # The offset is that of the corner of the first voxel, whose centre lies half a voxel further.
    place = [offset[axis] + size / 2 for axis, size in zip("xyz", resolution, strict=True)]
    return _rows(np.diag(resolution), np.array(place))


def map_step(attributes: Attributes) -> tuple[float, ...] | None:
    """Return how many voxels x, y, z of the finest array of a Chimera map one of this array stands for; None for the finest."""
    return _triple(attributes.get("subsample_spacing"))


def _tags(attributes: Attributes) -> list[dict[str, Any]]:
    try:
        tags = json.loads(_text(attributes.get("axistags")) or "{}")["axes"]
        return [dict(tag) for tag in tags]
    except (ValueError, TypeError, KeyError, RecursionError):
        return []


def _tagged_axes(attributes: Attributes) -> str:
    return "".join(str(tag.get("key")) for tag in _tags(attributes))


def _labelled_axes(attributes: Attributes) -> str:
    labels = attributes.get("DIMENSION_LABELS")
    return "".join(_text(label) or "?" for label in labels).lower() if isinstance(labels, np.ndarray) and labels.ndim == 1 else ""


def _tagged_size(attributes: Attributes) -> VoxelSize:
    # vigra has 0 for a resolution that it does not know.
    sizes = {str(tag.get("key")): tag.get("resolution") for tag in _tags(attributes)}
    try:
        units = dict(json.loads(_text(attributes.get("axis_units")) or "{}"))
    except (ValueError, TypeError, RecursionError):
        units = {}
    numbers = {axis: float(size) for axis, size in sizes.items() if isinstance(size, int | float) and size}
    names = {axis: unit for axis, unit in units.items() if isinstance(unit, str)}
    return VoxelSize((numbers.get("x"), numbers.get("y"), numbers.get("z")), (names.get("x"), names.get("y"), names.get("z")))


def _size_in_micrometres(attributes: Attributes, axes: str) -> VoxelSize:
    values = _numbers(attributes.get("element_size_um"))
    named = dict(zip(axes if len(values) == len(axes) else "zyx", values, strict=False)) if len(values) >= 3 else {}
    return VoxelSize((named.get("x"), named.get("y"), named.get("z")), ("um", "um", "um"))


def _size_in_nm(attributes: Attributes, axes: str) -> VoxelSize:
    named = _by_axis(_numbers(attributes.get("resolution")), axes)
    order = ", ".join(axis for axis in axes if axis in "xyz")
    note = f"voxel size taken from the attribute resolution: {order} in nm, as CREMI has it; {_SAY_OTHERWISE}"
    return VoxelSize((named.get("x"), named.get("y"), named.get("z")), ("nm", "nm", "nm"), (note,))


def _step_of_map(attributes: Attributes, map_attributes: Attributes, axes: str) -> VoxelSize:
    step = _triple(map_attributes.get("step"))
    if step is None:
        return VoxelSize()
    coarser = map_step(attributes) or (1.0, 1.0, 1.0)
    named = _by_axis(tuple(a * b for a, b in zip(step, coarser, strict=True))[::-1], axes)
    note = f"voxel size taken from the attribute step, in ångström as ChimeraX has it; {_SAY_OTHERWISE}"
    return VoxelSize((named.get("x"), named.get("y"), named.get("z")), ("angstrom", "angstrom", "angstrom"), (note,))


def _by_axis(values: tuple[float, ...], axes: str) -> dict[str, float]:
    """Return the values by the letter of their axis: one value an axis, or one an axis of space."""
    spatial = "".join(axis for axis in axes if axis in "xyz")
    for letters in (axes, spatial):
        if len(values) == len(letters):
            return dict(zip(letters, values, strict=True))
    return {}


@np.errstate(all="ignore")
def _affine_of_map(attributes: Attributes, resolution: Lengths) -> Affine | None:
    """Return where a Chimera map lies: voxel 0's centre is at origin, its axes are skewed first and then turned."""
    origin = _triple(attributes.get("origin"))
    if origin is None:
        return None
    directions = _rotation(attributes) @ _skewed(_triple(attributes.get("cell_angles")) or (90.0, 90.0, 90.0))
    if not np.isfinite(directions).all() or abs(np.linalg.det(directions)) < 1e-6:
        return None
    return _rows(directions * np.array(resolution), np.array(origin) * _ANGSTROM)


def _skewed(angles: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the directions of a cell's axes as columns; angles: between y and z, x and z, x and y, in degrees."""
    a, b, c = (math.cos(math.radians(angle)) if angle != 90 else 0.0 for angle in angles)
    sine = math.sqrt(max(0.0, 1 - c * c))
    across = (a - b * c) / sine if sine else math.nan
    up = math.sqrt(max(0.0, 1 - b * b - across * across)) if math.isfinite(across) else math.nan
    return np.array([[1, c, b], [0, sine, across], [0, 0, up]])


def _rotation(attributes: Attributes) -> NDArray[np.float64]:
    """Return the turn by rotation_angle degrees about rotation_axis, right-handed (Rodrigues' formula)."""
    axis, angle = _triple(attributes.get("rotation_axis")), _numbers(attributes.get("rotation_angle"))
    if axis is None or len(angle) != 1 or not any(axis):
        return np.eye(3)
    x, y, z = np.array(axis) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turn = math.radians(angle[0])
    rotation: NDArray[np.float64] = np.eye(3) + math.sin(turn) * cross + (1 - math.cos(turn)) * (cross @ cross)
    return rotation


def _rows(directions: NDArray[np.float64], place: NDArray[np.float64]) -> Affine:
    x, y, z = ((float(a), float(b), float(c), float(d)) for (a, b, c), d in zip(directions, place, strict=True))
    return x, y, z


def _triple(value: Any) -> tuple[float, ...] | None:
    numbers = _numbers(value)
    return numbers if len(numbers) == 3 else None


def _numbers(value: Any) -> tuple[float, ...]:
    """Return an attribute's numbers, () where it has none or one is not finite; 0.004 in float32 is 0.004, not 0.00400000019."""
    array = np.asarray(value)
    # MATLAB writes a row as a matrix with one row.
    if array.dtype.kind not in "iuf" or array.size != max(array.shape, default=1) or not np.isfinite(array).all():
        return ()
    return tuple(float(str(number)) for number in array.reshape(-1))


def _text(value: Any) -> str:
    """Return an attribute that is one text, or an array of one; "" for any other."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else ""


def _is_length(size: float | None) -> bool:
    return size is not None and math.isfinite(size) and size > 0
