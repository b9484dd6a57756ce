"""Labelling killed at any moment and gone on with, and on a cluster: the bytes of an undisturbed run."""

import json
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from converters.labels.conversion import label
from converters.labels.options import LabelOptions
from converters.steps import Progress
from tests.converters.dask_cluster import Cluster, started_cluster
from tests.converters.watching import assert_nothing_runs, ended, files_of, started

# distributed: its own, on closing connections to workers that are gone.
pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning:distributed"), pytest.mark.timeout(240)]

KILLS = 20 if os.environ.get("GLASSINE_SLOW") else 2

CHOSEN: dict[str, Any] = {
    "axes": "xyz",
    "resolution": (8, 8, 8),
    "chunk_size": (32, 32, 32),
    "smooth": 0.7,
    "min_size": 2,
    "memory": "1kB",
    "executor": "processes:2",
    "layout": "sharded",
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Smoothed noise in many blocks at the smallest memory, large enough for worker processes."""
    path = tmp_path_factory.mktemp("source") / "grey.npy"
    noise = np.random.default_rng(1).random((170, 160, 155), np.float32)
    np.save(path, np.asfortranarray(gaussian_filter(noise, 1)))
    assert path.stat().st_size > 1 << 23
    return path


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], float]:
    """What a run leaves, and the seconds that it takes."""
    dataset = tmp_path_factory.mktemp("undisturbed") / "dataset"
    began = time.monotonic()
    with started("label", source, dataset, json.dumps(CHOSEN)) as process:
        assert ended(process) == ""
    return files_of(dataset), time.monotonic() - began


@pytest.mark.parametrize("number", range(KILLS))
def test_killed_at_a_random_moment(number: int, source: Path, undisturbed: tuple[dict[str, str], float], tmp_path: Path) -> None:
    expected, lasted = undisturbed
    with started("label", source, tmp_path / "dataset", json.dumps(CHOSEN)) as process:
        time.sleep(random.uniform(0.3, 1) * lasted)
        process.kill()
        process.wait()
        assert_nothing_runs(process)
    again = CHOSEN | {"memory": random.choice(["1GB", "1kB"]), "executor": random.choice(["serial", "processes:3"])}
    with started("label", source, tmp_path / "dataset", json.dumps(again)) as process:
        assert ended(process) == ""
        assert_nothing_runs(process)
    assert files_of(tmp_path / "dataset") == expected


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with started_cluster(tmp_path, workers=2) as running:
        yield running


def test_a_worker_of_a_cluster_is_killed_halfway(
    cluster: Cluster, source: Path, undisturbed: tuple[dict[str, str], float], tmp_path: Path
) -> None:
    killed = []

    def kill_one(progress: Progress) -> None:
        if progress.step == "label" and progress.done > progress.total / 2 and not killed:
            killed.append(cluster.kill_worker(0))

    label(source, tmp_path / "dataset", LabelOptions.model_validate(CHOSEN | {"executor": cluster.address}), kill_one)
    assert len(killed) == 1
    assert files_of(tmp_path / "dataset") == undisturbed[0]
