"""The sides of a comparison: whole processes that do the same work in turn, their voxels checked, their times in one table."""

import json
import os
import shutil
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measure import Measurement, run
from benchmarks.peers.environment import make_environment, versions
from benchmarks.report import machine, progress, table

_ROOT = Path(__file__).parent.parent
WORK = Path(__file__).parent / ".work"
"""For what is made once and kept, and for what is written and removed."""
GLASSINE = str(Path(sys.executable).with_name("glassine"))


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

    def peer(self, module: str, job: Path | None = None) -> tuple[str, ...]:
        """Return the command that runs a module of the peers' on a job, else on the one that the checks use, too."""
        return (str(self.python), "-m", f"benchmarks.peers.{module}", str(job or self.job))


@contextmanager
def prepared(name: str, runs: int) -> Iterator[Bench]:
    """Make the peers' environment, tell what is measured on what, and remove in the end what was written."""
    # An installed package has its bytecode beside it; what runs from a checkout must be allowed to keep it there.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    progress("environment of the peers")
    python = make_environment(WORK / "peers")
    print(f"{machine(WORK)}; {versions(python)}", flush=True)
    try:
        yield Bench(python, WORK / name, runs)
    finally:
        shutil.rmtree(WORK / name, ignore_errors=True)


def measure(bench: Bench, sides: Sequence[Side]) -> None:
    """Run all sides in turn, each round beginning with another one.

    Before each run that counts is one that does not: where a machine takes back what has not been read for half a minute, as
    virtual ones do, a side that follows a slow one would otherwise read its libraries and the source from the disk.
    """
    for k in range(bench.runs):
        for side in [*sides[k % len(sides) :], *sides[: k % len(sides)]]:
            attempt(bench, side)
            side.runs.append(attempt(bench, side))
            progress(f"run {k + 1}/{bench.runs}, {side.name}: {side.runs[-1].seconds:.2f} s")


def attempt(bench: Bench, side: Side) -> Measurement:
    """Run a side once, after the last output has been put aside and the disk has settled, so that no side pays for another's.

    Its files are emptied and not removed: for a minute after files were removed, ext4 takes half a millisecond of processor time
    to make a new one, because it passes over the inodes that were just freed. Were they not emptied, each run would write to
    memory that a virtual machine has to ask its host for first, a second of processor time for half a gigabyte.
    """
    bench.kept.mkdir(parents=True, exist_ok=True)
    if bench.destination.exists():
        for file in bench.destination.rglob("*"):
            if file.is_file():
                os.truncate(file, 0)
        bench.destination.rename(bench.kept / str(len(os.listdir(bench.kept))))
    os.sync()
    return run(side.command, _ROOT, bench.directory / "log.txt")


def cache(path: Path) -> None:
    """Read a file once, so that no side finds it on a cold disk."""
    with path.open("rb") as file:
        while file.read(1 << 24):
            pass


def check(bench: Bench, side: Side) -> None:
    """Compare what a side wrote with its source and keep the bytes of each scale. Raises RunError when a voxel is wrong."""
    run(bench.peer("check"), _ROOT, bench.directory / "check.txt")
    for scale in json.loads((bench.destination / "info").read_bytes())["scales"]:
        files = (bench.destination / scale["key"]).rglob("*")
        side.scale_bytes.append(sum(file.stat().st_size for file in files if file.is_file()))
    progress(f"{side.name}: voxels of all {len(side.scale_bytes)} scales are as they must be")


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
