"""Cable lengths, branch and end points of segments among a dataset's segment properties."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.errors import DatasetError
from converters.skeletons.conversion import make_skeletons
from converters.skeletons.record import longest, read_skeleton_record
from converters.storage import files
from tests.converters.skeletons.datasets import options, quiet, segmentation, skeletons
from tests.converters.skeletons.phantoms import tubes, y_shape

LARGE = 2**63 + 1
NAMES = {
    "@type": "neuroglancer_segment_properties",
    "inline": {
        "ids": ["3", "77"],
        "properties": [
            {"id": "label", "type": "label", "values": ["a Y", "not here"]},
            {"id": "kind", "type": "tags", "tags": ["axon"], "values": [[0], []]},
            {"id": "end_points", "type": "number", "data_type": "uint8", "values": [200, 1]},
        ],
    },
}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A segmentation of a Y (3), a shorter tube beside it and one voxel (8)."""
    labels = y_shape().labels.astype(np.uint64)
    labels[tubes(3, ((8, 60, 8), (60, 60, 8))) & (labels == 0)] = LARGE
    labels[2, 2, 2] = 8
    return segmentation(tmp_path, labels)


def info(folder: Path) -> dict[str, Any]:
    members: dict[str, Any] = json.loads((folder / "info").read_bytes())
    return members


def properties(dataset: Path) -> dict[str, dict[str, Any]]:
    """Return what the dataset tells of each segment, by id and property."""
    inline = info(dataset / info(dataset)["segment_properties"])["inline"]
    told = [{"": segment} for segment in inline["ids"]]
    for one in inline["properties"]:
        for values, value in zip(told, one["values"], strict=True):
            values[one["id"]] = value
    return {values.pop(""): values for values in told}


def give_names(dataset: Path, folder: str) -> None:
    (dataset / folder).mkdir()
    (dataset / folder / "info").write_text(json.dumps(NAMES))
    (dataset / "info").write_text(json.dumps({**info(dataset), "segment_properties": folder}))


def test_each_segment_is_told_of(dataset: Path) -> None:
    record = make_skeletons(dataset, options(), quiet).record
    found = properties(dataset)
    assert list(found) == ["3", "8", str(LARGE)]
    for segment, skeleton in skeletons(dataset).items():
        told = found[str(segment)]
        assert told["cable_length"] == pytest.approx(skeleton.cable_length, rel=1e-5)
        degrees = skeleton.degrees
        assert (told["branch_points"], told["end_points"]) == ((degrees > 2).sum(), (degrees == 1).sum())
    assert found["8"] == {"cable_length": 0, "branch_points": 0, "end_points": 0}
    assert (found["3"]["branch_points"], found["3"]["end_points"], found[str(LARGE)]["end_points"]) == (1, 3, 2)
    assert sum(told["cable_length"] for told in found.values()) == pytest.approx(record.cable_length)
    assert info(dataset)["segment_properties"] == "segment_properties"
    listed = info(dataset / "segment_properties")["inline"]["properties"]
    assert [(one["id"], one["type"], one["data_type"], one["description"]) for one in listed] == [
        ("cable_length", "number", "float32", "length of all lines, nm"),
        ("branch_points", "number", "uint32", "vertices with three lines or more"),
        ("end_points", "number", "uint32", "vertices with one line"),
    ]


@pytest.mark.parametrize("folder", ["segment_properties", "names"])
def test_what_is_known_already_is_kept(folder: str, dataset: Path) -> None:
    give_names(dataset, folder)
    make_skeletons(dataset, options(), quiet)
    found = properties(dataset)
    assert list(found) == ["3", "8", "77", str(LARGE)]
    assert (found["3"]["label"], found["3"]["kind"], found["3"]["end_points"]) == ("a Y", [0], 3)
    assert found["77"] == {"label": "not here", "kind": [], "cable_length": 0, "branch_points": 0, "end_points": 0}
    if folder == "names":
        assert info(dataset / "names") == NAMES


def test_numbers_of_skeletons_that_were_replaced_go(dataset: Path) -> None:
    give_names(dataset, "segment_properties")
    make_skeletons(dataset, options(), quiet)
    make_skeletons(dataset, options(segments="3", overwrite=True), quiet)
    assert list(properties(dataset)) == ["3", "77"]


