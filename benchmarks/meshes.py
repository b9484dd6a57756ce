"""glassine and igneous mesh the same labels: time, memory, triangles, and how far the meshes lie from the voxels' surface.

Both read scale 0 of one dataset of compressed_segmentation, in files without gzip, from the page cache, with two processes. The
distances are between points all over the meshes of some segments and the marching-cubes surface of their voxels, both ways.
"""

import argparse
import json
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zmesh
from numpy.typing import NDArray

from benchmarks.measure import Measurement, RunError, run
from benchmarks.peers.environment import make_environment, versions
from benchmarks.report import machine, table
from benchmarks.samples import RESOLUTION_NM, make_samples, samples_of

_ROOT = Path(__file__).parent.parent
_WORK = Path(__file__).parent / ".work"
_SHAPE = (512, 512, 512)
_FORMS = {"legacy": ("--format", "legacy"), "sharded": ("--layout", "sharded", "--lods", "2")}
_POINTS = 2000
_NEIGHBOURS = 16
_SMALL_TRIANGLE = 60.0
"""nm: larger triangles are divided before the nearest are looked for by their middles."""

_Surface = tuple[NDArray[np.float64], NDArray[np.int64]]
"""Vertices in nm, [n, 3], and triangles, [m, 3]."""


@dataclass(frozen=True)
class Measured:
    """What distances are measured to: the labels, some of their segments, and nm a voxel."""

    labels: NDArray[Any]
    segments: list[int]
    resolution: tuple[float, ...]


@dataclass
class Side:
    """One mesher: its command, its runs, and what its meshes are."""

    name: str
    command: tuple[str, ...]
    runs: list[Measurement] = field(default_factory=list)
    triangles: int = 0
    missing: int = 0
    distances: NDArray[np.float64] = field(default_factory=lambda: np.zeros(1))
    stored: int = 0


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; return the exit status: 0 done, 1 a side failed."""
    options = _parser().parse_args(arguments)
    try:
        python = make_environment(_WORK / "peers")
        print(f"{machine(_WORK)}; {versions(python)}", flush=True)
        samples = samples_of(options.labels, _WORK / "samples", _progress) if options.labels else _made()
        template = _dataset(samples.labels, options.resolution)
        labels = np.load(samples.labels, mmap_mode="r")
        measured = Measured(labels, _chosen(labels, options.segments), tuple(options.resolution))
        for form in options.forms:
            print(f"\n{_compare(form, template, measured, options, python)}\n", flush=True)
    except (RunError, OSError, ValueError) as error:
        print(f"benchmarks meshes: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(_WORK / "meshes", ignore_errors=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks meshes", description=__doc__)
    parser.add_argument("--runs", type=int, default=1, help="measured runs of each side (default 1; igneous takes minutes)")
    parser.add_argument("--forms", nargs="+", choices=_FORMS, default=list(_FORMS), help="formats (default both)")
    parser.add_argument("--errors", nargs="+", type=float, default=[40.0], help="largest errors of glassine, nm (default 40)")
    parser.add_argument("--segments", type=int, default=20, help="segments whose distances are measured (default 20)")
    parser.add_argument("--resolution", nargs=3, type=float, default=RESOLUTION_NM, help="of the labels, nm (default 8 8 8)")
    parser.add_argument("--labels", type=Path, help="your own labels, a .npy of uint32 in Fortran order, in place of made ones")
    return parser


def _made() -> Any:
    return make_samples(_WORK / "samples", _SHAPE, _progress)


def _progress(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def _dataset(labels: Path, resolution: Sequence[float]) -> Path:
    """Convert the labels once; each side meshes a copy."""
    template = _WORK / "meshes" / "template"
    shutil.rmtree(template.parent, ignore_errors=True)
    template.parent.mkdir(parents=True)
    told = ("--type", "segmentation", "--resolution", ",".join(map(str, resolution)), "--chunk-size", "64,64,64")
    run((_glassine(), "convert", str(labels), str(template), *told, "--layout", "flat"), _ROOT, _WORK / "meshes" / "log.txt")
    return template


def _glassine() -> str:
    return str(Path(sys.executable).with_name("glassine"))


def _chosen(labels: NDArray[Any], count: int) -> list[int]:
    """Return some segments that are neither specks nor so large that measuring them takes long."""
    ids, sizes = np.unique(labels, return_counts=True)
    fit = ids[(ids > 0) & (sizes > 20_000) & (sizes < 3_000_000)]
    return sorted(np.random.default_rng(0).choice(fit, min(count, len(fit)), replace=False).tolist())


def _compare(form: str, template: Path, what: Measured, options: argparse.Namespace, python: Path) -> str:
    dataset = template.parent / "dataset"
    key = json.loads((template / "info").read_bytes())["scales"][0]["key"]
    ours = [
        Side(f"glassine, {error:g} nm", _ours(dataset, form, key, error)) for error in options.errors
    ]  # fmt: skip
    sides = [*ours, Side("igneous, 40 nm", (str(python), "-m", "benchmarks.peers.run_igneous_meshes", str(dataset), form, "40"))]
    for number in range(options.runs):
        for side in sides:
            shutil.rmtree(dataset, ignore_errors=True)
            shutil.copytree(template, dataset)
            side.runs.append(run(side.command, _ROOT, template.parent / "log.txt"))
            _progress(f"{form}, run {number + 1}/{options.runs}, {side.name}: {side.runs[-1].seconds:.1f} s")
            if number == 0:
                _look(side, dataset, what, python)
    return f"{form}, median of {options.runs}\n\n{_summary(sides)}"


def _ours(dataset: Path, form: str, key: str, error: float) -> tuple[str, ...]:
    told = ("--scale", key, "--max-error", str(error), "--executor", "processes:2", *_FORMS[form])
    return (_glassine(), "mesh", str(dataset), *told)


def _look(side: Side, dataset: Path, what: Measured, python: Path) -> None:
    """Count the triangles of all segments and measure the distances of some, as cloud-volume reads them."""
    read = dataset.parent / "read.npz"
    ids = ",".join(map(str, what.segments))
    run((str(python), "-m", "benchmarks.peers.read_meshes", str(dataset), str(read), ids), _ROOT, dataset.parent / "log.txt")
    found = np.load(read)
    side.triangles, side.missing = int(found["triangles"]), int(found["missing"])
    side.stored = sum(file.stat().st_size for file in (dataset / "mesh").iterdir() if "spatial" not in file.name)
    side.distances = np.concatenate([
        apart(_exact(what, segment), (found[f"v{segment}"].astype(np.float64), found[f"t{segment}"].astype(np.int64)))
        for segment in what.segments
        if f"v{segment}" in found
    ])  # fmt: skip


def _exact(what: Measured, segment: int) -> _Surface:
    """Return the marching-cubes surface of a segment's voxels, nm."""
    places = np.argwhere(np.asarray(what.labels) == segment)
    low, high = places.min(axis=0), places.max(axis=0) + 1
    box = np.zeros(high - low + 2, np.uint8, order="F")
    box[tuple((places - low + 1).T)] = 1
    mesher = zmesh.Mesher((1, 1, 1))
    mesher.mesh(box)
    mesh = mesher.get(1)
    return (mesh.vertices + (low - 0.5)) * np.array(what.resolution), mesh.faces.astype(np.int64)


