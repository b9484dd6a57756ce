"""Kernels: what is summed over the planes that a vertex stands for, and where it lies nearest to all of them.

A row of sums holds, each plane weighed with its area, the products of its normal's members xx, xy, xz, yy, yz, zz, the normal
times the plane's distance from 0 (3), that distance's square, and the area.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.compiled import compiled

SUMS = 11
TOWARDS_THE_START = 0.02
"""How much of the error is the distance from where the solution starts: along a flat surface nothing else tells where to lie."""

Reals = NDArray[np.float64]
Place = tuple[float, float, float]


@compiled
def add_plane(sums: Reals, row: int, plane: tuple[Place, float], area: float) -> None:
    """Add one plane to a row: its normal, of length 1, and its distance from 0 along it."""
    (x, y, z), distance = plane
    sums[row, 0] += area * x * x
    sums[row, 1] += area * x * y
    sums[row, 2] += area * x * z
    sums[row, 3] += area * y * y
    sums[row, 4] += area * y * z
    sums[row, 5] += area * z * z
    sums[row, 6] += area * distance * x
    sums[row, 7] += area * distance * y
    sums[row, 8] += area * distance * z
    sums[row, 9] += area * distance * distance
    sums[row, 10] += area


@compiled
def of_row(sums: Reals, row: int) -> Any:
    """Return the numbers of a row."""
    return (
        sums[row, 0], sums[row, 1], sums[row, 2], sums[row, 3], sums[row, 4], sums[row, 5],
        sums[row, 6], sums[row, 7], sums[row, 8], sums[row, 9], sums[row, 10],
    )  # fmt: skip


@compiled
def of_both(sums: Reals, one: int, other: int) -> Any:
    """Return the numbers of two rows added."""
    return (
        sums[one, 0] + sums[other, 0], sums[one, 1] + sums[other, 1], sums[one, 2] + sums[other, 2],
        sums[one, 3] + sums[other, 3], sums[one, 4] + sums[other, 4], sums[one, 5] + sums[other, 5],
        sums[one, 6] + sums[other, 6], sums[one, 7] + sums[other, 7], sums[one, 8] + sums[other, 8],
        sums[one, 9] + sums[other, 9], sums[one, 10] + sums[other, 10],
    )  # fmt: skip


@compiled
def squared_error(numbers: Any, place: Place) -> float:
    """Return the sum of the squares of a place's distances from the planes, weighed with their areas. numbers: of a row."""
    xx, xy, xz, yy, yz, zz, bx, by, bz, away, _ = numbers
    x, y, z = place
    along_x = x * (xx * x + 2 * (xy * y + xz * z - bx))
    along_y = y * (yy * y + 2 * (yz * z - by))
    return max(0.0, along_x + along_y + z * (zz * z - 2 * bz) + away)  # type: ignore[no-any-return]


@compiled
def nearest_place(numbers: Any, start: Place) -> Any:
    """Return the place that lies nearest to all planes, and not far from the start where they leave it open."""
    xx, xy, xz, yy, yz, zz, bx, by, bz, _, area = numbers
    p, q, r = start
    x, y, z = bx - (xx * p + xy * q + xz * r), by - (xy * p + yy * q + yz * r), bz - (xz * p + yz * q + zz * r)
    stiff = TOWARDS_THE_START * area + 1e-12
    xx, yy, zz = xx + stiff, yy + stiff, zz + stiff
    # Cramer's rule.
    a, b, c = yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy
    d, e, f = xx * zz - xz * xz, xy * xz - xx * yz, xx * yy - xy * xy
    inverse = 1 / (xx * a + xy * b + xz * c)
    return p + (a * x + b * y + c * z) * inverse, q + (b * x + d * y + e * z) * inverse, r + (c * x + e * y + f * z) * inverse


@compiled
def add_triangles(places: Reals, triangles: NDArray[np.int32], sums: Reals) -> None:
    """Add the plane of each triangle to its corners. places: [n, 3]. triangles: [m, 3]. sums: [n, 11]."""
    for t in range(len(triangles)):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        px, py, pz = places[b, 0] - places[a, 0], places[b, 1] - places[a, 1], places[b, 2] - places[a, 2]
        qx, qy, qz = places[c, 0] - places[a, 0], places[c, 1] - places[a, 1], places[c, 2] - places[a, 2]
        x, y, z = py * qz - pz * qy, pz * qx - px * qz, px * qy - py * qx
        double = np.sqrt(x * x + y * y + z * z)
        if double > 0:
            x, y, z = x / double, y / double, z / double
            distance = x * places[a, 0] + y * places[a, 1] + z * places[a, 2]
            for corner in (a, b, c):
                add_plane(sums, corner, ((x, y, z), distance), double / 6)
