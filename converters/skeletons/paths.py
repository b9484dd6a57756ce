"""A skeleton as paths between its end points and branch points, from which paths can be taken away."""

import heapq
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


class Paths:
    """The paths of a graph: each runs through vertices with two edges from one with fewer or more to another.

    places: float64 [n, 3], nm. A loop without branches is a path from a vertex to itself. Where two paths are left at a vertex
    they become one.
    """

    def __init__(self, places: NDArray[np.float64], edges: NDArray[np.int64]) -> None:
        self.places = places
        self.vertices: dict[int, list[int]] = {}
        self.lengths: dict[int, float] = {}
        self._at: dict[int, list[int]] = {}
        self._next = 0
        for path in _traced(len(places), edges):
            self._add(path)

    def degree(self, vertex: int) -> int:
        """Return how many paths end at a vertex; one that begins and ends there counts twice."""
        return len(self._at.get(vertex, ()))

    def leaves(self) -> Iterator[int]:
        """Yield the paths from an end point to a branch point."""
        return (number for number in self.vertices if self.is_leaf(number))

    def is_leaf(self, number: int) -> bool:
        """Tell whether a path leads from an end point to a branch point."""
        path = self.vertices[number]
        low, high = sorted((self.degree(path[0]), self.degree(path[-1])))
        return low == 1 and high > 2

    def tip(self, number: int) -> int:
        """Return the end point of a path that is a leaf."""
        path = self.vertices[number]
        return path[0] if self.degree(path[0]) == 1 else path[-1]

    def interior(self, number: int) -> list[int]:
        """Return the vertices of a path that go with it: all but the branch points at its ends."""
        path = self.vertices[number]
        return [vertex for vertex in path if vertex not in (path[0], path[-1]) or self.degree(vertex) == 1]

    def remove(self, number: int) -> list[int]:
        """Take a path away and return the paths that have become one with another by it."""
        path = self.vertices.pop(number)
        del self.lengths[number]
        for end in (path[0], path[-1]):
            self._at[end].remove(number)
        joined = [self._join(end) for end in {path[0], path[-1]}]
        return [new for new in joined if new is not None and new in self.vertices]

    def edges(self) -> NDArray[np.int64]:
        """Return the edges that are left, [m, 2]."""
        left = [edge for path in self.vertices.values() for edge in pairwise(path)]
        return np.array(left, np.int64).reshape(-1, 2)

    def _add(self, path: list[int]) -> int:
        number = self._next
        self._next += 1
        self.vertices[number] = path
        steps = np.diff(self.places[path], axis=0)
        self.lengths[number] = float(np.linalg.norm(steps, axis=1).sum())
        for end in (path[0], path[-1]):
            self._at.setdefault(end, []).append(number)
        return number

    def _join(self, vertex: int) -> int | None:
        """Make the two paths that are left at a vertex one, and return it."""
        numbers = self._at.get(vertex, [])
        if len(numbers) != 2 or numbers[0] == numbers[1]:
            return None
        first, second = (self.vertices.pop(number) for number in list(numbers))
        for number, path in zip(list(numbers), (first, second), strict=True):
            del self.lengths[number]
            for end in (path[0], path[-1]):
                self._at[end].remove(number)
        if first[-1] != vertex:
            first = first[::-1]
        if second[0] != vertex:
            second = second[::-1]
        return self._add(first + second[1:])


def prune(paths: Paths, goes: Callable[[int], bool]) -> None:
    """Take away the paths from end points to branch points that goes says, the shortest first.

    What is left at a branch point becomes one path and is asked about again, so that a neurite keeps its end.
    """
    waiting = [(paths.lengths[number], number) for number in paths.leaves()]
    heapq.heapify(waiting)
    while waiting:
        _, number = heapq.heappop(waiting)
        if number in paths.vertices and paths.is_leaf(number) and goes(number):
            for new in paths.remove(number):
                if paths.is_leaf(new):
                    heapq.heappush(waiting, (paths.lengths[new], new))


def _traced(count: int, edges: NDArray[np.int64]) -> Iterator[list[int]]:
    """Yield the paths of a graph of count vertices, each edge in one of them."""
    neighbours: list[list[int]] = [[] for _ in range(count)]
    for a, b in edges.tolist():
        neighbours[a].append(b)
        neighbours[b].append(a)
    degrees = np.bincount(edges.ravel(), minlength=count)
    done = np.zeros(count, bool)
    for start in np.flatnonzero((degrees != 2) & (degrees > 0)).tolist():
        done[start] = True
        for second in neighbours[start]:
            # A path between two such vertices is met from both; without a vertex between them the lower one gives it.
            if not done[second] and (degrees[second] == 2 or start < second):
                yield _followed(start, second, neighbours, done, degrees)
    for start in np.flatnonzero((degrees == 2) & ~done).tolist():
        if not done[start]:
            done[start] = True
            yield _followed(start, neighbours[start][0], neighbours, done, degrees)


def _followed(
    start: int, second: int, neighbours: list[list[int]], done: NDArray[np.bool_], degrees: NDArray[np.int64]
) -> list[int]:
    """Return the path that begins with these two vertices; those between its ends are then done."""
    path = [start, second]
    while degrees[path[-1]] == 2 and path[-1] != start:
        here = path[-1]
        done[here] = True
        one, other = neighbours[here]
        path.append(other if one == path[-2] else one)
    return path
