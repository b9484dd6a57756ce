"""Kernels: the collapse of edges, the cheapest first, as long as the surface stays within a tolerance.

Two vertices become one where it lies nearest to the planes of all triangles that both stand for (quadrics), if it misses them by
no more than the tolerance as a root mean square over an area, no triangle turns over or becomes a sliver, normals do not cancel
out, and nothing meets that did not meet before. Edges are not sorted: sweeps with growing limits take the cheap ones first.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from converters.compiled import compiled
from converters.meshes.quadrics import SUMS, Place, Reals, nearest_place, of_both, squared_error

_LIMITS = (0.1, 0.4, 1.0, 1.0)
"""What each sweep takes, parts of the largest squared error."""
_MOST_AREA = 4.0
"""Squares of the shortest voxel edge over which an error is averaged: a tip does not vanish in the flat parts around it."""
_COSINE = 0.5
"""Of the angle by which a triangle may turn."""
_SLIVER = 1e-3
"""Of the square of a triangle's double area over its longest edge's fourth power: less is a sliver."""
_NEVER = 1e30
_MOST_AROUND = 4096
"""Triangles around two vertices that become one."""

_Triangles = NDArray[np.int32]
_Numbers = NDArray[np.int32]


class Rule(NamedTuple):
    """Which edges collapse.

    tolerance: a length, root mean square. agreement: of the normals around an edge, the length of their sum over the sum of their
    lengths, at least; two faces of a cube have 0.707.
    """

    tolerance: float
    agreement: float


class Shape(NamedTuple):
    """A surface that is being simplified, and what is known of it.

    places: [n, 3]. sums: [n, 11], of quadrics. fixed: bool [n], vertices that must stay where they are. triangles: int32 [m, 3],
    the first corner -1 where one is gone. errors: [m, 3], squared, of the edge that begins at each corner, if it does at the
    lower one of its two vertices.
    """

    places: Reals
    sums: Reals
    fixed: NDArray[np.bool_]
    triangles: _Triangles
    errors: Reals


class Rings(NamedTuple):
    """The triangles around each vertex: int32 [n] where they begin and how many there are, and their positions."""

    begins: _Numbers
    sizes: _Numbers
    triangles: _Numbers


@compiled
def collapsed(places: Reals, sums: Reals, fixed: NDArray[np.bool_], triangles: _Triangles, rule: Rule) -> Any:
    """Move vertices and return the triangles that are left, and for each vertex the one that it became, int32 [n].

    All as in Shape; places, sums and triangles are overwritten.
    """
    became = np.arange(len(places)).astype(np.int32)
    shape = Shape(places, sums, fixed, triangles, np.empty((len(triangles), 3)))
    moved = np.ones(len(places), np.bool_)
    for t in range(len(triangles)):
        _price(shape, t, moved)
    count = len(triangles)
    for limit in _LIMITS:
        if count:
            moved[:] = False
            touched = _sweep(shape, count, limit, rule, (became, moved))
            count = _closed_up(shape, count, (touched, moved))
    for vertex in range(len(became)):
        end = became[vertex]
        while became[end] != end:
            end = became[end]
        became[vertex] = end
    return triangles[:count], became


@compiled
def _price(shape: Shape, t: int, moved: NDArray[np.bool_]) -> None:
    """Set the errors of those of a triangle's edges of which an end has moved."""
    for k in range(3):
        u, v = shape.triangles[t, k], shape.triangles[t, (k + 1) % 3]
        if u > v or (shape.fixed[u] and shape.fixed[v]):
            shape.errors[t, k] = _NEVER
        elif moved[u] or moved[v]:
            shape.errors[t, k] = _meeting(shape, u, v)[0]


@compiled
def _meeting(shape: Shape, u: int, v: int) -> Any:
    """Return the error of two vertices that become one, squared, and where they do."""
    numbers, places = of_both(shape.sums, u, v), shape.places
    place = (places[u, 0], places[u, 1], places[u, 2])
    if shape.fixed[v]:
        place = (places[v, 0], places[v, 1], places[v, 2])
    elif not shape.fixed[u]:
        x, y, z = place[0] + places[v, 0], place[1] + places[v, 1], place[2] + places[v, 2]
        place = nearest_place(numbers, (x / 2, y / 2, z / 2))
    return squared_error(numbers, place) / min(max(numbers[SUMS - 1], 1e-12), _MOST_AREA), place


