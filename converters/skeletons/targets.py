"""Points that paths are led to whatever else is traced, such as synapses: a table, and the voxels that they are in a block."""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from converters.errors import OptionError
from converters.geometry import Lengths
from converters.tables import table_rows
from formats.grid import Box, Triple

TargetUnit = Literal["nm", "voxels"]

_PLACE, _SEGMENT = ("x", "y", "z"), "segment"
_LARGEST_ID = (1 << 64) - 1
_FARTHEST = float(1 << 31)


@dataclass(frozen=True)
class Targets:
    """Points as voxels of a scale, int64 [n, 3], and of which segments, uint64 [n], 0 for the one that lies there."""

    voxels: NDArray[np.int64]
    segments: NDArray[np.uint64]

    @classmethod
    def none(cls) -> "Targets":
        """Return no points."""
        return cls(np.zeros((0, 3), np.int64), np.zeros(0, np.uint64))

    def __len__(self) -> int:
        """Return how many points there are."""
        return len(self.voxels)

    def within(self, box: Box) -> "Targets":
        """Return the points in a box."""
        inside = ((self.voxels >= box.start) & (self.voxels < box.end)).all(axis=1)
        return Targets(self.voxels[inside], self.segments[inside])

    def of(self, segments: tuple[int, ...] | None) -> "Targets":
        """Return the points that are told to be of one of the segments, or of none; all for None."""
        if segments is None:
            return self
        kept = np.isin(self.segments, np.array((0, *segments), np.uint64))
        return Targets(self.voxels[kept], self.segments[kept])

    def digest(self) -> str:
        """Return what tells these points from others."""
        return hashlib.sha256(self.voxels.astype("<i8").tobytes() + self.segments.astype("<u8").tobytes()).hexdigest()


@dataclass(frozen=True)
class TargetSpace:
    """Where a table's points lie. unit: of the table. full: nm of the dataset's finest voxels, which `voxels` counts.

    resolution: nm of the voxels that are traced on.
    """

    unit: TargetUnit
    full: Lengths
    resolution: Lengths

    def voxels(self, points: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the voxels that are traced on in which points lie. A position tells a voxel's corner as in the viewer."""
        lengths = points * np.array(self.full) if self.unit == "voxels" else points
        voxels: NDArray[np.int64] = np.floor(lengths / np.array(self.resolution)).astype(np.int64)
        return voxels


def read_targets(table: Path | None, space: TargetSpace) -> Targets:
    """Return the points of a table with a header `x,y,z` or `x,y,z,segment`, of no table none.

    Raises OptionError, naming the line, for what is no such table.
    """
    if table is None:
        return Targets.none()
    points, segments = [], []
    for number, cells in table_rows(table, _PLACE, "x, y, z, and segment if segments are told"):
        points.append(_point(table, number, cells))
        segments.append(_segment(table, number, cells.get(_SEGMENT, "")))
    voxels = space.voxels(np.array(points, np.float64).reshape(-1, 3))
    return Targets(voxels, np.array(segments, np.uint64))


def _point(table: Path, number: int, cells: dict[str, str]) -> list[float]:
    try:
        point = [float(cells[name]) for name in _PLACE]
    except ValueError:
        point = [math.nan]
    if not all(abs(value) < _FARTHEST for value in point):
        told = ", ".join(cells[name] for name in _PLACE)[:80]
        raise OptionError(f"{table}: line {number} has the point {told}, expected three numbers below 2**31")
    return point


def _segment(table: Path, number: int, told: str) -> int:
    if told and not (told.isascii() and told.isdecimal() and 0 < int(told) <= _LARGEST_ID):
        raise OptionError(f"{table}: line {number} has the segment {told[:40]}, expected a whole number from 1 to {_LARGEST_ID}")
    return int(told or 0)


def placed(targets: Targets, labels: NDArray[Any], start: Triple, resolution: Lengths) -> NDArray[np.int64]:
    """Return for each point that has one its voxel in a block, [k, 3] from the block's first: where it lies, if that is of
    its segment, else the nearest voxel of the segment in the block.

    labels: [x, y, z] of the block, in which all points lie. start: the block's first voxel.
    """
    local = targets.voxels - start
    there = labels[tuple(local.T)].astype(np.uint64)
    wanted = np.where(targets.segments == 0, there, targets.segments)
    found = [local[(there == wanted) & (there != 0)]]
    elsewhere = there != wanted
    for segment in np.unique(wanted[elsewhere]).tolist():
        found.append(_nearest(local[elsewhere & (wanted == segment)], np.argwhere(labels == segment), resolution))
    return np.concatenate(found)


def _nearest(points: NDArray[np.int64], voxels: NDArray[np.int64], resolution: Lengths) -> NDArray[np.int64]:
    from scipy.spatial import cKDTree

    if not len(voxels):
        return voxels
    _, nearest = cKDTree(voxels * np.array(resolution)).query(points * np.array(resolution))
    found: NDArray[np.int64] = voxels[nearest]
    return found
