"""glassine and kimimaro trace the same labels: wall and CPU time, memory, and how far the skeletons agree.

glassine traces in blocks, on the scale that it chooses by the size of the voxels. kimimaro traces the whole volume at once, from
an array: at full resolution, against which the time is compared, and on glassine's scale, with which the skeletons are. All have
two processes and the same parameters. Where a piece of a segment reaches the faces of the volume in as many places as there may
be paths, kimimaro makes nothing of it; such pieces are counted and left out.
"""

import argparse
import math
import shutil
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.measure import Measurement, RunError, run
from benchmarks.neurites import save_neurites
from benchmarks.peers.run_kimimaro import PARAMETERS
from benchmarks.report import machine, progress, table
from benchmarks.skeleton_quality import Agreement, Labels, Traced, Tracing, agreement
from converters.budget import Budget
from converters.children import read_volume_info, record_path
from converters.options import byte_count
from converters.skeletons.options import SkeletonizeOptions
from converters.skeletons.plan import SkeletonPlan, make_skeleton_plan
from converters.skeletons.reading import open_skeletons
from converters.skeletons.record import FOLDER

_ROOT = Path(__file__).parent.parent
_WORK = Path(__file__).parent / ".work"
_FOLDER = _WORK / "skeletons"
_SHAPE = (256, 256, 256)
_WORKERS, _MEMORY = 2, "4GB"
_DUST = 1000
"""Voxels at full resolution of a piece that gets no skeleton; on a coarser scale as many as fill the same room."""
_LEAST_INSIDE, _CABLE, _LEAST_NEAR, _LEAST_TIMES = 0.99, 0.05, 0.95, 4.0


