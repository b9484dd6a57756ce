"""Which scales a volume gets: factors that tend to isotropic voxels, down to a single chunk."""

import math
from dataclasses import dataclass

from converters.geometry import Geometry, Lengths, pooled_box
from formats.grid import Box, Grid, Triple
from formats.info import Sharding

_CHUNK_VOXELS = 1 << 18
_CHUNK_EDGE = 64
_LONGEST_EDGE = 512


@dataclass(frozen=True)
class PlannedScale:
    """One scale to be written.

    step: factors from the scale before, 1 or 2 along each axis. factors: from the source. box: its voxels in its own
    coordinates. resolution: nm. chunk_size: voxels. sharding: None where each chunk is a file.
    """

    step: Triple
    factors: Triple
    box: Box
    resolution: Lengths
    chunk_size: Triple
    sharding: Sharding | None = None

    @property
    def key(self) -> str:
        """The scale's folder: its resolution."""
        return "_".join(f"{length:.12g}" for length in self.resolution)

    @property
    def grid(self) -> Grid:
        """The scale's chunks."""
        return Grid(self.box.start, self.box.shape, self.chunk_size)


def plan_scales(geometry: Geometry, shape: Triple, chunk_size: Triple, count: int | None) -> tuple[PlannedScale, ...]:
    """Return the scales of a source of this shape: count of them, or down to one that is a single chunk.

    Each scale begins at the floor of the one before divided by the step and ends at its ceiling (the global grid).
    """
    scales = [PlannedScale((1, 1, 1), (1, 1, 1), geometry.box(shape), geometry.resolution, chunk_size)]
    while count is None or len(scales) < count:
        last = scales[-1]
        if not any(_halving(last.box)) or (count is None and math.prod(last.grid.shape) == 1):
            break
        scales.append(_next_scale(last, geometry))
    return tuple(scales)


def default_chunk_size(shape: Triple) -> Triple:
    """Return a chunk of about 2**18 voxels: 64 x 64 x 64, wider along the others where the volume is thin along one axis."""
    edges = [min(_CHUNK_EDGE, _power_of_two(n)) for n in shape]
    while math.prod(edges) < _CHUNK_VOXELS:
        growing = [axis for axis in range(3) if edges[axis] < min(shape[axis], _LONGEST_EDGE)]
        if not growing:
            break
        edges[min(growing, key=lambda axis: edges[axis])] *= 2
    x, y, z = edges
    return x, y, z


def _next_scale(last: PlannedScale, geometry: Geometry) -> PlannedScale:
    step = _step(last.resolution, _halving(last.box))
    x, y, z = (f * s for f, s in zip(last.factors, step, strict=True))
    return PlannedScale(step, (x, y, z), pooled_box(last.box, step), geometry.scale_resolution((x, y, z)), last.chunk_size)


def _halving(box: Box) -> list[bool]:
    """Tell for each axis whether scales with fewer voxels can follow: one voxel stays one, and the global grid parts -1 and 0."""
    return [end - start > 1 and (start, end) != (-1, 1) for start, end in zip(box.start, box.end, strict=True)]


def _step(resolution: Lengths, halving: list[bool]) -> Triple:
    """Return 2 for each axis whose voxels are nearly as fine as the finest of those that can still be halved, else 1."""
    finest = min(r for r, can in zip(resolution, halving, strict=True) if can)
    x, y, z = (2 if can and r < finest * math.sqrt(2) else 1 for r, can in zip(resolution, halving, strict=True))
    return x, y, z


def _power_of_two(n: int) -> int:
    """Return the smallest power of two that is n or more."""
    return 1 << (n - 1).bit_length()
