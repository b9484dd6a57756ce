"""Data for the benchmarks: an EM-like image and the segmentation it shows, the same voxels on every run.

The labels are a Voronoi diagram of jittered seeds in warped space, flatter along z as in sections of 16 x 16 x 40 nm. Seeds are
joined to their neighbours into branching trees, and some whole groups into one thick body. In brackets what a published
segmentation of neurons has: 48 labels a 64^3 chunk (40), 2.8 labels a block of 8^3 (3.2), 59 kB of compressed_segmentation a
chunk (68 kB), 17.5 kB after gzip (18.1 kB). Chunks of the image shrink to 1 / 1.36 with gzip and 1 / 6 with jpeg of quality 75.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

Triple = tuple[int, int, int]
Labels = NDArray[np.uint32]
Floats = NDArray[np.float32]

RESOLUTION_NM: Triple = (8, 8, 8)
_SPACING: Triple = (18, 18, 8)
_BLOCK: Triple = (16, 16, 8)
_MARGIN = 2
"""Seed cells beyond each face: the nearest seed of a voxel is at most two cells away."""
_HEADER_BYTES = 352
"""Where the voxels of a single-file NIfTI-1 begin: 348 bytes of header, 4 that say there is no extension."""
_RECIPE = 1
"""Counted up when the voxels change, so that a file made by an older recipe is not taken for this one's."""


@dataclass(frozen=True)
class Samples:
    """The two files of one size: labels is .npy (uint32, Fortran order), image .nii (uint8), both x, y, z with x fastest."""

    shape: Triple
    labels: Path
    image: Path


@dataclass(frozen=True)
class Seeds:
    """Seeds of the Voronoi diagram, one a cell of a grid: positions float32 [x, y, z, 3] in voxels, labels uint32 [x, y, z]."""

    positions: Floats
    labels: Labels


def make_samples(directory: Path, shape: Triple, report: Callable[[str], None]) -> Samples:
    """Make the files of one size in directory, unless they are there."""
    name = f"{'x'.join(map(str, shape))}-r{_RECIPE}"
    samples = Samples(shape, directory / f"labels-{name}.npy", directory / f"image-{name}.nii")
    directory.mkdir(parents=True, exist_ok=True)
    if not samples.labels.exists():
        report(f"making {samples.labels.name}")
        _make(samples.labels, shape, _write_labels)
    return _with_image(samples, report)


def samples_of(labels: Path, directory: Path, report: Callable[[str], None]) -> Samples:
    """Take the user's labels (.npy, uint32, 3-D, Fortran order) and make the image that shows them, unless it is there."""
    array = np.load(labels, mmap_mode="r")
    if array.dtype != np.uint32 or array.ndim != 3 or not array.flags.f_contiguous:
        raise ValueError(f"{labels}: {array.dtype} {array.shape}, expected a 3-D uint32 array in Fortran order")
    directory.mkdir(parents=True, exist_ok=True)
    image = directory / f"image-of-{labels.stem}-{labels.stat().st_mtime_ns}-r{_RECIPE}.nii"
    return _with_image(Samples(array.shape, labels, image), report)


def _with_image(samples: Samples, report: Callable[[str], None]) -> Samples:
    if not samples.image.exists():
        report(f"making {samples.image.name}")
        _make(samples.image, samples.shape, partial(_write_image, samples.labels))
    return samples


def _make(path: Path, shape: Triple, write: Callable[[Path, Triple, "Slabs"], None]) -> None:
    """Write a file under another name, slab by slab along z in a process a core, then rename it."""
    begun = path.with_name(f"begun-{path.name}")
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        write(begun, shape, partial(_each_slab, pool, shape[2]))
    begun.rename(path)


Slabs = Callable[[Callable[[int], None]], None]
"""Runs a function for the first plane of every slab."""


def _each_slab(pool: ProcessPoolExecutor, depth: int, function: Callable[[int], None]) -> None:
    for _ in pool.map(function, range(0, depth, _BLOCK[2])):
        pass


def _write_labels(path: Path, shape: Triple, slabs: Slabs) -> None:
    np.lib.format.open_memmap(path, "w+", np.uint32, shape, fortran_order=True)
    slabs(partial(_write_labels_slab, path, grow_seeds(shape)))


def _write_labels_slab(path: Path, seeds: Seeds, z: int) -> None:
    volume = np.load(path, mmap_mode="r+")
    for box in _boxes(volume.shape[:2], z, volume.shape[2]):
        corner: Triple = tuple(side.start for side in box)
        volume[box] = nearest_labels(seeds, corner, volume[box].shape)


def _boxes(plane: tuple[int, ...], z: int, depth: int) -> Iterator[tuple[slice, slice, slice]]:
    for x in range(0, plane[0], _BLOCK[0]):
        for y in range(0, plane[1], _BLOCK[1]):
            yield slice(x, x + _BLOCK[0]), slice(y, y + _BLOCK[1]), slice(z, min(z + _BLOCK[2], depth))


def _write_image(labels: Path, path: Path, shape: Triple, slabs: Slabs) -> None:
    header: Any = nibabel.Nifti1Header()  # type: ignore[no-untyped-call]
    header.set_data_shape(shape)
    header.set_data_dtype(np.uint8)
    header.set_xyzt_units("micron")
    header.set_sform(np.diag([*(n / 1000 for n in RESOLUTION_NM), 1.0]), 1)
    header.set_zooms([n / 1000 for n in RESOLUTION_NM])
    header["vox_offset"] = _HEADER_BYTES
    path.write_bytes(header.binaryblock + bytes(_HEADER_BYTES - len(header.binaryblock)))
    os.truncate(path, _HEADER_BYTES + int(np.prod(shape)))
    slabs(partial(_write_image_slab, labels, path))


