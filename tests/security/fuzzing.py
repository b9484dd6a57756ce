"""Decoders read wrong files in a process of its own, whose memory and time the kernel limits.

    python -m tests.security.fuzzing MODULE CASES REPORT [NAME]

MODULE has TARGETS. REPORT is a file: lines of JSON, of which the last tells which case was being read when the process died.
"""

import importlib
import json
import os
import resource
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.security.target import Target

_SPARE = 512 << 20
"""Bytes of address space that reading one small file may take, beside what the libraries and valid files take."""
_SECONDS_A_CASE = 20
"""Of processor time, far more than the slowest takes; what goes on for ever is ended by it."""
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Fuzzed:
    """faults: by target and kind, with the number of a case that shows it. cases: read altogether. refused: of them."""

    faults: tuple[str, ...]
    cases: int
    refused: int
    slowest: str


def fuzz(module: str, cases: int, folder: Path, *names: str) -> Fuzzed:
    """Return what came of reading so many wrong files with each target of a module."""
    report = folder / "report"
    command = [sys.executable, "-m", "tests.security.fuzzing", module, str(cases), str(report), *names]
    ended = subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": str(_ROOT), "TMPDIR": str(folder)}, capture_output=True, text=True
    )
    lines = [json.loads(line) for line in report.read_text().splitlines()] if report.exists() else []
    faults = [line["fault"] for line in lines if "fault" in line]
    if ended.returncode:
        last = lines[-1] if lines else "nothing read yet"
        faults.append(f"the process ended with status {ended.returncode} in {last}: {ended.stderr[-2000:]}")
    done = [line for line in lines if "cases" in line]
    slowest = max(done, key=lambda line: line["seconds"], default={"target": "none", "seconds": 0.0})
    return Fuzzed(
        tuple(faults),
        sum(line["cases"] for line in done),
        sum(line["refused"] for line in done),
        f"{slowest['target']}: {slowest['seconds']:.2f} s",
    )


def main(module: str, cases: str, report: str, *names: str) -> None:
    targets: tuple[Target, ...] = importlib.import_module(module).TARGETS
    chosen = [target for target in targets if not names or target.name in names]
    warnings.simplefilter("ignore")
    # Valid files first: libraries are loaded, then the limit counts what wrong files take.
    for target in chosen:
        for sample in target.valid:
            with suppress(*target.refuses):
                target.read(sample)
    _limit_memory()
    with open(report, "w", buffering=1) as file:
        for target in chosen:
            for line in _read_all(target, int(cases), file.fileno()):
                print(json.dumps(line), file=file)


def _read_all(target: Target, cases: int, report: int) -> Iterator[dict[str, Any]]:
    """Read wrong files; yield each kind of fault once and what came of all."""
    seen: set[str] = set()
    refused, slowest = 0, 0.0
    for number in range(cases):
        data = target.case(number)
        # Written over by whatever comes next, and all that is left if nothing does.
        os.pwrite(report, b'{"reading": "%s", "case": %d}\n' % (target.name.encode(), number), os.lseek(report, 0, os.SEEK_CUR))
        resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + _SECONDS_A_CASE, resource.RLIM_INFINITY))
        began = time.process_time()
        try:
            target.read(data)
        except target.refuses:
            refused += 1
        except BaseException as error:
            kind = _kind(error)
            if kind not in seen:
                seen.add(kind)
                os.ftruncate(report, os.lseek(report, 0, os.SEEK_CUR))
                yield {"fault": f"{target.name}, case {number}, {len(data)} bytes: {kind}: {str(error)[:300]}"}
        slowest = max(slowest, time.process_time() - began)
    os.ftruncate(report, os.lseek(report, 0, os.SEEK_CUR))
    yield {"target": target.name, "cases": cases, "refused": refused, "seconds": slowest}


def _kind(error: BaseException) -> str:
    """Return what tells one fault from another: the error's type and where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames[-3:]]
    return f"{type(error).__name__} at {' > '.join(places)}"


def _limit_memory() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _SPARE, resource.RLIM_INFINITY))


if __name__ == "__main__":
    main(*sys.argv[1:])
