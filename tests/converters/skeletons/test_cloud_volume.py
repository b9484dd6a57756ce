"""Skeletons as cloud-volume reads them: vertices, edges, radii and types, in files and in shards, where the dataset says."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cloudvolume import CloudVolume

from converters import shards
from converters.options import ImportSkeletonOptions
from converters.skeletons.conversion import make_skeletons
from converters.skeletons.importing import import_skeletons
from converters.skeletons.reading import open_skeletons
from formats.skeletons.info import parse_skeleton_info
from tests.converters.skeletons.datasets import options, quiet, segmentation
from tests.converters.skeletons.phantoms import tubes, y_shape

SLOW = pytest.mark.skipif(not os.environ.get("GLASSINE_SLOW"), reason="takes minutes; GLASSINE_SLOW=1 runs it")
LARGE = 2**53 + 1
RESOLUTION = (32, 30.5, 40)
OFFSET = (-7, 1001, 3)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A segmentation of a Y (3) and a tube beside it, its voxels no cubes and its first one not at 0."""
    labels = y_shape().labels.astype(np.uint64)
    labels[tubes(3, ((8, 60, 8), (90, 60, 8))) & (labels == 0)] = LARGE
    return segmentation(tmp_path, labels, voxel_offset=OFFSET, resolution=RESOLUTION, layout="flat")


def assert_read_alike(dataset: Path, segments: list[int]) -> None:
    """Fail unless cloud-volume has the same of each of these skeletons as our reader, its transform applied."""
    ours, theirs = open_skeletons(dataset / "skeletons"), CloudVolume(f"file://{dataset}", progress=False).skeleton
    for segment in segments:
        expected, read = ours.read(segment), theirs.get(segment).physical_space()
        assert expected is not None
        np.testing.assert_array_equal(read.vertices, expected.vertices)
        np.testing.assert_array_equal(read.edges, expected.edges)
        np.testing.assert_array_equal(read.radius, expected.attributes["radius"])
        np.testing.assert_array_equal(read.vertex_types, expected.attributes["vertex_types"])


@pytest.mark.parametrize("layout", ["files", "sharded"])
def test_it_reads_what_we_read(layout: str, dataset: Path) -> None:
    make_skeletons(dataset, options(layout=layout, scale="32_30.5_40"), quiet)
    segments = open_skeletons(dataset / "skeletons").segments()
    assert segments == [3, LARGE]
    assert_read_alike(dataset, segments)


@pytest.mark.parametrize("layout", ["files", "sharded"])
def test_its_vertices_lie_in_their_segments(layout: str, dataset: Path) -> None:
    make_skeletons(dataset, options(layout=layout, scale="32_30.5_40"), quiet)
    volume = CloudVolume(f"file://{dataset}", progress=False, bounded=True)
    labels = np.asarray(volume[:])[..., 0]
    for segment in (3, LARGE):
        voxels = np.floor(volume.skeleton.get(segment).physical_space().vertices / RESOLUTION).astype(int) - OFFSET
        assert len(voxels) > 20
        assert (labels[tuple(voxels.T)] == np.uint64(segment)).all()


def bars(count: int) -> Any:
    """Return labels with count x count bars of 12 voxels."""
    labels = np.zeros((3 * count, 3 * count, 14), np.uint32)
    places = np.arange(0, 3 * count, 3)
    labels[np.ix_(places, places, np.arange(1, 13))] = np.arange(1, count**2 + 1).reshape(count, count, 1)
    return labels


def read_in_shards(count: int, folder: Path) -> None:
    """Skeletonize count x count bars, which make shards by their number alone, and read some of each shard."""
    made = segmentation(folder, bars(count))
    make_skeletons(made, options(dust_threshold=0, tick_threshold=0, const=50), quiet)
    assert parse_skeleton_info((made / "skeletons/info").read_bytes()).sharding is not None
    assert all(name == "info" or name.endswith(".shard") for name in os.listdir(made / "skeletons"))
    segments = open_skeletons(made / "skeletons").segments()
    assert segments == list(range(1, count**2 + 1))
    assert_read_alike(made, segments[:: max(1, count**2 // 50)])


def test_many_segments_go_into_shards_by_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "MOST_FILES", 120)
    read_in_shards(11, tmp_path)


@SLOW
def test_more_than_10000_segments_go_into_shards(tmp_path: Path) -> None:
    read_in_shards(101, tmp_path)


@SLOW
def test_more_than_10000_imported_skeletons_go_into_shards(tmp_path: Path) -> None:
    made = segmentation(tmp_path / "labels", np.ones((20, 20, 20), np.uint32))
    files = [tmp_path / f"{n}.swc" for n in range(1, 10_002)]
    for n, path in enumerate(files):
        path.write_text(f"1 1 {n} 0 0 5 -1\n2 2 {n} 8 0 {n} 1\n")
    assert import_skeletons(files, made, ImportSkeletonOptions(unit="nm")).sharded
    assert_read_alike(made, list(range(1, 10_002, 200)))
