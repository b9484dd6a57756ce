"""A segmentation gets skeletons: what lies on the disk, who reads it, and runs that were stopped."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import osteoid
import pytest
import tensorstore as ts
from cloudvolume import CloudVolume

from converters import shards
from converters.errors import BusyError, DatasetError, DatasetExistsError, OptionError
from converters.publishing import finish_publishing
from converters.skeletons import conversion, plan, tracing
from converters.skeletons.conversion import make_skeletons
from converters.skeletons.options import SkeletonizeOptions
from converters.skeletons.reading import open_skeletons
from converters.skeletons.record import read_skeleton_record
from converters.steps import Progress
from formats.info import parse_volume_info
from formats.skeletons.info import parse_skeleton_info
from tests.converters.skeletons.datasets import options, quiet, segmentation, skeletons, stored
from tests.converters.skeletons.phantoms import tube, tubes, y_shape

RUN = [sys.executable, "-m", "tests.converters.killed_child", "skeletons"]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A segmentation of a Y (3), a tube beside it (2**40 + 1) and one voxel (8)."""
    labels = y_shape().labels.astype(np.uint64)
    labels[tubes(3, ((8, 60, 8), (90, 60, 8))) & (labels == 0)] = 2**40 + 1
    labels[2, 2, 2] = 8
    return segmentation(tmp_path, labels)


def test_the_dataset_links_its_skeletons(dataset: Path) -> None:
    before = parse_volume_info((dataset / "info").read_bytes())
    summary = make_skeletons(dataset, options(), quiet)
    after = parse_volume_info((dataset / "info").read_bytes())
    assert (before.skeletons, after.skeletons) == (None, "skeletons")
    assert after.scales == before.scales
    assert sorted(os.listdir(dataset / "skeletons")) == ["1099511627777", "3", "info"]
    members = json.loads((dataset / "skeletons/info").read_bytes())
    assert members["@type"] == "neuroglancer_skeletons"
    assert members["transform"] == [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]
    assert [attribute["id"] for attribute in members["vertex_attributes"]] == ["radius", "vertex_types"]
    counts = summary.record.counts
    assert (counts["segments"], counts["skeletons"], counts["trees"], counts["end_points"]) == (3, 2, 2, 5)
    assert counts["stored_bytes"] == sum((dataset / "skeletons" / name).stat().st_size for name in ("3", "1099511627777"))
    assert read_skeleton_record(dataset) == summary.record
    assert not (dataset / ".glassine/skeletons-run").exists()


def test_vertices_lie_in_the_middle_of_voxels_of_the_dataset(tmp_path: Path) -> None:
    labels = tube().labels
    made = segmentation(tmp_path, labels, voxel_offset=(-7, 1001, 3), resolution=(32, 30.5, 40))
    make_skeletons(made, options(scale="32_30.5_40"), quiet)
    (skeleton,) = skeletons(made).values()
    voxels = skeleton.vertices / np.array([32, 30.5, 40]) - 0.5 - np.array([-7, 1001, 3])
    np.testing.assert_allclose(voxels, np.rint(voxels), atol=1e-3)
    assert (labels[tuple(np.rint(voxels).astype(int).T)] == 3).all()


def test_cloud_volume_reads_the_same(dataset: Path) -> None:
    make_skeletons(dataset, options(), quiet)
    volume = CloudVolume(f"file://{dataset}", progress=False)
    for segment, skeleton in skeletons(dataset).items():
        read = volume.skeleton.get(segment)
        np.testing.assert_array_equal(read.vertices, skeleton.vertices)
        np.testing.assert_array_equal(read.edges, skeleton.edges)
        np.testing.assert_array_equal(read.radius, skeleton.attributes["radius"])


