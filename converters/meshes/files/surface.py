"""A surface as a file tells it, and what no file may tell."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from converters.errors import DamagedError, SourceError
from converters.imports.placing import Matrix, Space, Unit

Points = NDArray[np.float64]
Triangles = NDArray[np.int64]


@dataclass(frozen=True)
class Surface:
    """Triangles in the file's own coordinates.

    points: float64 [n, 3]. triangles: int64 [m, 3], positions in points. unit, space: what the file or its format tells of the
    coordinates, None where they tell nothing. stored_in: the name that the file has for the space of its coordinates.
    matrices: float64 [4, 4] from the coordinates to other spaces, by their names.
    """

    points: Points
    triangles: Triangles
    unit: Unit | None = None
    space: Space | None = None
    stored_in: str = ""
    matrices: dict[str, Matrix] = field(default_factory=dict)


def check_surface(surface: Surface, name: str) -> None:
    """Raise SourceError for a surface without triangles, DamagedError for one with points or corners that cannot be.

    name: the file's, for the message.
    """
    points, triangles = surface.points, surface.triangles
    if not len(points):
        raise SourceError(f"{name}: holds no points, expected a surface of triangles")
    if not len(triangles):
        raise SourceError(f"{name}: holds {len(points)} points and no triangles, expected a surface; a point cloud is no mesh")
    bad = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if len(bad):
        x, y, z = points[bad[0]]
        raise DamagedError(
            f"{name}: point {bad[0]} is at {x:g}, {y:g}, {z:g} and {len(bad)} of {len(points)} points are no finite numbers; "
            "repair the file in the program that wrote it"
        )
    outside = np.flatnonzero(((triangles < 0) | (triangles >= len(points))).any(axis=1))
    if len(outside):
        a, b, c = triangles[outside[0]]
        raise DamagedError(
            f"{name}: triangle {outside[0]} joins points {a}, {b}, {c}, expected numbers from 0 to {len(points) - 1}; "
            "repair the file in the program that wrote it"
        )


def fans(corners: NDArray[np.int64], sizes: NDArray[np.int64]) -> Triangles:
    """Return polygons as triangles that share the polygon's first corner, int64 [m, 3].

    corners: int64, of one polygon behind the other. sizes: int64 [n], corners of each. Raises ValueError for fewer than three.
    """
    if len(sizes) and sizes.min() < 3:
        raise ValueError(f"a polygon has {sizes.min()} corners, expected at least 3")
    parts = sizes - 2
    firsts = np.repeat(np.cumsum(sizes) - sizes, parts)
    within = np.arange(len(firsts)) - np.repeat(np.cumsum(parts) - parts, parts)
    return np.stack([corners[firsts], corners[firsts + within + 1], corners[firsts + within + 2]], axis=1).astype(np.int64)
