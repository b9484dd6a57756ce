"""The fragments of a segment become its skeleton: pure functions on arrays.

Which fragments belong together is known from the voxels that their blocks share, so nothing is joined because it is near, and
two pieces of one segment stay two. What a cut through the volume adds is taken away: ends at shared planes where nothing goes
on, loops, strands that run twice along a shared plane, ticks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from converters.geometry import Lengths
from converters.skeletons.balls import Balls
from converters.skeletons.fragments import Fragment
from converters.skeletons.parameters import Parameters
from converters.skeletons.paths import Paths, prune
from converters.skeletons.seams import is_near_seam
from formats.grid import Grid

_MARGIN = 1.5
"""Longest voxel edges by which a strand may stand out of another one's radius and still run in the same place."""


@dataclass(frozen=True)
class Joining:
    """How fragments are joined. resolution: nm a voxel. grid: of the blocks that they come from."""

    resolution: Lengths
    grid: Grid
    parameters: Parameters

    @property
    def margin(self) -> float:
        """nm by which a strand may stand out of another one's radius and still run in the same place."""
        return _MARGIN * max(self.resolution)


@dataclass(frozen=True)
class Joined:
    """A segment's skeleton in voxels of the scale. places: int64 [n, 3]. radii: float32 [n], nm. edges: int64 [m, 2].

    wanted: bool [n], the vertices that are not to go because the user told so.
    """

    places: NDArray[np.int64]
    radii: NDArray[np.float32]
    edges: NDArray[np.int64]
    wanted: NDArray[np.bool_]


def joined(fragments: Sequence[Fragment], joining: Joining) -> Joined | None:
    """Return the skeleton of one segment, a tree for each of its pieces; None where nothing of it is left.

    Its vertices come in the order of their places, so that the order of the fragments does not matter.
    """
    pieces = _pieces(fragments)
    voxels = np.bincount(pieces, [fragment.voxels for fragment in fragments])
    kept = [
        n
        for n, fragment in enumerate(fragments)
        if len(fragment.places) and voxels[pieces[n]] > joining.parameters.dust_threshold
    ]
    if not kept:
        return None
    graph, piece_of = _stacked([fragments[n] for n in kept], pieces[kept])
    points = graph.places * np.array(joining.resolution)
    edges = np.concatenate([graph.edges, _links(points, graph.edges, piece_of)])
    edges = _without_loops(_Web(points, graph.radii, edges, graph.wanted), joining)
    edges = _pruned(graph, points, edges, joining)
    return _compact(replace(graph, edges=_with_cable(points, edges, joining.parameters.min_cable)))


def _pieces(fragments: Sequence[Fragment]) -> NDArray[np.int64]:
    """Return for each fragment the number of its piece: those that have a contact or a vertex in the same voxel are one."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    voxels = [np.concatenate([fragment.contacts, fragment.places]) for fragment in fragments]
    _, spots = np.unique(np.concatenate(voxels), axis=0, return_inverse=True)
    owners = np.repeat(np.arange(len(fragments)), [len(some) for some in voxels])
    count = len(fragments) + len(spots)
    graph = coo_array((np.ones(len(owners), np.int8), (owners, len(fragments) + spots.ravel())), shape=(count, count))
    _, numbers = connected_components(graph, directed=False)
    return np.asarray(numbers[: len(fragments)], np.int64)


def _stacked(fragments: Sequence[Fragment], pieces: NDArray[np.int64]) -> tuple[Joined, NDArray[np.int64]]:
    """Return the fragments as one graph, each voxel one vertex with its smallest radius, and each vertex's piece."""
    places = np.concatenate([fragment.places for fragment in fragments])
    voxels, vertex_of = np.unique(places, axis=0, return_inverse=True)
    vertex_of = vertex_of.ravel()
    radii = np.full(len(voxels), np.inf, np.float32)
    np.minimum.at(radii, vertex_of, np.concatenate([fragment.radii for fragment in fragments]))
    counts = [len(fragment.places) for fragment in fragments]
    begins = np.cumsum([0, *counts[:-1]])
    edges = np.concatenate([fragment.edges.astype(np.int64) + begin for fragment, begin in zip(fragments, begins, strict=True)])
    edges = np.sort(vertex_of[edges], axis=1)
    edges = np.unique(edges[edges[:, 0] != edges[:, 1]], axis=0)
    piece_of = np.zeros(len(voxels), np.int64)
    piece_of[vertex_of] = np.repeat(pieces, counts)
    targets = {tuple(place) for fragment in fragments for place in fragment.targets.tolist()}
    wanted = np.array([tuple(voxel) in targets for voxel in voxels.tolist()], bool) if targets else np.zeros(len(voxels), bool)
    return Joined(voxels.astype(np.int64), radii, edges, wanted), piece_of


