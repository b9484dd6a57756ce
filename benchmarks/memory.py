"""glassine's memory on inputs of many GB that are awkward to read: RssAnon and RssShmem of the process tree, every 50 ms.

Each input is planned and converted into each layout, as processes, with --memory; the peak must stay below it and 300 MB more.
Some hundred voxels of every scale are compared with the input's. Beside each result stands what `glassine plan` said before.
Inputs are kept for the next time unless --clean says otherwise; each dataset is removed when it has been checked.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.large_samples import KINDS, Sample, make_sample, remove, sample_path
from benchmarks.measure import Measurement, RunError, run
from benchmarks.report import machine, table
from benchmarks.samples import RESOLUTION_NM
from benchmarks.spot_check import WrongVoxelError, check_voxels
from converters.options import byte_count

_ROOT = Path(__file__).parent.parent
_WORK = Path(__file__).parent / ".work"
_LAYOUTS = ("nested", "flat", "sharded")
_BEYOND_BYTES = 300_000_000
"""What a run may take more than it was told to."""
_RESERVE_BYTES = 4_000_000_000
"""Of the disk, that are left to others."""
_MEASURED = ("seconds", "planned", "CPU seconds", "peak MiB", "planned", "allowed", "files", "planned", "MB", "planned")
_HEADS = ("", "layout", "unpacked", *_MEASURED, "seconds to plan")


class NoRoomError(Exception):
    """The disk has too little room."""


@dataclass(frozen=True)
class Outcome:
    """One conversion. plan: members of `glassine plan --json`. files: all of the dataset. stored_bytes: of its scales."""

    kind: str
    layout: str
    measured: Measurement
    plan: dict[str, Any]
    plan_seconds: float
    files: int
    stored_bytes: int

    def allowed(self, memory: int) -> bool:
        """Tell whether the peak stayed within the bound."""
        return self.measured.peak_bytes < memory + _BEYOND_BYTES


@dataclass(frozen=True)
class Bench:
    """directory: for inputs, the dataset that is written, logs. memory: as glassine is told. gigabytes: of voxels an input."""

    directory: Path
    memory: str
    gigabytes: float

    @property
    def destination(self) -> Path:
        return self.directory / "dataset"

    @property
    def log(self) -> Path:
        return self.directory / "log.txt"


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; return the exit status: 0 done, 1 too much memory, a failure, or wrong voxels."""
    options = _parser().parse_args(arguments)
    bench = Bench(_WORK / "memory", options.memory, options.gigabytes)
    bench.directory.mkdir(parents=True, exist_ok=True)
    memory = byte_count(bench.memory)
    print(machine(_WORK), flush=True)
    outcomes, failed = [], False
    for kind in options.kinds:
        for layout in options.layouts:
            try:
                outcomes.append(_measure(bench, kind, layout))
            except (RunError, WrongVoxelError, NoRoomError, OSError) as error:
                print(f"benchmarks memory: {kind} into {layout}: {error}", file=sys.stderr, flush=True)
                failed = True
            finally:
                remove(bench.destination)
        if options.clean:
            remove(sample_path(bench.directory, kind, bench.gigabytes))
    print(f"\n{bench.gigabytes:g} GB of voxels, --memory {bench.memory}\n\n{summary(outcomes, memory)}")
    return int(failed or not all(outcome.allowed(memory) for outcome in outcomes))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks memory", description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=8, help="of voxels an input (default 8)")
    parser.add_argument("--memory", default="1GB", help="what glassine is told (default 1GB)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="of inputs (default all)")
    parser.add_argument("--layouts", nargs="+", choices=_LAYOUTS, default=list(_LAYOUTS), help="(default all)")
    parser.add_argument("--clean", action="store_true", help="remove each input after its last conversion")
    return parser


def _progress(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def _measure(bench: Bench, kind: str, layout: str) -> Outcome:
    """Make the input, plan, convert and check. Raises RunError, WrongVoxelError, NoRoomError."""
    _need_room(bench.directory, _sample_bytes(bench, kind), f"the input {kind}")
    sample = make_sample(bench.directory, kind, bench.gigabytes, _progress)
    plan, plan_seconds = _plan(bench, sample, layout)
    _need_room(bench.directory, dataset_room(plan), f"its dataset of layout {layout}")
    _progress(f"{kind} into {layout}")
    remove(bench.destination)
    measured = run(_glassine(bench, sample, layout, "convert", str(bench.destination)), _ROOT, bench.log)
    files, stored = _sizes(bench.destination)
    outcome = Outcome(kind, layout, measured, plan, plan_seconds, files, stored)
    _progress(f"{measured.seconds:.0f} s, peak {measured.peak_bytes / 2**20:.0f} MiB")
    compared = _check(bench, sample)
    _progress(f"{compared} voxels are as they must be")
    return outcome


def _sample_bytes(bench: Bench, kind: str) -> int:
    """Return what an input takes on the disk at most, 0 when it is there."""
    return 0 if sample_path(bench.directory, kind, bench.gigabytes).exists() else int(1.05e9 * bench.gigabytes)


def dataset_room(plan: dict[str, Any]) -> int:
    """Return the bytes of disk that a conversion takes while it runs: shards are put together from parts as large as they."""
    stored = int(1.1 * plan["stored_bytes_about"]) * (2 if plan["layout"] == "sharded" else 1)
    # A file takes whole blocks of 4096 bytes.
    return int(plan["unpacked_bytes"]) + stored + 4096 * int(plan["files_about"])


def _need_room(directory: Path, needed: int, what: str) -> None:
    free = shutil.disk_usage(directory).free
    if needed and free < needed + _RESERVE_BYTES:
        raise NoRoomError(
            f"{directory}: {free / 1e9:.1f} GB are free, {what} needs {needed / 1e9:.1f} GB and {_RESERVE_BYTES / 1e9:.0f} GB "
            "are left alone: free some, or take a smaller --gigabytes or --clean"
        )


def _glassine(bench: Bench, sample: Sample, layout: str, command: str, *rest: str) -> tuple[str, ...]:
    program = Path(sys.executable).with_name("glassine")
    options = ("--memory", bench.memory, "--layout", layout, "--resolution", ",".join(map(str, RESOLUTION_NM)))
    return (str(program), command, str(sample.path), *rest, "--type", "image", *options)


def _plan(bench: Bench, sample: Sample, layout: str) -> tuple[dict[str, Any], float]:
    planned = run((*_glassine(bench, sample, layout, "plan"), "--json"), _ROOT, bench.log)
    text = bench.log.read_text()
    members: dict[str, Any] = json.loads(text[text.index("{") : text.rindex("}") + 1])
    return members, planned.seconds


def _check(bench: Bench, sample: Sample) -> int:
    unpacked = bench.directory / "unpacked"
    remove(unpacked)
    try:
        return check_voxels(bench.destination, sample.volume, unpacked)
    finally:
        remove(unpacked)


def _sizes(dataset: Path) -> tuple[int, int]:
    """Return the number of a dataset's files, and the bytes of those of its scales."""
    files = [path for path in dataset.rglob("*") if path.is_file()]
    keys = {scale["key"] for scale in json.loads((dataset / "info").read_bytes())["scales"]}
    return len(files), sum(path.stat().st_size for path in files if path.relative_to(dataset).parts[0] in keys)


def summary(outcomes: Sequence[Outcome], memory: int) -> str:
    """Return the table: what was measured, each beside what the plan said. memory: bytes that glassine was told."""
    return table(_HEADS, [_row(outcome, memory) for outcome in outcomes])


def _row(outcome: Outcome, memory: int) -> tuple[str, ...]:
    plan = outcome.plan
    return (
        f"{KINDS[outcome.kind].title}, {np.dtype(KINDS[outcome.kind].data_type)}",
        outcome.layout,
        "yes" if plan["unpacked_bytes"] else "no",
        f"{outcome.measured.seconds:.0f}",
        f"{plan['seconds_about']:.0f}",
        f"{outcome.measured.cpu_seconds:.0f}",
        f"{outcome.measured.peak_bytes / 2**20:.0f}",
        f"{plan['memory_bytes'] / 2**20:.0f}",
        f"{(memory + _BEYOND_BYTES) / 2**20:.0f}" + ("" if outcome.allowed(memory) else " EXCEEDED"),
        str(outcome.files),
        str(plan["files_about"]),
        f"{outcome.stored_bytes / 1e6:.1f}",
        f"{plan['stored_bytes_about'] / 1e6:.1f}",
        f"{outcome.plan_seconds:.1f}",
    )
