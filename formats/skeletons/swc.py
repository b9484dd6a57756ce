"""SWC: a skeleton as text, one vertex a line with the vertex it hangs on (Cannon et al. 1998, J Neurosci Methods 84:49).

`id type x y z radius parent`; `#` begins a comment. The format names no unit, so who reads or writes has to say it; our texts and
those of navis have it in a comment, which navis reads too. Programs write a root's parent as -1, some as 0, and a parent may come
behind its child; all are read, -1 and parents first are written.
"""

import json
import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from formats.errors import DecodeError, EncodeError
from formats.skeletons.skeleton import RADIUS, VERTEX_TYPES, Skeleton
from formats.skeletons.swc_lines import SwcLines, read_lines

_UNITS = {"nm": 1.0, "nanometer": 1.0, "um": 1e3, "µm": 1e3, "micron": 1e3, "micrometer": 1e3, "mm": 1e6, "millimeter": 1e6}
_LONG = {"nm": "nanometer", "um": "micrometer", "mm": "millimeter"}
_UNIT = re.compile(r"#\s*units?\s*:\s*(.+)", re.IGNORECASE)
_META = re.compile(r"#\s*meta\s*:\s*(\{.*\})", re.IGNORECASE)
_MEASURE = re.compile(r"([0-9.eE+-]+)?\s*(\D+?)s?\s*")


@dataclass(frozen=True)
class Tracing:
    """What an SWC text holds, in its own unit; vertices in the order of its lines.

    points: float64 [n, 3]. radii: float64 [n], 0 where they are not known. kinds: uint8 [n], SWC's types. edges: uint32 [m, 2],
    parent and child. lines: int64 [n], where each vertex stands. unit: nm of one, where a comment tells it.
    """

    points: NDArray[np.float64]
    radii: NDArray[np.float64]
    kinds: NDArray[np.uint8]
    edges: NDArray[np.uint32]
    lines: NDArray[np.int64]
    unit: float | None = None

    def placed(self, matrix: NDArray[np.float64]) -> Skeleton:
        """Return the skeleton that lies where matrix takes it, with the attributes radius and vertex_types.

        matrix: float64 [4, 4], to nm; radii grow as its volume does. Raises DecodeError, naming the line, for a place that no
        float32 holds.
        """
        points = self.points @ matrix[:3, :3].T + matrix[:3, 3]
        radii = self.radii * abs(np.linalg.det(matrix[:3, :3])) ** (1 / 3)
        far = ~(np.abs(np.column_stack([points, radii])) < np.finfo(np.float32).max).all(axis=1)
        if far.any():
            raise DecodeError(f"line {self.lines[far][0]}: a place farther away than a float32 of nm can say; is the unit right?")
        attributes: dict[str, NDArray[Any]] = {RADIUS: radii.astype(np.float32), VERTEX_TYPES: self.kinds.astype(np.float32)}
        return Skeleton(points.astype(np.float32), self.edges, attributes)


def parse_swc(text: str) -> Tracing:
    """Return what an SWC text holds. A radius that is left open (NA, or below 0) becomes 0.

    Raises DecodeError, naming the line, for what is no number, ids that are there twice, parents that are not there, and
    vertices that hang on themselves in a circle.
    """
    # Not splitlines: it takes more for the end of a line than editors do, which count them for the user.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    found = read_lines(lines)
    if not found.lines:
        raise DecodeError("no vertex in it, expected lines of 7 columns: id type x y z radius parent")
    edges = _edges(found)
    _check_circles(found, edges)
    return Tracing(found.points, found.radii, found.kinds, edges, np.array(found.lines), _told_unit(lines))


def format_swc(skeleton: Skeleton, unit: str, name: str) -> str:
    """Return a skeleton as SWC, a tree for each piece; the same text for the same skeleton.

    unit: nm, um or mm. name: for the comments at its head. A tree's root is its vertex with the largest radius, which lies in
    the soma where there is one; where radii are not known its first end point. Raises EncodeError for a skeleton with a closed
    loop, which no tree can hold.
    """
    length = _UNITS[unit]
    parents, order = _rooted(skeleton)
    numbers = np.empty(len(order), np.int64)
    numbers[order] = np.arange(1, len(order) + 1)
    places = skeleton.vertices.astype(np.float64) / length
    radii = np.asarray(skeleton.attributes.get(RADIUS, np.zeros(len(places))), np.float64) / length
    kinds = np.asarray(skeleton.attributes.get(VERTEX_TYPES, np.zeros(len(places)))).astype(np.int64)
    meta = json.dumps({"id": name, "name": name, "units": f"1 {_LONG[unit]}"})
    lines = [f"# segment {name}", f"# unit: {unit}", f"# Meta: {meta}", "# id type x y z radius parent"]
    for vertex in order.tolist():
        parent = parents[vertex]
        x, y, z = places[vertex]
        named = numbers[parent] if parent >= 0 else -1
        lines.append(f"{numbers[vertex]} {kinds[vertex]} {x:.9g} {y:.9g} {z:.9g} {radii[vertex]:.9g} {named}")
    return "\n".join(lines) + "\n"


