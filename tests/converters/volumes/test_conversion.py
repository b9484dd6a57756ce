"""Conversions from end to end, read back by tensorstore and by our own reader, against a plain reference."""

import json
import math
from concurrent.futures import Executor
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from converters.executor import open_executor
from converters.options import ConvertOptions
from converters.record import read_record
from converters.storage.reader import VolumeReader
from converters.storage.storage import Layout, open_storage
from converters.volumes import conversion
from converters.volumes.conversion import Progress, Summary, convert
from converters.volumes.stages import Stage
from formats.info import parse_volume_info
from tests.converters.reference import mode, pooled, pooled_average
from tests.converters.watching import files_of

Triple = tuple[int, int, int]

NO_MEMORY = "1kB"
"""As little as makes every tile the smallest there is."""


def quiet(progress: Progress) -> None:
    """Report nothing."""


def saved(folder: Path, voxels: NDArray[Any]) -> Path:
    """Write [x, y, z, channel], or [x, y, z], as a .npy file in Fortran order; numpy calls it C order where that is the same."""
    np.save(folder / "source.npy", np.asfortranarray(voxels))
    return folder / "source.npy"


def options(**given: Any) -> ConvertOptions:
    return ConvertOptions.model_validate({"axes": "xyz", "executor": "serial", "resolution": (8.0, 8.0, 8.0), **given})


def scales_by_tensorstore(dataset: Path) -> list[NDArray[Any]]:
    """Return every scale [x, y, z, channel], checked to begin at its voxel_offset."""
    import tensorstore

    scales = []
    for number, scale in enumerate(json.loads((dataset / "info").read_text())["scales"]):
        store = tensorstore.open(
            {
                "driver": "neuroglancer_precomputed",
                "kvstore": {"driver": "file", "path": f"{dataset}/"},
                "scale_index": number,
            }
        ).result()
        assert list(store.domain.origin[:3]) == scale["voxel_offset"]
        assert list(store.domain.shape[:3]) == scale["size"]
        scales.append(np.asarray(store.read().result()))
    return scales


def scales_by_reader(dataset: Path, layout: Layout) -> list[NDArray[Any]]:
    info = parse_volume_info((dataset / "info").read_bytes())
    reader = VolumeReader(open_storage(dataset, layout), info)
    return [reader.read(scale, scale.grid().box) for scale in info.scales]


def pyramid(voxels: NDArray[Any], dataset: Path, labels: bool) -> list[NDArray[Any]]:
    """Return every scale [x, y, z, channel] of the reference, pooled scale from scale by the factors that the info tells."""
    scales = json.loads((dataset / "info").read_text())["scales"]
    expected = [voxels]
    for finer, coarser in pairwise(scales):
        x, y, z = (round(b / a) for a, b in zip(finer["resolution"], coarser["resolution"], strict=True))
        start = tuple(finer["voxel_offset"])
        voxels = pooled(voxels, start, (x, y, z), mode) if labels else pooled_average(voxels, start, (x, y, z))
        expected.append(voxels)
    return expected


def assert_offsets_follow_the_rule(dataset: Path, shape: Triple, voxel_offset: Triple) -> None:
    """Begin floored, end raised, from the first scale to each of the others."""
    scales = json.loads((dataset / "info").read_text())["scales"]
    for scale in scales:
        for axis in range(3):
            factor = scale["resolution"][axis] / scales[0]["resolution"][axis]
            first, end = voxel_offset[axis] / factor, (voxel_offset[axis] + shape[axis]) / factor
            assert scale["voxel_offset"][axis] == math.floor(first)
            assert scale["voxel_offset"][axis] + scale["size"][axis] == math.ceil(end)


