"""What every scale must hold, computed with numpy alone, each scale from the one before."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class ExpectedScale:
    """voxels: [x, y, z]; offset: coordinate of its first voxel in the scale's own grid."""

    voxels: NDArray[Any]
    offset: Triple


def pyramid(voxels: NDArray[Any], offset: Triple, steps: Sequence[Triple], *, labels: bool) -> Iterator[ExpectedScale]:
    """Yield the scales of a volume; steps: the factors, 1 or 2 along each axis, from each scale to the next."""
    scale = ExpectedScale(voxels, offset)
    yield scale
    for step in steps:
        members, present = _windows(scale, step)
        pooled = _most_frequent(members, present) if labels else _rounded_mean(members, present)
        x, y, z = (o // f for o, f in zip(scale.offset, step, strict=True))
        scale = ExpectedScale(pooled, (x, y, z))
        yield scale


def _windows(scale: ExpectedScale, step: Triple) -> tuple[NDArray[Any], NDArray[np.bool]]:
    """Return [member, x, y, z] of each window of the global grid, members x fastest, and which of them lie in the volume."""
    before = [o % f for o, f in zip(scale.offset, step, strict=True)]
    after = [-(b + n) % f for b, n, f in zip(before, scale.voxels.shape, step, strict=True)]
    margins = list(zip(before, after, strict=True))
    padded, inside = np.pad(scale.voxels, margins), np.pad(np.ones(scale.voxels.shape, bool), margins)
    x, y, z = step
    places = [np.s_[i::x, j::y, k::z] for k, j, i in product(range(z), range(y), range(x))]
    return np.stack([padded[place] for place in places]), np.stack([inside[place] for place in places])


def _rounded_mean(members: NDArray[Any], present: NDArray[np.bool]) -> NDArray[Any]:
    """Return the mean of what is present; a window has 1, 2, 4 or 8 voxels, so that float64 holds it and its half exactly."""
    total = np.where(present, members, 0).sum(axis=0, dtype=np.float64)
    return np.rint(total / present.sum(axis=0)).astype(members.dtype)


def _most_frequent(members: NDArray[Any], present: NDArray[np.bool]) -> NDArray[Any]:
    """Return the label that most of the window's voxels have; on a tie the one that comes first."""
    votes = np.stack([np.where(p, ((members == m) & present).sum(axis=0), 0) for m, p in zip(members, present, strict=True)])
    return np.take_along_axis(members, votes.argmax(axis=0)[None], axis=0)[0]