def _links(points: NDArray[np.float64], edges: NDArray[np.int64], piece_of: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return edges that join what is of one piece and is not connected: each time the two vertices that are nearest."""
    part_of = _parts(len(points), edges)
    _, first = np.unique(part_of, return_index=True)
    numbers, parts = np.unique(piece_of[first], return_counts=True)
    links: list[tuple[int, int]] = []
    for number in numbers[parts > 1].tolist():
        links += _linked(points, part_of, np.flatnonzero(piece_of == number))
    return np.array(links, np.int64).reshape(-1, 2)


def _linked(points: NDArray[np.float64], part_of: NDArray[np.int64], members: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return edges that join the parts of one piece, beginning with the largest part. members: the piece's vertices."""
    from scipy.spatial import cKDTree

    inside = part_of[members] == np.bincount(part_of[members]).argmax()
    links = []
    while not inside.all():
        there, rest = members[inside], members[~inside]
        distances, nearest = cKDTree(points[there]).query(points[rest])
        place = int(np.argmin(distances))
        links.append((int(there[nearest[place]]), int(rest[place])))
        inside |= part_of[members] == part_of[rest[place]]
    return links


def _parts(count: int, edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each vertex the number of the connected part that it lies in."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(edges), np.int8), (edges[:, 0], edges[:, 1])), shape=(count, count))
    _, numbers = connected_components(graph, directed=False)
    return np.asarray(numbers, np.int64)


@dataclass(frozen=True)
class _Web:
    """A graph with loops. points: float64 [n, 3], nm. radii: float32 [n], nm. edges: int64 [m, 2]. wanted: bool [n]."""

    points: NDArray[np.float64]
    radii: NDArray[np.float32]
    edges: NDArray[np.int64]
    wanted: NDArray[np.bool_]


def _without_loops(web: _Web, joining: Joining) -> NDArray[np.int64]:
    """Return the edges without closed loops.

    Of the paths that close one the thinnest goes, all of it where it runs inside the radii of what is kept; else it is cut in
    its middle and keeps its cable.
    """
    count = len(web.points)
    if len(web.edges) == count - (int(_parts(count, web.edges).max()) + 1):
        return web.edges
    paths = Paths(web.points, web.edges)
    closing = _closing(paths, web.radii)
    kept = np.zeros(count, bool)
    kept[[vertex for number, path in paths.vertices.items() if number not in closing for vertex in path]] = True
    thick = Balls(web.points, web.radii + joining.margin)
    edges = []
    for number, path in paths.vertices.items():
        if number not in closing:
            edges += list(pairwise(path))
        elif path[0] == path[-1] or web.wanted[path[1:-1]].any() or not thick.cover(path[1:-1], kept):
            middle = _middle(web.points[path])
            edges += list(pairwise(path[: middle + 1])) + list(pairwise(path[middle + 1 :]))
    return np.array(edges, np.int64).reshape(-1, 2)


def _closing(paths: Paths, radii: NDArray[np.float32]) -> set[int]:
    """Return the paths without which there is no loop, as thin ones as can be, and of those the longest."""
    group: dict[int, int] = {}

    def root(vertex: int) -> int:
        while group.setdefault(vertex, vertex) != vertex:
            group[vertex] = vertex = group[group[vertex]]
        return vertex

    closing = set()
    thickness = {number: -float(np.median(radii[path])) for number, path in paths.vertices.items()}
    for number in sorted(paths.vertices, key=lambda number: (thickness[number], paths.lengths[number], number)):
        a, b = root(paths.vertices[number][0]), root(paths.vertices[number][-1])
        if a == b:
            closing.add(number)
        group[a] = b
    return closing


def _middle(points: NDArray[np.float64]) -> int:
    """Return the edge of a path in which the half of its length lies."""
    lengths = np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))
    return int(np.searchsorted(lengths, lengths[-1] / 2))


def _pruned(graph: Joined, points: NDArray[np.float64], edges: NDArray[np.int64], joining: Joining) -> NDArray[np.int64]:
    """Return the edges without what only the blocks made, without branches that do not leave the radius of the rest, and ticks.

    A block leads a path to each place where a segment reaches a face. Where nothing goes on behind a shared plane, the end that
    is left there goes, if without the plane the paths beside it would have taken its whole branch away.
    """
    paths = Paths(points, edges)
    thick = Balls(points, graph.radii + joining.margin)
    taken = Balls(points, joining.parameters.reach(graph.radii))
    at_seam = is_near_seam(graph.places, joining.grid)
    left = np.zeros(len(points), bool)
    left[edges.ravel()] = True

    def inside(number: int, balls: Balls) -> bool:
        strand = paths.interior(number)
        left[strand] = False
        covered = balls.cover(strand, left)
        left[strand] = not covered
        return covered

    def is_free(number: int) -> bool:
        return not graph.wanted[paths.interior(number)].any()

    prune(paths, lambda number: bool(at_seam[paths.tip(number)]) and is_free(number) and inside(number, taken))
    prune(paths, lambda number: is_free(number) and inside(number, thick))
    prune(paths, lambda number: is_free(number) and paths.lengths[number] < joining.parameters.tick_threshold)
    return paths.edges()


def _with_cable(points: NDArray[np.float64], edges: NDArray[np.int64], least: float) -> NDArray[np.int64]:
    """Return the edges of the parts that have at least so much cable, nm."""
    if not least or not len(edges):
        return edges
    part_of = _parts(len(points), edges)[edges[:, 0]]
    lengths = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)
    return edges[np.bincount(part_of, lengths)[part_of] >= least]


def _compact(graph: Joined) -> Joined | None:
    """Return the graph without vertices that no edge has; None where there is no edge."""
    if not len(graph.edges):
        return None
    used, edges = np.unique(graph.edges, return_inverse=True)
    edges = np.sort(edges.reshape(-1, 2), axis=1)
    return Joined(graph.places[used], graph.radii[used], edges[np.lexsort((edges[:, 1], edges[:, 0]))], graph.wanted[used])