@st.composite
def _volumes(draw: st.DrawFn, most_voxels: int) -> tuple[Triple, dict[str, Any]]:
    """Draw a shape, some axis up to 300, and options."""
    shape = [draw(st.integers(1, 300))]
    shape.append(draw(st.integers(1, max(1, min(300, most_voxels // shape[0])))))
    shape.append(draw(st.integers(1, max(1, min(300, most_voxels // (shape[0] * shape[1]))))))
    x, y, z = draw(st.permutations(shape))
    # At most six chunks along each axis: opening files takes most of the time.
    chunk_size = tuple(draw(st.integers(max(8, -(-n // 6)), 64)) for n in (x, y, z))
    return (x, y, z), {
        "voxel_offset": draw(st.tuples(*[st.integers(-50, 50)] * 3)),
        "chunk_size": chunk_size,
        "resolution": draw(st.sampled_from([(8, 8, 8), (4, 4, 40), (11.24, 11.24, 28), (40, 4, 8), (1e6, 1e6, 1e6)])),
        "memory": draw(st.sampled_from([NO_MEMORY, "190MB", "1GB"])),
    }


@given(volume=_volumes(30_000), dtype=st.sampled_from(["uint8", "int8", "uint16", "int16"]), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_an_image_is_the_reference_at_every_scale(volume: tuple[Triple, dict[str, Any]], dtype: str, seed: int) -> None:
    shape, chosen = volume
    bounds = np.iinfo(dtype)
    voxels = np.random.default_rng(seed).integers(bounds.min, bounds.max, (*shape, 1), dtype, endpoint=True)
    with TemporaryDirectory() as folder:
        check_every_layout(Path(folder), voxels, options(**chosen), labels=False)


@given(volume=_volumes(12_000), data_type=st.sampled_from(["uint32", "uint64"]), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_labels_are_the_reference_at_every_scale(volume: tuple[Triple, dict[str, Any]], data_type: str, seed: int) -> None:
    shape, chosen = volume
    ids = np.array([0, 1, 2, 2**32 - 1] if data_type == "uint32" else [0, 3, 2**53 + 1, 2**64 - 1], data_type)
    voxels = np.random.default_rng(seed).choice(ids, (*shape, 1))
    with TemporaryDirectory() as folder:
        check_every_layout(Path(folder), voxels, options(**chosen), labels=True)


def check_every_layout(folder: Path, voxels: NDArray[Any], chosen: ConvertOptions, labels: bool) -> None:
    """Convert [x, y, z, 1] to every layout and compare every voxel of every scale with the reference."""
    source = saved(folder, voxels[..., 0])
    shape: Triple = voxels.shape[:3]  # type: ignore[assignment]
    flat, nested, sharded = folder / "flat", folder / "nested", folder / "sharded"
    convert(source, flat, chosen.model_copy(update={"layout": "flat"}), quiet)
    convert(source, nested, chosen.model_copy(update={"layout": "nested"}), quiet)
    convert(source, sharded, chosen.model_copy(update={"layout": "sharded"}), quiet)
    expected = pyramid(voxels, flat, labels)
    assert_offsets_follow_the_rule(flat, shape, chosen.voxel_offset)
    by_reader = [scales_by_reader(dataset, dataset.name) for dataset in (nested, flat, sharded)]
    for found in (scales_by_tensorstore(flat), scales_by_tensorstore(sharded), *by_reader):
        assert len(found) == len(expected)
        for scale, reference in zip(found, expected, strict=True):
            assert scale.dtype == voxels.dtype
            np.testing.assert_array_equal(scale, reference)
    assert_counts(flat, "flat")
    assert_counts(nested, "nested")
    assert_shards(sharded, flat)


def assert_counts(dataset: Path, layout: Layout) -> None:
    """The record tells what lies on the disk, and every chunk is there."""
    record = read_record(dataset)
    assert record is not None
    info, storage = parse_volume_info((dataset / "info").read_bytes()), open_storage(dataset, layout)
    files = [path for scale in info.scales for path in (dataset / scale.key).rglob("*") if path.is_file()]
    assert record.counts["chunks"] == len(files) == sum(math.prod(scale.grid().shape) for scale in info.scales)
    assert record.counts["stored_bytes"] == sum(path.stat().st_size for path in files)
    chunks = [storage.get(name) for scale in info.scales for name in storage.list(scale.key)]
    if info.scales[0].encoding == "raw":
        assert record.counts["empty_chunks"] == sum(not any(chunk or b"") for chunk in chunks)


def assert_shards(sharded: Path, flat: Path) -> None:
    """Every scale lies in shards and nothing else, and the record tells what they take; the chunks are the flat layout's."""
    record, chunks = read_record(sharded), read_record(flat)
    assert record is not None
    assert chunks is not None
    info = parse_volume_info((sharded / "info").read_bytes())
    files = [path for scale in info.scales for path in (sharded / scale.key).iterdir()]
    assert {path.suffix for path in files} == {".shard"}
    assert all(scale.sharding is not None for scale in info.scales)
    assert record.counts["stored_bytes"] == sum(path.stat().st_size for path in files)
    for name in ("chunks", "empty_chunks"):
        assert record.counts[name] == chunks.counts[name]


def test_a_hundred_thousand_chunks_lie_in_few_files(tmp_path: Path) -> None:
    voxels = np.random.default_rng(9).integers(0, 200, (64, 56, 48), "uint8").repeat(6, 0).repeat(6, 1).repeat(6, 2)
    summary = convert(saved(tmp_path, voxels), tmp_path / "dataset", options(chunk_size=(8, 8, 8), memory="1GB"), quiet)
    files = [path for path in (tmp_path / "dataset").rglob("*") if path.is_file()]
    assert summary.plan.layout == "sharded"
    assert summary.record.counts["chunks"] > 80_000
    assert len(files) < 400
    for found, reference in zip(
        scales_by_tensorstore(tmp_path / "dataset"), pyramid(voxels[..., np.newaxis], tmp_path / "dataset", False), strict=True
    ):
        np.testing.assert_array_equal(found, reference)


def test_channels(tmp_path: Path) -> None:
    voxels = np.random.default_rng(1).integers(0, 2**16, (70, 40, 33, 3), "uint16")
    chosen = options(axes="xyzc", chunk_size=(32, 16, 8), voxel_offset=(-7, 3, 1), memory=NO_MEMORY, layout="flat")
    convert(saved(tmp_path, voxels), tmp_path / "dataset", chosen, quiet)
    for scale, reference in zip(
        scales_by_tensorstore(tmp_path / "dataset"), pyramid(voxels, tmp_path / "dataset", False), strict=True
    ):
        np.testing.assert_array_equal(scale, reference)


def test_floats_keep_nan_and_their_mean(tmp_path: Path) -> None:
    voxels = np.random.default_rng(2).normal(0, 1e3, (50, 40, 30)).astype("float32")
    voxels[7, 8, 9] = np.nan
    convert(saved(tmp_path, voxels), tmp_path / "dataset", options(chunk_size=(16, 16, 16), layout="flat"), quiet)
    scales = scales_by_tensorstore(tmp_path / "dataset")
    np.testing.assert_array_equal(scales[0][..., 0], voxels)
    finest = voxels[:50, :40, :30].astype(np.float64).reshape(25, 2, 20, 2, 15, 2).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(scales[1][..., 0], finest, rtol=1e-6, atol=1e-3)
    assert np.argwhere(np.isnan(scales[1][..., 0])).tolist() == [[3, 4, 4]]


def test_coarser_scales_of_jpeg_come_from_the_source_and_not_from_jpeg(tmp_path: Path) -> None:
    voxels = np.random.default_rng(3).integers(0, 256, (96, 96, 96, 1), "uint8")
    chosen = options(encoding="jpeg", jpeg_quality=1, chunk_size=(16, 16, 16), memory=NO_MEMORY)
    convert(saved(tmp_path, voxels[..., 0]), tmp_path / "dataset", chosen, quiet)
    reference = pyramid(voxels, tmp_path / "dataset", labels=False)
    assert len(reference) == 4
    for number, scale in enumerate(reference):
        length = 8.0 * 2**number
        alone = chosen.model_copy(update={"scales": 1, "resolution": (length, length, length)})
        convert(saved(tmp_path, scale[..., 0]), tmp_path / f"alone{number}", alone, quiet)
        key = f"{length:g}_{length:g}_{length:g}"
        assert files_of(tmp_path / "dataset" / key) == files_of(tmp_path / f"alone{number}" / key)


CHOSEN = {"chunk_size": (64, 64, 64), "memory": NO_MEMORY, "voxel_offset": (-3, 5, 1)}
TWO = {"executor": "processes:2"}


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source large enough to be converted by worker processes, of odd sizes; labels look like cells."""
    folder = tmp_path_factory.mktemp("larger")
    x, y, z = np.ogrid[:151, :149, :101]
    cells = (x // 13 + 20 * (y // 17) + 400 * (z // 9) + (x * y * z) // 30_011).astype("uint32")
    return saved(folder, cells)


def test_the_same_bytes_from_one_process_from_two_and_again(
    larger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    def open_and_tell(executor: str) -> Executor:
        opened.append(executor)
        return open_executor(executor)

    monkeypatch.setattr(conversion, "open_executor", open_and_tell)
    for name, chosen in (("two", CHOSEN | TWO), ("again", CHOSEN | TWO), ("one", CHOSEN | {"memory": "1GB"})):
        convert(larger, tmp_path / name, options(**chosen), quiet)
    assert opened == ["processes:2", "processes:2", "serial"]
    assert len(files_of(tmp_path / "two")) > 40
    assert files_of(tmp_path / "two") == files_of(tmp_path / "again") == files_of(tmp_path / "one")


@pytest.mark.parametrize("layer", ["image", "segmentation"])
def test_the_order_of_tiles_changes_nothing(layer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = saved(tmp_path, np.random.default_rng(4).integers(0, 5, (90, 70, 50)).astype("uint16"))
    chosen = options(type=layer, chunk_size=(16, 16, 16), memory=NO_MEMORY, voxel_offset=(-3, 5, 7))
    convert(source, tmp_path / "forth", chosen, quiet)
    tiles = Stage.tiles
    monkeypatch.setattr(Stage, "tiles", lambda stage: iter(list(tiles(stage))[::-1]))
    convert(source, tmp_path / "back", chosen, quiet)
    assert files_of(tmp_path / "forth") == files_of(tmp_path / "back")


def test_progress_goes_up_to_its_total(tmp_path: Path) -> None:
    seen: list[Progress] = []
    source = saved(tmp_path, np.zeros((90, 70, 50), "uint8"))
    convert(source, tmp_path / "dataset", options(chunk_size=(16, 16, 16), memory=NO_MEMORY), seen.append)
    assert {(progress.step, progress.unit) for progress in seen} == {("convert", "voxels")}
    assert [progress.done for progress in seen] == sorted(progress.done for progress in seen)
    assert len(seen) > 10
    assert seen[-1].done == seen[-1].total == {progress.total for progress in seen}.pop()


def test_the_same_request_again_is_done_already(tmp_path: Path) -> None:
    source = saved(tmp_path, np.arange(8000, dtype="uint16").reshape(20, 20, 20))
    first = convert(source, tmp_path / "dataset", options(), quiet)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "dataset").rglob("*")}
    # How it is run is no part of the request.
    again: Summary = convert(source, tmp_path / "dataset", options(memory="2GB", executor="processes:2", overwrite=True), quiet)
    assert (first.already, again.already) == (False, True)
    assert again.record == first.record
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "dataset").rglob("*")} == before


def test_nothing_but_the_dataset_is_left(tmp_path: Path) -> None:
    source = saved(tmp_path, np.ones((40, 30, 20), "uint8"))
    convert(source, tmp_path / "new/folder/dataset", options(chunk_size=(16, 16, 16), memory=NO_MEMORY), quiet)
    dataset = tmp_path / "new/folder/dataset"
    assert sorted(path.name for path in dataset.iterdir()) == [".glassine", "16_16_16", "32_32_32", "8_8_8", "info"]
    assert sorted(path.name for path in (dataset / ".glassine").iterdir()) == ["lock", "record.json", "thumbnail.png"]


@pytest.mark.parametrize("layout", ["nested", "flat", "sharded"])
@pytest.mark.parametrize("type_", ["image", "segmentation"])
def test_empty_chunks_may_be_left_out_and_read_as_zeros(tmp_path: Path, layout: Layout, type_: str) -> None:
    voxels = np.zeros((70, 40, 33), "uint32" if type_ == "segmentation" else "uint8")
    voxels[50:60, 3:9, 20:] = 7
    given = options(type=type_, chunk_size=(16, 16, 16), voxel_offset=(-3, 5, 11), layout=layout)
    source = saved(tmp_path, voxels)
    full = convert(source, tmp_path / "full", given, quiet).record.counts
    sparse = convert(source, tmp_path / "sparse", given.model_copy(update={"skip_empty": True}), quiet).record
    assert sparse.options["skip_empty"] is True
    assert sparse.counts["empty_chunks"] == full["empty_chunks"] > 0
    assert sparse.counts["chunks"] == full["chunks"] - full["empty_chunks"] > 0
    both = zip(scales_by_tensorstore(tmp_path / "sparse"), scales_by_tensorstore(tmp_path / "full"), strict=True)
    for found, reference in both:
        np.testing.assert_array_equal(found, reference)
    stored = [path for path in (tmp_path / "sparse").rglob("*") if path.is_file() and ".glassine" not in path.parts]
    if layout != "sharded":
        assert len(stored) == sparse.counts["chunks"] + 1
    assert sparse.counts["stored_bytes"] == sum(path.stat().st_size for path in stored if path.name != "info")


def test_a_volume_of_nothing_but_zeros_has_no_chunk_when_they_are_left_out(tmp_path: Path) -> None:
    given = options(layout="sharded", skip_empty=True, chunk_size=(16, 16, 16))
    convert(saved(tmp_path, np.zeros((40, 40, 40), "uint8")), tmp_path / "dataset", given, quiet)
    assert sorted(path.name for path in (tmp_path / "dataset").iterdir()) == [".glassine", "info"]
    assert not any(scale.any() for scale in scales_by_tensorstore(tmp_path / "dataset"))
