"""glassine and its peers convert the same volumes: wall time, memory and bytes of whole processes, side by side.

Every side writes the scales that glassine plans, in chunks of 64^3; none syncs its files to disk; all read a source that lies
in the page cache. Runs are interleaved: each round runs every side once and begins with another one. Before each run, outside
the time taken, the last output is removed and the disk settles. Before the rounds each side runs once untimed and its voxels
are checked.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measure import Measurement, RunError, run
from benchmarks.peers.environment import make_environment, versions
from benchmarks.peers.job import Job, write_job
from benchmarks.report import machine, table
from benchmarks.samples import RESOLUTION_NM, Samples, Triple, make_samples, samples_of

_ROOT = Path(__file__).parent.parent
_WORK = Path(__file__).parent / ".work"
_JPEG_QUALITY = 85
_SHAPES: dict[str, Triple] = {"512": (512, 512, 512), "1024": (1024, 1024, 512)}
_PEERS = {
    "neuroglancer-scripts": "run_neuroglancer_scripts",
    "cloud-volume + igneous": "run_cloud_volume",
    "tensorstore, from memory": "run_tensorstore",
    "tensorstore, from its stores": "run_tensorstore_stores",
}
"""tensorstore pools each scale from the one before: it keeps that in memory, or reads it back, as its documentation shows."""
_FAST_PEERS = tuple(_PEERS)[1:]


@dataclass(frozen=True)
class Task:
    """One kind of conversion and the peers that can do it."""

    title: str
    type: str
    encoding: str
    peers: tuple[str, ...]


TASKS = {
    "image": Task("image, raw + gzip (tensorstore: no gzip)", "image", "raw", tuple(_PEERS)),
    "jpeg": Task(f"image, jpeg of quality {_JPEG_QUALITY}", "image", "jpeg", _FAST_PEERS),
    "labels": Task(
        "labels, compressed_segmentation + gzip (tensorstore: no gzip)",
        "segmentation",
        "compressed_segmentation",
        _FAST_PEERS,
    ),
}


@dataclass(frozen=True)
class Side:
    """One converter: the command that writes the dataset, its measured runs, and the bytes of each scale's files."""

    name: str
    command: tuple[str, ...]
    runs: list[Measurement] = field(default_factory=list)
    scale_bytes: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Bench:
    """python: the peers'. directory: for the output of the side that runs, its log, the peers' job. runs: timed ones a side."""

    python: Path
    directory: Path
    runs: int

    @property
    def destination(self) -> Path:
        return self.directory / "dataset"

    @property
    def kept(self) -> Path:
        return self.directory / "kept"

    @property
    def job(self) -> Path:
        return self.directory / "job.json"

    def peer(self, module: str) -> tuple[str, ...]:
        return (str(self.python), "-m", f"benchmarks.peers.{module}", str(self.job))


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; return the exit status: 0 done, 1 a side failed or wrote wrong voxels."""
    options = _parser().parse_args(arguments)
    # An installed package has its bytecode beside it; what runs from a checkout must be allowed to keep it there.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    try:
        _progress("environment of the peers")
        python = make_environment(_WORK / "peers")
        bench = Bench(python, _WORK / "volumes", 1 if options.quick else options.runs)
        print(f"{machine(_WORK)}; {versions(python)}", flush=True)
        for samples in _samples(options):
            for name in options.tasks:
                print(f"\n{_compare(bench, TASKS[name], samples)}\n", flush=True)
    except (RunError, OSError, ValueError) as error:
        print(f"benchmarks volumes: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(_WORK / "volumes", ignore_errors=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks volumes", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="512 x 512 x 512 alone, each side once")
    parser.add_argument(
        "--sizes", nargs="+", choices=_SHAPES, default=list(_SHAPES), help="512^3, 1024 x 1024 x 512 (default both)"
    )
    parser.add_argument("--runs", type=int, default=5, help="measured runs of each side (default 5)")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS), help="what to convert (default all)")
    parser.add_argument("--labels", type=Path, help="your own labels, a .npy of uint32 in Fortran order, in place of made ones")
    return parser


def _samples(options: argparse.Namespace) -> list[Samples]:
    directory = _WORK / "samples"
    if options.labels:
        return [samples_of(options.labels, directory, _progress)]
    sizes = ["512"] if options.quick else options.sizes
    return [make_samples(directory, _SHAPES[size], _progress) for size in sizes]


def _progress(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def _compare(bench: Bench, task: Task, samples: Samples) -> str:
    """Run one task on one size by all sides; return the table."""
    title = f"{task.title}, {' x '.join(map(str, samples.shape))}"
    source = samples.image if task.type == "image" else samples.labels
    _progress(title)
    _cache(source)
    ours = Side("glassine", _glassine(task, source, bench.destination))
    sides = [ours, *(Side(name, bench.peer(_PEERS[name])) for name in task.peers)]
    _try(bench, ours)
    write_job(_job(task, source, bench.destination), bench.job)
    _check(bench, ours)
    for side in sides[1:]:
        _try(bench, side)
        _check(bench, side)
    for k in range(bench.runs):
        for side in sides[k % len(sides) :] + sides[: k % len(sides)]:
            side.runs.append(_try(bench, side))
            _progress(f"run {k + 1}/{bench.runs}, {side.name}: {side.runs[-1].seconds:.2f} s")
    return f"{title}, median of {bench.runs}\n\n{summary(sides)}"


def _cache(path: Path) -> None:
    """Read a file once, so that no side finds it on a cold disk."""
    with path.open("rb") as file:
        while file.read(1 << 24):
            pass


def _glassine(task: Task, source: Path, destination: Path) -> tuple[str, ...]:
    command = Path(sys.executable).with_name("glassine")
    resolution = ",".join(map(str, RESOLUTION_NM))
    options = ("--type", task.type, "--encoding", task.encoding, "--resolution", resolution)
    chunks = ("--chunk-size", "64,64,64", "--jpeg-quality", str(_JPEG_QUALITY))
    return (str(command), "convert", str(source), str(destination), *options, *chunks)


def _try(bench: Bench, side: Side) -> Measurement:
    """Run a side once, after the last output has been put aside and the disk has settled, so that no side pays for another's.

    Nothing is removed before the end: for a minute after files were removed, ext4 takes half a millisecond of processor time
    to make a new one, because it passes over the inodes that were just freed.
    """
    bench.kept.mkdir(parents=True, exist_ok=True)
    if bench.destination.exists():
        bench.destination.rename(bench.kept / str(len(os.listdir(bench.kept))))
    os.sync()
    return run(side.command, _ROOT, bench.directory / "log.txt")


def _job(task: Task, source: Path, destination: Path) -> Job:
    """Return what the peers have to write: the scales of the info that glassine wrote."""
    info = json.loads((destination / "info").read_bytes())
    if task.encoding == "jpeg":
        info["scales"] = [{**scale, "jpeg_quality": _JPEG_QUALITY} for scale in info["scales"]]
    return Job(str(source), str(destination), info, len(os.sched_getaffinity(0)))


def _check(bench: Bench, side: Side) -> None:
    """Compare what a side wrote with its source and keep the bytes of each scale. Raises RunError when a voxel is wrong."""
    run(bench.peer("check"), _ROOT, bench.directory / "check.txt")
    for scale in json.loads((bench.destination / "info").read_bytes())["scales"]:
        files = (bench.destination / scale["key"]).rglob("*")
        side.scale_bytes.append(sum(file.stat().st_size for file in files if file.is_file()))
    _progress(f"{side.name}: voxels of all {len(side.scale_bytes)} scales are as they must be")


def summary(sides: Sequence[Side]) -> str:
    """Return the table of one task: times, ratios to the first side's, memory and bytes."""
    heads = ("", "seconds", "least-most", "times ours", "CPU seconds", "peak MiB", "MB written", "of ours", "MB a scale")
    return table(heads, [_row(side, sides[0]) for side in sides])


def _row(side: Side, ours: Side) -> tuple[str, ...]:
    seconds, peaks = [r.seconds for r in side.runs], [r.peak_bytes for r in side.runs]
    written = sum(side.scale_bytes)
    return (
        side.name,
        f"{statistics.median(seconds):.2f}",
        f"{min(seconds):.2f}-{max(seconds):.2f}",
        f"{statistics.median(seconds) / statistics.median(r.seconds for r in ours.runs):.2f}",
        f"{statistics.median(r.cpu_seconds for r in side.runs):.2f}",
        f"{max(peaks) / 2**20:.0f}",
        f"{written / 1e6:.1f}",
        f"{written / sum(ours.scale_bytes):.3f}",
        " + ".join(f"{size / 1e6:.1f}" for size in side.scale_bytes),
    )
