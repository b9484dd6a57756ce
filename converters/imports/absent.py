"""Whether the segments that something is imported for are in the volume at all."""

from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.errors import DatasetError
from converters.storage.any_layout import AnyLayoutStorage
from converters.storage.reader import VolumeReader
from formats.grid import Box, Grid
from formats.info import Scale, VolumeInfo

_MOST_VOXELS = 1 << 26
"""Of a scale that is looked through: some seconds."""
_BLOCK = (256, 256, 256)
_NAMED = 5


def absent_note(dataset: Path, volume: VolumeInfo, segments: Collection[int]) -> tuple[str, ...]:
    """Return a sentence that names the segments which are not in a volume.

    None when all are there, when the volume is too large to look through, and when a chunk of it cannot be read.
    """
    missing: list[int] = []
    with suppress(DatasetError):
        missing = sorted(_absent(dataset, volume, set(segments)))
    if not missing:
        return ()
    named = ", ".join(map(str, missing[:_NAMED])) + (", ..." if len(missing) > _NAMED else "")
    return (
        f"{dataset}: {len(missing)} of {len(segments)} segments are not in its voxels ({named}), so that none of them can be "
        "clicked on; check the ids, in the table, with --id or in the files' names",
    )


def _absent(dataset: Path, volume: VolumeInfo, segments: set[int]) -> set[int]:
    """Return those of some segments that no voxel of the finest scale has, none where that is too large to look through."""
    reader, left = VolumeReader(AnyLayoutStorage(dataset), volume), set(segments)
    # What the coarse scales show need not be looked for in the fine ones.
    for scale in reversed(volume.scales):
        if scale.grid().box.voxels > _MOST_VOXELS:
            return set()
        for box in _blocks(scale):
            left.difference_update(_labels(reader.read(scale, box)))
            if not left:
                return left
    return left


def _blocks(scale: Scale) -> Iterator[Box]:
    grid = Grid(scale.voxel_offset, scale.size, _BLOCK)
    return (grid.chunk_box(cell) for cell in grid.cells())


def _labels(voxels: NDArray[Any]) -> list[int]:
    import fastremap

    found: list[int] = fastremap.unique(np.asfortranarray(voxels)).tolist()
    return found
