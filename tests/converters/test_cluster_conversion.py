"""A whole conversion on a real Dask cluster: lost workers, a block that always fails, the bytes of a serial run."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore

from converters.errors import DamagedError, DatasetError
from converters.options import ConvertOptions
from converters.volumes.conversion import Progress, convert
from converters.volumes.outputs import check_shared
from tests.converters.dask_cluster import Cluster, started_cluster
from tests.converters.watching import files_of

# distributed: its own, on closing connections to workers that are gone.
pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning:distributed"), pytest.mark.timeout(240)]

CHOSEN: dict[str, Any] = {"resolution": (8, 8, 8), "chunk_size": (16, 16, 16), "memory": "1kB", "layout": "sharded"}
CHUNK = 32


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler and three workers."""
    with started_cluster(tmp_path_factory.mktemp("dask"), workers=3) as running:
        yield running


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A Zarr array of packed chunks."""
    x, y, z = np.ogrid[:150, :130, :110]
    metadata = {
        "shape": [110, 130, 150],
        "chunks": [CHUNK] * 3,
        "dtype": "|u1",
        "compressor": {"id": "zlib", "level": 1},
        "dimension_separator": ".",
    }
    store = {"driver": "zarr", "kvstore": {"driver": "file", "path": str(tmp_path / "a.zarr")}, "metadata": metadata}
    opened = tensorstore.open(store, create=True).result()
    opened.write(((x * y // 7 + z * z // 5) % 251).astype("uint8").transpose()).result()
    return tmp_path / "a.zarr"


def options(**given: Any) -> ConvertOptions:
    return ConvertOptions.model_validate(CHOSEN | given)


def quiet(progress: Progress) -> None:
    """Report nothing."""


def test_a_worker_is_killed_halfway(cluster: Cluster, source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "serial", options(executor="serial"), quiet)
    killed = []

    def kill_one(progress: Progress) -> None:
        if progress.step == "convert" and progress.done > progress.total / 2 and not killed:
            killed.append(cluster.kill_worker(0))

    convert(source, tmp_path / "cluster", options(executor=cluster.address), kill_one)
    assert len(killed) == 1
    assert files_of(tmp_path / "cluster") == files_of(tmp_path / "serial")


def test_a_block_that_always_fails_is_named_and_the_others_are_done(cluster: Cluster, source: Path, tmp_path: Path) -> None:
    chunk = source / "1.2.3"
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DamagedError) as caught:
        convert(source, tmp_path / "dataset", options(executor=cluster.address), quiet)
    told = re.search(r"(\d+) of (\d+) blocks failed.*the first that failed: \S+ (.*)", str(caught.value))
    assert told is not None
    assert int(told[1]) == 1
    assert str(source) in told[3]
    # Mended without a trace in size or time, the same command does this block and what comes after it.
    stat = (source / ".zarray").stat()
    chunk.write_bytes(whole)
    assert (source / ".zarray").stat() == stat
    summary = convert(source, tmp_path / "dataset", options(executor="serial"), quiet)
    assert summary.kept == int(told[2]) - 1
    convert(source, tmp_path / "serial", options(executor="serial"), quiet)
    assert files_of(tmp_path / "dataset") == files_of(tmp_path / "serial")


def test_a_dataset_that_is_on_no_shared_disk(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        check_shared(tmp_path / "elsewhere")
    assert re.fullmatch(
        rf"{tmp_path}/elsewhere: not there on \S+, where a worker runs: "
        "the dataset must lie under the same path, on a disk that all workers share",
        str(caught.value),
    )


def test_paths_are_told_to_workers_from_the_root(
    cluster: Cluster, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    summary = convert(source.name, Path("dataset"), options(executor=cluster.address), quiet)
    assert summary.dataset == tmp_path / "dataset"
    convert(source, tmp_path / "serial", options(executor="serial"), quiet)
    assert files_of(tmp_path / "dataset") == files_of(tmp_path / "serial")
