"""Balls around vertices, and what lies inside of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_WIDER = 1 + 1e-9
"""The search looks a little farther than a ball reaches, because it rounds in its own way."""


class Balls:
    """A ball around each vertex. points: float64 [n, 3], nm. reach: [n], nm."""

    def __init__(self, points: NDArray[np.float64], reach: NDArray[Any]) -> None:
        from scipy.spatial import cKDTree

        self._points, self._reach = points, np.asarray(reach, np.float64)
        # Balls of like size are looked for together: one cell body would make every search as wide as itself.
        sizes = np.ceil(np.log2(np.maximum(self._reach, 1)))
        groups = [np.flatnonzero(sizes == size) for size in np.unique(sizes)]
        self._groups = [(members, float(self._reach[members].max()), cKDTree(points[members])) for members in groups]

    def cover(self, strand: Sequence[int], others: NDArray[np.bool_]) -> bool:
        """Tell whether each vertex of a strand lies within the ball of one of the others, bool [n]."""
        # Most that are not covered stand out at one end.
        ordered = [*strand[:1], *strand[-1:], *strand[1:-1]]
        return all(self._covers(vertex, others) for vertex in ordered)

    def _covers(self, vertex: int, others: NDArray[np.bool_]) -> bool:
        point = self._points[vertex]
        for members, reach, tree in self._groups:
            near = members[tree.query_ball_point(point, reach * _WIDER)]
            near = near[others[near]]
            if (np.linalg.norm(self._points[near] - point, axis=1) <= self._reach[near]).any():
                return True
        return False
