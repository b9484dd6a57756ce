"""`glassine trace` on a made confocal stack of two neurons that are known: what it finds of them, its time and its memory.

The stack is made once and kept; labels, meshes, skeletons and results are removed in the end unless --keep names a folder.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import Measurement, RunError, run
from benchmarks.neuron_samples import SPACING, Neuron, edges_of, make_neurons, part_within, points_along, read_swc, write_stack
from benchmarks.report import machine, table

_WORK = Path(__file__).parent / ".work"
_OPTIONS = ("--smooth", "1", "--dust", "20", "--const", "2", "--invalidation-scale", "1.5")
_NEAR = 1.0
"""Micron within which a point counts as found."""


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; return the exit status: 0 done, 1 the command failed."""
    options = _parser().parse_args(arguments)
    shape = (options.shape[0], options.shape[1], options.shape[2])
    folder = options.keep or _WORK / "traces"
    print(machine(_WORK), flush=True)
    neurons = make_neurons(shape)
    stack = _stack(shape, neurons)
    try:
        shutil.rmtree(folder / "neurons", ignore_errors=True)
        shutil.rmtree(folder / "neurons-results", ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        glassine = str(Path(sys.executable).with_name("glassine"))
        measured = run((glassine, "trace", str(stack), "neurons", *_OPTIONS), folder, _WORK / "trace.log")
        print(_report(neurons, folder / "neurons-results", measured), flush=True)
    except RunError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    finally:
        if options.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks traces", description=__doc__)
    parser.add_argument("--shape", type=_triple, default=(1024, 1024, 300), metavar="X,Y,Z", help="voxels of the stack")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="folder that the dataset and the results stay in")
    return parser


def _triple(text: str) -> tuple[int, ...]:
    numbers = tuple(int(part) for part in text.split(","))
    if len(numbers) != 3:
        raise argparse.ArgumentTypeError(f"{text}: expected three numbers, such as 1024,1024,300")
    return numbers


def _stack(shape: tuple[int, int, int], neurons: list[Neuron]) -> Path:
    path = _WORK / f"neurons-{'x'.join(map(str, shape))}.nrrd"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        write_stack(unfinished, shape, neurons, lambda line: print(line, file=sys.stderr, flush=True))
        unfinished.rename(path)
    return path


def _report(neurons: list[Neuron], results: Path, measured: Measurement) -> str:
    true = [points_along(neuron.points, edges_of(neuron.parents)) for neuron in neurons]
    rows = []
    for path in sorted((results / "swc").iterdir()):
        ours = read_swc(path)
        number = max(range(len(true)), key=lambda n: part_within(ours, true[n], _NEAR))
        found, right = part_within(true[number], ours, _NEAR), part_within(ours, true[number], _NEAR)
        rows.append([path.stem, f"neuron {number + 1}", f"{neurons[number].cable:.0f}", f"{found:.2%}", f"{right:.2%}"])
    heads = ["component", "lies at", "its cable, um", f"of it found within {_NEAR:g} um", "of what was found right"]
    told = json.loads((results / "trace.json").read_bytes())
    return (
        f"voxels of {' x '.join(map(str, SPACING))} um; {told['components']} components above {told['threshold']:.4g}, "
        f"{told['components_left_out']} left out as dust, {told['cable_length_nm'] / 1000:.0f} um of cable; "
        f"{measured.seconds:.0f} s ({measured.cpu_seconds:.0f} s of CPU), at most {measured.peak_bytes / 2**20:.0f} MiB\n"
        + table(heads, rows)
    )
