"""glassine and its peers convert the same volumes: wall time, memory and bytes of whole processes, side by side.

Every side writes the scales that glassine plans, in chunks of 64^3; none syncs its files to disk; all read a source that lies
in the page cache. Runs are interleaved: each round runs every side twice, of which the second run counts, and begins with another
side. Before each run, outside the time taken, the last output is put aside and the disk settles. Before the rounds each side
runs once, and its voxels are checked.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import RunError
from benchmarks.peers.job import Job, write_job
from benchmarks.report import progress
from benchmarks.samples import RESOLUTION_NM, Samples, Triple, make_samples, samples_of
from benchmarks.sides import GLASSINE, WORK, Bench, Side, attempt, cache, check, measure, prepared, summary

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


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; return the exit status: 0 done, 1 a side failed or wrote wrong voxels."""
    options = _parser().parse_args(arguments)
    try:
        with prepared("volumes", 1 if options.quick else options.runs) as bench:
            for samples in _samples(options):
                for name in options.tasks:
                    print(f"\n{_compare(bench, TASKS[name], samples)}\n", flush=True)
    except (RunError, OSError, ValueError) as error:
        print(f"benchmarks volumes: {error}", file=sys.stderr)
        return 1
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
    directory = WORK / "samples"
    if options.labels:
        return [samples_of(options.labels, directory, progress)]
    sizes = ["512"] if options.quick else options.sizes
    return [make_samples(directory, _SHAPES[size], progress) for size in sizes]


def _compare(bench: Bench, task: Task, samples: Samples) -> str:
    """Run one task on one size by all sides; return the table."""
    title = f"{task.title}, {' x '.join(map(str, samples.shape))}"
    source = samples.image if task.type == "image" else samples.labels
    progress(title)
    cache(source)
    ours = Side("glassine", _glassine(task, source, bench.destination))
    sides = [ours, *(Side(name, bench.peer(_PEERS[name])) for name in task.peers)]
    attempt(bench, ours)
    write_job(_job(task, source, bench.destination), bench.job)
    check(bench, ours)
    for side in sides[1:]:
        attempt(bench, side)
        check(bench, side)
    measure(bench, sides)
    return f"{title}, median of {bench.runs}\n\n{summary(sides)}"


def _glassine(task: Task, source: Path, destination: Path) -> tuple[str, ...]:
    resolution = ",".join(map(str, RESOLUTION_NM))
    options = ("--type", task.type, "--encoding", task.encoding, "--resolution", resolution)
    chunks = ("--chunk-size", "64,64,64", "--jpeg-quality", str(_JPEG_QUALITY))
    return (GLASSINE, "convert", str(source), str(destination), *options, *chunks)


def _job(task: Task, source: Path, destination: Path) -> Job:
    """Return what the peers have to write: the scales of the info that glassine wrote."""
    info = json.loads((destination / "info").read_bytes())
    if task.encoding == "jpeg":
        info["scales"] = [{**scale, "jpeg_quality": _JPEG_QUALITY} for scale in info["scales"]]
    return Job(str(source), str(source), str(destination), info, len(os.sched_getaffinity(0)))
