"""From a header's affine and voxel sizes to a Geometry."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.errors import OptionError
from converters.geometry import Affine, Geometry, Lengths
from converters.sources.source import SourceOptions

_SINGULAR = 1e-9
"""An affine whose determinant is a smaller part than this of what its voxel sizes allow holds no volume."""
_FLOAT32_PRECISION = 3e-7


def usable_sizes(sizes: NDArray[Any]) -> bool:
    """Return whether these are voxel sizes: finite and above 0."""
    return bool(np.isfinite(sizes).all() and (sizes > 0).all())


def usable_affine(affine: NDArray[Any]) -> bool:
    """Return whether a 4 x 4 affine maps voxels onto a volume: finite, its three directions not in one plane."""
    if not np.isfinite(affine).all():
        return False
    norms = np.linalg.norm(affine[:3, :3], axis=0)
    return bool(abs(np.linalg.det(affine[:3, :3])) > _SINGULAR * norms.prod() > 0)


def sizes_refused(name: str, sizes: NDArray[Any], unit: str) -> OptionError:
    """Return the error for voxel sizes that are none."""
    found = ", ".join(f"{size:g}" for size in sizes)
    return OptionError(f"{name}: its header gives a voxel size of {found} {unit}, which cannot be: add --resolution X,Y,Z in nm")


def placed(affine: NDArray[Any], options: SourceOptions) -> Geometry:
    """Return the geometry for a usable affine (4 x 4, voxel centre -> RAS in nm).

    The resolution is the length of the affine's columns. A resolution in the options takes its place: each column
    is stretched to it, its direction and the position of the first voxel's centre are kept.
    """
    matrix = np.array(affine[:3], np.float64)
    norms = np.linalg.norm(matrix[:, :3], axis=0)
    resolution = options.resolution or lengths(norms)
    if options.resolution is not None:
        matrix[:, :3] *= np.array(options.resolution) / norms
    return Geometry(resolution, options.voxel_offset, _rows(matrix), "RAS")


def lengths(sizes: NDArray[Any]) -> Lengths:
    """Return voxel sizes in nm as x, y, z. What a float32 header makes of 0.7 mm, 699999.988 nm, is 700000 nm again."""
    x, y, z = (_plain(float(size)) for size in sizes)
    return x, y, z


def _plain(size: float) -> float:
    short = float(f"{size:.6g}")
    return short if abs(short - size) <= _FLOAT32_PRECISION * size else size


def _rows(matrix: NDArray[Any]) -> Affine:
    x, y, z = ((float(a), float(b), float(c), float(d)) for a, b, c, d in matrix)
    return x, y, z
