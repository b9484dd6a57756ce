"""A skeleton: vertices joined by edges, and what is known at each vertex."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

RADIUS = "radius"
"""Distance in nm from a vertex to the nearest end of its segment, float32; the name that the viewer's users know."""
VERTEX_TYPES = "vertex_types"
"""SWC's types: 0 undefined, 1 soma, 2 axon, 3 basal and 4 apical dendrite, float32 because the viewer draws nothing else; the
name that cloud-volume gives them."""


@dataclass(frozen=True)
class Skeleton:
    """Points joined by lines; it need not be in one piece.

    vertices: float32 [n, 3], x, y, z in nm, in the space of the dataset. edges: uint32 [m, 2], positions in the vertices.
    attributes: name -> [n] or [n, components], in the order in which they are stored.
    """

    vertices: NDArray[np.float32]
    edges: NDArray[np.uint32]
    attributes: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def cable_length(self) -> float:
        """The length of all edges together, nm."""
        ends = self.vertices.astype(np.float64)[self.edges]
        return float(np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1).sum())

    @property
    def degrees(self) -> NDArray[np.int64]:
        """The number of edges at each vertex, int64 [n]: 1 at an end point, 3 or more at a branch point."""
        return np.bincount(self.edges.ravel(), minlength=len(self.vertices))
