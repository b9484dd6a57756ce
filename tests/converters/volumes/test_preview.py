"""Chunks computed from the source before they are written, against those that the conversion then writes."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converters.budget import Budget
from converters.claim import Request
from converters.errors import DatasetError
from converters.options import ConvertOptions
from converters.sources.array import ArraySource
from converters.volumes import preview
from converters.volumes.conversion import convert
from converters.volumes.plan import Plan, make_plan
from converters.volumes.preview import (
    NotReadyError,
    background_chunk,
    plan_of_run,
    preview_chunk,
    preview_file,
    preview_voxels,
)
from formats.grid import Box, chunk_name
from formats.info import parse_volume_info

BUDGET = Budget(1 << 30, 1)


def planned(place: Path, **options: Any) -> Plan:
    return make_plan(place, ConvertOptions(executor="serial", layout="flat", **options), BUDGET)


def saved(folder: Path, voxels: np.ndarray) -> Path:
    np.save(folder / "source.npy", voxels)
    return folder / "source.npy"


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.tuples(*[st.integers(1, 45)] * 3),
    offset=st.tuples(*[st.integers(-20, 20)] * 3),
    resolution=st.sampled_from(["8,8,8", "8,8,40", "30,8,9.5"]),
    kind=st.sampled_from(
        [
            ("uint8", "image", "raw"),
            ("float64", "image", "raw"),
            ("uint16", "segmentation", "auto"),
            ("uint8", "image", "jpeg"),
        ]
    ),
    number=st.integers(0, 1 << 30),
)  # fmt: skip
def test_what_can_be_read_in_a_moment_is_the_chunk_that_is_written(
    tmp_path_factory: pytest.TempPathFactory, shape: Any, offset: Any, resolution: str, kind: Any, number: int
) -> None:
    folder = tmp_path_factory.mktemp("exact")
    dtype, layer, encoding = kind
    source = saved(folder, np.random.default_rng(number).integers(0, 200, shape).astype(dtype))
    told = {"axes": "xyz", "resolution": resolution, "voxel_offset": offset, "chunk_size": (16, 8, 8)}
    options = ConvertOptions(executor="serial", layout="flat", type=layer, encoding=encoding, **told)
    convert(source, folder / "dataset", options, lambda progress: None)
    plan = make_plan(source, options, BUDGET)
    for position, scale in enumerate(plan.scales):
        for cell in scale.grid.cells():
            written = (folder / "dataset" / scale.key / chunk_name(scale.grid.chunk_box(cell))).read_bytes()
            assert preview_chunk(plan, position, cell) == written


@pytest.fixture
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be read in a moment."""
    monkeypatch.setattr(preview, "_EXACT_BYTES", 0)


def middle(volume: np.ndarray, plan: Plan, position: int, place: tuple[int, int, int]) -> Any:
    """Return the voxel of the source in the middle of a voxel of a scale, as the text of preview.py says."""
    scale, low = plan.scales[position], plan.scales[0].box.start
    at = []
    for axis in range(3):
        coordinate = place[axis] * scale.factors[axis] + scale.factors[axis] // 2 - low[axis]
        at.append(min(max(coordinate, 0), volume.shape[axis] - 1))
    return volume[tuple(at)]


def test_coarse_scales_are_made_of_single_voxels(tmp_path: Path, coarse: None) -> None:
    volume = np.random.default_rng(1).integers(0, 1 << 16, (70, 50, 37), np.uint16)
    for axes, stored in (("xyz", volume), ("zyx", np.ascontiguousarray(volume.T))):
        plan = planned(saved(tmp_path, stored), axes=axes, resolution="8,8,20", voxel_offset=(-7, 5, 3), chunk_size=(16, 16, 16))
        for position, scale in enumerate(plan.scales):
            box = scale.grid.chunk_box(tuple(n - 1 for n in scale.grid.shape))
            voxels = preview_voxels(plan, position, box)
            assert voxels.shape == (*box.shape, 1)
            for index in np.ndindex(box.shape):
                assert voxels[(*index, 0)] == middle(volume, plan, position, tuple(np.add(box.start, index)))


