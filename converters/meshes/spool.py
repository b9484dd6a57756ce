"""Surfaces in files that last as long as a run, so that the parts of a segment that blocks left can be read alone."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.errors import DatasetError
from converters.meshes.surfaces import Surfaces, stacked
from converters.storage.files import new_file

_COUNTS = 3
"""Numbers at the begin of a file: segments, vertices, triangles."""


@dataclass(frozen=True)
class PartIndex:
    """What a file of surfaces holds. segments: uint64 [k], ascending. vertex_ends, triangle_ends: int64 [k], as in Surfaces."""

    segments: NDArray[np.uint64]
    vertex_ends: NDArray[np.int64]
    triangle_ends: NDArray[np.int64]


def write_part(path: Path, surfaces: Surfaces) -> int:
    """Write surfaces to a file and return its bytes. Raises DiskFullError."""
    counts = np.array([len(surfaces.segments), len(surfaces.vertices), len(surfaces.triangles)], np.int64)
    arrays = (counts, surfaces.segments, surfaces.vertex_ends, surfaces.triangle_ends, surfaces.vertices, surfaces.triangles)
    with new_file(path) as file:
        for array in arrays:
            file.write(np.ascontiguousarray(array).data)
        return file.tell()


def read_index(path: Path) -> PartIndex:
    """Return what a file of surfaces holds. Raises DatasetError for one that is cut short."""
    count = int(_read(path, 0, np.int64, _COUNTS)[0])
    numbers = _read(path, 8 * _COUNTS, np.int64, 3 * count).reshape(3, count)
    return PartIndex(numbers[0].view(np.uint64), numbers[1], numbers[2])


def read_surfaces(path: Path, segments: NDArray[np.uint64]) -> Surfaces:
    """Return the surfaces of those of the segments that a file holds. segments: ascending. Raises DatasetError."""
    index = read_index(path)
    places = np.flatnonzero(np.isin(index.segments, segments))
    vertices_begin = 8 * (_COUNTS + 3 * len(index.segments))
    total = int(index.vertex_ends[-1]) if len(index.segments) else 0
    parts = []
    for run in np.split(places, np.flatnonzero(np.diff(places) > 1) + 1):
        if not len(run):
            continue
        first, last = _span(index.vertex_ends, run)
        begin, end = _span(index.triangle_ends, run)
        vertices = _read(path, vertices_begin + 12 * first, np.int32, 3 * (last - first)).reshape(-1, 3)
        triangles = _read(path, vertices_begin + 12 * (total + begin), np.int32, 3 * (end - begin)).reshape(-1, 3)
        some = Surfaces(
            index.segments[run],
            index.vertex_ends[run] - first,
            index.triangle_ends[run] - begin,
            vertices,
            triangles - np.int32(first),
        )
        parts += list(some.parts())
    return stacked(parts)


def _span(ends: NDArray[np.int64], run: NDArray[np.int64]) -> tuple[int, int]:
    """Return where the first segment of a run begins and the last one ends."""
    first = int(run[0])
    return int(ends[first - 1]) if first else 0, int(ends[run[-1]])


def _read(path: Path, begin: int, dtype: type[Any], count: int) -> NDArray[Any]:
    with open(path, "rb") as file:
        file.seek(begin)
        found = np.fromfile(file, dtype, count)
    if len(found) != count:
        raise DatasetError(f"{path}: cut short at {len(found)} of {count} numbers from byte {begin} on; run the command again")
    return found
