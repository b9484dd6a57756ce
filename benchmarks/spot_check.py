"""Voxels of a dataset here and there, read with tensorstore, against the voxels that it was made from."""

import gzip
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore
from numpy.typing import NDArray

from benchmarks.large_samples import Volume
from benchmarks.samples import Triple

_MOST_VOXELS = 1 << 28
"""Of the source, looked at for one scale: voxels of coarse scales stand for many."""


class WrongVoxelError(Exception):
    """A voxel of a dataset is not what its source says."""


@dataclass(frozen=True)
class _Scale:
    """factors: source voxels a voxel along x, y, z, that scale by scale were halved or kept. steps: of each such scale."""

    position: int
    members: dict[str, Any]
    steps: tuple[Triple, ...]

    @property
    def factors(self) -> Triple:
        x, y, z = (math.prod(step[axis] for step in self.steps) for axis in range(3))
        return x, y, z


def check_voxels(dataset: Path, volume: Volume, unpacked: Path, count: int = 200) -> int:
    """Compare about count voxels of each scale, its first and last among them; return how many were compared.

    Scales are averages of the scale before, halves rounded to the even neighbour. unpacked: folder for the chunks of a nested
    dataset, which tensorstore cannot read where they are. Raises WrongVoxelError.
    """
    random = np.random.default_rng(0)
    compared = 0
    for scale in _scales(json.loads((dataset / "info").read_bytes())["scales"]):
        expected = tuple(-(-n // f) for n, f in zip(volume.shape, scale.factors, strict=True))
        if tuple(scale.members["size"]) != expected:
            raise WrongVoxelError(f"scale {scale.members['key']} has {scale.members['size']} voxels, expected {expected}")
        most = min(count, max(2, _MOST_VOXELS // math.prod(scale.factors)))
        points = _points(random, scale.members["size"], most)
        compared += len(points)
        _compare(_store(dataset, scale, points, unpacked), scale, volume, points)
    return compared


def _scales(infos: Sequence[dict[str, Any]]) -> list[_Scale]:
    scales: list[_Scale] = []
    for position, members in enumerate(infos):
        steps = scales[-1].steps if scales else ()
        if scales:
            x, y, z = (
                round(own / last) for own, last in zip(members["resolution"], infos[position - 1]["resolution"], strict=True)
            )
            steps = (*steps, (x, y, z))
        scales.append(_Scale(position, members, steps))
    return scales


def _points(random: np.random.Generator, size: Sequence[int], count: int) -> NDArray[np.intp]:
    points = random.integers(0, size, (count, 3))
    points[0], points[-1] = (0, 0, 0), [n - 1 for n in size]
    return points


def _compare(store: Any, scale: _Scale, volume: Volume, points: NDArray[np.intp]) -> None:
    found = [store[x, y, z, 0].read() for x, y, z in points.tolist()]
    for point, voxel in zip(points.tolist(), found, strict=True):
        expected = pooled_voxel(volume, point, scale.steps)
        if voxel.result() != expected:
            raise WrongVoxelError(f"scale {scale.members['key']}, voxel {point}: {voxel.result()}, expected {expected}")


def pooled_voxel(volume: Volume, point: Sequence[int], steps: Sequence[Triple]) -> int:
    """Return a voxel of the scale that steps along x, y, z lead to; at the source's end it is made of what is there."""
    ranges = []
    for axis in range(3):
        factor = math.prod(step[axis] for step in steps)
        ranges.append(np.arange(point[axis] * factor, min((point[axis] + 1) * factor, volume.shape[axis])))
    voxels = volume.at(*np.ix_(*ranges)).astype(np.float64)
    for step in steps:
        sums, counts = voxels, np.ones_like(voxels)
        for axis in range(3):
            begins = np.arange(0, sums.shape[axis], step[axis])
            sums, counts = (np.add.reduceat(array, begins, axis) for array in (sums, counts))
        voxels = np.rint(sums / counts)
    return int(voxels.item())


def _store(dataset: Path, scale: _Scale, points: NDArray[np.intp], unpacked: Path) -> Any:
    flat = dataset
    if (dataset / scale.members["key"]).is_dir() and _is_nested(dataset / scale.members["key"]):
        flat = unpacked
        _unpack(dataset, scale, points, unpacked)
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": {"driver": "file", "path": f"{flat}/"},
        "scale_index": scale.position,
    }
    return tensorstore.open(spec, read=True).result()


def _is_nested(folder: Path) -> bool:
    return any(entry.is_dir() for entry in folder.iterdir())


def _unpack(dataset: Path, scale: _Scale, points: NDArray[np.intp], flat: Path) -> None:
    """Put the chunks that hold the points into a folder under the names that the format asks for."""
    size, chunk, key = scale.members["size"], scale.members["chunk_sizes"][0], scale.members["key"]
    (flat / key).mkdir(parents=True)
    (flat / "info").write_bytes((dataset / "info").read_bytes())
    for cell in {tuple(n // c for n, c in zip(point, chunk, strict=True)) for point in points.tolist()}:
        sides = [f"{n * c}-{min((n + 1) * c, end)}" for n, c, end in zip(cell, chunk, size, strict=True)]
        data = (dataset / key / "/".join(sides)).with_name(f"{sides[2]}.gz").read_bytes()
        (flat / key / "_".join(sides)).write_bytes(gzip.decompress(data))