def _write_image_slab(labels: Path, path: Path, z: int) -> None:
    voxels = np.load(labels, mmap_mode="r")
    image = np.memmap(path, np.uint8, "r+", _HEADER_BYTES, voxels.shape, "F")
    box = np.s_[:, :, z : z + _BLOCK[2]]
    image[box] = picture(voxels[box], z)


def grow_seeds(shape: Triple, seed: int = 7) -> Seeds:
    """Scatter one seed in each cell of a grid over shape (voxels) and join them into trees and thick bodies of one label each."""
    random = np.random.default_rng(seed)
    cells = tuple(-(-size // step) + 2 * _MARGIN for size, step in zip(shape, _SPACING, strict=True))
    corners = np.moveaxis(np.indices(cells), 0, -1) - _MARGIN
    positions = (corners + random.random((*cells, 3))) * np.array(_SPACING)
    joined = _join_bodies(random, _join_trees(random, cells))
    _, label = np.unique(_roots(joined.ravel()), return_inverse=True)
    names = random.permutation(label.max() + 1) + 1
    return Seeds(positions.astype(np.float32), names[label].astype(np.uint32).reshape(cells))


def _join_trees(random: np.random.Generator, cells: tuple[int, ...]) -> NDArray[np.intp]:
    """Point each cell to a random next neighbour, or (15 %) to itself: the root of a tree."""
    own = np.arange(int(np.prod(cells))).reshape(cells)
    axis = np.where(random.random(cells) < 0.15, 3, random.integers(0, 3, cells))
    joined = own.copy()
    for k in range(3):
        last = np.take(own, [-1], k)
        following = np.concatenate([np.delete(own, 0, k), last], k)
        joined = np.where(axis == k, following, joined)
    return joined


def _join_bodies(random: np.random.Generator, joined: NDArray[np.intp], group: Triple = (3, 3, 4)) -> NDArray[np.intp]:
    """Point all cells of a quarter of the groups to the group's first cell."""
    grid = np.indices(joined.shape)
    first = np.ravel_multi_index(tuple(g // n * n for g, n in zip(grid, group, strict=True)), joined.shape)
    return np.where((random.random(joined.shape) < 0.25).ravel()[first], first, joined)


def _roots(joined: NDArray[np.intp]) -> NDArray[np.intp]:
    """Follow the pointers to their end: every pointer leads to itself or onwards."""
    while not np.array_equal(further := joined[joined], joined):
        joined = further
    return joined


def nearest_labels(seeds: Seeds, corner: Triple, shape: tuple[int, ...]) -> Labels:
    """Return the label of the seed nearest to each voxel of a box, uint32 of that shape."""
    metric = np.array([1, 1, _SPACING[0] / _SPACING[2]], np.float32)
    points = warped(corner, shape)
    low, high = (np.floor(edge / _SPACING).astype(int) + _MARGIN for edge in (points.min(0), points.max(0)))
    near = tuple(slice(max(a - 2, 0), b + 3) for a, b in zip(low, high, strict=True))
    points, places, labels = points * metric, seeds.positions[near].reshape(-1, 3) * metric, seeds.labels[near].ravel()
    # A seed is nearest to some voxel only if it is within the box's diameter of the seed that is nearest to the centre.
    centre = (points.min(0) + points.max(0)) / 2
    distance = np.linalg.norm(places - centre, axis=1)
    kept = distance <= distance.min() + 2 * np.linalg.norm(points - centre, axis=1).max()
    places, labels = places[kept], labels[kept]
    score = points @ (-2 * places.T) + (places**2).sum(1)
    nearest: Labels = labels[score.argmin(1)].reshape(shape)
    return nearest


def warped(corner: Triple, shape: tuple[int, ...]) -> Floats:
    """Return each voxel's place in warped space, float32 [voxel, 3], so that borders are curved and rough."""
    axes = [np.arange(a, a + n, dtype=np.float32) * np.float32(2 * np.pi) for a, n in zip(corner, shape, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    places = [
        np.sin(y / 71 + z / 53) + np.sin(z / 29 + y / 37) / 2,
        np.sin(x / 67 + z / 47) + np.sin(x / 31 + z / 23) / 2,
        np.sin(x / 83 + y / 61) * (_SPACING[2] / _SPACING[0]),
    ]
    moved = [a / np.float32(2 * np.pi) + 4 * b for a, b in zip((x, y, z), places, strict=True)]
    return np.stack([np.broadcast_to(place, shape) for place in moved], -1).reshape(-1, 3).astype(np.float32)


def picture(labels: Labels, seed: int) -> NDArray[np.uint8]:
    """Return how labels [x, y, z] would look in EM: dark membranes, a grey of its own in each cell, texture and noise."""
    random = np.random.default_rng(seed)
    grey = 165 + (labels * np.uint32(2654435761) >> np.uint32(27)).astype(np.float32)
    grey -= 45 * _smooth(_membranes(labels))
    grey += 12 * _smooth(_smooth(random.standard_normal(labels.shape, np.float32)))
    grey += 5 * random.standard_normal(labels.shape, np.float32)
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)


def _membranes(labels: Labels) -> Floats:
    """Return 1 on both sides of every border along x and y, else 0."""
    border = np.zeros(labels.shape, bool)
    across, along = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    for side, difference in ((np.s_[1:], across), (np.s_[:-1], across), (np.s_[:, 1:], along), (np.s_[:, :-1], along)):
        border[side] |= difference
    return border.astype(np.float32)


def _smooth(array: Floats) -> Floats:
    """Return a blur with weights 1, 2, 1 along x and y, wrapped around."""
    for axis in (0, 1):
        array = (np.roll(array, 1, axis) + 2 * array + np.roll(array, -1, axis)) / np.float32(4)
    return array
