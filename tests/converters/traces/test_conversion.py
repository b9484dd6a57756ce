"""A made confocal stack becomes two neurons: what is found is what is there."""

import csv
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nrrd
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from benchmarks.neuron_samples import Neuron, edges_of, make_neurons, part_within, points_along, read_swc, write_stack
from converters.errors import ConverterError, DatasetError, DatasetExistsError, OptionError
from converters.sources.opening import open_source
from converters.sources.source import SourceOptions
from converters.steps import Progress
from converters.traces.conversion import TraceSummary, trace
from converters.traces.options import TraceOptions
from formats.grid import Box
from formats.info import parse_volume_info
from tests.converters.dask_cluster import started_cluster
from tests.converters.watching import files_of

OPTIONS: dict[str, Any] = {"smooth": 1, "dust": 20, "const": 2, "invalidation_scale": 1.5, "executor": "serial"}

SHAPES = [(256, 256, 80)]
if os.environ.get("GLASSINE_SLOW"):
    SHAPES.append((1024, 1024, 300))


@dataclass(frozen=True)
class Traced:
    """A stack, the neurons that it shows, and what was found."""

    stack: Path
    neurons: list[Neuron]
    summary: TraceSummary

    @property
    def dataset(self) -> Path:
        return self.summary.labels.dataset

    @property
    def results(self) -> Path:
        return self.summary.results


def quiet(progress: Progress) -> None:
    """Report nothing."""


def options(**chosen: Any) -> TraceOptions:
    return TraceOptions.model_validate(OPTIONS | chosen)


