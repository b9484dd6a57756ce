"""How well tiles fit the blocks that a source is read in, and how a source is cut for unpacking.

A tile that cuts through a compressed chunk or a TIFF's page pays for the whole of it, and so does each of its neighbours.
"""

import math
from collections.abc import Iterable
from dataclasses import replace

from converters.volumes.stages import Stage
from formats.grid import Triple

_ENOUGH = 1.5
"""A source is read at most so many times over before its tiles are made larger."""
_MOST = 2.0
"""A source that would be read more often is unpacked first."""
_UNIT_VOXELS = 1 << 24


def times_read(shape: Triple, block: Triple, tile: Triple) -> float:
    """Return how many times over a source's voxels are read when each tile reads all blocks that it meets."""
    return math.prod(_along(n, b, t) for n, b, t in zip(shape, block, tile, strict=True))


def fitted(stage: Stage, block: Triple, most_voxels: int, tiles: int) -> Stage | None:
    """Return the first stage with tiles that read each block of the source about once, None where there are no such tiles.

    most_voxels: a tile's, at most. tiles: how many of them there should be at least, so that all workers have some.
    """
    shape = stage.scales[0].box.shape
    tile = stage.tile
    while times_read(shape, block, tile) > _ENOUGH:
        larger = _doubled(shape, block, tile)
        grown = replace(stage, tile=larger)
        if larger == tile or _voxels(shape, larger) > most_voxels or math.prod(grown.tiles_shape) < tiles:
            break
        tile = larger
    return replace(stage, tile=tile) if times_read(shape, block, tile) <= _MOST else None


def fitted_stages(ways: Iterable[tuple[Stage, ...]], block: Triple, most_voxels: int, tiles: int) -> tuple[Stage, ...] | None:
    """Return, of several ways through a volume, the one whose first stage, fitted, reads the source the fewest times.

    Of equal ones the first; None where none can be fitted. most_voxels, tiles: as for fitted.
    """
    best: tuple[Stage, ...] | None = None
    for stages in ways:
        first = fitted(stages[0], block, most_voxels, tiles)
        if first is not None and (best is None or _times(first, block) < _times(best[0], block)):
            best = (first, *stages[1:])
    return best


def unpacking_unit(shape: Triple, block: Triple, most_voxels: int) -> Triple:
    """Return the voxels x, y, z that are unpacked at a time: whole blocks, so that each is read once."""
    unit = block
    for axis in range(3):
        while unit[axis] < shape[axis]:
            larger = _replaced(unit, axis, min(2 * unit[axis], -(-shape[axis] // block[axis]) * block[axis]))
            if _voxels(shape, larger) > min(_UNIT_VOXELS, most_voxels):
                break
            unit = larger
    return unit


def _times(stage: Stage, block: Triple) -> float:
    return times_read(stage.scales[0].box.shape, block, stage.tile)


def _along(extent: int, block: int, tile: int) -> float:
    """Return the times that voxels along one axis are read."""
    if block == 1 or tile >= extent or tile % block == 0:
        return 1.0
    tiles = range(0, extent, tile)
    read = sum(min(-(-min(begin + tile, extent) // block) * block, extent) - begin // block * block for begin in tiles)
    return read / extent


def _doubled(shape: Triple, block: Triple, tile: Triple) -> Triple:
    """Return the tile doubled along the axis where most is read in vain; the tile itself where that is nowhere."""
    costs = [_along(n, b, t) for n, b, t in zip(shape, block, tile, strict=True)]
    axis = max(range(3), key=lambda a: costs[a])
    return _replaced(tile, axis, 2 * tile[axis]) if costs[axis] > 1 else tile


def _replaced(triple: Triple, axis: int, value: int) -> Triple:
    x, y, z = (value if a == axis else n for a, n in enumerate(triple))
    return x, y, z


def _voxels(shape: Triple, tile: Triple) -> int:
    return math.prod(min(n, t) for n, t in zip(shape, tile, strict=True))
