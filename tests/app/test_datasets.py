import json
import os
import time
from pathlib import Path

import pytest

from app.datasets import BrokenDataset, Dataset, DiskSizes, bytes_on_disk, dataset_path, find_datasets, read_dataset
from converters.errors import DatasetError
from converters.meshes.record import MeshRecord, encode_mesh_record, mesh_record_path
from converters.record import Record, encode_record
from converters.skeletons.record import SkeletonRecord, encode_skeleton_record, skeleton_record_path

SCALE = {
    "key": "8_8_8", "size": [10, 20, 30], "resolution": [8, 8, 8], "chunk_sizes": [[64, 64, 64]], "encoding": "raw"
}  # fmt: skip
INFO = {"type": "image", "data_type": "uint8", "num_channels": 1, "scales": [SCALE]}


def make_dataset(folder: Path, info: object = INFO) -> Path:
    folder.mkdir(parents=True)
    (folder / "info").write_text(info if isinstance(info, str) else json.dumps(info))
    return folder


def names(root: Path) -> list[str]:
    return [found.name for found in find_datasets(root).datasets]


def test_datasets_are_found_at_any_place_by_their_path(tmp_path: Path):
    make_dataset(tmp_path / "b")
    make_dataset(tmp_path / "lab one" / "a")
    (tmp_path / "empty").mkdir()
    listing = find_datasets(tmp_path)
    assert listing.complete
    assert [(found.name, found.path) for found in listing.datasets if isinstance(found, Dataset)] == [
        ("b", tmp_path / "b"),
        ("lab one/a", tmp_path / "lab one" / "a"),
    ]


def test_what_lies_in_a_dataset_is_part_of_it(tmp_path: Path):
    make_dataset(tmp_path / "a")
    make_dataset(tmp_path / "a" / "older")
    assert names(tmp_path) == ["a"]


def test_a_served_folder_may_be_a_dataset_itself(tmp_path: Path):
    make_dataset(tmp_path / "a")
    assert names(tmp_path / "a") == [""]


def test_hidden_folders_are_not_looked_into(tmp_path: Path):
    make_dataset(tmp_path / ".cache" / "a")
    assert names(tmp_path) == []


def test_folders_very_far_down_are_not_looked_into(tmp_path: Path):
    make_dataset(tmp_path.joinpath(*"abcdef"))
    make_dataset(tmp_path.joinpath(*"ABCDEFG"))
    assert names(tmp_path) == ["a/b/c/d/e/f"]


def test_too_many_folders_are_said_to_be_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("app.datasets._FOLDERS", 5)
    for n in range(10):
        make_dataset(tmp_path / str(n))
    listing = find_datasets(tmp_path)
    assert not listing.complete
    assert [found.name for found in listing.datasets] == ["0", "1", "2", "3"]


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_links_out_of_the_served_folder_and_in_circles_are_not_followed(tmp_path: Path):
    make_dataset(tmp_path / "outside")
    make_dataset(tmp_path / "root" / "in" / "a")
    (tmp_path / "root" / "out").symlink_to(tmp_path / "outside")
    (tmp_path / "root" / "alias").symlink_to(tmp_path / "root" / "in" / "a")
    (tmp_path / "root" / "in" / "circle").symlink_to(tmp_path / "root")
    found = names(tmp_path / "root")
    assert "out" not in found
    assert {"alias", "in/a"} <= set(found)


@pytest.mark.parametrize("kind", ["neuroglancer_multilod_draco", "neuroglancer_skeletons", "neuroglancer_annotations_v1"])
def test_other_kinds_of_datasets_are_not_volumes(tmp_path: Path, kind: str):
    make_dataset(tmp_path / "mesh", {"@type": kind, "vertex_quantization_bits": 10})
    assert names(tmp_path) == []