def test_shards_are_read_by_tensorstore_and_osteoid(dataset: Path) -> None:
    """These two are what neuroglancer's own reader of skeletons is made of."""
    make_skeletons(dataset, options(), quiet)
    files = skeletons(dataset)
    make_skeletons(dataset, options(layout="sharded", overwrite=True), quiet)
    assert sorted(os.listdir(dataset / "skeletons")) == ["0.shard", "info"]
    assert skeletons(dataset).keys() == files.keys()
    members = json.loads((dataset / "skeletons/info").read_bytes())
    base = {"driver": "file", "path": f"{dataset}/skeletons/"}
    store = ts.KvStore.open({"driver": "neuroglancer_uint64_sharded", "base": base, "metadata": members["sharding"]}).result()
    for segment, skeleton in files.items():
        data = store[segment.to_bytes(8, "big")]
        read = osteoid.Skeleton.from_precomputed(data, vertex_attributes=members["vertex_attributes"])
        np.testing.assert_array_equal(read.vertices, skeleton.vertices)
        np.testing.assert_array_equal(read.edges, skeleton.edges)
        np.testing.assert_array_equal(read.radius, skeleton.attributes["radius"])


def test_many_segments_go_into_shards_by_themselves(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "MOST_FILES", 1)
    make_skeletons(dataset, options(), quiet)
    assert parse_skeleton_info((dataset / "skeletons/info").read_bytes()).sharding is not None