def _told_unit(lines: list[str]) -> float | None:
    """Return nm of one unit as a comment tells them: `# unit: um` as in ours, `# Meta: {"units": "8 nanometer"}` as in navis'."""
    for line in lines:
        if line.strip() and not line.startswith("#"):
            return None
        meta, plain = _META.match(line), _UNIT.match(line)
        told = _in_meta(meta[1]) if meta else plain[1] if plain else None
        measure = None if told is None else _MEASURE.fullmatch(told)
        if measure is not None and measure[2].lower() in _UNITS:
            count = _count(measure[1] or "1")
            return None if count is None else count * _UNITS[measure[2].lower()]
    return None


def _in_meta(text: str) -> str | None:
    try:
        units = json.loads(text).get("units")
    except (ValueError, RecursionError):
        return None
    return units if isinstance(units, str) else None


def _count(text: str) -> float | None:
    try:
        count = float(text)
    except ValueError:
        return None
    return count if 0 < count < math.inf else None


def _edges(found: SwcLines) -> NDArray[np.uint32]:
    """Return parent and child of each edge, [m, 2], positions in the vertices."""
    positions = {number: position for position, number in enumerate(found.numbers)}
    if len(positions) < len(found.numbers):
        _refuse_twice(found)
    parents = [positions.get(parent, -1) for parent in found.parents]
    for position, parent in enumerate(parents):
        if parent < 0 < found.parents[position]:
            number, missing = found.numbers[position], found.parents[position]
            raise DecodeError(f"line {found.lines[position]}: vertex {number} hangs on {missing}, which is not there")
    edges = np.column_stack([np.array(parents), np.arange(len(parents))])
    return edges[edges[:, 0] >= 0].astype(np.uint32)


def _refuse_twice(found: SwcLines) -> None:
    lines: dict[int, int] = {}
    for number, line in zip(found.numbers, found.lines, strict=True):
        if number in lines:
            raise DecodeError(f"line {line}: id {number} is there already, in line {lines[number]}")
        lines[number] = line


def _check_circles(found: SwcLines, edges: NDArray[np.uint32]) -> None:
    """Raise DecodeError unless every vertex leads to a root; each has one parent, so that what does not lies in a circle."""
    count = len(found.lines)
    parents = np.arange(count)
    parents[edges[:, 1]] = edges[:, 0]
    circled = np.zeros(count, bool)
    circled[edges[edges[:, 0] == edges[:, 1], 1]] = True
    ancestors = parents
    for _ in range(count.bit_length()):
        ancestors = ancestors[ancestors]
    circled |= parents[ancestors] != ancestors
    if circled.any():
        first = int(np.flatnonzero(circled)[0])
        raise DecodeError(
            f"line {found.lines[first]}: vertex {found.numbers[first]} hangs on itself, by way of its parents; expected a tree"
        )


def _rooted(skeleton: Skeleton) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each vertex's parent (-1 for a root), and the vertices, each behind its parent and its branch in one piece."""
    count = len(skeleton.vertices)
    neighbours: list[list[int]] = [[] for _ in range(count)]
    for a, b in skeleton.edges.tolist():
        neighbours[a].append(b)
        neighbours[b].append(a)
    parents, order = np.full(count, -1), []
    seen = np.zeros(count, bool)
    for root in _by_root(skeleton).tolist():
        waiting = [] if seen[root] else [root]
        seen[root] = True
        while waiting:
            vertex = waiting.pop()
            order.append(vertex)
            for other in sorted(neighbours[vertex], reverse=True):
                if seen[other] and other != parents[vertex]:
                    raise EncodeError(f"a loop through vertices {vertex} and {other}; SWC holds trees only")
                if not seen[other]:
                    seen[other] = True
                    parents[other] = vertex
                    waiting.append(other)
    return parents, np.array(order, np.int64)


def _by_root(skeleton: Skeleton) -> NDArray[np.int64]:
    """Return the vertices in the order in which they are taken for a tree's root."""
    radii = skeleton.attributes.get(RADIUS)
    places = np.arange(len(skeleton.vertices))
    if radii is not None:
        return np.lexsort((places, -np.asarray(radii, np.float64)))
    return np.lexsort((places, skeleton.degrees > 1))
