"""The connected components of one block, and of them what its neighbours have to know."""

import math
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import cc3d
import fastremap
import numpy as np
from numpy.typing import NDArray

from converters.labels.threshold import above
from formats.grid import Box, Triple

Connectivity = Literal[6, 18, 26]

Faces = dict[tuple[int, int], NDArray[Any]]
"""(axis, 0 for the lower face or 1 for the upper) -> what lies at that face of a block, [x, y, z], 1 voxel along the axis."""


@dataclass(frozen=True)
class Rule:
    """Which voxels belong together.

    threshold: voxels above it do. connectivity: 6, 18 or 26. delta: neighbours do when their values differ by at most so much;
    None when all do. min_size, max_size: voxels; None is no bound.
    """

    threshold: float
    connectivity: Connectivity
    delta: float | None = None
    min_size: int = 1
    max_size: int | None = None

    def keeps(self, sizes: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell which components have a size that is kept."""
        large_enough: NDArray[np.bool_] = sizes >= self.min_size
        return large_enough if self.max_size is None else large_enough & (sizes <= self.max_size)


@dataclass(frozen=True)
class BlockComponents:
    """The components of a block that are kept, or may be once they are joined; numbered from 1.

    labels: uint32 [x, y, z], Fortran order. sizes, firsts: int64, a component's voxels and its first one, counted through the
    volume x fastest. faces: of labels; values: of the grey values, empty without delta; both where a neighbour is. found: all
    components of the block, those left out here too; largest_left_out: voxels. foreground: voxels above the threshold.
    """

    labels: NDArray[np.uint32]
    sizes: NDArray[np.int64]
    firsts: NDArray[np.int64]
    faces: Faces
    values: Faces
    found: int
    largest_left_out: int
    foreground: int


def block_components(values: NDArray[Any], box: Box, shape: Triple, rule: Rule) -> BlockComponents:
    """Return the components of the block `box` of a volume of this shape; values: its grey values [x, y, z]."""
    labels = _labelled(values, rule)
    ids, places, counts = fastremap.unique(labels.T.ravel(), return_index=True, return_counts=True)
    inside = ids > 0
    sizes, places = counts[inside].astype(np.int64), places[inside].astype(np.int64)
    sides = _sides(box, shape)
    kept = rule.keeps(sizes)
    for face in _faces(labels, sides).values():
        kept[np.unique(face[face > 0]).astype(np.int64) - 1] = True
    if not kept.all():
        _renumber(labels, kept)
    return BlockComponents(
        labels=labels,
        sizes=sizes[kept],
        firsts=_in_volume(places[kept], box, shape),
        faces=_faces(labels, sides),
        values=_faces(values, sides) if rule.delta is not None else {},
        found=len(sizes),
        largest_left_out=int(sizes[~kept].max(initial=0)),
        foreground=int(sizes.sum()),
    )


def differ_little(a: NDArray[Any], b: NDArray[Any], delta: float) -> NDArray[np.bool_]:
    """Tell where two arrays of grey values differ by at most delta, computed in their own data type as cc3d does."""
    bound = bounded(delta, a.dtype)
    if bound is None:
        return np.ones(a.shape, np.bool_)
    little: NDArray[np.bool_] = np.maximum(a, b) - np.minimum(a, b) <= bound
    return little


def bounded(delta: float, dtype: np.dtype[Any]) -> Any:
    """Return delta as a value of dtype; None where no two values of it that are above 0 differ by more."""
    if dtype.kind == "f":
        return dtype.type(delta)
    whole = math.floor(delta)
    return None if whole >= np.iinfo(dtype).max else dtype.type(whole)


def _labelled(values: NDArray[Any], rule: Rule) -> NDArray[np.uint32]:
    mask = np.asfortranarray(above(values, rule.threshold))
    bound = None if rule.delta is None else bounded(rule.delta, values.dtype)
    if bound is None:
        # As bytes: of bool, cc3d 4.1 fails on a line of three voxels, the middle one dark.
        return _components(mask.view(np.uint8), rule.connectivity, 0)
    # Background is 0 to cc3d, and values above a threshold of 0 or more are not.
    grey = np.zeros(values.shape, values.dtype, order="F")
    np.copyto(grey, values, where=mask)
    return _components(grey, rule.connectivity, bound)


def _components(grey: NDArray[Any], connectivity: Connectivity, delta: Any) -> NDArray[np.uint32]:
    labels = cc3d.connected_components(grey, connectivity=connectivity, delta=delta, out_dtype=np.uint32)
    return labels.astype(np.uint32, copy=False)


def _renumber(labels: NDArray[np.uint32], kept: NDArray[np.bool_]) -> None:
    """Give the components that are kept the numbers from 1, the others 0, a slice at a time."""
    numbers = np.zeros(len(kept) + 1, np.uint32)
    numbers[1:][kept] = np.arange(1, int(kept.sum()) + 1)
    for z in range(labels.shape[2]):
        labels[:, :, z] = numbers[labels[:, :, z]]


def _sides(box: Box, shape: Triple) -> list[tuple[int, int]]:
    """Return the faces of a block at which another block begins."""
    return [
        (axis, side)
        for axis, side in product(range(3), range(2))
        if (box.end[axis] < shape[axis] if side else box.start[axis] > 0)
    ]


def _faces(voxels: NDArray[Any], sides: list[tuple[int, int]]) -> Faces:
    faces = {}
    for axis, side in sides:
        end = voxels.shape[axis]
        index = [slice(None)] * 3
        index[axis] = slice(end - 1, end) if side else slice(0, 1)
        faces[axis, side] = voxels[tuple(index)]
    return faces


def _in_volume(places: NDArray[np.int64], box: Box, shape: Triple) -> NDArray[np.int64]:
    """Return places counted through a block x fastest as places counted through the volume."""
    width, height, _ = box.shape
    rows, x = np.divmod(places, width)
    z, y = np.divmod(rows, height)
    return ((z + box.start[2]) * shape[1] + y + box.start[1]) * shape[0] + x + box.start[0]