def test_a_broken_dataset_is_listed_with_what_is_wrong(tmp_path: Path):
    make_dataset(tmp_path / "a", {**INFO, "data_type": "float64"})
    make_dataset(tmp_path / "b", "not json")
    make_dataset(tmp_path / "c", {**INFO, "scales": [{**SCALE, "sharding": {"@type": "neuroglancer_uint64_sharded_v1"}}]})
    make_dataset(tmp_path / "d")
    (tmp_path / "d" / ".glassine").mkdir()
    (tmp_path / "d" / ".glassine" / "record.json").write_text("{}")
    found = find_datasets(tmp_path).datasets
    assert all(isinstance(one, BrokenDataset) for one in found)
    errors = [one.error for one in found if isinstance(one, BrokenDataset)]
    assert 'data_type is "float64"' in errors[0]
    assert "not JSON" in errors[1]
    assert "minishard_bits" in errors[2]
    assert "not a record of glassine" in errors[3]


def test_an_info_without_end_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("app.datasets._LARGEST_INFO", 100)
    make_dataset(tmp_path / "a")
    (found,) = find_datasets(tmp_path).datasets
    assert isinstance(found, BrokenDataset)
    assert "more than 100 bytes" in found.error


def test_a_folder_without_info_is_no_dataset(tmp_path: Path):
    with pytest.raises(
        DatasetError, match=r"^.*nowhere: no dataset, there is no file `info` in it; convert a volume into it first$"
    ):
        read_dataset(tmp_path / "nowhere", "nowhere")


def test_a_dataset_comes_with_its_record(tmp_path: Path):
    folder = make_dataset(tmp_path / "a")
    record = Record("0", "scan.nii", {}, {}, (8.0, 8.0, 8.0), counts={"stored_bytes": 4711})
    (folder / ".glassine").mkdir()
    (folder / ".glassine" / "record.json").write_bytes(encode_record(record))
    dataset = read_dataset(folder, "a")
    assert dataset.record == record
    assert DiskSizes().get(dataset) == 4711


def test_a_first_look_shows_the_largest_meshes_and_where_there_are_none_the_longest_skeletons(tmp_path: Path):
    segmentation = {"type": "segmentation", "data_type": "uint32", "num_channels": 1, "scales": [SCALE]}
    folder = make_dataset(tmp_path / "a", {**segmentation, "skeletons": "skeletons"})
    skeletons = SkeletonRecord({}, "8_8_8", {}, {}, 1.0, (), (2**64 - 1, 5))
    meshes = MeshRecord("0", {}, {}, "mesh", "8_8_8", 8.0, 1, (10,), 100, (7,))
    for path, data in (
        (skeleton_record_path(folder), encode_skeleton_record(skeletons)),
        (mesh_record_path(folder), encode_mesh_record(meshes)),
    ):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    assert read_dataset(folder, "a").selected == (2**64 - 1, 5)
    (folder / "info").write_text(json.dumps({**segmentation, "skeletons": "skeletons", "mesh": "mesh"}))
    assert read_dataset(folder, "a").selected == (7,)


def test_the_bytes_of_others_datasets_are_counted_meanwhile(tmp_path: Path):
    folder = make_dataset(tmp_path / "a")
    (folder / "8_8_8").mkdir()
    (folder / "8_8_8" / "0-10_0-20_0-30").write_bytes(bytes(6000))
    expected = 6000 + (folder / "info").stat().st_size
    assert bytes_on_disk(folder) == expected
    sizes, dataset = DiskSizes(), read_dataset(folder, "a")
    for _ in range(500):
        if sizes.get(dataset) is not None:
            break
        time.sleep(0.01)
    assert sizes.get(dataset) == expected


@pytest.mark.parametrize("name", ["a", "/a", "a/", "lab/b", "lab//b"])
def test_the_folder_of_a_name(tmp_path: Path, name: str):
    make_dataset(tmp_path / "a")
    make_dataset(tmp_path / "lab" / "b")
    path = dataset_path(tmp_path, name)
    assert path is not None
    assert path.is_relative_to(tmp_path.resolve())


@pytest.mark.parametrize(
    "name", ["..", "../secret", "a/../../secret", "nothing", "a\0", "a\\b", ".glassine", "a/.glassine", "link"]
)
def test_no_name_leads_out_of_the_served_folder(tmp_path: Path, name: str):
    make_dataset(tmp_path / "secret")
    make_dataset(tmp_path / "root" / "a")
    make_dataset(tmp_path / "root" / "a" / ".glassine")
    (tmp_path / "root" / "link").symlink_to(tmp_path / "secret")
    assert dataset_path(tmp_path / "root", name) is None