@pytest.fixture(scope="module", params=SHAPES, ids=lambda shape: "x".join(map(str, shape)))
def traced(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Traced:
    folder = tmp_path_factory.mktemp("stack")
    neurons = make_neurons(request.param)
    write_stack(folder / "stack.nrrd", request.param, neurons, lambda line: None)
    chosen = options(image=folder / "out/grey", executor="processes:2")
    return Traced(folder / "stack.nrrd", neurons, trace(folder / "stack.nrrd", folder / "out/neurons", chosen, quiet))


@pytest.mark.timeout(1800)
def test_both_neurons_are_found(traced: Traced) -> None:
    """At least 95 % of the true cable lies within 1 micron of ours, and 95 % of ours within 1 micron of the true."""
    true = [points_along(neuron.points, edges_of(neuron.parents)) for neuron in traced.neurons]
    ours = [read_swc(path) for path in sorted((traced.results / "swc").iterdir())]
    assert traced.summary.labels.record.counts["components"] == len(ours) == len(true) == 2
    assert traced.summary.labels.record.counts["components_left_out"] > 0
    nearest = [max(range(2), key=lambda n, points=points: part_within(points, true[n], 1)) for points in ours]
    assert sorted(nearest) == [0, 1]
    for points, number in zip(ours, nearest, strict=True):
        assert part_within(true[number], points, 1) >= 0.95
        assert part_within(points, true[number], 1) >= 0.95


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:navis", "ignore::pandas.errors.Pandas4Warning")
def test_navis_reads_the_swc_files_in_micron(traced: Traced) -> None:
    navis = pytest.importorskip("navis")
    rows = {int(row["id"]): row for row in table_of(traced.results)}
    for path in (traced.results / "swc").iterdir():
        neuron, row = navis.read_swc(path), rows[int(path.stem)]
        assert (neuron.n_trees, neuron.n_leafs + 1) == (1, pytest.approx(int(row["end_points"]), abs=1))
        assert float(neuron.cable_length) == pytest.approx(float(row["cable_um"]), rel=1e-4)
        assert neuron.units == navis.config.ureg("1 micron")
        # The root lies in the cell body, the thickest part.
        assert neuron.nodes.loc[neuron.nodes.node_id == neuron.root[0], "radius"].item() > 3


def table_of(results: Path) -> list[dict[str, str]]:
    with (results / "components.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def labels_of(dataset: Path) -> NDArray[Any]:
    source = open_source(dataset, SourceOptions())
    labels: NDArray[Any] = source.read(Box((0, 0, 0), source.shape))[..., 0]
    return labels


def test_the_table_tells_what_is_in_the_dataset(traced: Traced) -> None:
    labels, rows = labels_of(traced.dataset), table_of(traced.results)
    assert sorted(int(row["id"]) for row in rows) == np.unique(labels).tolist()[1:]
    sizes = [int(row["voxels"]) for row in rows]
    assert sizes == sorted(sizes, reverse=True)
    for row in rows:
        voxels = np.argwhere(labels == int(row["id"]))
        assert int(row["voxels"]) == len(voxels)
        assert float(row["volume_um3"]) == pytest.approx(len(voxels) * 0.19 * 0.19 * 0.38)
        assert [int(row[f"{axis}_begin"]) for axis in "xyz"] == voxels.min(axis=0).tolist()
        assert [int(row[f"{axis}_end"]) for axis in "xyz"] == (voxels.max(axis=0) + 1).tolist()
        centre = (voxels.mean(axis=0) + 0.5) * (0.19, 0.19, 0.38)
        assert [float(row[f"{axis}_centre_um"]) for axis in "xyz"] == pytest.approx(centre)
        swc = np.loadtxt(traced.results / f"swc/{row['id']}.swc", comments="#")
        degrees = np.bincount(np.concatenate([swc[swc[:, 6] > 0][:, [0, 6]].ravel()]).astype(int))
        assert int(row["end_points"]) == (degrees == 1).sum()
        assert int(row["branch_points"]) == (degrees > 2).sum()


def test_everything_is_where_it_is_said_to_be(traced: Traced) -> None:
    info = parse_volume_info((traced.dataset / "info").read_bytes())
    assert (info.type, info.mesh, info.skeletons) == ("segmentation", "mesh", "skeletons")
    assert parse_volume_info((traced.dataset.parent / "grey/info").read_bytes()).type == "image"
    assert sorted(path.name for path in traced.results.iterdir()) == [
        *("components.csv", "labels.png", "mask.png", "swc", "trace.json")
    ]
    assert traced.results == traced.dataset.parent / "neurons-results"
    told = json.loads((traced.results / "trace.json").read_bytes())
    assert (told["done"], told["components"], told["swc_files"]) == (True, 2, 2)
    mask, labels = (np.asarray(Image.open(traced.results / name)) for name in ("mask.png", "labels.png"))
    assert mask.shape == labels.shape
    # Specks of dust are in the mask, not among the labels.
    assert (labels[:-32].any(axis=2)).sum() < (mask[:-32].any(axis=2)).sum()


def test_what_is_there_is_not_made_again(traced: Traced) -> None:
    before = files_of(traced.dataset.parent)
    chosen = options(image=traced.dataset.parent / "grey", memory="3GB")
    again = trace(traced.stack, traced.dataset, chosen, quiet)
    assert (again.already, again.swc_files, again.kept) == (True, 2, 0)
    assert files_of(traced.dataset.parent) == before


@pytest.fixture
def bars(tmp_path: Path) -> Path:
    """A stack of two bars of 200 on 10, 40 x 30 x 20, and a single bright voxel."""
    voxels = np.full((40, 30, 20), 10, np.uint8)
    voxels[4:36, 5:10, 5:10] = 200
    voxels[4:36, 20:25, 12:17] = 200
    voxels[20, 15, 2] = 150
    np.save(tmp_path / "bars.npy", np.asfortranarray(voxels))
    return tmp_path / "bars.npy"


def on_bars(**chosen: Any) -> TraceOptions:
    told = {"axes": "xyz", "resolution": (500, 500, 1000), "executor": "serial", "dust": 1}
    return TraceOptions.model_validate(told | chosen)


STEPS = ["threshold", "label", "measure", "convert", "mesh", "trace", "swc"]


@pytest.mark.parametrize("step", STEPS)
def test_a_run_that_was_stopped_goes_on(step: str, bars: Path, tmp_path: Path) -> None:
    def interrupted(progress: Progress) -> None:
        if progress.step == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trace(bars, tmp_path / "two/out", on_bars(), interrupted)
    assert not (tmp_path / "two/out-results/components.csv").exists()
    steps: set[str] = set()
    summary = trace(bars, tmp_path / "two/out", on_bars(), lambda progress: steps.add(progress.step))
    assert not summary.already
    # Steps that a run finished are not done again: of each the blocks, here one, were kept.
    done = {"mesh": {"label", "convert"}, "trace": {"label", "convert", "mesh"}, "swc": {"label", "convert", "mesh", "trace"}}
    assert not steps & done.get(step, set())
    trace(bars, tmp_path / "one/out", on_bars(), quiet)
    assert files_of(tmp_path / "two") == files_of(tmp_path / "one")


def test_other_options_replace_results_only_when_told_to(bars: Path, tmp_path: Path) -> None:
    trace(bars, tmp_path / "out", on_bars(dust=0), quiet)
    assert {path.name for path in (tmp_path / "out-results/swc").iterdir()} == {"2.swc", "3.swc"}
    (tmp_path / "out-results/notes.txt").write_text("mine")
    with pytest.raises(
        DatasetExistsError, match=r"out-results: the results of another trace are already there .* --overwrite to"
    ):
        trace(bars, tmp_path / "out", on_bars(), quiet)
    summary = trace(bars, tmp_path / "out", on_bars(overwrite=True), quiet)
    assert summary.swc_files == 2
    assert {path.name for path in (tmp_path / "out-results/swc").iterdir()} == {"1.swc", "2.swc"}
    assert (tmp_path / "out-results/notes.txt").read_text() == "mine"
    with pytest.raises(DatasetExistsError, match="add --overwrite to replace it"):
        trace(bars, tmp_path / "out", on_bars(results=tmp_path / "others", threshold="50"), quiet)


def test_only_what_another_option_changes_is_made_again(bars: Path, tmp_path: Path) -> None:
    trace(bars, tmp_path / "out", on_bars(), quiet)
    with pytest.raises(DatasetExistsError, match="results of another trace"):
        trace(bars, tmp_path / "out", on_bars(const=3), quiet)
    summary = trace(bars, tmp_path / "out", on_bars(const=3, overwrite=True), quiet)
    assert (summary.labels.already, summary.meshes.already, summary.skeletons.already) == (True, True, False)
    assert json.loads((summary.results / "trace.json").read_bytes())["parameters_nm"]["const"] == 3000


def test_results_that_were_removed_are_written_again(bars: Path, tmp_path: Path) -> None:
    trace(bars, tmp_path / "out", on_bars(), quiet)
    before = files_of(tmp_path / "out-results")
    (tmp_path / "out-results/swc/.2.swc.1-2.tmp").touch()
    for name in ("swc/1.swc", "labels.png"):
        (tmp_path / "out-results" / name).unlink()
        summary = trace(bars, tmp_path / "out", on_bars(), quiet)
        assert (summary.already, summary.meshes.already) == (False, True)
        assert files_of(tmp_path / "out-results") == before
    shutil.rmtree(tmp_path / "out-results")
    trace(bars, tmp_path / "out", on_bars(), quiet)
    assert files_of(tmp_path / "out-results") == before


def test_a_dataset_that_is_the_working_folder_has_its_results_beside_it(
    bars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert trace(bars, Path(), on_bars(), quiet).results == tmp_path / "here-results"


def test_stacks_of_microscopes_tell_their_voxel_size(bars: Path, tmp_path: Path) -> None:
    voxels = np.load(bars)
    told = {"axes": "ZYX", "spacing": 1.0, "unit": "um"}
    tifffile.imwrite(tmp_path / "bars.tif", voxels.T, imagej=True, resolution=(2, 2), metadata=told)
    header = {"kinds": ["domain"] * 3, "spacings": [0.5, 0.5, 1.0], "units": ["um"] * 3, "encoding": "gzip"}
    nrrd.write(str(tmp_path / "bars.nrrd"), voxels, header)
    trace(bars, tmp_path / "npy", on_bars(), quiet)
    expected = files_of(tmp_path / "npy-results")
    for kind in ("tif", "nrrd"):
        trace(tmp_path / f"bars.{kind}", tmp_path / kind, on_bars(axes=None, resolution=None), quiet)
        found = files_of(tmp_path / f"{kind}-results")
        assert {name: found[name] for name in found if name != "trace.json"} == {
            name: expected[name] for name in expected if name != "trace.json"
        }


# distributed: its own, on closing connections to workers that are gone.
@pytest.mark.filterwarnings("ignore::DeprecationWarning:distributed")
@pytest.mark.skipif(not os.environ.get("GLASSINE_SLOW"), reason="a cluster takes long to start; GLASSINE_SLOW=1 runs it")
def test_a_cluster_finds_the_same(bars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Otherwise a small file is labelled in this process, whatever the executor.
    monkeypatch.setattr("converters.volumes.conversion._SMALL_SOURCE", 0)
    trace(bars, tmp_path / "one/out", on_bars(), quiet)
    with started_cluster(tmp_path, workers=2) as cluster:
        trace(bars, tmp_path / "two/out", on_bars(executor=cluster.address), quiet)
    assert files_of(tmp_path / "two") == files_of(tmp_path / "one")


def test_one_component(bars: Path, tmp_path: Path) -> None:
    voxels = np.load(bars)
    voxels[:, 15:] = 10
    np.save(tmp_path / "one.npy", np.asfortranarray(voxels))
    summary = trace(tmp_path / "one.npy", tmp_path / "out", on_bars(), quiet)
    assert (summary.swc_files, summary.meshes.record.meshes) == (1, 1)
    (row,) = table_of(summary.results)
    assert (row["id"], row["end_points"], row["branch_points"]) == ("1", "2", "0")
    assert 14 < float(row["cable_um"]) < 20


def test_a_component_that_is_too_small_for_a_skeleton_is_in_the_table(bars: Path, tmp_path: Path) -> None:
    summary = trace(bars, tmp_path / "out", on_bars(dust=0), quiet)
    rows = table_of(summary.results)
    assert (len(rows), summary.swc_files) == (3, 2)
    assert (rows[-1]["voxels"], rows[-1]["cable_um"], rows[-1]["end_points"]) == ("1", "0", "0")


Wrong = Callable[[Path], None]


def foreign(folder: Path) -> None:
    (folder / "out-results").mkdir()
    (folder / "out-results/thesis.doc").touch()


def in_the_way(folder: Path) -> None:
    (folder / "out-results").touch()


def nothing(folder: Path) -> None:
    """Nothing is there."""


def even(folder: Path) -> None:
    np.save(folder / "bars.npy", np.full((40, 30, 20), 7, np.uint8))


@pytest.mark.parametrize(
    ("made", "chosen", "kind", "sentence"),
    [
        (nothing, {"threshold": "250"}, OptionError, "no voxel is above 250 (the largest value is 200): say a lower --threshold"),
        (even, {}, OptionError, "all voxels are 7, among which Otsu finds no threshold: say one, --threshold V"),
        (
            nothing,
            {"dust": 1000},
            OptionError,
            "bars.npy: all 3 components above 10 are dust, the largest has 800 voxels and 4000 are expected: say a smaller "
            "--dust, or another --threshold",
        ),
        (nothing, {"resolution": None}, ConverterError, "--resolution"),
        (foreign, {}, DatasetExistsError, "holds other files and no results of a trace; choose another one with --results"),
        (in_the_way, {}, OptionError, "out-results: a file is there, expected a folder or nothing; choose another path"),
        (
            nothing,
            {"results": "out/swc"},
            OptionError,
            "--results out/swc: lies in the dataset of the labels; choose a folder outside of out",
        ),
        (
            nothing,
            {"image": "./out"},
            OptionError,
            "--image out: lies in the dataset of the labels; choose a folder outside of out",
        ),
    ],
)
def test_what_cannot_be_traced_is_told(
    made: Wrong,
    chosen: dict[str, Any],
    kind: type[ConverterError],
    sentence: str,
    bars: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind) as raised:
        trace(bars, Path("out"), on_bars(**chosen), quiet)
    assert sentence in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_a_folder_for_results_that_cannot_be_made(bars: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OptionError, match=r"--results .*/file/results: cannot be written to \(Not a directory\)"):
        trace(bars, tmp_path / "out", on_bars(results=tmp_path / "file/results"), quiet)


def test_a_table_that_is_gone_is_told(bars: Path, tmp_path: Path) -> None:
    trace(bars, tmp_path / "out", on_bars(), quiet)
    shutil.rmtree(tmp_path / "out-results")
    for name in ("components.csv", "mask.png"):
        (tmp_path / "out/.glassine" / name).unlink()
        with pytest.raises(DatasetError, match=rf"{name}: cannot be read .*; label the volume again with --overwrite"):
            trace(bars, tmp_path / "out", on_bars(), quiet)
