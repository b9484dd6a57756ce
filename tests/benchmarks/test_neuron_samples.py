"""The made confocal stack, and how much of a tree is found."""

from pathlib import Path

import nrrd
import numpy as np
import pytest

from benchmarks import traces
from benchmarks.neuron_samples import edges_of, make_neurons, part_within, points_along, read_swc, write_stack

SHAPE = (128, 128, 48)


def test_neurons_are_trees_apart_from_each_other_and_inside_the_stack() -> None:
    neurons = make_neurons(SHAPE)
    assert len(neurons) == 2
    for neuron in neurons:
        assert neuron.parents[0] == -1
        assert (neuron.parents[1:] < np.arange(1, len(neuron.parents))).all()
        assert neuron.radii[0] == neuron.radii.max()
        assert (neuron.points > 0).all()
        assert (neuron.points < np.multiply(SHAPE, (0.19, 0.19, 0.38))).all()
        # Each step is half a micron.
        assert neuron.cable == pytest.approx((len(neuron.points) - 1) / 2)
    assert part_within(neurons[0].points, neurons[1].points, 5) == 0


def test_the_stack_is_the_same_each_time_and_brighter_where_neurons_are(tmp_path: Path) -> None:
    neurons = make_neurons(SHAPE)
    for name in ("one.nrrd", "two.nrrd"):
        write_stack(tmp_path / name, SHAPE, neurons, lambda line: None)
    assert (tmp_path / "one.nrrd").read_bytes() == (tmp_path / "two.nrrd").read_bytes()
    voxels, header = nrrd.read(str(tmp_path / "one.nrrd"))
    assert voxels.shape == SHAPE
    assert list(header["spacings"]) == [0.19, 0.19, 0.38]
    places = np.floor(neurons[0].points / (0.19, 0.19, 0.38)).astype(int)
    assert voxels[tuple(places.T)].mean() > 80
    assert np.median(voxels) == 16  # Four photons of background, four grey values each.


def test_points_along_lines_and_how_many_of_them_are_near() -> None:
    points = np.array([[0.0, 0, 0], [2, 0, 0], [2, 1, 0]])
    along = points_along(points, edges_of(np.array([-1, 0, 1])))
    assert len(along) == 30
    assert along.mean(axis=0) == pytest.approx([(1 * 2 + 2 * 1) / 3, 0.5 / 3, 0])
    assert part_within(along, np.array([[2.0, 0, 0]]), 1.0) == pytest.approx(20 / 30)


def test_swc_files_are_read_whatever_the_order_of_their_lines(tmp_path: Path) -> None:
    (tmp_path / "a.swc").write_text("# unit: um\n7 0 2 0 0 1 3\n3 0 0 0 0 1 -1\n")
    along = read_swc(tmp_path / "a.swc")
    assert along[:, 0].min() == pytest.approx(0.05)
    assert along[:, 0].max() == pytest.approx(1.95)


def test_the_benchmark_tells_what_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(traces, "_WORK", tmp_path)
    assert traces.main(["--shape", "128,128,48", "--keep", str(tmp_path / "kept")]) == 0
    told = capsys.readouterr().out
    assert "; 2 components above " in told
    assert told.count("| neuron ") == 2
    assert (tmp_path / "kept/neurons-results/trace.json").is_file()


def test_a_shape_that_is_none_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        traces.main(["--shape", "128,128"])
    assert "128,128: expected three numbers, such as 1024,1024,300" in capsys.readouterr().err
