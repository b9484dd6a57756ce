"""Kernels: the most frequent label of each window. Importing this loads numba; mode.py has what is kept of it."""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from converters.compiled import compiled

carray: Any = numba.carray  # type: ignore[attr-defined]

_MAJORITY = 4
"""Of eight voxels: what comes later can have no more."""

_Labels = NDArray[Any]
_Flags = NDArray[np.uint8]
_Rows = tuple[_Labels, _Labels, _Labels, _Labels]


def pool_windows(numbers: Any, labels: Any, pooled: Any, window: Any, room: Any) -> Any:
    """Write the mode of each window, on a tie the label whose first voxel comes first, x fastest.

    For native.py: all are pointers. numbers: int64, windows along x, y, z, then voxels of a window along x, y, z, two of them or
    all three 2, the others 1. labels: unsigned, x fastest, whole windows. window: room for eight labels. room: a byte for each
    window along x.
    """
    n = carray(numbers, 6)
    nx, ny, nz, fx, fy, fz = n[0], n[1], n[2], n[3], n[4], n[5]
    row, plane = nx * fx, nx * fx * ny * fy
    voxels, modes = carray(labels, plane * nz * fz), carray(pooled, nx * ny * nz)
    eight, settled = carray(window, 8), carray(room, nx, np.uint8)
    # A window of four is one of eight that is looked at twice where it has one voxel.
    below, behind = row * (fy - 1), plane * (fz - 1)
    for z in range(nz):
        for y in range(ny):
            at = plane * fz * z + row * fy * y
            first, second = voxels[at : at + row], voxels[at + below : at + below + row]
            third, fourth = voxels[at + behind : at + behind + row], voxels[at + below + behind : at + below + behind + row]
            rows = (first, second, third, fourth)
            found = modes[nx * (y + ny * z) : nx * (y + ny * z) + nx]
            if fx == 2:
                _take_first_of_two(rows, found, settled)
            else:
                _take_first(rows, found, settled)
            for x in range(nx):
                if not settled[x]:
                    _fill(eight, rows, fx * x, fx - 1)
                    found[x] = _mode(eight)
    return 0


@compiled
def _take_first_of_two(rows: _Rows, found: _Labels, settled: _Flags) -> None:
    """Take the first label of each window, two voxels along x; settled: whether half of it or more is that. Without a branch."""
    a, b, c, d = rows
    for x in range(len(found)):
        label, k = a[2 * x], 2 * x
        found[x] = label
        count = np.uint8(a[k + 1] == label) + np.uint8(b[k] == label) + np.uint8(b[k + 1] == label) + np.uint8(c[k] == label)
        count += np.uint8(c[k + 1] == label) + np.uint8(d[k] == label) + np.uint8(d[k + 1] == label)
        settled[x] = count >= _MAJORITY - 1


@compiled
def _take_first(rows: _Rows, found: _Labels, settled: _Flags) -> None:
    """Do so where a window has one voxel along x."""
    a, b, c, d = rows
    for x in range(len(found)):
        label = a[x]
        found[x] = label
        settled[x] = np.uint8(b[x] == label) + np.uint8(c[x] == label) + np.uint8(d[x] == label) >= 1


@compiled
def _fill(eight: _Labels, rows: _Rows, x: int, step: int) -> None:
    """Take a window's labels in their order: those at x, and a step beyond, of each row."""
    a, b, c, d = rows
    eight[0], eight[1], eight[2], eight[3] = a[x], a[x + step], b[x], b[x + step]
    eight[4], eight[5], eight[6], eight[7] = c[x], c[x + step], d[x], d[x + step]


@compiled
def _mode(eight: _Labels) -> Any:
    """Return the label that is there most often, the first of several."""
    best, mode = 0, eight[0]
    for k in range(8):
        count = 0
        for other in range(8):
            count += eight[other] == eight[k]
        if count > best:
            best, mode = count, eight[k]
        if best >= _MAJORITY:
            break
    return mode
