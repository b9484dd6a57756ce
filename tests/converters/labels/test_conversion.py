"""Grey volumes in files become datasets of labels."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from converters.errors import ConverterError, DamagedError, DatasetError, DatasetExistsError, OptionError, ValueRefusedError
from converters.journal import open_journal
from converters.labels.colours import viewer_colours
from converters.labels.conversion import label
from converters.labels.options import LabelOptions
from converters.labels.threshold import histogram, level_counts, otsu
from converters.options import ConvertOptions
from converters.record import read_record
from converters.sources.opening import open_source
from converters.sources.source import SourceOptions
from converters.steps import Progress
from converters.volumes.conversion import convert
from formats.grid import Box
from tests.converters.labels import reference
from tests.converters.watching import files_of

Voxels = NDArray[Any]

OPTIONS: dict[str, Any] = {
    "axes": "xyz",
    "resolution": (8, 8, 8),
    "voxel_offset": (-3, 5, 1),
    "chunk_size": (32, 32, 32),
    "memory": "1kB",
    "executor": "serial",
}
"""With so little memory a block is one chunk."""


def quiet(progress: Progress) -> None:
    """Report nothing."""


def options(**chosen: Any) -> LabelOptions:
    return LabelOptions.model_validate(OPTIONS | chosen)


def labels_of(dataset: Path) -> Voxels:
    """Return the labels [x, y, z] of a dataset's first scale."""
    source = open_source(dataset, SourceOptions())
    voxels: Voxels = source.read(Box((0, 0, 0), source.shape))[..., 0]
    return voxels


@pytest.fixture(scope="module")
def grey() -> Voxels:
    """Noise that was smoothed, 75 x 70 x 40, uint16."""
    noise = np.random.default_rng(7).random((75, 70, 40))
    return np.asfortranarray((gaussian_filter(noise, 1.2) * 1000).astype(np.uint16))


@pytest.fixture
def source(grey: Voxels, tmp_path: Path) -> Path:
    np.save(tmp_path / "grey.npy", grey)
    return tmp_path / "grey.npy"


@pytest.mark.parametrize("connectivity", [6, 26])
@pytest.mark.parametrize("layout", ["nested", "sharded"])
def test_labels_are_those_of_the_whole(connectivity: int, layout: str, source: Path, grey: Voxels, tmp_path: Path) -> None:
    chosen = options(threshold="560", connectivity=connectivity, min_size=3, max_size=90, layout=layout)
    summary = label(source, tmp_path / "out", chosen, quiet)
    whole = reference.components(grey, 560, connectivity)
    expected = reference.named(whole, 3, 90)
    np.testing.assert_array_equal(labels_of(tmp_path / "out"), expected)
    found, sizes = len(np.unique(whole[whole > 0])), np.bincount(expected.ravel())[1:]
    assert summary.record.counts["components"] == len(sizes)
    assert summary.record.counts["components_left_out"] == found - len(sizes) > 0
    assert summary.record.counts["largest_component"] == sizes.max()
    assert summary.record.counts["foreground_voxels"] == (grey > 560).sum()
    assert summary.record.threshold == 560
    assert read_record(tmp_path / "out") == summary.record
    info = json.loads((tmp_path / "out/info").read_bytes())
    assert (info["type"], info["data_type"]) == ("segmentation", "uint32")
    assert {scale["encoding"] for scale in info["scales"]} == {"compressed_segmentation"}
    assert info["scales"][0]["voxel_offset"] == [-3, 5, 1]
    assert [path.name for path in (tmp_path / "out/.glassine").iterdir() if path.is_dir()] == []


def test_otsu_smoothed_from_blocks_is_that_of_the_whole(source: Path, grey: Voxels, tmp_path: Path) -> None:
    summary = label(source, tmp_path / "out", options(smooth=0.8), quiet)
    smoothed = gaussian_filter(grey.astype("f4"), 0.8, truncate=4)
    threshold = otsu(histogram(level_counts(smoothed), smoothed.dtype))
    assert summary.record.threshold == threshold
    np.testing.assert_array_equal(labels_of(tmp_path / "out"), reference.named(reference.components(smoothed, threshold, 26)))


def test_delta_parts_what_differs(source: Path, grey: Voxels, tmp_path: Path) -> None:
    label(source, tmp_path / "out", options(threshold="560", delta=9, connectivity=18), quiet)
    expected = reference.named(reference.components(grey, 560, 18, 9))
    np.testing.assert_array_equal(labels_of(tmp_path / "out"), expected)