@dataclass
class Side:
    """One tracer: its command, and its runs."""

    name: str
    command: tuple[str, ...]
    runs: list[Measurement] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Median wall time."""
        return statistics.median(run.seconds for run in self.runs)

    @property
    def cpu_seconds(self) -> float:
        """Median time of all its processes on the processor."""
        return statistics.median(run.cpu_seconds for run in self.runs)


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; return the exit status: 0 all that is asked for was found, 1 something was not, or a side failed."""
    options = _parser().parse_args(arguments)
    try:
        print(machine(_WORK), flush=True)
        labels = options.labels or _made()
        dataset = _dataset(labels, options.resolution)
        plan = _plan(dataset)
        sides = _sides(plan, labels, options)
        _run(sides, options.runs)
        print(f"\n{_times(sides)}\n", flush=True)
        failed = _judge(_compare(plan), sides)
    except (RunError, OSError, ValueError) as error:
        print(f"benchmarks skeletons: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(_FOLDER, ignore_errors=True)
    return int(failed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks skeletons", description=__doc__)
    parser.add_argument("--runs", type=int, default=1, help="measured runs of each side (default 1; kimimaro takes minutes)")
    parser.add_argument("--labels", type=Path, help="your own labels, a .npy [x, y, z], in place of made ones")
    parser.add_argument("--resolution", default="16,16,40", help="nm of their voxels (default 16,16,40)")
    parser.add_argument("--same-scale", action="store_true", help="leave out kimimaro at full resolution, and the times with it")
    return parser


def _made() -> Path:
    """Make labels, unless they are there."""
    path = _WORK / "samples" / f"neurites-{'x'.join(map(str, _SHAPE))}.npy"
    if not path.exists():
        progress(f"making {path.name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        save_neurites(path, _SHAPE)
    return path


def _plan(dataset: Path) -> SkeletonPlan:
    """Return the plan that glassine makes when it is told what kimimaro is."""
    budget = Budget(byte_count(_MEMORY), _WORKERS)
    scale = make_skeleton_plan(dataset, SkeletonizeOptions.model_validate({}), budget).scale
    room = math.prod(scale.resolution) / math.prod(read_volume_info(dataset).scales[0].resolution)
    return make_skeleton_plan(dataset, _options(round(_DUST / room)), budget)


def _options(dust_threshold: int) -> SkeletonizeOptions:
    told = {"invalidation_scale": PARAMETERS["scale"], "const": PARAMETERS["const"], "max_paths": PARAMETERS["max_paths"]}
    return SkeletonizeOptions.model_validate({**told, "dust_threshold": dust_threshold})


def _dataset(labels: Path, resolution: str) -> Path:
    shutil.rmtree(_FOLDER, ignore_errors=True)
    _FOLDER.mkdir(parents=True)
    told = ("--type", "segmentation", "--axes", "xyz", "--resolution", resolution, "--layout", "flat")
    run((_glassine(), "convert", str(labels), str(_FOLDER / "dataset"), *told), _ROOT, _FOLDER / "log.txt")
    return _FOLDER / "dataset"


def _glassine() -> str:
    return str(Path(sys.executable).with_name("glassine"))


def _sides(plan: SkeletonPlan, labels: Path, options: argparse.Namespace) -> list[Side]:
    voxels = _FOLDER / "labels.npy"
    np.save(voxels, plan.reader.read(plan.scale, plan.grid.box)[..., 0])
    nm, dust = ",".join(f"{n:g}" for n in plan.scale.resolution), plan.parameters.dust_threshold
    sides = [
        Side(f"glassine, {nm} nm", _ours(plan)),
        Side(f"kimimaro, {nm} nm", _theirs(voxels, _FOLDER / "same.npz", (nm, str(dust)))),
    ]
    if not options.same_scale:
        told = (options.resolution, str(_DUST))
        sides.append(Side(f"kimimaro, {options.resolution} nm", _theirs(labels, _FOLDER / "full.npz", told)))
    return sides


def _ours(plan: SkeletonPlan) -> tuple[str, ...]:
    given = _options(plan.parameters.dust_threshold).model_dump(exclude_unset=True).items()
    told = [word for name, value in given for word in (f"--{name.replace('_', '-')}", str(value))]
    run_as = ("--executor", f"processes:{_WORKERS}", "--memory", _MEMORY, "--overwrite")
    return (_glassine(), "skeletonize", str(plan.dataset), *told, *run_as)


def _theirs(labels: Path, found: Path, told: tuple[str, str]) -> tuple[str, ...]:
    return (sys.executable, "-m", "benchmarks.peers.run_kimimaro", str(labels), str(found), *told)


def _run(sides: Sequence[Side], runs: int) -> None:
    for number in range(runs):
        for side in sides:
            # The same request again would be done already.
            record_path(_FOLDER / "dataset", FOLDER).unlink(missing_ok=True)
            side.runs.append(run(side.command, _ROOT, _FOLDER / "log.txt"))
            progress(f"run {number + 1}/{runs}, {side.name}: {side.runs[-1].seconds:.1f} s")


def _times(sides: Sequence[Side]) -> str:
    heads = ("", "seconds", "times ours", "CPU seconds", "times ours", "peak MiB")
    return table(heads, [_row(side, sides[0]) for side in sides])


def _row(side: Side, ours: Side) -> tuple[str, ...]:
    return (
        side.name,
        f"{side.seconds:.1f}",
        f"{side.seconds / ours.seconds:.2f}",
        f"{side.cpu_seconds:.1f}",
        f"{side.cpu_seconds / ours.cpu_seconds:.2f}",
        f"{max(run.peak_bytes for run in side.runs) / 2**20:.0f}",
    )


def _compare(plan: SkeletonPlan) -> Agreement:
    labels = Labels.of(np.load(_FOLDER / "labels.npy"), plan.scale.resolution)
    return agreement(_read_ours(plan), _read_theirs(_FOLDER / "same.npz"), labels, plan.grid)


def _read_ours(plan: SkeletonPlan) -> Tracing:
    reader = open_skeletons(plan.dataset / FOLDER)
    found = ((segment, reader.read(segment)) for segment in reader.segments())
    resolution, corner = np.array(plan.scale.resolution), np.array(plan.scale.voxel_offset) + 0.5
    return {
        segment: Traced(np.rint(one.vertices / resolution - corner).astype(np.int64), one.edges.astype(np.int64))
        for segment, one in found
        if one is not None
    }


def _read_theirs(path: Path) -> Tracing:
    with np.load(path) as found:
        return {
            segment: Traced(found[f"v{segment}"].astype(np.int64), found[f"e{segment}"].astype(np.int64))
            for segment in found["id"].tolist()
        }


def _judge(found: Agreement, sides: Sequence[Side]) -> bool:
    """Print what is asked for beside what was found, and tell whether something was not."""
    cable = found.cable[0] / found.cable[1] - 1
    chance = found.at_faces[1] + 2 * math.sqrt(found.at_faces[1])
    rows = [
        ("our vertices inside their label", f"{found.inside:.2%}", f">= {_LEAST_INSIDE:.0%}", found.inside >= _LEAST_INSIDE),
        ("our cable against theirs", f"{cable:+.1%}", f"within {_CABLE:.0%}", abs(cable) <= _CABLE),
        ("pieces in another number of trees", str(found.split), "0", found.split == 0),
        ("end points at faces of blocks", str(found.at_faces[0]), f"<= {chance:.0f}", found.at_faces[0] <= chance),
        ("our vertices within 2 voxels of theirs", f"{found.near[0]:.1%}", f">= {_LEAST_NEAR:.0%}", found.near[0] >= _LEAST_NEAR),
        ("their vertices within 2 voxels of ours", f"{found.near[1]:.1%}", f">= {_LEAST_NEAR:.0%}", found.near[1] >= _LEAST_NEAR),
        ("pieces that only they traced", str(found.only_theirs), "0", found.only_theirs == 0),
    ]
    if len(sides) > 2:
        times = sides[-1].seconds / sides[0].seconds
        rows.append(("times as fast as at full resolution", f"{times:.2f}", f">= {_LEAST_TIMES:g}", times >= _LEAST_TIMES))
    print(table(("", "found", "asked for", ""), [(*row[:3], "" if row[3] else "FAILED") for row in rows]))
    print(
        f"\n{found.pieces} pieces that both traced, {found.cable[0] / 1e6:.2f} and {found.cable[1] / 1e6:.2f} mm of cable, "
        f"{found.ends[0]} and {found.ends[1]} end points, {found.at_faces[1]} of theirs where our blocks meet, by chance; "
        f"{found.only_ours} pieces traced by us alone: they reach the volume's faces in too many places for kimimaro's max_paths"
    )
    return not all(row[3] for row in rows)