def test_properties_at_a_url_are_left_alone(dataset: Path) -> None:
    (dataset / "info").write_text(json.dumps({**info(dataset), "segment_properties": "https://127.0.0.1/names"}))
    make_skeletons(dataset, options(), quiet)
    assert info(dataset)["segment_properties"] == "https://127.0.0.1/names"
    assert not (dataset / "segment_properties").exists()


def test_properties_that_cannot_be_read_are_told_before_any_work(dataset: Path) -> None:
    give_names(dataset, "segment_properties")
    (dataset / "segment_properties/info").write_text('{"@type": "neuroglancer_segment_properties", "inline": {"ids": [3]}}')
    with pytest.raises(DatasetError, match=r"segment_properties: info: inline: ids is \[3\], expected a list of ids"):
        make_skeletons(dataset, options(), lambda progress: pytest.fail("work was begun"))
    assert not (dataset / "skeletons").exists()


def test_a_volume_without_segments_gets_no_properties(tmp_path: Path) -> None:
    made = segmentation(tmp_path, np.zeros((40, 40, 40), np.uint32))
    make_skeletons(made, options(), quiet)
    assert "segment_properties" not in info(made)


def test_the_infos_members_come_last(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the viewer reads at any time names nothing that is not there."""
    seen: list[str] = []
    rename = os.replace

    def replaced(old: Any, new: Any) -> None:
        rename(old, new)
        seen.append(os.path.relpath(new, dataset))
        for member in ("skeletons", "segment_properties"):
            named = info(dataset).get(member)
            assert named is None or (dataset / named / "info").is_file()

    monkeypatch.setattr(os, "replace", replaced)
    assert files.os.replace is replaced
    make_skeletons(dataset, options(), quiet)
    assert seen.index("segment_properties/info") < seen.index("info") == len(seen) - 1


def test_links_show_the_longest(dataset: Path) -> None:
    record = make_skeletons(dataset, options(), quiet).record
    assert record.largest == (3, LARGE)
    assert read_skeleton_record(dataset) == record
    assert json.loads((dataset / ".glassine/skeletons.json").read_bytes())["largest"] == ["3", str(LARGE)]
    assert longest({n: float(n % 20) for n in range(1, 200)}) == (19, 39, 59, 79, 99, 119, 139, 159, 179, 199)


def test_a_record_that_cannot_be_read(dataset: Path) -> None:
    (dataset / ".glassine/skeletons.json").write_text('{"limited": []}')
    with pytest.raises(DatasetError, match=r"skeletons\.json: not a record of glassine \(.*\); make the skeletons again with"):
        read_skeleton_record(dataset)


class Killed(BaseException):
    """Ends a run where it is."""


@pytest.mark.parametrize("left", range(1, 8))
def test_a_run_that_was_killed_while_it_published_is_finished(left: int, dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """left: renamings that were still to come."""
    give_names(dataset, "segment_properties")
    before, rename, count = {path: path.read_bytes() for path in dataset.rglob("info")}, os.replace, 0

    def counted(old: Any, new: Any) -> None:
        nonlocal count
        count += 1
        if count == last:
            raise Killed
        rename(old, new)

    last = 0
    monkeypatch.setattr(os, "replace", counted)
    make_skeletons(dataset, options(), quiet)
    expected, every = properties(dataset), count
    shutil.rmtree(dataset / "skeletons")
    shutil.rmtree(dataset / ".glassine")
    for path, data in before.items():
        path.write_bytes(data)
    count, last = 0, every + 1 - left
    monkeypatch.setattr(shutil, "rmtree", lambda *given, **told: None)
    with pytest.raises(Killed):
        make_skeletons(dataset, options(), quiet)
    monkeypatch.undo()
    named = info(dataset).get("skeletons")
    assert named is None
    make_skeletons(dataset, options(), quiet)
    assert properties(dataset) == expected
    assert info(dataset)["skeletons"] == "skeletons"
    assert not list(dataset.rglob("*.tmp"))
