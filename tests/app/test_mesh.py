"""`glassine mesh` as it is typed."""

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh

from app.cli import run


@pytest.fixture
def labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    voxels = np.zeros((20, 20, 20), np.uint32)
    voxels[2:9, 3:12, 4:15] = 5
    voxels[10:, 10:, :] = 2**31
    np.save(tmp_path / "labels.npy", voxels)
    assert run(["convert", str(tmp_path / "labels.npy"), str(tmp_path / "d"), "--axes", "xyz", "--resolution", "8,8,8"]) == 0
    capsys.readouterr()
    return tmp_path / "d"


def mesh(dataset: Path, *words: str) -> int:
    return run(["mesh", str(dataset), "--executor", "serial", *words])


def test_a_line_tells_what_was_made(labels, capsys):
    assert mesh(labels) == 0
    line = capsys.readouterr().out
    assert line.startswith(f"{labels}: 2 meshes of scale 8_8_8 (8 x 8 x 8 nm), largest error 8 nm, ")
    assert mesh(labels) == 0
    assert capsys.readouterr().out.endswith("they were there already, made of the same volume with the same options\n")


def test_a_program_reads_json(labels, capsys):
    assert mesh(labels, "--json", "--lods", "2", "--segments", "5") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["meshes"], told["largest"], told["max_error"], len(told["triangles"])) == (1, ["5"], 8, 2)


def test_the_link_selects_what_has_meshes(labels, capsys):
    assert mesh(labels) == 0
    capsys.readouterr()
    assert run(["link", str(labels)]) == 0
    assert "%22segments%22:%5B%222147483648%22,%225%22%5D" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--segments", "5,6"), "--segments: there is no segment 6 in scale 8_8_8"),
        (("--segments", "five"), "--segments five: "),
        (("--max-error", "0"), "--max-error 0: expected more than 0 (How far in nm"),
        (("--lods", "9"), "--lods 9: expected at most 8"),
        (("--scale", "4"), "--scale 4: "),
    ],
)
def test_a_wrong_option_is_one_sentence(labels, capsys, words, message):
    assert mesh(labels, *words) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"glassine: {message}")
    assert said.count("\n") == 1


def test_what_is_no_dataset_is_one_sentence(tmp_path, capsys):
    assert mesh(tmp_path / "nothing") == 1
    assert "no dataset, there is no file `info` in it" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["ply", "obj", "stl"])
@pytest.mark.parametrize("made", [("--format", "legacy"), ("--lods", "2")], ids=["legacy", "multires"])
def test_exported_meshes_are_closed_and_lie_where_their_voxels_lie(tmp_path, capsys, made, form):
    voxels = np.zeros((40, 30, 20), np.uint16)
    voxels[3:33, 4:10, 5:17] = 700
    voxels[3:9, 10:25, 5:9] = 700
    np.save(tmp_path / "labels.npy", voxels)
    place = ["--axes", "xyz", "--resolution", "10,20,40", "--voxel-offset=-3,50,1000", "--type", "segmentation"]
    assert run(["convert", str(tmp_path / "labels.npy"), str(tmp_path / "d"), *place]) == 0
    assert mesh(tmp_path / "d", *made, "--scale", "10_20_40", "--max-error", "1") == 0
    words = ["--export", str(tmp_path / "out"), "--export-format", form, "--export-unit", "um", "--segments", "700"]
    assert mesh(tmp_path / "d", *words) == 0
    found = trimesh.load_mesh(tmp_path / "out" / f"700.{form}")
    assert found.is_watertight
    assert found.is_winding_consistent
    # Marching cubes cut the corners off, and nothing of the faces.
    inside = (voxels == 700).sum() * 10 * 20 * 40 / 1e9
    assert 0.95 * inside < found.volume < inside
    low, high = np.array([(0, 54, 1005), (30, 75, 1017)]) * (10, 20, 40) / 1e3
    # Within the largest error that was asked for, a fifth of half the shortest edge.
    np.testing.assert_allclose(found.bounds, [low, high], atol=1e-3)
