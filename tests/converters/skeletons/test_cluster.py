"""Skeletons on a real Dask cluster over TCP: the bytes of a serial run, also when a worker is killed halfway."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from converters.skeletons import plan
from converters.skeletons.conversion import make_skeletons
from converters.steps import Progress
from tests.converters.dask_cluster import Cluster, started_cluster
from tests.converters.skeletons.datasets import options, quiet, segmentation, stored
from tests.converters.skeletons.phantoms import in_two_pieces

# distributed: its own, on closing connections to workers that are gone.
pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning:distributed"), pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler and two workers."""
    with started_cluster(tmp_path_factory.mktemp("dask"), workers=2) as running:
        yield running


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A segment in two pieces, which is traced in four blocks."""
    monkeypatch.setattr(plan, "_block", lambda scale, budget: (50, 36, 60))
    return segmentation(tmp_path, in_two_pieces().labels)


@pytest.mark.parametrize("layout", ["files", "sharded"])
def test_a_cluster_writes_the_bytes_of_a_serial_run(layout: str, cluster: Cluster, dataset: Path) -> None:
    make_skeletons(dataset, options(layout=layout), quiet)
    before = stored(dataset / "skeletons")
    told = options(layout=layout, executor=cluster.address, overwrite=True, min_cable=1)
    make_skeletons(dataset, told, quiet)
    assert stored(dataset / "skeletons") == before


def test_a_worker_is_killed_halfway(cluster: Cluster, dataset: Path) -> None:
    make_skeletons(dataset, options(), quiet)
    before = stored(dataset / "skeletons")
    killed = []

    def kill_once(progress: Progress) -> None:
        if not killed:
            killed.append(progress.step)
            cluster.kill_worker_process(0)

    make_skeletons(dataset, options(executor=cluster.address, overwrite=True, min_cable=1), kill_once)
    assert killed == ["trace"]
    assert stored(dataset / "skeletons") == before
