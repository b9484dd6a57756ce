"""`glassine skeletonize`: what it prints, writes and answers."""

import json
from pathlib import Path

import numpy as np
import pytest

from app.cli import run
from tests.converters.skeletons.datasets import segmentation
from tests.converters.skeletons.phantoms import in_two_pieces, y_shape

SUITED = ["--executor", "serial", "--invalidation-scale", "1.5", "--const", "300", "--dust-threshold", "20"]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A segmentation of a Y (3) and of one voxel (8)."""
    labels = y_shape().labels
    labels[2, 2, 2] = 8
    return segmentation(tmp_path, labels)


def test_the_summary(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["skeletonize", str(dataset), *SUITED]) == 0
    first, second, third, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{dataset}: 1 skeletons of 2 segments, 1 trees, 3 end points, ")
    assert " µm of cable, " in first
    assert "traced on voxels of 32 x 32 x 32 nm, in " in first
    assert second == (
        "parameters: scale 1.5, const 300, pdrf_scale 100000, pdrf_exponent 4, soma_detection_threshold 750, "
        "soma_acceptance_threshold 3500, soma_invalidation_scale 2, soma_invalidation_const 300, max_paths none, "
        "budget 5000000000, dust_threshold 20, tick_threshold 300, min_cable 0, fix_branching yes, fill_holes no, fix_avocados no"
    )
    assert third == "1 segments have no skeleton: no piece of more than 20 voxels (--dust-threshold)"
    assert rest == []
    assert run(["skeletonize", str(dataset), *SUITED]) == 0
    assert capsys.readouterr().out == (
        f"{dataset}: 1 skeletons of 2 segments; they were there already, made from the same volume with the same options\n"
    )


def test_json_and_swc(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["skeletonize", str(dataset), *SUITED, "--json", "--swc", str(tmp_path / "swc")]) == 0
    members = json.loads(capsys.readouterr().out)
    assert members["counts"]["skeletons"] == members["swc_files"] == 1
    assert members["parameters"]["const"] == 300
    assert (members["limited"], members["already"], members["scale"]) == ([], False, "32_32_32")
    (path,) = (tmp_path / "swc").iterdir()
    assert path.name == "3.swc"
    lines = path.read_text().splitlines()
    assert lines[:2] == ["# segment 3", "# unit: um"]
    rows = np.array([line.split() for line in lines if not line.startswith("#")], float)
    assert len(rows) == members["counts"]["vertices"]
    assert (rows[:, 6] == -1).sum() == 1
    # 92 voxels of 32 nm are nearly 3 micron.
    assert 2.5 < rows[:, 2].max() < 3.2


def test_swc_of_skeletons_that_are_there_in_nm(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["skeletonize", str(dataset), *SUITED])
    capsys.readouterr()
    assert run(["skeletonize", str(dataset), *SUITED, "--swc", str(tmp_path / "swc"), "--swc-unit", "nm"]) == 0
    assert capsys.readouterr().out.endswith(f"{tmp_path / 'swc'}: 1 SWC files in nm\n")
    rows = [line.split() for line in (tmp_path / "swc/3.swc").read_text().splitlines() if not line.startswith("#")]
    assert max(float(row[2]) for row in rows) > 2500


def test_a_folder_for_swc_that_cannot_be_made(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = dataset / "info"
    assert run(["skeletonize", str(dataset), *SUITED, "--swc", str(file)]) == 2
    assert capsys.readouterr().err == f"glassine: --swc {file}: no folder can be made there (File exists)\n"


def test_an_empty_volume_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = segmentation(tmp_path, np.zeros((30, 30, 30), np.uint32))
    assert run(["skeletonize", str(made), "--executor", "serial"]) == 0
    assert capsys.readouterr().out.endswith("\nscale 32_32_32 holds no segment, all its voxels are 0\n")


def test_a_segment_of_one_voxel_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = np.zeros((30, 30, 30), np.uint32)
    labels[5, 5, 5] = 7
    made = segmentation(tmp_path, labels)
    assert run(["skeletonize", str(made), "--executor", "serial", "--dust-threshold", "0"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith(f"{made}: 0 skeletons of 1 segments, 0 trees, ")
    assert told[2:] == ["1 segments have no skeleton: no piece of more than 1 voxels (--dust-threshold)"]


def test_a_segment_that_fills_the_volume_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = segmentation(tmp_path, np.full((40, 30, 20), 7, np.uint32))
    assert run(["skeletonize", str(made), "--executor", "serial"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith(f"{made}: 1 skeletons of 1 segments, 1 trees, ")
    assert len(told) == 2


def test_points_without_paths_are_told(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "points.csv").write_text("x,y,z,segment\n50,36,30,3\n50,36,30,99\n")
    told = ["--targets-before", str(tmp_path / "points.csv"), "--targets-unit", "voxels"]
    assert run(["skeletonize", str(dataset), *SUITED, *told]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "1 of 2 points have no path to them: none of their segments is near, or it has no skeleton"
    )


def test_segments_with_too_much_to_do_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = segmentation(tmp_path, np.maximum(y_shape().labels, in_two_pieces().labels))
    assert run(["skeletonize", str(made), *SUITED, "--max-paths", "2"]) == 0
    told = capsys.readouterr().out.splitlines()[-1]
    assert told == "took all the paths there were for them and may be unfinished (--budget, --max-paths): segments 3"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--const", "-1"], "--const -1: expected at least 0"),
        (["--segments", "1,x"], "--segments 1,x: not understood"),
        (["--scale", "9"], "--scale 9: "),
        (["--memory", "100MB"], "100 MB of memory for 1 workers are too few, skeletons need 322 MB"),
    ],
)
def test_wrong_usage_is_one_sentence(words: list[str], sentence: str, dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["skeletonize", str(dataset), "--executor", "serial", *words]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"glassine: {sentence}")
    assert told.count("\n") == 1


def test_properties_that_lie_elsewhere_are_told(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    info = dataset / "info"
    info.write_text(json.dumps({**json.loads(info.read_text()), "segment_properties": "gs://bucket/names"}))
    assert run(["skeletonize", str(dataset), *SUITED]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "its segment properties lie at gs://bucket/names, so cable lengths, branch and end points were not added to them"
    )
