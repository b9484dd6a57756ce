"""Shards put together from many parts."""

import os
import resource
from pathlib import Path

import numpy as np
import pytest

from converters.options import ConvertOptions
from converters.volumes import plan as planning
from converters.volumes.conversion import convert


def test_a_shard_of_more_parts_than_files_may_be_open(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(planning, "_LARGEST_TILE", 1)
    np.save(tmp_path / "a.npy", np.random.default_rng(0).integers(0, 256, (48, 48, 48), np.uint8))
    given = {"axes": "xyz", "resolution": (8, 8, 8), "executor": "serial", "chunk_size": (4, 4, 4), "layout": "sharded"}
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # 100 more than other tests have left open: a shard has 216 parts.
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 100, hard))
    try:
        summary = convert(tmp_path / "a.npy", tmp_path / "dataset", ConvertOptions.model_validate(given), lambda progress: None)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    # Scale 1 has as many tiles as chunks, all in one shard.
    assert summary.plan.stages[0].tiles_shape == (6, 6, 6)
    assert summary.record.counts["chunks"] == 12**3 + 6**3 + 3**3 + 2**3 + 1
    assert len(list((tmp_path / "dataset" / "16_16_16").iterdir())) == 1