def apart(one: _Surface, other: _Surface) -> NDArray[np.float64]:
    """Return how far points all over each of two surfaces lie from the other one, nm."""
    return np.concatenate([_away(_points(one), other), _away(_points(other), one)])


def _points(surface: _Surface) -> NDArray[np.float64]:
    vertices, triangles = surface
    random, corners = np.random.default_rng(0), vertices[triangles]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    weights = random.dirichlet((1, 1, 1), _POINTS)
    points: NDArray[np.float64] = np.einsum(
        "ij,ijk->ik", weights, corners[random.choice(len(triangles), _POINTS, p=areas / areas.sum())]
    )
    return points


def _away(points: NDArray[np.float64], surface: _Surface) -> NDArray[np.float64]:
    from scipy.spatial import cKDTree

    corners = _divided(surface[0][surface[1]])
    _, near = cKDTree(corners.mean(axis=1)).query(points, k=min(_NEIGHBOURS, len(corners)))
    found = np.full(len(points), np.inf)
    for column in near.reshape(len(points), -1).T:
        found = np.minimum(found, _to_triangles(points, corners[column]))
    return found


def _divided(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return triangles, [m, 3, 3], halved at their longest edges until none is long."""
    done = []
    while len(corners):
        edges = np.linalg.norm(corners - np.roll(corners, -1, axis=1), axis=2)
        large = edges.max(axis=1) > _SMALL_TRIANGLE
        done.append(corners[~large])
        first = edges[large].argmax(axis=1)
        a, b, c = (corners[large][np.arange(len(first)), (first + k) % 3] for k in range(3))
        middle = (a + b) / 2
        corners = np.concatenate([np.stack([a, middle, c], axis=1), np.stack([middle, b, c], axis=1)])
    return np.concatenate(done)


def _to_triangles(points: NDArray[np.float64], corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance of each point from its triangle: to its plane where the foot lies inside, else to its edges."""
    a, b, c = corners.transpose(1, 0, 2)
    normal = np.cross(b - a, c - a)
    size = np.linalg.norm(normal, axis=1)
    unit = normal / np.where(size > 0, size, 1)[:, None]
    inside, found = size > 0, np.full(len(points), np.inf)
    for begin, end in ((a, b), (b, c), (c, a)):
        edge, way = end - begin, points - begin
        part = np.clip((way * edge).sum(axis=1) / np.maximum((edge * edge).sum(axis=1), 1e-12), 0, 1)
        found = np.minimum(found, np.linalg.norm(way - part[:, None] * edge, axis=1))
        inside = inside & ((np.cross(edge, way) * unit).sum(axis=1) >= 0)
    return np.where(inside, np.abs(((points - a) * unit).sum(axis=1)), found)


def _summary(sides: Sequence[Side]) -> str:
    times = "seconds", "times igneous", "CPU seconds", "times igneous"
    heads = ("", *times, "peak MiB", "triangles", "without a mesh", "MB", "mean nm", "99 % nm", "largest nm")
    return table(heads, [_row(side, _times(sides[-1])) for side in sides])


def _times(side: Side) -> tuple[float, float]:
    """Return the seconds that a side took, and those of all processors."""
    return statistics.median(r.seconds for r in side.runs), statistics.median(r.cpu_seconds for r in side.runs)


def _row(side: Side, igneous: tuple[float, float]) -> tuple[str, ...]:
    seconds, cpu_seconds = _times(side)
    return (
        side.name,
        f"{seconds:.1f}",
        f"{igneous[0] / seconds:.1f}",
        f"{cpu_seconds:.1f}",
        f"{igneous[1] / cpu_seconds:.1f}",
        f"{max(r.peak_bytes for r in side.runs) / 2**20:.0f}",
        f"{side.triangles / 1e6:.2f} M",
        str(side.missing),
        f"{side.stored / 1e6:.1f}",
        f"{side.distances.mean():.1f}",
        f"{np.quantile(side.distances, 0.99):.1f}",
        f"{side.distances.max():.1f}",
    )
