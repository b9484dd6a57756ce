"""Conversions killed at any moment: the same command goes on, and ends with the bytes of an undisturbed run."""

import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.journal import open_journal
from converters.options import ConvertOptions
from converters.volumes.conversion import Progress, convert
from tests.converters.watching import assert_nothing_runs, ended, files_of, started

KILLS = 20 if os.environ.get("GLASSINE_SLOW") else 3
"""In each layout."""

CHOSEN: dict[str, Any] = {
    "axes": "xyz",
    "resolution": (8, 8, 8),
    "voxel_offset": (-3, 5, 1),
    "chunk_size": (32, 32, 32),
    "memory": "1kB",
    "executor": "processes:2",
}
WAYS = {
    "nested": {"layout": "nested"},
    "flat": {"layout": "flat", "encoding": "jpeg"},
    "sharded": {"layout": "sharded"},
    "sharded jpeg": {"layout": "sharded", "encoding": "jpeg"},
}


def quiet(progress: Progress) -> None:
    """Report nothing."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A grey volume of many tiles at the smallest memory, large enough for worker processes."""
    path = tmp_path_factory.mktemp("source") / "grey.npy"
    x, y, z = np.ogrid[:230, :210, :190]
    np.save(path, np.asfortranarray(((x * y // 7 + z * z // 5) % 251).astype("uint8")))
    return path


@pytest.mark.parametrize("way", WAYS)
def test_killed_at_random_moments(way: str, source: Path, tmp_path: Path) -> None:
    chosen = CHOSEN | WAYS[way]
    began = time.monotonic()
    with started("convert", source, tmp_path / "undisturbed", json.dumps(chosen)) as process:
        assert ended(process) == ""
    lasted = time.monotonic() - began
    expected = files_of(tmp_path / "undisturbed")
    for number in range(KILLS):
        dataset = tmp_path / str(number)
        with started("convert", source, dataset, json.dumps(chosen)) as process:
            time.sleep(random.uniform(0.2, 1) * lasted)
            process.kill()
            process.wait()
            assert_nothing_runs(process)
        again = chosen | {"memory": random.choice(["1GB", "300MB", "1kB"]), "executor": random.choice(["serial", "processes:3"])}
        with started("convert", source, dataset, json.dumps(again)) as process:
            assert ended(process) == ""
            assert_nothing_runs(process)
        assert files_of(dataset) == expected


@pytest.mark.parametrize("renamings", range(7))
def test_killed_while_shards_come_in_the_place_of_another_dataset(renamings: int, source: Path, tmp_path: Path) -> None:
    dataset = tmp_path / "dataset"
    chosen = ConvertOptions.model_validate(CHOSEN | {"scales": 2, "overwrite": True, "layout": "sharded", "memory": "1GB"})
    before = chosen.model_copy(update={"layout": "nested", "encoding": "jpeg"})
    convert(source, dataset, before, quiet)
    convert(source, tmp_path / "fresh", chosen, quiet)
    with started("convert-killed", renamings, source, dataset, chosen.model_dump_json()) as process:
        ended(process)
        assert process.returncode == -signal.SIGKILL
    # Whoever converts there next finds a whole dataset first: here the one that was being put there.
    assert convert(source, dataset, chosen, quiet).already
    assert files_of(dataset) == files_of(tmp_path / "fresh")


def test_more_memory_and_other_workers_change_no_tile(source: Path, tmp_path: Path) -> None:
    def interrupted(progress: Progress) -> None:
        raise KeyboardInterrupt

    chosen = ConvertOptions.model_validate(CHOSEN | {"executor": "serial", "layout": "sharded"})
    with pytest.raises(KeyboardInterrupt):
        convert(source, tmp_path / "dataset", chosen, interrupted)
    tiles = open_journal(tmp_path / "dataset/.glassine/journal").done["stage 0"]
    assert len(tiles) == 1
    summary = convert(source, tmp_path / "dataset", chosen.model_copy(update={"memory": "4GB"}), quiet)
    assert summary.plan.stages[0].tile == (64, 64, 64)
    assert (summary.kept, summary.again) == (1, 1)


def test_a_line_that_a_kill_cut_short_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = open_journal(path)
    journal.begin("stage 0", (0, 0, 0))
    journal.add("stage 0", (0, 0, 0), {"voxels": 7})
    journal.begin("stage 0", (1, 0, 0))
    whole = path.read_bytes()
    with path.open("ab") as file:
        file.write(b'{"step":"stage 0","item":[1,0,0],"gave":{"vox')
    again = open_journal(path)
    assert again.done == {"stage 0": {(0, 0, 0): {"voxels": 7}}}
    assert again.begun == {("stage 0", (1, 0, 0))}
    assert path.read_bytes() == whole
