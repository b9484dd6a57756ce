"""A made confocal stack: two branching neurons that are known, blurred and noisy, the same voxels on every run.

Each neuron is a cell body and neurites that fork and get thinner, kept apart from all others so that it is one component. The
stack is what a microscope would make of them: blurred by a point spread function that is longer along z, photons counted
(Poisson), the detector's noise added (Gaussian). Specks of dust lie between them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

Triple = tuple[int, int, int]
Points = NDArray[np.float64]
"""[n, 3], x, y, z in micron; 0 is the corner of the first voxel."""

SPACING = (0.19, 0.19, 0.38)
"""Micron a voxel."""
_STEP = 0.5
"""Micron between two points of a neurite."""
_SOMA_RADIUS, _THICK, _THIN = 4.0, 0.9, 0.4
"""Micron: of a cell body, of a neurite where it leaves it, and of its ends."""
_CLEARANCE = 3.5
"""Micron between the middles of neurites that do not fork from each other."""
_FORK = 4.0
"""Micron around a fork in which its branches may be nearer, or radii of the cell body that they leave."""
_TURN = 0.7
"""Radians by which both branches of a fork turn aside."""
_SPREAD = 0.08
"""How much the direction of a neurite changes from step to step, radians."""
_BLUR = (0.12, 0.12, 0.4)
"""Standard deviations of the point spread function, micron."""
_DARK, _BRIGHT, _GAIN, _READ_NOISE = 4.0, 40.0, 4.0, 4.0
"""Photons of background and of a neuron; grey values a photon; standard deviation of the detector's noise in grey values."""
_SPECKS, _SPECK_RADIUS = 40, 0.5
_SLAB, _HALO = 40, 6
"""Planes that are made at a time, and planes around them that they are blurred from."""
_SEED = 11


@dataclass(frozen=True)
class Neuron:
    """A tree. parents: the point that each hangs on, -1 for the first, which is the middle of the cell body. radii: micron."""

    points: Points
    radii: NDArray[np.float64]
    parents: NDArray[np.int64]

    @property
    def cable(self) -> float:
        """The length of all lines together, micron."""
        return float(np.linalg.norm(self.points[1:] - self.points[self.parents[1:]], axis=1).sum())


@dataclass
class _Growing:
    """A neuron while it grows. others: what it has to keep away from."""

    others: Points
    points: list[Points] = field(default_factory=list)
    radii: list[float] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)

    def add(self, point: Points, radius: float, parent: int) -> int:
        """Add a point and return its position."""
        self.points.append(point)
        self.radii.append(radius)
        self.parents.append(parent)
        return len(self.points) - 1

    def is_free(self, point: Points, parent: int, own: int) -> bool:
        """Tell whether a point is far from other neurites.

        parent: the point that its own begins at. own: positions from here on are its own.
        """
        before = np.array(self.points[:own])
        fork = _FORK if self.parents[parent] >= 0 else 1.6 * self.radii[parent]
        apart = before[np.linalg.norm(before - before[parent], axis=1) > fork]
        behind = np.array(self.points[own : max(own, len(self.points) - int(1.5 * _CLEARANCE / _STEP))])
        return _is_far(point, self.others, 2 * _CLEARANCE) and all(_is_far(point, p, _CLEARANCE) for p in (apart, behind))


def _is_far(point: Points, others: Points, distance: float) -> bool:
    return not len(others) or bool(np.linalg.norm(others - point, axis=1).min() >= distance)


def make_neurons(shape: Triple) -> list[Neuron]:
    """Return the two neurons of a stack of so many voxels."""
    extent = np.multiply(shape, SPACING)
    neurons: list[Neuron] = []
    for number, place in enumerate(((0.27, 0.3, 0.45), (0.73, 0.7, 0.55))):
        others = np.concatenate([neuron.points for neuron in neurons]) if neurons else np.zeros((0, 3))
        neurons.append(_grown(np.random.default_rng([_SEED, number]), extent, extent * place, others))
    return neurons


def _grown(random: np.random.Generator, extent: Points, soma: Points, others: Points) -> Neuron:
    growing = _Growing(others)
    root = growing.add(soma, min(_SOMA_RADIUS, extent.min() / 8), -1)
    length = extent[0] / 6
    for turn in np.arange(5) * 2 * np.pi / 5 + random.uniform(0, 2 * np.pi):
        out = np.array([np.cos(turn), np.sin(turn), random.uniform(-0.5, 0.5)])
        _grow(random, growing, (root, out / np.linalg.norm(out), length, 3), extent)
    return Neuron(np.array(growing.points), np.array(growing.radii), np.array(growing.parents))


def _grow(random: np.random.Generator, growing: _Growing, branch: tuple[int, Points, float, int], extent: Points) -> None:
    """Let a branch grow and fork. branch: the point that it hangs on, its direction, its length, how often it may fork."""
    parent, way, length, forks = branch
    begin, own = parent, len(growing.points)
    thick = _THICK if growing.parents[parent] < 0 else growing.radii[parent]
    steps = int(length * random.uniform(0.7, 1.3) / _STEP)
    for step in range(steps):
        found = _next(random, growing, (growing.points[parent], way, begin, own), extent)
        if found is None:
            return
        way = found
        thin = max(_THIN, thick * 0.75)
        parent = growing.add(growing.points[parent] + _STEP * way, thick + (thin - thick) * step / steps, parent)
    if forks:
        aside = np.cross(way, random.normal(size=3))
        aside /= np.linalg.norm(aside)
        for side in (-1, 1):
            turned = way * np.cos(_TURN) + side * aside * np.sin(_TURN)
            _grow(random, growing, (parent, turned, length * 0.8, forks - 1), extent)


