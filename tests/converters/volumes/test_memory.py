"""What a conversion really takes, all its processes together, stays below what its plan says."""

import json
import time
from pathlib import Path

import numpy as np

from converters.options import ConvertOptions
from converters.volumes.plan import make_plan
from tests.converters.watching import Watched, ended, session, started

GIVEN = {"axes": "xyz", "resolution": (8, 8, 8), "executor": "processes:2"}


def own_bytes(process: int) -> int:
    """Return RssAnon + RssShmem: what a process has for itself, without the pages of files that the system may take back."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("RssAnon:", "RssShmem:")))


def peak_bytes(process: Watched) -> int:
    """Return the largest sum over the process and all that it starts, looked at over and over until it ends."""
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(own_bytes(member) for member in session(process)))
        time.sleep(0.005)
    return peak


def test_a_conversion_takes_less_than_planned(tmp_path: Path) -> None:
    x, y, z = np.ogrid[:512, :512, :256]
    np.save(tmp_path / "source.npy", np.asfortranarray(((x * y // 7 + z * z // 5) % 251).astype("uint8")))
    plan = make_plan(tmp_path / "source.npy", ConvertOptions.model_validate(GIVEN))
    with started("convert", tmp_path / "source.npy", tmp_path / "dataset", json.dumps(GIVEN)) as process:
        peak = peak_bytes(process)
        assert ended(process) == ""
        assert process.returncode == 0
    assert 10_000_000 < peak < plan.memory_bytes <= plan.budget.memory
