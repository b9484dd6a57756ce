"""Volumes of which the skeleton is known."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHAPE = (100, 72, 60)
Point = tuple[float, float, float]
Line = tuple[Point, Point]

_GRID = np.stack(np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij"), -1).astype(float)


@dataclass(frozen=True)
class Phantom:
    """labels: uint32 [x, y, z]. trees, ends: of each segment. lines: where the middle of what is drawn lies, in voxels."""

    labels: NDArray[np.uint32]
    trees: dict[int, int]
    ends: dict[int, int]
    lines: tuple[Line, ...]


def distance(points: NDArray[Any], line: Line) -> NDArray[np.float64]:
    """Return how far points [..., 3] are from a line between two points."""
    a, b = np.array(line[0], float), np.array(line[1], float)
    along = np.clip(((points - a) @ (b - a)) / max((b - a) @ (b - a), 1e-9), 0, 1)
    return np.linalg.norm(points - a - along[..., np.newaxis] * (b - a), axis=-1)


def tubes(radius: float, *lines: Line) -> NDArray[np.bool_]:
    return np.any([distance(_GRID, line) <= radius for line in lines], axis=0)


def ball(centre: Point, radius: float) -> NDArray[np.bool_]:
    return distance(_GRID, (centre, centre)) <= radius


def _one(there: NDArray[np.bool_], trees: int, ends: int, *lines: Line) -> Phantom:
    return Phantom(there.astype(np.uint32) * 3, {3: trees}, {3: ends}, lines)


def y_shape() -> Phantom:
    lines = (((8, 36, 30), (50, 36, 30)), ((50, 36, 30), (92, 10, 30)), ((50, 36, 30), (92, 62, 30)))
    return _one(tubes(4, *lines), 1, 3, *lines)


def tube() -> Phantom:
    lines = (((8, 36, 30), (92, 36, 30)),)
    return _one(tubes(5, *lines), 1, 2, *lines)


def slanted() -> Phantom:
    lines = (((8, 8, 8), (92, 64, 52)),)
    return _one(tubes(4, *lines), 1, 2, *lines)


def ring() -> Phantom:
    """A ring, which becomes a tree that is cut at one place."""
    angles = np.linspace(0, 2 * np.pi, 33)
    points = [(50 + 26 * np.cos(a), 36 + 26 * np.sin(a), 30.0) for a in angles]
    lines = tuple(pairwise(points))
    return _one(tubes(4, *lines), 1, 2, *lines)


def soma() -> Phantom:
    """A cell body of 15 voxels with four neurites of 3."""
    lines = tuple(((50, 36, 30), end) for end in ((4, 36, 30), (96, 36, 30), (50, 70, 30), (80, 8, 50)))
    return _one(ball((50, 36, 30), 15) | tubes(3, *lines), 1, 4, *lines)


FORKED_SOMA = (20, 20, 30)


def forked() -> Phantom:
    """A cell body of 15 voxels with one bent neurite of 3 that parts far from it."""
    lines = (
        (FORKED_SOMA, (24, 58, 30)),
        ((24, 58, 30), (60, 56, 30)),
        ((60, 56, 30), (95, 66, 44)),
        ((60, 56, 30), (92, 12, 20)),
    )
    return _one(ball(FORKED_SOMA, 15) | tubes(3, *lines), 1, 3, *lines)


def holed() -> Phantom:
    """A tube with two holes inside."""
    lines = (((8, 36, 30), (92, 36, 30)),)
    return _one(tubes(7, *lines) & ~ball((40, 36, 30), 1.9) & ~ball((60, 38, 30), 1.9), 1, 2, *lines)


def touching() -> Phantom:
    """Two segments that touch all along."""
    lines = (((8, 30, 30), (92, 30, 30)), ((8, 41, 30), (92, 41, 30)))
    first, second = (tubes(5, line) for line in lines)
    labels = np.where(first, 7, np.where(second, 2**31 + 9, 0)).astype(np.uint32)
    return Phantom(labels, {7: 1, 2**31 + 9: 1}, {7: 2, 2**31 + 9: 2}, lines)


def in_two_pieces() -> Phantom:
    """One segment in two pieces."""
    lines = (((8, 20, 20), (92, 20, 20)), ((8, 50, 40), (92, 55, 40)))
    return _one(tubes(4, *lines), 2, 4, *lines)


PHANTOMS = (y_shape, tube, slanted, ring, soma, holed, touching, in_two_pieces)