def _next(random: np.random.Generator, growing: _Growing, at: tuple[Points, Points, int, int], extent: Points) -> Points | None:
    """Return the direction of the next step that keeps free of all others and within the stack, None where there is none."""
    here, way, begin, own = at
    for attempt in range(30):
        turned = way + random.normal(size=3) * _SPREAD * (1 + attempt / 8)
        turned /= np.linalg.norm(turned)
        there = here + _STEP * turned
        inside = (there > 3).all() and (there < extent - 3).all()
        if inside and growing.is_free(there, begin, own):
            return np.asarray(turned)
    return None


def write_stack(path: Path, shape: Triple, neurons: list[Neuron], report: Callable[[str], None]) -> None:
    """Write the stack as NRRD, uint8, raw, with its spacing in micron."""
    header = [
        *("NRRD0004", "type: uint8", "dimension: 3", f"sizes: {' '.join(map(str, shape))}"),
        f"spacings: {' '.join(map(str, SPACING))}",
        *('units: "um" "um" "um"', "kinds: domain domain domain", "encoding: raw", "", ""),
    ]
    with path.open("wb") as file:
        file.write("\n".join(header).encode())
        for begin in range(0, shape[2], _SLAB):
            end = min(begin + _SLAB, shape[2])
            report(f"making planes {begin} to {end} of {shape[2]}")
            file.write(_slab(shape, neurons, begin, end).tobytes("F"))


def _slab(shape: Triple, neurons: list[Neuron], begin: int, end: int) -> NDArray[np.uint8]:
    low, high = max(0, begin - _HALO), min(shape[2], end + _HALO)
    there = np.zeros((shape[0], shape[1], high - low), np.float32, order="F")
    for point, radius in _balls(shape, neurons):
        _draw(there, low, point, radius)
    blurred = gaussian_filter(there, np.divide(_BLUR, SPACING), truncate=3)[:, :, begin - low : end - low]
    random = np.random.default_rng([_SEED, 99, begin])
    photons = random.poisson(_DARK + (_BRIGHT - _DARK) * blurred)
    grey = photons * np.float32(_GAIN) + random.normal(0, _READ_NOISE, blurred.shape).astype(np.float32)
    voxels: NDArray[np.uint8] = np.clip(np.rint(grey), 0, 255).astype(np.uint8)
    return voxels


def _balls(shape: Triple, neurons: list[Neuron]) -> Iterator[tuple[Points, float]]:
    """Yield the middle and the radius of each ball that the neurons and the specks are made of."""
    for neuron in neurons:
        yield neuron.points[0], float(neuron.radii[0])
        for number in range(1, len(neuron.points)):
            parent = neuron.parents[number]
            for part in (0.25, 0.5, 0.75, 1.0):
                yield neuron.points[parent] + part * (neuron.points[number] - neuron.points[parent]), float(neuron.radii[number])
    tree = cKDTree(np.concatenate([neuron.points for neuron in neurons]))
    specks = np.random.default_rng([_SEED, 7]).uniform(2, np.multiply(shape, SPACING) - 2, (_SPECKS, 3))
    for speck in specks[tree.query(specks)[0] > 2 * _SOMA_RADIUS]:
        yield speck, _SPECK_RADIUS


def _draw(there: NDArray[np.float32], low: int, point: Points, radius: float) -> None:
    """Draw a ball, its rim one voxel soft. low: the plane that `there` begins with."""
    start = np.maximum(np.floor((point - radius) / SPACING).astype(int) - 1, (0, 0, low))
    end = np.minimum(np.ceil((point + radius) / SPACING).astype(int) + 1, (there.shape[0], there.shape[1], low + there.shape[2]))
    if (end <= start).any():
        return
    axes = [(np.arange(a, b) + 0.5) * s - p for a, b, s, p in zip(start, end, SPACING, point, strict=True)]
    far = np.sqrt(axes[0][:, None, None] ** 2 + axes[1][None, :, None] ** 2 + axes[2][None, None, :] ** 2)
    part = there[start[0] : end[0], start[1] : end[1], start[2] - low : end[2] - low]
    np.maximum(part, np.clip((radius - far) / SPACING[0] + 0.5, 0, 1), out=part)


def points_along(points: Points, edges: NDArray[Any], spacing: float = 0.1) -> Points:
    """Return points all along the lines of a tree, no farther apart than spacing. edges: [m, 2], positions in the points."""
    begins, ends = points[edges[:, 0]], points[edges[:, 1]]
    counts = np.maximum(1, np.ceil(np.linalg.norm(ends - begins, axis=1) / spacing).astype(int))
    which = np.repeat(np.arange(len(edges)), counts)
    parts = (np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts) + 0.5) / counts[which]
    return np.asarray(begins[which] + parts[:, np.newaxis] * (ends - begins)[which])


def edges_of(parents: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return [m, 2]: the points that hang on another one, and that one."""
    hanging = np.flatnonzero(parents >= 0)
    return np.stack([hanging, parents[hanging]], axis=1)


def read_swc(path: Path) -> Points:
    """Return points all along the lines of an SWC file, in its unit."""
    rows = np.loadtxt(path, comments="#", ndmin=2)
    positions = {int(number): position for position, number in enumerate(rows[:, 0])}
    parents = np.array([positions.get(int(number), -1) for number in rows[:, 6]])
    return points_along(rows[:, 2:5], edges_of(parents))


def part_within(some: Points, others: Points, distance: float) -> float:
    """Return the part of some points that have one of the others within a distance."""
    return float((cKDTree(others).query(some)[0] <= distance).mean())