@pytest.mark.parametrize(
    "other", [{"memory": "2GB"}, {"executor": "processes:2"}, {"memory": "500MB", "chunk_size": (32, 32, 32)}]
)
def test_memory_and_workers_change_no_byte(
    other: dict[str, Any], source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Otherwise a small file is done in this process, whatever the executor.
    monkeypatch.setattr("converters.volumes.conversion._SMALL_SOURCE", 0)
    label(source, tmp_path / "one", options(), quiet)
    label(source, tmp_path / "two", options(**other), quiet)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


def test_the_table_tells_components_by_size(source: Path, grey: Voxels, tmp_path: Path) -> None:
    label(source, tmp_path / "out", options(threshold="560", table=str(tmp_path / "copies/table.csv")), quiet)
    path = tmp_path / "out/.glassine/components.csv"
    assert (tmp_path / "copies/table.csv").read_bytes() == path.read_bytes()
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    labels = labels_of(tmp_path / "out")
    sizes = np.bincount(labels.ravel())[1:]
    assert [int(row["voxels"]) for row in rows] == sorted(sizes, reverse=True)
    assert [int(row["label"]) for row in rows] == (np.argsort(-sizes, kind="stable") + 1).tolist()
    for row in rows[:5] + rows[-5:]:
        place = int(row["x"]) + 3, int(row["y"]) - 5, int(row["z"]) - 1
        assert labels[place] == int(row["label"])
        assert float(row["volume_nm3"]) == 512 * int(row["voxels"])
        voxels = np.add(np.argwhere(labels == int(row["label"])), (-3, 5, 1))
        assert [int(row[f"{axis}_begin"]) for axis in "xyz"] == voxels.min(axis=0).tolist()
        assert [int(row[f"{axis}_end"]) for axis in "xyz"] == (voxels.max(axis=0) + 1).tolist()
        assert [float(row[f"{axis}_centre"]) for axis in "xyz"] == pytest.approx(voxels.mean(axis=0) + 0.5)


def test_pictures_show_what_is_above_the_threshold_and_the_labels(source: Path, grey: Voxels, tmp_path: Path) -> None:
    label(source, tmp_path / "out", options(threshold="560", min_size=9), quiet)
    mask, shown = (picture(tmp_path / f"out/.glassine/{name}.png", grey.shape) for name in ("mask", "labels"))
    np.testing.assert_array_equal(mask[..., 0] == 255, (grey > 560).any(axis=2))
    assert set(np.unique(mask)) == {0, 255}
    np.testing.assert_array_equal(shown, viewer_colours(labels_of(tmp_path / "out").max(axis=2)))
    assert shown.any(axis=2).sum() < mask.any(axis=2).sum()


def picture(path: Path, shape: tuple[int, ...]) -> Voxels:
    """Return the colours [x, y, 3] in the middle of each voxel's column."""
    pixels = np.asarray(Image.open(path)).transpose(1, 0, 2)
    size = 512, round(512 * shape[1] / shape[0])
    x, y = (((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip(shape, size, strict=False))
    return pixels[np.ix_(x, y)]


def test_the_table_goes_with_the_labels(source: Path, tmp_path: Path) -> None:
    label(source, tmp_path / "out", options(), quiet)
    assert (tmp_path / "out/.glassine/components.csv").is_file()
    again = ConvertOptions.model_validate(OPTIONS | {"overwrite": True})
    convert(source, tmp_path / "out", again, quiet)
    assert not (tmp_path / "out/.glassine/components.csv").exists()


def test_labels_are_made_once(source: Path, tmp_path: Path) -> None:
    first = label(source, tmp_path / "out", options(), quiet)
    before = files_of(tmp_path / "out")
    second = label(source, tmp_path / "out", options(memory="1GB", table=str(tmp_path / "late.csv")), quiet)
    assert (first.already, second.already) == (False, True)
    assert second.record == first.record
    assert files_of(tmp_path / "out") == before
    assert (tmp_path / "late.csv").is_file()
    with pytest.raises(DatasetExistsError, match="add --overwrite"):
        label(source, tmp_path / "out", options(threshold="500"), quiet)


@pytest.mark.parametrize("step", ["threshold", "label", "join", "measure", "convert"])
def test_a_run_that_was_stopped_goes_on(step: str, source: Path, tmp_path: Path) -> None:
    def interrupted(progress: Progress) -> None:
        if progress.step == step:
            raise KeyboardInterrupt

    label(source, tmp_path / "undisturbed", options(), quiet)
    with pytest.raises(KeyboardInterrupt):
        label(source, tmp_path / "out", options(), interrupted)
    assert not (tmp_path / "out/info").exists()
    summary = label(source, tmp_path / "out", options(memory="1GB"), quiet)
    assert summary.kept == {"threshold": 1, "label": 19, "join": 36, "measure": 37, "convert": 55}[step]
    assert files_of(tmp_path / "out") == files_of(tmp_path / "undisturbed")


def test_blocks_of_a_compressed_file_are_unpacked_first(grey: Voxels, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "grey.h5", "w") as file:
        file.create_dataset("grey", data=grey, chunks=(75, 1, 40), compression="gzip")
    steps = set()
    label(tmp_path / "grey.h5", tmp_path / "out", options(smooth=1), lambda progress: steps.add(progress.step))
    assert steps == {"unpack", "threshold", "label", "join", "measure", "convert"}
    np.save(tmp_path / "grey.npy", grey)
    label(tmp_path / "grey.npy", tmp_path / "plain", options(smooth=1), quiet)
    np.testing.assert_array_equal(labels_of(tmp_path / "out"), labels_of(tmp_path / "plain"))


def test_a_packed_stream_is_unpacked_first(grey: Voxels, tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(grey, np.eye(4)), tmp_path / "grey.nii.gz")
    label(tmp_path / "grey.nii.gz", tmp_path / "out", options(axes=None, threshold="560"), quiet)
    np.testing.assert_array_equal(labels_of(tmp_path / "out"), reference.named(reference.components(grey, 560, 26)))


@pytest.mark.parametrize("shape", [(1, 1, 1), (40, 1, 1), (33, 65, 2)])
@pytest.mark.parametrize("dtype", ["bool", "float16", ">f8", "int64"])
def test_a_component_that_fills_the_volume(shape: tuple[int, ...], dtype: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones(shape, dtype, order="F"))
    summary = label(tmp_path / "a.npy", tmp_path / "out", options(threshold="0.5", smooth=None), quiet)
    assert (labels_of(tmp_path / "out") == 1).all()
    assert summary.record.counts["largest_component"] == np.prod(shape)


def test_nan_is_background_and_told(tmp_path: Path) -> None:
    values = np.ones((40, 8, 8), np.float32)
    values[10:35] = np.nan
    np.save(tmp_path / "a.npy", np.asfortranarray(values))
    summary = label(tmp_path / "a.npy", tmp_path / "out", options(threshold="0"), quiet)
    assert summary.notes[-1] == "1600 voxels are NaN and were taken for background"
    assert sorted(np.unique(labels_of(tmp_path / "out"))) == [0, 1, 2]


def save(path: Path, voxels: Voxels) -> Path:
    np.save(path, np.asfortranarray(voxels))
    return path


Made = Callable[[Path], Path]


def dark(folder: Path) -> Path:
    return save(folder / "a.npy", np.arange(64, dtype=np.uint8).reshape(4, 4, 4))


def dim(folder: Path) -> Path:
    return save(folder / "a.npy", np.linspace(0, 0.125, 64, dtype=np.float32).reshape(4, 4, 4))


def even(folder: Path) -> Path:
    return save(folder / "a.npy", np.full((4, 4, 4), 7, np.uint8))


def evenly_real(folder: Path) -> Path:
    return save(folder / "a.npy", np.full((4, 4, 4), 7.5))


def nothing(folder: Path) -> Path:
    return save(folder / "a.npy", np.full((4, 4, 4), np.nan))


def complex_numbers(folder: Path) -> Path:
    return save(folder / "a.npy", np.ones((4, 4, 4), np.complex64))


def coloured(folder: Path) -> Path:
    return save(folder / "a.npy", np.ones((4, 4, 4, 3), np.uint8))


def segments(folder: Path) -> Path:
    image = nibabel.Nifti1Image(np.ones((4, 4, 4), np.int16), np.eye(4))
    image.header.set_intent("label")
    nibabel.save(image, folder / "a.nii")
    return folder / "a.nii"


@pytest.mark.parametrize(
    ("made", "chosen", "kind", "sentence"),
    [
        (dark, {"threshold": "63"}, OptionError, "no voxel is above 63 (the largest value is 63): say a lower --threshold"),
        (dim, {"threshold": "0.5"}, OptionError, "no voxel is above 0.5 (the largest value is 0.125): say a lower --threshold"),
        (
            dark,
            {"threshold": "9", "min_size": 99},
            OptionError,
            "none of the 1 components above 9 has 99 voxels or more (the largest has 54): say another --min-size or --max-size",
        ),
        (dark, {"threshold": "9", "min_size": 2, "max_size": 9}, OptionError, "above 9 has 2 to 9 voxels (the largest has 54)"),
        (dark, {"min_size": 9, "max_size": 2}, OptionError, "--max-size 2 is less than --min-size 9: nothing would be left"),
        (
            dark,
            {"threshold": "-1", "delta": 2},
            OptionError,
            "--delta needs a threshold of 0 or more, and it is -1: leave --delta out",
        ),
        (even, {}, OptionError, "all voxels are 7, among which Otsu finds no threshold: say one, --threshold V"),
        (evenly_real, {}, OptionError, "all voxels are about 7.5"),
        (nothing, {}, OptionError, "no voxel is a finite number, so there is nothing to label"),
        (nothing, {"threshold": "0"}, OptionError, "no voxel is above 0 (all are NaN)"),
        (
            nothing,
            {"threshold": "0", "smooth": 1.0},
            ValueRefusedError,
            "leave it out, or save the volume with a number in their place",
        ),
        (complex_numbers, {}, ValueRefusedError, "complex numbers; save their magnitude or phase as float32"),
        (
            coloured,
            {"axes": "xyzc"},
            OptionError,
            "has 3 channels, and one is labelled: say which with --channel, counted from 0",
        ),
        (
            segments,
            {"axes": None},
            OptionError,
            "holds labels already, among which Otsu finds no threshold: `glassine convert` takes them as they are; to label the "
            "connected parts of all that is not 0 say --threshold 0",
        ),
    ],
)
def test_what_cannot_be_labelled_is_told(
    made: Made, chosen: dict[str, Any], kind: type[ConverterError], sentence: str, tmp_path: Path
) -> None:
    source = made(tmp_path)
    with pytest.raises(kind) as raised:
        label(source, tmp_path / "out", options(**chosen), quiet)
    assert sentence in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_too_little_memory_is_told(source: Path, tmp_path: Path) -> None:
    summary = label(source, tmp_path / "out", options(smooth=8.0), quiet)
    assert (
        "the smallest blocks need about 0.2 GB, more than --memory 0.0 GB: use fewer processes, or a smaller --smooth"
        in summary.notes
    )
    assert label(source, tmp_path / "other", options(memory="1GB"), quiet).notes == ()


def test_labels_are_labelled_when_the_threshold_is_said(tmp_path: Path) -> None:
    label(segments(tmp_path), tmp_path / "out", options(axes=None, threshold="0"), quiet)
    assert (labels_of(tmp_path / "out") == 1).all()


def test_one_channel_is_labelled(tmp_path: Path) -> None:
    coloured(tmp_path)
    label(tmp_path / "a.npy", tmp_path / "out", options(axes="xyzc", channel=2, threshold="0"), quiet)
    assert (labels_of(tmp_path / "out") == 1).all()


def test_too_many_components_for_the_memory(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("converters.labels.plan._FEW_COMPONENTS", 10)
    with pytest.raises(ConverterError, match="more than 10 components in the blocks, too many to join within 1e-06 GB; this is "):
        label(source, tmp_path / "out", options(threshold="560"), quiet)
    monkeypatch.undo()
    # What was done is kept for the same command with more memory.
    summary = label(source, tmp_path / "out", options(threshold="560", memory="1GB"), quiet)
    assert summary.kept == 18


def test_a_spool_that_is_damaged_is_told(source: Path, tmp_path: Path) -> None:
    def interrupted(progress: Progress) -> None:
        if progress.step == "label" and progress.done == progress.total:
            raise KeyboardInterrupt

    for kind in ("labels", "faces", "tables", "bright"):
        dataset = tmp_path / kind
        with pytest.raises(KeyboardInterrupt):
            label(source, dataset, options(), interrupted)
        assert len(open_journal(dataset / ".glassine/journal").done["label"]) == 18
        (path,) = dataset.glob(f".glassine/run-*/spool/labels/{kind}/1_1_0")
        path.write_bytes(path.read_bytes()[:-9])
        with pytest.raises(DamagedError, match=f"{kind}/1_1_0: cannot be read any more"):
            label(source, dataset, options(), quiet)


def test_a_table_that_cannot_be_written_is_told(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match=r"file/t\.csv: the table cannot be written .*; it is .*components\.csv too"):
        label(source, tmp_path / "out", options(table=str(tmp_path / "file/t.csv")), quiet)
    assert (tmp_path / "out/info").is_file()
