"""What the viewer decoded, compared with numpy's pyramid."""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.e2e.expected import ExpectedScale, pyramid

PLACES = 50
"""Positions that are compared in each scale."""


def steps(scales: list[Any]) -> list[tuple[int, int, int]]:
    """The factors between scales, from the resolutions in their keys."""
    sizes = [[float(length) for length in scale.key.split("_")] for scale in scales]
    return [tuple(round(b / a) for a, b in zip(*pair, strict=True)) for pair in pairwise(sizes)]  # type: ignore[misc]


def places(scale: ExpectedScale) -> NDArray[Any]:
    """Positions all over a scale, half of them where there is something, its first and last voxel among them."""
    random = np.random.default_rng(7)
    anywhere = random.integers(0, scale.voxels.shape, (PLACES // 2, 3))
    something = np.argwhere(scale.voxels)
    chosen = something[random.integers(0, len(something), PLACES - PLACES // 2 - 2)]
    return np.concatenate([anywhere, chosen, [(0, 0, 0), np.array(scale.voxels.shape) - 1]])


def assert_every_scale(viewer, layer: str, voxels: NDArray[Any], offset: tuple[int, int, int], *, labels: bool) -> None:
    """Compare what the viewer decoded in each scale with numpy's pyramid."""
    shown = viewer.scales(layer)
    expected = list(pyramid(voxels, offset, steps(shown), labels=labels))
    assert len(expected) == len(shown) > 1
    for number, (scale, real) in enumerate(zip(expected, shown, strict=True)):
        assert (real.offset, real.size) == (scale.offset, scale.voxels.shape)
        chosen = places(scale)
        found = viewer.values(layer, number, chosen)
        wanted = [str(scale.voxels[tuple(place)]) for place in chosen]
        assert found == wanted, f"scale {real.key}"
