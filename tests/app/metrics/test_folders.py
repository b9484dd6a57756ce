"""Which dataset and scale a folder in a URL is of: of what is on the disk, and of nothing else."""

import json
from pathlib import Path

import pytest

from app.metrics.folders import NOWHERE, Folders, Place


@pytest.mark.parametrize(
    ("folder", "place"),
    [
        ("/data/lab/brain/8_8_8", Place("file", "lab/brain", "8_8_8")),
        ("/flat/lab/brain/8_8_8", Place("file", "lab/brain", "8_8_8")),
        ("/data/lab/brain/fine/4_4_4", Place("file", "lab/brain", "fine/4_4_4")),
        ("/data/lab/brain/fine", Place("file", "lab/brain", "other")),
        ("/data/lab/brain/1_1_1", Place("file", "lab/brain", "other")),
        ("/data/lab/brain", Place("file", "lab/brain", "other")),
        ("/data/lab/brain/mesh", Place("mesh")),
        ("/data/lab/brain/skeletons", Place("skeleton", "lab/brain")),
        ("/data/~zzzzzz.2.AAAAAAAAAAAAAAAAAAAAAA/lab/brain/8_8_8", Place("file", "lab/brain", "8_8_8")),
    ],
)
def test_folders_of_a_dataset(root: Path, folder: str, place: Place) -> None:
    assert Folders(root).place(folder) == place


@pytest.mark.parametrize(
    "folder",
    [
        "/data",
        "/data/lab",
        "/data/nothing/8_8_8",
        "/data/lab/brain/a/b/c/d/e/f",
        "/data//lab/brain/8_8_8",
        "/data/lab/../lab/brain/8_8_8",
        "/data/lab/brain/.glassine",
        "/data/lab/brain/8_8_8\0",
        "/data/\udcff",
        "/data/" + "x" * 5000,
        "/data/~zzzzzz.2.AAAAAAAAAAAAAAAAAAAAAA",
        "/api/jobs",
    ],
)
def test_what_is_no_folder_of_a_dataset(root: Path, folder: str) -> None:
    assert Folders(root).place(folder) is NOWHERE


def test_the_served_folder_may_be_the_dataset(root: Path) -> None:
    folders = Folders(root / "lab" / "brain")
    assert folders.place("/data/8_8_8") == Place("file", ".", "8_8_8")
    assert folders.place("/data") == Place("file", ".", "other")


@pytest.mark.parametrize(
    "info",
    ["", "[]", "{", '{"scales": 3}', '{"scales": [1, {"key": 4}, {}]}', '{"@type": 7}', " " * (1 << 20) + '{"scales": []}'],
)
def test_an_info_that_cannot_be_read_tells_of_no_scale(root: Path, info: str) -> None:
    (root / "lab" / "brain" / "info").write_text(info)
    assert Folders(root).place("/data/lab/brain/8_8_8").scale == "other"


def test_an_info_outside_of_the_served_folder_is_not_read(root: Path) -> None:
    (root / "lab" / "brain").rename(root.parent / "elsewhere")
    (root / "lab" / "brain").symlink_to(root.parent / "elsewhere")
    assert Folders(root).place("/data/lab/brain/8_8_8") is NOWHERE


def test_what_was_found_is_not_looked_for_again_at_once(root: Path) -> None:
    folders = Folders(root)
    assert folders.place("/data/lab/brain/8_8_8").scale == "8_8_8"
    (root / "lab" / "brain" / "info").write_text(json.dumps({"scales": []}))
    assert folders.place("/data/lab/brain/8_8_8").scale == "8_8_8"
    assert Folders(root).place("/data/lab/brain/8_8_8").scale == "other"
