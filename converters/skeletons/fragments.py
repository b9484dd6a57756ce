"""What blocks leave of each piece of a segment, in files that last as long as a run, so that some segments can be read alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.errors import DatasetError
from converters.storage.files import new_file

_COUNTS = 5
_COLUMNS = 7


def _no(columns: int, dtype: type[Any]) -> NDArray[Any]:
    return np.zeros((0, columns) if columns > 1 else 0, dtype)


@dataclass(frozen=True)
class Fragment:
    """What one block holds of one piece of a segment; it may be no more than contacts.

    segment: its id. voxels: those that the block owns. limited: it may be unfinished, because it took all the paths there were.
    places: int32 [n, 3], the vertices as voxels of the scale. radii: float32 [n], nm. edges: uint32 [m, 2].
    contacts: int32 [k, 3], a voxel of each place where it goes on in a neighbouring block, which names the same voxel.
    targets: int32 [t, 3], voxels that paths were led to because the user wants it; one is there as often as it was told.
    """

    segment: int
    voxels: int
    limited: bool = False
    places: NDArray[np.int32] = field(default_factory=lambda: _no(3, np.int32))
    radii: NDArray[np.float32] = field(default_factory=lambda: _no(1, np.float32))
    edges: NDArray[np.uint32] = field(default_factory=lambda: _no(2, np.uint32))
    contacts: NDArray[np.int32] = field(default_factory=lambda: _no(3, np.int32))
    targets: NDArray[np.int32] = field(default_factory=lambda: _no(3, np.int32))


@dataclass(frozen=True)
class FragmentIndex:
    """What a file of fragments holds. segments: uint64 [k], ascending, one a fragment. vertices: int64 [k], of each."""

    segments: NDArray[np.uint64]
    vertices: NDArray[np.int64]


def write_fragments(path: Path, fragments: Sequence[Fragment]) -> None:
    """Write fragments, those of each segment one behind the other. Raises DiskFullError."""
    ordered = sorted(fragments, key=lambda fragment: fragment.segment)
    places, radii, edges, contacts, targets = (
        np.concatenate([getattr(f, name) for f in (Fragment(0, 0), *ordered)])
        for name in ("places", "radii", "edges", "contacts", "targets")
    )
    rows = np.array(
        [(f.voxels, f.limited, len(f.places), len(f.edges), len(f.contacts), len(f.targets)) for f in ordered], np.int64
    ).reshape(-1, _COLUMNS - 1)
    counts = np.array([len(ordered), len(places), len(edges), len(contacts), len(targets)], np.int64)
    segments = np.array([f.segment for f in ordered], np.uint64)
    with new_file(path) as file:
        for array in (counts, segments, rows, places, radii, edges, contacts, targets):
            file.write(np.ascontiguousarray(array).data if array.size else b"")


def read_fragment_index(path: Path) -> FragmentIndex:
    """Return what a file of fragments holds. Raises DatasetError for one that is cut short."""
    file = _File(path)
    return FragmentIndex(file.segments(), file.rows()[:, 2])


def read_fragments(path: Path, first: int, last: int) -> Iterator[Fragment]:
    """Yield the fragments of the segments from first to last that a file holds. Raises DatasetError for one that is cut short."""
    file = _File(path)
    segments, rows = file.segments(), file.rows()
    begin = int(np.searchsorted(segments, np.uint64(first), "left"))
    end = int(np.searchsorted(segments, np.uint64(last), "right"))
    if begin == end:
        return
    ends = np.vstack([np.zeros(_COLUMNS - 3, np.int64), np.cumsum(rows[:, 2:], axis=0)])
    places, radii, edges, contacts, targets = file.arrays(ends[begin], ends[end])
    ends = ends - ends[begin]
    for row in range(begin, end):
        vertex, edge, contact, target = (slice(int(a), int(b)) for a, b in zip(ends[row], ends[row + 1], strict=True))
        voxels, limited = rows[row, :2].tolist()
        members = places[vertex], radii[vertex], edges[edge], contacts[contact], targets[target]
        yield Fragment(int(segments[row]), voxels, bool(limited), *members)


class _File:
    """A file of fragments: counts, segments, rows, then the arrays."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._counts = [int(n) for n in self._read(0, np.int64, _COUNTS)]

    def segments(self) -> NDArray[np.uint64]:
        return self._read(8 * _COUNTS, np.uint64, self._counts[0])

    def rows(self) -> NDArray[np.int64]:
        count = self._counts[0]
        return self._read(8 * (_COUNTS + count), np.int64, (_COLUMNS - 1) * count).reshape(count, _COLUMNS - 1)

    def arrays(self, begin: NDArray[np.int64], end: NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
        """Return places, radii, edges, contacts and targets. begin, end: of vertices, edges, contacts, targets."""
        count, vertices, edges, contacts, _ = self._counts
        starts = np.cumsum([8 * (_COUNTS + _COLUMNS * count), 12 * vertices, 4 * vertices, 8 * edges, 12 * contacts])
        kinds = ((np.int32, 3, 0), (np.float32, 1, 0), (np.uint32, 2, 1), (np.int32, 3, 2), (np.int32, 3, 3))
        found = []
        for start, (dtype, width, column) in zip(starts.tolist(), kinds, strict=True):
            a, b = int(begin[column]), int(end[column])
            values = self._read(start + 4 * width * a, dtype, width * (b - a))
            found.append(values.reshape(-1, width) if width > 1 else values)
        return tuple(found)

    def _read(self, begin: int, dtype: type[Any], count: int) -> NDArray[Any]:
        with open(self._path, "rb") as file:
            file.seek(begin)
            found = np.fromfile(file, dtype, count)
        if len(found) != count:
            raise DatasetError(f"{self._path}: cut short at {len(found)} of {count} numbers; run the command again")
        return found
