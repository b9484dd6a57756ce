"""Which dataset and scale a folder in a URL is of: of what is on the disk, and of nothing else."""

import json
from pathlib import Path

import pytest

from app.metrics.folders import NOWHERE, Folders, Place


def place_of(folders: Folders, folder: str) -> Place:
    return folders.places([folder])[folder]


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
    assert place_of(Folders(root), folder) == place


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
    assert place_of(Folders(root), folder) is NOWHERE


def test_the_served_folder_may_be_the_dataset(root: Path) -> None:
    folders = Folders(root / "lab" / "brain")
    assert place_of(folders, "/data/8_8_8") == Place("file", ".", "8_8_8")
    assert place_of(folders, "/data") == Place("file", ".", "other")


@pytest.mark.parametrize(
    "info",
    ["", "[]", "{", '{"scales": 3}', '{"scales": [1, {"key": 4}, {}]}', '{"@type": 7}', " " * (1 << 20) + '{"scales": []}'],
)
def test_an_info_that_cannot_be_read_tells_of_no_scale(root: Path, info: str) -> None:
    (root / "lab" / "brain" / "info").write_text(info)
    assert place_of(Folders(root), "/data/lab/brain/8_8_8").scale == "other"


def test_an_info_outside_of_the_served_folder_is_not_read(root: Path) -> None:
    (root / "lab" / "brain").rename(root.parent / "elsewhere")
    (root / "lab" / "brain").symlink_to(root.parent / "elsewhere")
    assert place_of(Folders(root), "/data/lab/brain/8_8_8") is NOWHERE


def test_links_that_go_round_in_a_circle_are_nothing(root: Path) -> None:
    (root / "lab" / "loop").symlink_to("loop")
    assert place_of(Folders(root), "/data/lab/loop/8_8_8") is NOWHERE


def test_what_is_known_stays_so_whatever_else_is_asked_for(root: Path) -> None:
    folders = Folders(root)
    known = ["/data/lab/brain/8_8_8", f"/data/~zzzzzz.2.{'A' * 22}/lab/brain/16_16_16", "/flat/lab/brain/mesh"]
    folders.places(known)
    folders.places(f"/data/made-up-{number}/8_8_8" for number in range(5000))
    folders.places(f"/data/lab/brain/made-up-{number}" for number in range(5000))
    assert all(map(folders.is_known, known))
    assert not folders.is_known("/data/made-up-4999/8_8_8")
    assert not folders.is_known("/data/lab/brain/made-up-4999")
    assert not folders.is_known("/data/lab/brain")
    assert not folders.is_known("")


def test_what_was_found_is_not_looked_for_again_at_once(root: Path) -> None:
    folders = Folders(root)
    assert place_of(folders, "/data/lab/brain/8_8_8").scale == "8_8_8"
    (root / "lab" / "brain" / "info").write_text(json.dumps({"scales": []}))
    assert place_of(folders, "/data/lab/brain/8_8_8").scale == "8_8_8"
    assert place_of(Folders(root), "/data/lab/brain/8_8_8").scale == "other"