def test_grey_values_are_computed_of_what_is_picked_alone(tmp_path: Path, coarse: None, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = np.arange(40 * 30 * 20, dtype=np.int16).reshape(40, 30, 20)
    image = nibabel.Nifti1Image(volume, np.diag([1, 1, 1, 1]))
    image.header.set_slope_inter(2.5, -3)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, tmp_path / "scaled.nii")
    plan = planned(tmp_path / "scaled.nii", chunk_size=(16, 16, 16))
    seen: list[int] = []
    real = type(plan.source).scaled
    monkeypatch.setattr(type(plan.source), "scaled", lambda self, stored: seen.append(stored.size) or real(self, stored))
    voxels = preview_voxels(plan, 1, Box((0, 0, 0), (4, 5, 6)))
    assert voxels[1, 2, 3, 0] == np.float32(volume[3, 5, 7] * 2.5 - 3)
    assert max(seen) == 4 * 5 * 6


def chunked(folder: Path, volume: np.ndarray, chunks: tuple[int, int, int]) -> Path:
    with h5py.File(folder / "source.h5", "w") as file:
        file.create_dataset("volume", data=volume.T, chunks=tuple(reversed(chunks)))
    return folder / "source.h5"


def test_blocks_are_read_once_each(tmp_path: Path, coarse: None, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = np.random.default_rng(2).integers(0, 200, (70, 50, 37)).astype(np.uint8)
    plan = planned(chunked(tmp_path, volume, (16, 8, 5)), axes="zyx", resolution="8,8,8", chunk_size=(16, 16, 16))
    assert plan.source.block == (16, 8, 5)
    read: list[Box] = []
    real = ArraySource.read
    monkeypatch.setattr(ArraySource, "read", lambda self, box: read.append(box) or real(self, box))
    box = plan.scales[1].grid.chunk_box((1, 0, 1))
    voxels = preview_voxels(plan, 1, box)
    for index in np.ndindex(box.shape):
        assert voxels[(*index, 0)] == middle(volume, plan, 1, tuple(np.add(box.start, index)))
    blocks = [tuple(n // b for n, b in zip(each.start, (16, 8, 5), strict=True)) for each in read]
    assert len(set(blocks)) == len(blocks)


@pytest.mark.parametrize("limit", [1, 5_000, 40_000])
def test_what_is_read_stays_below_a_limit(tmp_path: Path, coarse: None, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(preview, "_SAMPLED_BYTES", limit)
    volume = np.random.default_rng(3).integers(1, 200, (70, 50, 37)).astype(np.uint8)
    plan = planned(chunked(tmp_path, volume, (16, 8, 5)), axes="zyx", resolution="8,8,8", chunk_size=(32, 32, 32))
    read: list[Box] = []
    real = ArraySource.read
    monkeypatch.setattr(ArraySource, "read", lambda self, box: read.append(box) or real(self, box))
    voxels = preview_voxels(plan, 1, plan.scales[1].box)
    assert len(read) * 16 * 8 * 5 <= max(limit, 16 * 8 * 5)
    assert set(np.unique(voxels).tolist()) <= set(np.unique(volume).tolist())


def test_labels_stay_labels(tmp_path: Path, coarse: None) -> None:
    labels = np.random.default_rng(4).choice(np.array([0, 7, 2**53 + 1], np.uint64), (40, 40, 40))
    plan = planned(saved(tmp_path, labels), axes="xyz", resolution="8,8,8", chunk_size=(16, 16, 16))
    assert set(np.unique(preview_voxels(plan, 1, plan.scales[1].box)).tolist()) == {0, 7, 2**53 + 1}


# Packed streams -----------------------------------------------------------------------------------------------------------------


def packed(folder: Path) -> tuple[Path, np.ndarray]:
    volume = np.random.default_rng(5).integers(0, 200, (40, 30, 20)).astype(np.uint8)
    image = nibabel.Nifti1Image(volume, np.diag([1, 1, 1, 1]))
    image.header.set_xyzt_units("mm")
    nibabel.save(image, folder / "brain.nii.gz")
    return folder / "brain.nii.gz", volume


def test_a_small_packed_source_is_unpacked_into_memory_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, volume = packed(tmp_path)
    plan = planned(source, chunk_size=(16, 16, 16))
    preview._whole.cache_clear()
    np.testing.assert_array_equal(preview_voxels(plan, 0, plan.scales[0].box)[..., 0], volume)
    monkeypatch.setattr(preview, "_EXACT_BYTES", 0)
    assert preview_voxels(plan, 1, Box((1, 2, 3), (2, 3, 4)))[0, 0, 0, 0] == volume[3, 5, 7]
    assert preview._whole.cache_info().misses == 1
    preview._whole.cache_clear()


def test_a_large_packed_source_waits_for_its_unpacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview, "_WHOLE_BYTES", 1000)
    source, volume = packed(tmp_path)
    plan = planned(source, chunk_size=(16, 16, 16))
    spool = tmp_path / "spool"
    spool.mkdir()
    with pytest.raises(NotReadyError, match=r"brain.nii.gz is being unpacked"):
        preview_voxels(plan, 0, plan.scales[0].box, spool)
    plan.source.spooled(spool, lambda done, total: None)
    np.testing.assert_array_equal(preview_voxels(plan, 0, plan.scales[0].box, spool)[..., 0], volume)


# The plan of a run --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def begun(tmp_path: Path) -> Callable[..., bytes]:
    """What claim.py keeps of a request, changed as a test wants it."""
    source = saved(tmp_path, np.zeros((20, 20, 20), np.uint8))
    options = ConvertOptions(axes="xyz", resolution="8,8,8", chunk_size=(8, 8, 8), layout="sharded")
    plan = make_plan(source, options, BUDGET)
    told = options.model_dump(mode="json", exclude={"memory", "executor", "overwrite"})
    request = Request("0", str(source), plan.source.fingerprint(), told)
    return lambda **changes: json.dumps(asdict(replace(request, **changes))).encode()


def test_the_plan_of_a_run_is_that_of_its_request(begun: Callable[..., bytes], tmp_path: Path) -> None:
    plan = plan_of_run(begun())
    expected = make_plan(
        tmp_path / "source.npy",
        ConvertOptions(axes="xyz", resolution="8,8,8", chunk_size=(8, 8, 8), layout="sharded"),
        Budget(1 << 33, 7),
    )
    assert (plan.scales, plan.chunk_format, plan.layout) == (expected.scales, expected.chunk_format, "sharded")


def test_what_is_no_conversion_or_has_changed_has_no_plan(begun: Callable[..., bytes], tmp_path: Path) -> None:
    for broken in (b"", b"[]", b"{}", b'{"source": 3}', begun(options={"threshold": "otsu"}), begun(options=[]), b"\xff"):
        with pytest.raises(DatasetError, match="no conversion of a volume"):
            plan_of_run(broken)
    told = begun()
    np.save(tmp_path / "source.npy", np.zeros((20, 20, 21), np.uint8))
    with pytest.raises(DatasetError, match="is not what it was when its conversion began"):
        plan_of_run(told)


def test_the_files_of_a_run_are_those_of_its_plan(
    begun: Callable[..., bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.nice", lambda more: 0)
    told = begun()
    info = preview_file(told, "info", tmp_path)
    assert info is not None
    assert b"sharding" not in info
    assert parse_volume_info(info).scales[0].chunk_sizes == ((8, 8, 8),)
    assert preview_file(told, "8_8_8/16-20_0-8_0-8", tmp_path) == bytes(4 * 8 * 8)
    for name in ("8_8_8/16-24_0-8_0-8", "9_9_9/0-8_0-8_0-8", "info2", "8_8_8/info", ""):
        assert preview_file(told, name, tmp_path) is None
    assert preview_file(b"{}", "info", tmp_path) is None


def test_background_is_of_the_chunk_that_is_asked_for() -> None:
    scale = {"key": "8_8_8", "size": [20, 20, 20], "resolution": [8, 8, 8], "chunk_sizes": [[16, 16, 16]], "encoding": "raw"}
    info = json.dumps({"type": "image", "data_type": "uint16", "num_channels": 2, "scales": [scale]}).encode()
    assert background_chunk(info, "8_8_8/0-16_16-20_0-16") == bytes(16 * 4 * 16 * 2 * 2)
    assert background_chunk(info, "8_8_8/0-16_16-32_0-16") is background_chunk(info, "9/0-16_0-16_0-16") is None
