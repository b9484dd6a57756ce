"""How a volume is cut into tiles, each read once and giving its chunks at every scale that fits inside it.

A stage begins at a scale whose voxels can be read (the source, or the lossless spool that the stage before left) and ends at the
coarsest scale of which one tile still holds whole chunks. Chunk grids begin at each scale's own voxel_offset, which is floored
from scale to scale: where offsets are odd, a tile needs a halo of a few voxels at its lower faces.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

from converters.geometry import unpooled_box
from converters.volumes.scales import PlannedScale
from formats.grid import Box, Triple


@dataclass(frozen=True)
class Stage:
    """One pass over the voxels of scales[0] that makes the chunks of the scales after it, and of scales[0] itself when `first`.

    tile: voxels of scales[0] along x, y, z, whole chunks at every scale of the stage.
    """

    scales: tuple[PlannedScale, ...]
    tile: Triple
    first: bool

    @property
    def tiles_shape(self) -> Triple:
        """Number of tiles along x, y, z."""
        x, y, z = (-(-n // t) for n, t in zip(self.scales[0].box.shape, self.tile, strict=True))
        return x, y, z

    def tiles(self) -> Iterator[Triple]:
        """Yield each tile's position among the tiles, x fastest."""
        for z, y, x in product(*(range(n) for n in reversed(self.tiles_shape))):
            yield x, y, z

    def extent(self, scale: int) -> Triple:
        """Return the voxels along x, y, z of self.scales[scale] that a tile owns, if it is not the last."""
        factors = zip(self.tile, self.scales[scale].factors, self.scales[0].factors, strict=True)
        x, y, z = (n * first // own for n, own, first in factors)
        return x, y, z

    def owned(self, tile: Triple, scale: int) -> Box:
        """Return the voxels, in whole chunks, of self.scales[scale] that this tile alone makes; they may be none."""
        planned, extents = self.scales[scale], self.extent(scale)
        start, end = [], []
        for axis in range(3):
            low = planned.box.start[axis] + tile[axis] * extents[axis]
            last = tile[axis] + 1 == self.tiles_shape[axis]
            high = planned.box.end[axis] if last else min(low + extents[axis], planned.box.end[axis])
            start.append(low)
            end.append(max(low, high))
        return Box((start[0], start[1], start[2]), (end[0], end[1], end[2]))

    def owners(self, box: Box, scale: int) -> Iterator[Triple]:
        """Yield the tiles, x fastest, that own voxels of a box, which is not empty and lies within self.scales[scale]."""
        origin, extents = self.scales[scale].box.start, self.extent(scale)
        ranges = []
        for axis in range(3):
            first, last = box.start[axis] - origin[axis], box.end[axis] - 1 - origin[axis]
            # The last tile owns all that is left: floored offsets can leave a voxel more than its share.
            most = self.tiles_shape[axis] - 1
            ranges.append(range(min(first // extents[axis], most), min(last // extents[axis], most) + 1))
        for z, y, x in product(*reversed(ranges)):
            yield x, y, z

    def needed(self, tile: Triple) -> tuple[Box, ...]:
        """Return, for each scale, the voxels that must be there to make what the tile owns at it and at the coarser ones."""
        boxes = [self.owned(tile, len(self.scales) - 1)]
        for scale in range(len(self.scales) - 2, -1, -1):
            finer = self.scales[scale].box
            below = unpooled_box(boxes[0], self.scales[scale + 1].step).intersection(finer)
            owned = self.owned(tile, scale)
            boxes.insert(
                0, below.union(owned) if owned.voxels and below.voxels else max(owned, below, key=lambda box: box.voxels)
            )
        return tuple(boxes)


def plan_stages(scales: tuple[PlannedScale, ...], tile_voxels: int) -> tuple[Stage, ...]:
    """Return the stages that make all scales from tiles of about tile_voxels voxels.

    A tile is never smaller than one chunk of the stage's second scale, however few voxels it may have.
    """
    stages: list[Stage] = []
    first = 0
    while not stages or first < len(scales) - 1:
        last = _last_scale(scales, first, tile_voxels)
        tile = _grown(scales[first].box, _tile(scales, first, last), tile_voxels)
        stages.append(Stage(scales[first : last + 1], tile, first == 0))
        first = last
    return tuple(stages)


def flat_stages(scales: tuple[PlannedScale, ...], tile_voxels: int) -> tuple[Stage, ...]:
    """Return stages of which the first makes two scales only, from the smallest tiles: they can grow to be wide and flat."""
    first = plan_stages(scales[:2], 1)[0]
    if len(scales) <= 2:
        return (first,)
    return first, *(replace(stage, first=False) for stage in plan_stages(scales[1:], tile_voxels))


def _last_scale(scales: tuple[PlannedScale, ...], first: int, tile_voxels: int) -> int:
    last = min(first + 1, len(scales) - 1)
    while last + 1 < len(scales) and _voxels(scales[first].box, _tile(scales, first, last + 1)) <= tile_voxels:
        last += 1
    return last


def _tile(scales: tuple[PlannedScale, ...], first: int, last: int) -> Triple:
    """Return the voxels of scale first that become one chunk of scale last."""
    fine, coarse = scales[first], scales[last]
    x, y, z = (c * b // a for c, a, b in zip(fine.chunk_size, fine.factors, coarse.factors, strict=True))
    return x, y, z


def _grown(box: Box, tile: Triple, tile_voxels: int) -> Triple:
    """Return the tile doubled, x first because sources mostly lie so on disk, while it stays within tile_voxels."""
    for axis in range(3):
        while tile[axis] < box.shape[axis]:
            x, y, z = (2 * t if a == axis else t for a, t in enumerate(tile))
            if _voxels(box, (x, y, z)) > tile_voxels:
                break
            tile = (x, y, z)
    return tile


def _voxels(box: Box, tile: Triple) -> int:
    return math.prod(min(n, t) for n, t in zip(box.shape, tile, strict=True))
