"""glassine and its peers turn the sources of labs into shards: wall time, memory and bytes of whole processes, side by side.

A Zarr array becomes scale 0 alone, by tensorstore's copy as well; a folder of TIFF slices becomes all scales, by cloud-volume and
igneous as well. Chunks of 64^3 in the shards that glassine plans for scale 0, gzip inside unless it says otherwise. As in the
benchmark of volumes nothing is synced to disk, sources lie in the page cache, runs are interleaved, and the voxels of each side
are checked before its timed runs.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import RunError
from benchmarks.peers.job import Job, write_job
from benchmarks.report import progress
from benchmarks.samples import RESOLUTION_NM, Triple, make_samples
from benchmarks.sides import GLASSINE, WORK, Bench, Side, attempt, check, measure, prepared, summary
from benchmarks.source_samples import FORMS, bytes_of, make_form

_SHAPES: dict[str, Triple] = {"512": (512, 512, 512), "1024": (1024, 1024, 512)}


@dataclass(frozen=True)
class Peer:
    """A module of benchmarks.peers, and the data_encoding of the shards that it writes."""

    name: str
    module: str
    data_encoding: str = "gzip"


@dataclass(frozen=True)
class Task:
    """One form of the source, the options that glassine gets besides those of every task, and the peers."""

    form: str
    options: tuple[str, ...]
    peers: tuple[Peer, ...]


_COPY = (Peer("tensorstore", "run_tensorstore_copy"), Peer("tensorstore, no gzip", "run_tensorstore_copy", "raw"))
_STACK = (
    Peer("cloud-volume + igneous, from memory", "run_cloud_volume_stack"),
    Peer("the same, transfer tasks", "run_igneous_stack"),
)

TASKS = {
    "zarr-blosc": Task("blosc", ("--scales", "1"), _COPY),
    "zarr-zstd": Task("zstd", ("--scales", "1"), _COPY),
    "tiff": Task("slices", (), _STACK),
    "tiff-zlib": Task("zlib-slices", (), _STACK),
}


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; return the exit status: 0 done, 1 a side failed or wrote wrong voxels."""
    options = _parser().parse_args(arguments)
    try:
        with prepared("sources", options.runs) as bench:
            image = make_samples(WORK / "samples", _SHAPES[options.size], progress).image
            for name in options.tasks:
                print(f"\n{_compare(bench, TASKS[name], image)}\n", flush=True)
                # These are few files, large ones: removing them costs the next task nothing, and keeping all fills the disk.
                shutil.rmtree(bench.kept)
    except (RunError, OSError, ValueError) as error:
        print(f"benchmarks sources: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks sources", description=__doc__)
    parser.add_argument("--size", choices=_SHAPES, default="1024", help="512^3 or 1024 x 1024 x 512 (default 1024)")
    parser.add_argument("--runs", type=int, default=5, help="measured runs of each side (default 5)")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS), help="what to convert (default all)")
    return parser


def _compare(bench: Bench, task: Task, image: Path) -> str:
    """Run one task by all sides; return the table."""
    source = make_form(image, task.form, progress)
    title = f"{FORMS[task.form].title}, {bytes_of(source) / 1e6:.0f} MB"
    progress(title)
    ours = Side("glassine", _glassine(task, source, bench.destination))
    attempt(bench, ours)
    info = json.loads((bench.destination / "info").read_bytes())
    sides = [ours]
    for peer in task.peers:
        job = bench.directory / f"job-{len(sides)}.json"
        write_job(_job(bench, source, image, with_data_encoding(info, peer.data_encoding)), job)
        sides.append(Side(peer.name, bench.peer(peer.module, job)))
    write_job(_job(bench, source, image, info), bench.job)
    check(bench, ours)
    for side in sides[1:]:
        attempt(bench, side)
        check(bench, side)
    measure(bench, sides)
    scales = "scale 0 alone" if len(info["scales"]) == 1 else f"{len(info['scales'])} scales"
    return f"{title}, into shards of {scales}, median of {bench.runs}\n\n{summary(sides)}"


def _glassine(task: Task, source: Path, destination: Path) -> tuple[str, ...]:
    told = ("--type", "image", "--resolution", ",".join(map(str, RESOLUTION_NM)))
    asked = ("--encoding", "raw", "--layout", "sharded", "--chunk-size", "64,64,64", *task.options)
    return (GLASSINE, "convert", str(source), str(destination), *told, *asked)


def _job(bench: Bench, source: Path, image: Path, info: dict[str, Any]) -> Job:
    return Job(str(source), str(image), str(bench.destination), info, len(os.sched_getaffinity(0)))


def with_data_encoding(info: dict[str, Any], encoding: str) -> dict[str, Any]:
    """Return a volume's info with this data_encoding in the sharding of all scales."""
    scales = [{**scale, "sharding": {**scale["sharding"], "data_encoding": encoding}} for scale in info["scales"]]
    return {**info, "scales": scales}
