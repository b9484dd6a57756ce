"""Kernels: how far the vertices of a surface lie from what simplification made of it, and the volume inside."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.compiled import compiled
from converters.meshes.collapsing import Rings, rings_of
from converters.meshes.quadrics import Place, Reals

_FEW = 0.005
"""Less than one in a hundred."""


@compiled
def strays(original: Any, became: NDArray[np.int32], surface: Any, bounds: Any) -> bool:
    """Tell whether vertices lie too far from the simplified surface.

    original: points, whole numbers [n, 3], and the length of one along x, y, z. became: [n], the vertex that each became, where
    to look first. surface: places, [k, 3], and triangles, [m, 3]. bounds: how far few vertices may lie, and none.
    """
    points, unit = original
    places, triangles = surface
    most, all_ = bounds
    ringed, beyond = (places, triangles, rings_of(triangles, len(places), 0)), 0
    for number in range(len(points)):
        point = points[number, 0] * unit[0], points[number, 1] * unit[1], points[number, 2] * unit[2]
        away = _squared_distance(point, became[number], ringed, most * most)
        if away > most * most:
            beyond += 1
            if away > all_ * all_:
                return True
    return beyond > _FEW * len(points)


@compiled
def astray(original: Any, became: NDArray[np.int32], surface: Any, bound: float) -> NDArray[np.bool_]:
    """Tell which vertices lie farther from the simplified surface than a bound, bool [n]; all else as in strays."""
    points, unit = original
    places, triangles = surface
    ringed = places, triangles, rings_of(triangles, len(places), 0)
    found = np.empty(len(points), np.bool_)
    for number in range(len(points)):
        point = points[number, 0] * unit[0], points[number, 1] * unit[1], points[number, 2] * unit[2]
        found[number] = _squared_distance(point, became[number], ringed, bound * bound) > bound * bound
    return found


@compiled
def _squared_distance(point: Place, vertex: int, surface: tuple[Reals, NDArray[np.int32], Rings], bound: float) -> float:
    """Return the square of a point's distance from a surface, or from a part of it that is within a bound.

    vertex: where to look first, -1 for anywhere.
    """
    (places, triangles, rings), least = surface, np.inf
    while vertex >= 0:
        here, closer = _squared(point, places, vertex), -1
        least = min(least, here)
        if least <= bound:
            return least
        for n in range(rings.begins[vertex], rings.begins[vertex] + rings.sizes[vertex]):
            t = rings.triangles[n]
            least = min(least, _from_triangle(point, places, triangles, t))
            if least <= bound:
                return least
            for k in range(3):
                corner = triangles[t, k]
                there = _squared(point, places, corner)
                if there < here:
                    here, closer = there, corner
        vertex = closer
    # Hardly any point comes here.
    for t in range(len(triangles)):
        least = min(least, _from_triangle(point, places, triangles, t))
    return least


@compiled
def _squared(point: Place, places: Reals, vertex: int) -> float:
    """Return the square of a point's distance from a vertex."""
    x, y, z = point[0] - places[vertex, 0], point[1] - places[vertex, 1], point[2] - places[vertex, 2]
    return x * x + y * y + z * z  # type: ignore[no-any-return]


@compiled
def _from_triangle(point: Place, places: Reals, triangles: NDArray[np.int32], t: int) -> float:
    a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
    return squared_distance(
        point,
        (places[a, 0], places[a, 1], places[a, 2]),
        (places[b, 0], places[b, 1], places[b, 2]),
        (places[c, 0], places[c, 1], places[c, 2]),
    )


@compiled
def squared_distance(point: Place, a: Place, b: Place, c: Place) -> float:
    """Return the square of a point's distance from a triangle."""
    x, y, z = point
    ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    wx, wy, wz = x - a[0], y - a[1], z - a[2]
    nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    size = nx * nx + ny * ny + nz * nz
    if size > 0:
        # The foot of the point in the triangle's plane, as parts of u and v.
        s = ((wy * vz - wz * vy) * nx + (wz * vx - wx * vz) * ny + (wx * vy - wy * vx) * nz) / size
        t = ((uy * wz - uz * wy) * nx + (uz * wx - ux * wz) * ny + (ux * wy - uy * wx) * nz) / size
        if s >= 0 and t >= 0 and s + t <= 1:
            return (wx * nx + wy * ny + wz * nz) ** 2 / size
    return min(_from_edge(point, a, b), _from_edge(point, b, c), _from_edge(point, c, a))


@compiled
def _from_edge(point: Place, a: Place, b: Place) -> float:
    """Return the square of a point's distance from a straight line between two others."""
    x, y, z = point
    ex, ey, ez = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    px, py, pz = x - a[0], y - a[1], z - a[2]
    length = ex * ex + ey * ey + ez * ez
    part = min(1.0, max(0.0, (px * ex + py * ey + pz * ez) / length)) if length > 0 else 0.0
    p, q, r = px - part * ex, py - part * ey, pz - part * ez
    return p * p + q * q + r * r


@compiled
def volume_inside(vertices: NDArray[np.int32], triangles: NDArray[np.int32]) -> float:
    """Return the volume inside a closed surface, cubes of the vertices' unit; negative where it is inside out."""
    if not len(triangles):
        return 0.0
    # From a vertex of its own: whole numbers this small multiply without a rounding error.
    p, q, r = vertices[triangles[0, 0]]
    return volume_from((p, q, r), vertices, triangles)


@compiled
def volume_from(place: Place, vertices: NDArray[np.int32], triangles: NDArray[np.int32]) -> float:
    """Return the volume between a place and the triangles; of two surfaces with the same rim they differ by what lies between."""
    p, q, r = place
    total = 0.0
    for t in range(len(triangles)):
        a, b, c = triangles[t]
        x, y, z = float(vertices[a, 0] - p), float(vertices[a, 1] - q), float(vertices[a, 2] - r)
        u, v, w = float(vertices[b, 0] - p), float(vertices[b, 1] - q), float(vertices[b, 2] - r)
        i, j, k = float(vertices[c, 0] - p), float(vertices[c, 1] - q), float(vertices[c, 2] - r)
        total += x * (v * k - w * j) + y * (w * i - u * k) + z * (u * j - v * i)
    return total / 6
