"""Points that paths are led to: tables, the voxels that they become, and the skeletons with them."""

from pathlib import Path

import numpy as np
import pytest

from converters.errors import OptionError
from converters.skeletons import plan
from converters.skeletons.conversion import make_skeletons
from converters.skeletons.targets import Targets, TargetSpace, placed, read_targets
from formats.grid import Box, Triple
from tests.converters.skeletons.datasets import options, quiet, segmentation, skeletons
from tests.converters.skeletons.phantoms import SHAPE, tubes

SPACE = TargetSpace("nm", (16.0, 16.0, 40.0), (32.0, 32.0, 40.0))


def table(folder: Path, text: str, name: str = "points.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_points_become_voxels_of_the_scale(tmp_path: Path) -> None:
    path = table(tmp_path, "segment,X,y,z\n7,32,63.9,40\n\n18446744073709551615,-1,0,81\n,0,0,0\n")
    found = read_targets(path, SPACE)
    assert found.voxels.tolist() == [[1, 1, 1], [-1, 0, 2], [0, 0, 0]]
    assert found.segments.tolist() == [7, 2**64 - 1, 0]
    voxels = read_targets(path, TargetSpace("voxels", SPACE.full, SPACE.resolution)).voxels
    assert voxels.tolist() == [[16, 31, 40], [-1, 0, 81], [0, 0, 0]]


def test_a_table_without_segments_and_no_table(tmp_path: Path) -> None:
    assert read_targets(table(tmp_path, "x\ty\tz\n1\t2\t3\n", "points.tsv"), SPACE).segments.tolist() == [0]
    assert len(read_targets(table(tmp_path, "x,y,z\n"), SPACE)) == 0
    assert len(read_targets(None, SPACE)) == 0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "its first line has nothing, expected the columns x, y, z, and segment if segments are told"),
        ("x,y\n1,2\n", "its first line has x, y, expected the columns x, y, z, and segment if segments are told"),
        ("x,y,z,x\n", "its first line has x, y, z, x, expected the columns x, y, z, and segment if segments are told"),
        ("x,y,z\n1,2\n", "line 2 has 2 cells, expected 3 as the first line has"),
        ("x,y,z\n1,2,3\n1,2,b\n", "line 3 has the point 1, 2, b, expected three numbers below 2**31"),
        ("x,y,z\n1,2,nan\n", "line 2 has the point 1, 2, nan, expected three numbers below 2**31"),
        ("x,y,z\n1,2,1e10\n", "line 2 has the point 1, 2, 1e10, expected three numbers below 2**31"),
        ("x,y,z,segment\n1,2,3,0\n", "line 2 has the segment 0, expected a whole number from 1 to 18446744073709551615"),
        ("x,y,z,segment\n1,2,3,1.5\n", "line 2 has the segment 1.5, expected a whole number from 1 to 18446744073709551615"),
    ],
)
def test_a_table_that_is_none_is_told(text: str, told: str, tmp_path: Path) -> None:
    path = table(tmp_path, text)
    with pytest.raises(OptionError) as refused:
        read_targets(path, SPACE)
    assert str(refused.value) == f"{path}: {told}"


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"points.txt: is no table by its name, expected one that ends in .csv or .tsv"):
        read_targets(tmp_path / "points.txt", SPACE)
    with pytest.raises(OptionError, match=r"points.csv: there is no such table"):
        read_targets(tmp_path / "points.csv", SPACE)
    (tmp_path / "points.csv").write_bytes(b"x,y,z\n\xff\n")
    with pytest.raises(OptionError, match=r"points.csv: cannot be read as a table in UTF-8"):
        read_targets(tmp_path / "points.csv", SPACE)


def test_points_of_a_box_and_of_segments() -> None:
    points = Targets(np.array([(0, 0, 0), (5, 5, 5), (9, 0, 0)]), np.array([3, 0, 4], np.uint64))
    assert points.within(Box((0, 0, 0), (9, 9, 9))).segments.tolist() == [3, 0]
    assert points.of((3,)).segments.tolist() == [3, 0]
    assert points.of(None) is points


def test_a_point_beside_its_segment_goes_to_the_nearest_voxel_of_it() -> None:
    labels = np.zeros((8, 8, 8), np.uint64)
    labels[1, 1, 1], labels[6, 6, 6], labels[1, 6, 1] = 3, 3, 2**40
    points = Targets(np.array([(11, 11, 11), (14, 15, 16), (12, 11, 11), (13, 13, 13)]), np.array([3, 3, 0, 9], np.uint64))
    assert placed(points, labels, (10, 10, 10), (32, 32, 40)).tolist() == [[1, 1, 1], [6, 6, 6]]
    unnamed = Targets(np.array([(11, 16, 11)]), np.zeros(1, np.uint64))
    assert placed(unnamed, labels, (10, 10, 10), (32, 32, 40)).tolist() == [[1, 6, 1]]


@pytest.mark.parametrize("block", [SHAPE, (50, 72, 60)], ids=["whole", "halves"])
@pytest.mark.parametrize("when", ["targets_before", "targets_after"])
def test_paths_lead_to_points(when: str, block: Triple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thick tube has two ends; a point on its side is one more, which no path would lead to by itself."""
    monkeypatch.setattr(plan, "_block", lambda scale, budget: block)
    dataset = segmentation(tmp_path, tubes(9, ((8, 36, 30), (92, 36, 30))).astype(np.uint32) * 3)
    points = table(tmp_path, "x,y,z,segment\n30.5,44.5,30.5,3\n70,60,30,3\n30,4,4,8\n70,80,30,3\n")
    make_skeletons(dataset, options(), quiet)
    assert (skeletons(dataset)[3].degrees == 1).sum() == 2
    told = options(**{when: points}, targets_unit="voxels", overwrite=True)
    counts = make_skeletons(dataset, told, quiet).record.counts
    found = skeletons(dataset)[3]
    assert (found.degrees == 1).sum() == 4
    assert (counts["targets_told"], counts["targets"], counts["end_points"]) == (4, 2, 4)
    ends = (found.vertices[found.degrees == 1] / 32 - 0.5).round().astype(int).tolist()
    assert [30, 44, 30] in ends
    assert [70, 45, 30] in ends


def test_points_in_dust_and_twice(tmp_path: Path) -> None:
    labels = tubes(5, ((8, 36, 30), (92, 36, 30))).astype(np.uint32) * 3
    labels[2:4, 2, 2] = 8
    dataset = segmentation(tmp_path, labels)
    points = table(tmp_path, "x,y,z,segment\n2,2,2,8\n50,36,30,3\n50,36,30,3\n")
    counts = make_skeletons(dataset, options(targets_before=points, targets_unit="voxels"), quiet).record.counts
    assert (counts["targets_told"], counts["targets"]) == (3, 2)


def test_other_points_are_another_request(tmp_path: Path) -> None:
    dataset = segmentation(tmp_path, tubes(5, ((8, 36, 30), (92, 36, 30))).astype(np.uint32) * 3)
    points = table(tmp_path, "x,y,z,segment\n960,1280,960,3\n")
    assert not make_skeletons(dataset, options(targets_after=points), quiet).already
    assert make_skeletons(dataset, options(targets_after=points), quiet).already
    points.write_text("x,y,z,segment\n1280,1280,960,3\n")
    assert not make_skeletons(dataset, options(targets_after=points, overwrite=True), quiet).already
