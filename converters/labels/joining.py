"""Components of blocks become those of the volume: which of two neighbours' touch, what they are together, and their names."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from converters.labels.components import Faces, Rule, differ_little
from formats.grid import Grid, Triple

_STEPS = {6: 1, 18: 2, 26: 3}
"""Connectivity -> along how many axes neighbours may differ."""

Pairs = NDArray[np.int64]
"""Rows of two components that touch."""

_PAIRS_AT_A_TIME = 1 << 22

FORWARD: tuple[Triple, ...] = tuple((x, y, z) for z, y, x in product((-1, 0, 1), repeat=3) if (z, y, x) > (0, 0, 0))
"""The directions, x, y, z, to half of a block's 26 neighbours: to those that come after it."""


@dataclass(frozen=True)
class BlockFaces:
    """What a block shows its neighbours; see BlockComponents."""

    labels: Faces
    values: Faces


@dataclass(frozen=True)
class Components:
    """The components of a volume, those that are kept in order of their first voxels: their label is their position from 1 on.

    sizes: voxels, int64. firsts: a component's first voxel, counted through the volume x fastest, int64, ascending. names: the
    label of each block's each component, 0 for those left out; of the data type of labels. found: all components, also those
    left out. largest: voxels of the largest of them.
    """

    sizes: NDArray[np.int64]
    firsts: NDArray[np.int64]
    names: NDArray[Any]
    found: int
    largest: int


def joins(grid: Grid, starts: dict[Triple, int], faces: Callable[[Triple], BlockFaces], rule: Rule) -> Iterator[Pairs]:
    """Yield for each block the rows (component, component) of those that touch across its faces, edges and corners.

    starts: how many components the blocks before one have together; a component's number is its own in its block and so many.
    """
    for cell in grid.cells():
        found = [np.zeros((0, 2), np.int64)]
        for direction in FORWARD:
            beyond = (cell[0] + direction[0], cell[1] + direction[1], cell[2] + direction[2])
            if _distance(direction) <= _STEPS[rule.connectivity] and beyond in starts:
                pairs = touching(faces(cell), faces(beyond), direction, rule)
                found.append(pairs + np.array([starts[cell] - 1, starts[beyond] - 1]))
        yield np.concatenate(found)


def touching(near: BlockFaces, far: BlockFaces, direction: Triple, rule: Rule) -> Pairs:
    """Return rows (label in near, label in far), each once, of the components of two blocks that touch.

    direction: where far lies from near, each of x, y, z -1, 0 or 1.
    """
    opposite = (-direction[0], -direction[1], -direction[2])
    ours, theirs = _border(near.labels, direction), _border(far.labels, opposite)
    found = []
    for shift in _shifts(direction, _STEPS[rule.connectivity] - _distance(direction)):
        here, there = _overlap(ours.shape, shift)
        a, b = ours[here], theirs[there]
        touch = (a > 0) & (b > 0)
        if rule.delta is not None and touch.any():
            values = _border(near.values, direction)[here], _border(far.values, opposite)[there]
            touch &= differ_little(*values, rule.delta)
        keys = a[touch].astype(np.uint64) << np.uint64(32) | b[touch]
        # Neighbouring voxels mostly tell the same: sorting what is left is little work.
        found.append(keys[np.flatnonzero(np.diff(keys, prepend=~keys[:1]))])
    keys = np.unique(np.concatenate(found))
    return np.stack([keys >> np.uint64(32), keys & np.uint64(0xFFFFFFFF)], axis=1).astype(np.int64)


def united(count: int, pairs: Iterator[Pairs]) -> NDArray[np.int64]:
    """Return a number for each of count components, the same for those that pairs (rows of two, from 0) connect, without gaps."""
    groups = np.arange(count)
    waiting: list[Pairs] = []
    for rows in pairs:
        waiting.append(rows)
        if sum(map(len, waiting)) >= _PAIRS_AT_A_TIME:
            groups = _united(groups, np.concatenate(waiting))
            waiting = []
    return _united(groups, np.concatenate(waiting)) if waiting else groups


def named(sizes: NDArray[np.int64], firsts: NDArray[np.int64], groups: NDArray[np.int64], rule: Rule) -> Components:
    """Return the components of the volume. sizes, firsts: of those of the blocks. groups: of united."""
    count = int(groups.max(initial=-1)) + 1
    together = np.zeros(count, np.int64)
    np.add.at(together, groups, sizes)
    begins = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(begins, groups, firsts)
    kept = np.flatnonzero(rule.keeps(together))
    order = kept[np.argsort(begins[kept])]
    names = np.zeros(count, label_type(len(order)))
    names[order] = np.arange(1, len(order) + 1)
    return Components(together[order], begins[order], names[groups], count, int(together.max(initial=0)))


def label_type(count: int) -> np.dtype[Any]:
    """Return the data type of so many labels and 0."""
    return np.dtype(np.uint32 if count < 1 << 32 else np.uint64)


def _distance(direction: Triple) -> int:
    return sum(map(abs, direction))


def _border(faces: Faces, direction: Triple) -> NDArray[Any]:
    """Return the voxels of a block at the face, edge or corner that lies in a direction; 1 voxel along its axes."""
    axis = next(a for a in range(3) if direction[a])
    face = faces[axis, int(direction[axis] > 0)]
    ends = {-1: slice(0, 1), 0: slice(None), 1: slice(-1, None)}
    index = [slice(None) if a == axis else ends[direction[a]] for a in range(3)]
    return face[tuple(index)]


def _shifts(direction: Triple, steps: int) -> Iterator[Triple]:
    """Yield how far apart neighbours may lie along the axes that direction leaves alone: one voxel, along `steps` of them."""
    along = [(0,) if d else (-1, 0, 1) for d in direction]
    for x, y, z in product(*along):
        if _distance((x, y, z)) <= steps:
            yield x, y, z


def _overlap(shape: tuple[int, ...], shift: Triple) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return the slices of two arrays of a shape in which voxel i of one is beside voxel i + shift of the other."""
    here = tuple(slice(max(0, -s), n - max(0, s)) for n, s in zip(shape, shift, strict=True))
    there = tuple(slice(max(0, s), n - max(0, -s)) for n, s in zip(shape, shift, strict=True))
    return here, there


def _united(groups: NDArray[np.int64], pairs: Pairs) -> NDArray[np.int64]:
    count = int(groups.max(initial=-1)) + 1
    ends = groups[pairs]
    graph = coo_array((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), shape=(count, count))
    numbers = connected_components(graph, directed=False)[1]
    return np.asarray(numbers, np.int64)[groups]