def test_groups_change_nothing(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_skeletons(dataset, options(), quiet)
    before = stored(dataset / "skeletons")
    monkeypatch.setattr(conversion, "_GROUP_SEGMENTS", 1)
    make_skeletons(dataset, options(overwrite=True, min_cable=1), quiet)
    assert stored(dataset / "skeletons") == before


def test_a_segment_that_is_too_large_for_a_worker_is_joined_alone(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_skeletons(dataset, options(), quiet)
    before = stored(dataset / "skeletons")
    monkeypatch.setattr(plan, "_block", lambda scale, budget: (100, 72, 60))
    # A worker has room for 100 vertices: the Y has more.
    monkeypatch.setattr(conversion, "_VERTEX_BYTES", 1_000_000)
    seen: list[tuple[str, int, int, int]] = []
    run = conversion.do_step

    def watched(work: Any, step: Any) -> Any:
        seen.append((step.name, work.pending, len(list(step.tasks())), step.done))
        return run(work, step)

    monkeypatch.setattr(conversion, "do_step", watched)
    told = {"overwrite": True, "min_cable": 1, "executor": "processes:2"}
    make_skeletons(dataset, options(memory="800MB", **told), quiet)
    assert seen[1:] == [("groups", 4, 1, 0), ("large groups", 1, 1, 2)]
    assert stored(dataset / "skeletons") == before


def test_a_segment_that_is_too_large_for_all_workers_is_told(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "_VERTEX_BYTES", 10_000_000)
    with pytest.raises(OptionError) as refused:
        make_skeletons(dataset, options(memory="1GB"), quiet)
    assert re.fullmatch(
        r"segment 3 has 1\d\d vertices in its blocks: joining them takes 1\d\d0 MB of memory, and there are 700 MB; give more "
        "with --memory, trace on a coarser scale with --voxel-size, or name the other segments with --segments",
        str(refused.value),
    )
    assert not (dataset / "skeletons").exists()


def test_joining_shows_how_many_segments_are_done(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "_GROUP_SEGMENTS", 2)
    shown: list[Progress] = []
    make_skeletons(dataset, options(executor="serial"), shown.append)
    joined = [progress for progress in shown if progress.step == "join"]
    assert joined == [Progress("join", 2, 3, "segments"), Progress("join", 3, 3, "segments")]


def test_two_processes_write_the_same_bytes(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "_block", lambda size, budget: (50, 72, 60))
    make_skeletons(dataset, options(), quiet)
    before = stored(dataset / "skeletons")
    make_skeletons(dataset, options(overwrite=True, min_cable=1, executor="processes:2"), quiet)
    assert stored(dataset / "skeletons") == before


def test_the_same_request_again_is_done_already(dataset: Path) -> None:
    assert not make_skeletons(dataset, options(), quiet).already
    again = make_skeletons(dataset, options(executor="processes:1", memory="3GB"), quiet)
    assert again.already
    assert again.record.counts["skeletons"] == 2


def test_other_skeletons_are_not_replaced_unasked(dataset: Path) -> None:
    make_skeletons(dataset, options(), quiet)
    with pytest.raises(DatasetExistsError) as refused:
        make_skeletons(dataset, options(const=500), quiet)
    assert str(refused.value) == (
        f"{dataset}: it has other skeletons already, in skeletons (made with other options, of another volume, or by another "
        "tool); add --overwrite to replace them"
    )
    assert make_skeletons(dataset, options(const=500, overwrite=True), quiet).record.parameters["const"] == 500


def test_skeletons_of_a_volume_that_was_replaced_are_not_taken_for_its_own(dataset: Path) -> None:
    make_skeletons(dataset, options(), quiet)
    info = dataset / "info"
    info.write_bytes(info.read_bytes().replace(b'"voxel_offset": [0, 0, 0]', b'"voxel_offset": [1, 0, 0]', 1))
    with pytest.raises(DatasetExistsError, match="of another volume"):
        make_skeletons(dataset, options(), quiet)


def test_an_empty_volume(tmp_path: Path) -> None:
    made = segmentation(tmp_path, np.zeros((40, 40, 40), np.uint32))
    assert make_skeletons(made, options(), quiet).record.counts["segments"] == 0
    assert open_skeletons(made / "skeletons").segments() == []


def test_a_segment_of_one_voxel(tmp_path: Path) -> None:
    labels = np.zeros((40, 40, 40), np.uint8)
    labels[20, 20, 20] = 5
    made = segmentation(tmp_path, labels)
    counts = make_skeletons(made, options(dust_threshold=0), quiet).record.counts
    assert (counts["segments"], counts["skeletons"]) == (1, 0)


@pytest.mark.parametrize("block", [(40, 40, 40), (20, 25, 40)])
def test_a_segment_that_fills_the_volume(block: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "_block", lambda size, budget: block)
    made = segmentation(tmp_path, np.full((40, 40, 40), 5, np.uint32))
    counts = make_skeletons(made, options(soma_detection_threshold=5000, soma_acceptance_threshold=5000), quiet).record.counts
    assert (counts["segments"], counts["skeletons"], counts["trees"]) == (1, 1, 1)


def test_a_segment_with_too_much_to_do_is_named(dataset: Path) -> None:
    record = make_skeletons(dataset, options(max_paths=2), quiet).record
    assert record.limited == (3,)
    assert record.counts["skeletons"] == 2


def test_a_budget_of_voxels_and_paths_bounds_the_work(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The Y has some 7,000 voxels: with twice as many voxels times paths there are two paths, as where two are asked for.
    monkeypatch.setattr(tracing, "_LARGE", 5000)
    assert make_skeletons(dataset, options(budget=15_000), quiet).record.limited == (3,)
    few = stored(dataset / "skeletons")
    make_skeletons(dataset, options(max_paths=2, overwrite=True), quiet)
    assert stored(dataset / "skeletons")["3"] == few["3"]
    assert make_skeletons(dataset, options(budget=1_000_000, overwrite=True), quiet).record.limited == ()


def test_every_option_reaches_kimimaro(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, Any]] = []

    def recorded(labels: Any, **given: Any) -> dict[int, Any]:
        told.append(given)
        return {}

    monkeypatch.setattr("kimimaro.skeletonize", recorded)
    (dataset / "points.csv").write_text("x,y,z,segment\n50,36,30,3\n")
    teasar: dict[str, Any] = {
        "const": 1.0, "pdrf_scale": 2.0, "pdrf_exponent": 3, "soma_detection_threshold": 4.0, "soma_acceptance_threshold": 5.0,
        "soma_invalidation_scale": 6.0, "soma_invalidation_const": 7.0,
    }  # fmt: skip
    others = {"fill_holes": True, "fix_avocados": True, "targets_before": dataset / "points.csv", "targets_unit": "voxels"}
    more = {"invalidation_scale": 8.0, "max_paths": 9, "no_fix_branching": True, "segments": "3"}
    make_skeletons(dataset, SkeletonizeOptions(executor="serial", **teasar, **others, **more), quiet)
    (given,) = told
    # One target more than may be traced beside it.
    assert given["teasar_params"] == {"scale": 8.0, **teasar, "max_paths": 10}
    assert given["extra_targets_before"] == [(50, 36, 30)]
    chosen = ("anisotropy", "fix_branching", "fill_holes", "fix_avocados", "fix_borders", "extra_targets_after")
    assert [given[name] for name in chosen] == [(32.0, 32.0, 32.0), False, True, True, True, []]


def test_segments_that_are_not_there(dataset: Path) -> None:
    with pytest.raises(OptionError) as refused:
        make_skeletons(dataset, options(segments="3, 77,78"), quiet)
    assert str(refused.value) == f"--segments: there is no segment 77 and 1 more in scale 32_32_32 of {dataset}"
    assert not (dataset / "skeletons").exists()


def test_an_image_has_no_skeletons(tmp_path: Path) -> None:
    made = segmentation(tmp_path, np.zeros((20, 20, 20), np.uint8), type="image")
    with pytest.raises(DatasetError, match="image of uint8 with 1 channels, expected a segmentation: labels become one with"):
        make_skeletons(made, options(), quiet)


def test_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no dataset, there is no file `info` in it; convert a volume into it first"):
        make_skeletons(tmp_path, options(), quiet)


def test_a_damaged_chunk_is_named_and_nothing_is_published(dataset: Path) -> None:
    chunk = next(path for path in (dataset / "32_32_32").rglob("*.gz"))
    chunk.write_bytes(b"no gzip")
    with pytest.raises(DatasetError, match="32_32_32/"):
        make_skeletons(dataset, options(), quiet)
    assert parse_volume_info((dataset / "info").read_bytes()).skeletons is None
    assert not (dataset / "skeletons").exists()


@pytest.mark.parametrize("count", [1, 3, 6, 8, 9, 10])
def test_a_run_that_was_killed_goes_on_with_the_same_bytes(count: int, dataset: Path, tmp_path: Path) -> None:
    arguments = [str(dataset), options().model_dump_json()]
    killed = subprocess.run([*RUN, str(count), *arguments], check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    info = parse_volume_info((dataset / "info").read_bytes())
    assert info.skeletons is None or open_skeletons(dataset / "skeletons").segments() == [3, 2**40 + 1]
    subprocess.run([*RUN, "-1", *arguments], check=True, capture_output=True)
    again = stored(dataset)
    fresh = segmentation(tmp_path / "fresh", np.load(tmp_path / "labels.npy"))
    subprocess.run([*RUN, "-1", str(fresh), arguments[1]], check=True, capture_output=True)
    other = stored(fresh)
    names = {name for name in again if not name.endswith(("record.json", "skeletons.json"))}
    assert names == {name for name in other if not name.endswith(("record.json", "skeletons.json"))}
    assert all(again[name] == other[name] for name in names)
    assert not (dataset / ".glassine/skeletons-run").exists()


def test_two_runs_do_not_write_one_dataset(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def second(*arguments: Any) -> None:
        with pytest.raises(BusyError, match="another run is writing this dataset"):
            make_skeletons(dataset, options(const=10), quiet)
        raise DatasetError("enough")

    monkeypatch.setattr(conversion, "_write", second)
    with pytest.raises(DatasetError, match="enough"):
        make_skeletons(dataset, options(), quiet)


def test_nothing_is_to_be_finished_where_no_run_was(dataset: Path) -> None:
    before = stored(dataset)
    finish_publishing(dataset, "skeletons")
    assert stored(dataset) == before


def test_noise_in_which_every_voxel_is_a_piece_is_traced(tmp_path: Path) -> None:
    labels = np.random.default_rng(2).integers(0, 256, (9, 5, 18)).astype(np.uint64)
    made = make_skeletons(segmentation(tmp_path, labels), options(dust_threshold=0, tick_threshold=0), quiet)
    assert made.record.counts["segments"] == len(np.unique(labels[labels > 0]))
    assert made.record.counts["skeletons"] > 0
