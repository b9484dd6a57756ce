"""From a header's affine and voxel sizes to a Geometry."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.errors import OptionError
from converters.geometry import Affine, Geometry, Lengths
from converters.sources.source import SourceOptions

MM = ("mm", 1e6)
"""A unit of length: its name, and how many nm it is."""

_SINGULAR = 1e-9
"""An affine holds no volume where the determinant of its three directions, 1 at right angles, is smaller."""
_FLOAT32_PRECISION = 3e-7


@dataclass(frozen=True)
class VoxelSizes:
    """The voxel size that a header tells, x, y, z, in a unit (name, nm); it may be no size at all."""

    path: Path
    told: Lengths
    unit: tuple[str, float]

    def usable(self, options: SourceOptions) -> NDArray[Any]:
        """Return the voxel size in the header's unit, or where it tells none the one in the options.

        Raises OptionError where there is none either.
        """
        told = np.array(self.told)
        if np.isfinite(told * self.unit[1]).all() and (told > 0).all():
            return told
        if options.resolution is None:
            found = ", ".join(f"{size:g}" for size in told)
            raise OptionError(
                f"{self.path}: its header tells a voxel size of {found} {self.unit[0]}, and each must be above 0: "
                "add --resolution X,Y,Z in nm"
            )
        return np.array(options.resolution) / self.unit[1]


@np.errstate(all="ignore")
def place(affine: NDArray[Any], sizes: VoxelSizes, options: SourceOptions) -> tuple[Geometry, tuple[str, ...]]:
    """Return the geometry for a header's affine (4 x 4, voxel centre -> RAS in the unit of sizes), and notes for the user.

    The resolution is the length of the affine's columns. A resolution in the options takes its place: each column is stretched
    to it, its direction and the position of the first voxel's centre are kept. An affine that is singular or not finite is left
    out, and the header's voxel size taken. Raises OptionError where that is none. What overflows is not finite.
    """
    matrix = np.array(affine[:3], np.float64) * sizes.unit[1]
    norms = np.linalg.norm(matrix[:, :3], axis=0)
    if not _holds_volume(matrix, norms):
        resolution = options.resolution or _lengths(sizes.usable(options) * sizes.unit[1])
        note = "the header's affine is singular and left out: the volume has a voxel size but no place in the world"
        return Geometry(resolution, options.offset), (note,)
    resolution = options.resolution or _lengths(norms)
    if options.resolution is not None:
        matrix[:, :3] *= np.array(options.resolution) / norms
    return Geometry(resolution, options.offset, _rows(matrix), "RAS"), ()


def _holds_volume(matrix: NDArray[Any], norms: NDArray[Any]) -> bool:
    if not (np.isfinite(matrix).all() and np.isfinite(norms).all() and norms.all()):
        return False
    return bool(abs(np.linalg.det(matrix[:, :3] / norms)) > _SINGULAR)


def _lengths(sizes: NDArray[Any]) -> Lengths:
    x, y, z = (without_float32_noise(float(size)) for size in sizes)
    return x, y, z


def without_float32_noise(size: float) -> float:
    """Return the shortest decimal number that a float32 may have stood for, the size itself where it was none."""
    # 0.7 mm in a float32 header comes out as 699999.988 nm.
    short = float(f"{size:.6g}")
    return short if abs(short - size) <= _FLOAT32_PRECISION * size else size


def _rows(matrix: NDArray[Any]) -> Affine:
    x, y, z = ((float(a), float(b), float(c), float(d)) for a, b, c, d in matrix)
    return x, y, z