@compiled
def spread(triangles: _Triangles, vertices: NDArray[np.bool_], rings: int) -> NDArray[np.bool_]:
    """Return some vertices and those around them, as many rings of triangles as are told, bool [n]."""
    found = vertices.copy()
    for _ in range(rings):
        before = found.copy()
        for t in range(len(triangles)):
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            if before[a] or before[b] or before[c]:
                found[a], found[b], found[c] = True, True, True
    return found


@compiled
def touching(triangles: _Triangles, vertices: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which triangles have a corner among some vertices, bool [m]. vertices: bool [n]."""
    found = np.empty(len(triangles), np.bool_)
    for t in range(len(triangles)):
        found[t] = vertices[triangles[t, 0]] or vertices[triangles[t, 1]] or vertices[triangles[t, 2]]
    return found


@compiled
def used_vertices(triangles: _Triangles, count: int) -> tuple[_Numbers, _Triangles]:
    """Return which of so many vertices triangles use, ascending, int32 [n], and the triangles with positions in those."""
    numbers, used = np.full(count, -1, np.int32), np.empty(count, np.int32)
    for t in range(len(triangles)):
        for k in range(3):
            numbers[triangles[t, k]] = 0
    left = 0
    for vertex in range(count):
        if numbers[vertex] == 0:
            numbers[vertex], used[left] = left, vertex
            left += 1
    found = np.empty_like(triangles)
    for t in range(len(triangles)):
        for k in range(3):
            found[t, k] = numbers[triangles[t, k]]
    return used[:left], found


@compiled
def rings_of(triangles: _Triangles, vertices: int, room: int) -> Rings:
    """Return the triangles around each vertex, ascending. room: for how many more positions there is space."""
    begins, sizes = np.zeros(vertices, np.int32), np.zeros(vertices, np.int32)
    for t in range(len(triangles)):
        for k in range(3):
            sizes[triangles[t, k]] += 1
    total = 0
    for vertex in range(vertices):
        begins[vertex] = total
        total += sizes[vertex]
        sizes[vertex] = 0
    found = np.empty(total + room, np.int32)
    for t in range(len(triangles)):
        for k in range(3):
            vertex = triangles[t, k]
            found[begins[vertex] + sizes[vertex]] = t
            sizes[vertex] += 1
    return Rings(begins, sizes, found)


@compiled
def _sweep(shape: Shape, count: int, limit: float, rule: Rule, noted: Any) -> NDArray[np.bool_]:
    """Collapse edges once, and return which triangles were touched.

    limit: of the errors, a part of the largest squared one. noted: for each vertex the one that it became, and whether it moved.
    """
    became, moved = noted
    rings, largest = rings_of(shape.triangles[:count], len(shape.places), 6 * count), limit * rule.tolerance**2
    used, stamp = 3 * count, 0
    marks, touched, kept = np.zeros(len(became), np.int32), np.zeros(count, np.bool_), np.empty(_MOST_AROUND, np.int32)
    for t in range(count):
        for k in range(3):
            if touched[t] or shape.triangles[t, 0] < 0 or shape.errors[t, k] > largest:
                continue
            u, v = shape.triangles[t, k], shape.triangles[t, (k + 1) % 3]
            if shape.fixed[v]:
                u, v = v, u
            around = rings.sizes[u] + rings.sizes[v]
            if around > _MOST_AROUND or used + around > len(rings.triangles):
                continue
            _, place = _meeting(shape, u, v)
            stamp += 2
            if not _may_meet(shape, rings, (u, v, place), (marks, stamp, rule.agreement)):
                shape.errors[t, k] = _NEVER
                continue
            shape.places[u, 0], shape.places[u, 1], shape.places[u, 2] = place
            for n in range(SUMS):
                shape.sums[u, n] += shape.sums[v, n]
            became[v], moved[u] = u, True
            left = _joined_rings(shape.triangles, rings, (u, v), kept)
            if left > rings.sizes[u]:
                rings.begins[u] = used
                used += left
            rings.sizes[u] = left
            for n in range(left):
                rings.triangles[rings.begins[u] + n] = kept[n]
                touched[kept[n]] = True
    return touched


@compiled
def _may_meet(shape: Shape, rings: Rings, edge: Any, marking: Any) -> bool:
    u, v, place = edge
    marks, stamp, agreement = marking
    if not _are_linked(shape.triangles, rings, (u, v), (marks, stamp)):
        return False
    turns, x, y, z, areas = _turns(shape, rings, (u, v), place)
    if turns:
        return False
    turns, i, j, k, others = _turns(shape, rings, (v, u), place)
    if turns:
        return False
    x, y, z = x + i, y + j, z + k
    # At the tips of thin parts normals cancel out.
    return bool(np.sqrt(x * x + y * y + z * z) >= agreement * (areas + others))


@compiled
def _are_linked(triangles: _Triangles, rings: Rings, edge: Any, marking: Any) -> bool:
    """Tell whether just two vertices are neighbours of both ends of an edge: then nothing else meets when these do."""
    u, v = edge
    marks, stamp = marking
    for n in range(rings.begins[u], rings.begins[u] + rings.sizes[u]):
        t = rings.triangles[n]
        if triangles[t, 0] >= 0:
            for k in range(3):
                marks[triangles[t, k]] = stamp
    both = 0
    for n in range(rings.begins[v], rings.begins[v] + rings.sizes[v]):
        t = rings.triangles[n]
        for k in range(3 if triangles[t, 0] >= 0 else 0):
            w = triangles[t, k]
            if w != u and w != v and marks[w] == stamp:
                marks[w] = stamp + 1
                both += 1
    return both == 2


@compiled
def _turns(shape: Shape, rings: Rings, edge: Any, place: Place) -> tuple[bool, float, float, float, float]:
    """Tell whether a triangle around the first end of an edge, but not the other, turns too far or becomes a sliver.

    If none does, the sum of the normals of all triangles around it follows, x, y, z, and that of their lengths.
    """
    u, v = edge
    places, triangles = shape.places, shape.triangles
    x, y, z = place
    i, j, k, areas = 0.0, 0.0, 0.0, 0.0
    for n in range(rings.begins[u], rings.begins[u] + rings.sizes[u]):
        t = rings.triangles[n]
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        if a < 0:
            continue
        if b == u:
            a, b, c = b, c, a
        elif c == u:
            a, b, c = c, a, b
        ex, ey, ez = places[c, 0] - places[b, 0], places[c, 1] - places[b, 1], places[c, 2] - places[b, 2]
        ox, oy, oz = places[a, 0] - places[b, 0], places[a, 1] - places[b, 1], places[a, 2] - places[b, 2]
        px, py, pz = ey * oz - ez * oy, ez * ox - ex * oz, ex * oy - ey * ox
        before = px * px + py * py + pz * pz
        i, j, k, areas = i + px, j + py, k + pz, areas + np.sqrt(before)
        if b == v or c == v:
            continue
        fx, fy, fz = x - places[b, 0], y - places[b, 1], z - places[b, 2]
        qx, qy, qz = ey * fz - ez * fy, ez * fx - ex * fz, ex * fy - ey * fx
        both, after = px * qx + py * qy + pz * qz, qx * qx + qy * qy + qz * qz
        longest = max(ex * ex + ey * ey + ez * ez, fx * fx + fy * fy + fz * fz)
        if both <= 0 or both * both < _COSINE * _COSINE * before * after or after < _SLIVER * longest * longest:
            return True, 0.0, 0.0, 0.0, 0.0
    return False, i, j, k, areas


@compiled
def _joined_rings(triangles: _Triangles, rings: Rings, edge: Any, kept: _Numbers) -> int:
    """Give the triangles of an edge's second end to its first one, mark those of both as gone, and return how many are kept."""
    u, v = edge
    count = 0
    for n in range(rings.begins[u], rings.begins[u] + rings.sizes[u]):
        t = rings.triangles[n]
        if triangles[t, 0] < 0:
            continue
        if triangles[t, 0] == v or triangles[t, 1] == v or triangles[t, 2] == v:
            triangles[t, 0] = -1
        else:
            kept[count] = t
            count += 1
    for n in range(rings.begins[v], rings.begins[v] + rings.sizes[v]):
        t = rings.triangles[n]
        if triangles[t, 0] < 0:
            continue
        for k in range(3):
            if triangles[t, k] == v:
                triangles[t, k] = u
        kept[count] = t
        count += 1
    return count


@compiled
def _closed_up(shape: Shape, count: int, noted: Any) -> int:
    """Move the triangles that are left to the front, price those that were touched anew, and return how many there are."""
    touched, moved = noted
    left = 0
    for t in range(count):
        if shape.triangles[t, 0] < 0:
            continue
        for k in range(3):
            shape.triangles[left, k] = shape.triangles[t, k]
            shape.errors[left, k] = shape.errors[t, k]
        if touched[t]:
            _price(shape, left, moved)
        left += 1
    return left
