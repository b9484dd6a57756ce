import gzip
import math
import os
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib import format as npy_format

from converters.errors import OptionError, SourceError, ValueRefusedError
from converters.options import ConvertOptions, byte_count
from converters.volumes.plan import Plan, make_plan, volume_info, workers_within

Triple = tuple[int, int, int]


def sparse(path: Path, shape: tuple[int, ...], dtype: str = "uint8") -> Path:
    """Write a .npy file of zeros that takes no room on the disk, however large."""
    with path.open("wb") as file:
        npy_format.write_array_header_1_0(file, {"descr": np.dtype(dtype).str, "fortran_order": True, "shape": shape})
        file.truncate(file.tell() + math.prod(shape) * np.dtype(dtype).itemsize)
    return path


def planned(path: Path, **given: Any) -> Plan:
    return make_plan(path, ConvertOptions.model_validate({"axes": "xyz", "resolution": (4, 4, 40), **given}))


def test_a_terabyte_is_planned_without_being_read(tmp_path: Path) -> None:
    plan = planned(sparse(tmp_path / "a.npy", (20_000, 20_000, 2500)), executor="processes:2")
    assert [scale.key for scale in plan.scales] == [
        "4_4_40", "8_8_40", "16_16_40", "32_32_40", "64_64_80", "128_128_160", "256_256_320", "512_512_640", "1024_1024_1280",
        "2048_2048_2560",
    ]  # fmt: skip
    assert plan.scales[-1].box.shape == (40, 40, 40)
    assert plan.voxels == sum(math.prod(scale.box.shape) for scale in plan.scales)
    assert plan.chunks == sum(math.prod(-(-n // 64) for n in scale.box.shape) for scale in plan.scales)
    assert plan.memory_bytes <= 10**9
    assert plan.workers == 2


def test_the_info_tells_the_plan(tmp_path: Path) -> None:
    plan = planned(sparse(tmp_path / "a.npy", (100, 70, 30), "uint64"), voxel_offset=(-5, 3, 0))
    info = volume_info(plan)
    assert (info.type, info.data_type, info.num_channels) == ("segmentation", "uint64", 1)
    assert [(s.size, s.voxel_offset) for s in info.scales] == [((100, 70, 30), (-5, 3, 0)), ((51, 36, 30), (-3, 1, 0))]
    assert {scale.compressed_segmentation_block_size for scale in info.scales} == {(8, 8, 8)}
    assert {scale.jpeg_quality for scale in info.scales} == {None}
    pictures = volume_info(planned(sparse(tmp_path / "b.npy", (9, 9, 9)), encoding="jpeg", jpeg_quality=70))
    assert {(scale.jpeg_quality, scale.compressed_segmentation_block_size) for scale in pictures.scales} == {(70, None)}


@pytest.mark.parametrize(
    ("dtype", "layer", "encoding"),
    [
        ("uint8", "image", "raw"),
        ("int16", "image", "raw"),
        ("float64", "image", "raw"),
        ("uint32", "segmentation", "compressed_segmentation"),
        ("int64", "segmentation", "compressed_segmentation"),
    ],
)
def test_what_is_left_to_auto_is_lossless(dtype: str, layer: str, encoding: str, tmp_path: Path) -> None:
    plan = planned(sparse(tmp_path / "a.npy", (9, 9, 9), dtype))
    assert (plan.layer, plan.chunk_format.encoding, plan.layout) == (layer, encoding, "nested")


def test_an_encoding_that_the_viewer_cannot_read_is_refused(tmp_path: Path) -> None:
    source = sparse(tmp_path / "a.npy", (9, 9, 9), "float32")
    with pytest.raises(OptionError) as caught:
        planned(source, encoding="jpeg")
    assert str(caught.value).startswith("--encoding jpeg does not fit this source: encoding jpeg cannot hold float32")
    with pytest.raises(ValueRefusedError, match=r"a\.npy: the data type complex64 cannot be shown"):
        planned(sparse(tmp_path / "a.npy", (9, 9, 9), "complex64"))


def test_a_missing_source_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        planned(tmp_path / "missing.npy")


def test_voxels_that_the_viewer_cannot_reach_are_told(tmp_path: Path) -> None:
    source = sparse(tmp_path / "a.npy", (10, 10, 10))
    (note,) = planned(source, voxel_offset=(0, 2**24, 0)).notes
    assert note == "the volume reaches voxel 16777226, the viewer is exact up to 16777216: chunks beyond may not be found"
    assert planned(source, voxel_offset=(-(2**24), 2**24 - 10, 0)).notes == ()


def test_memory_that_is_too_little_is_told(tmp_path: Path) -> None:
    source = sparse(tmp_path / "a.npy", (2000, 2000, 2000), "uint64")
    (note,) = planned(source, memory="1MB", executor="processes:4").notes
    assert note.startswith("the smallest tiles need about ")
    assert note.endswith(" GB, more than --memory 0.0 GB: use fewer processes")


@given(
    memory=st.sampled_from(["300MB", "500MB", "1GB", "1.5GB", "4GB", "100GB"]),
    executor=st.sampled_from(["serial", "processes:1", "processes:2", "processes:16"]),
    shape=st.tuples(*[st.integers(1, 5000)] * 3),
    dtype=st.sampled_from(["uint8", "int16", "float32", "float64", "uint64"]),
    chunk_size=st.none() | st.tuples(*[st.integers(1, 256)] * 3),
)
@settings(max_examples=60, deadline=None)
def test_memory_is_kept_or_the_user_is_told(
    memory: str, executor: str, shape: Triple, dtype: str, chunk_size: Triple | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    source = sparse(tmp_path_factory.getbasetemp() / f"{os.getpid()}.npy", shape, dtype)
    plan = planned(source, memory=memory, executor=executor, chunk_size=chunk_size, type="image")
    told = any("--memory" in note for note in plan.notes)
    assert told == (plan.memory_bytes > byte_count(memory))
    # With the default chunks a gigabyte a worker does.
    if chunk_size is None and byte_count(memory) >= plan.workers * 10**9:
        assert not told


def test_a_packed_stream_takes_no_memory_for_what_it_unpacks_to(tmp_path: Path) -> None:
    sparse(tmp_path / "a.npy", (1 << 10, 1 << 10, 1 << 10))
    header: Any = nibabel.Nifti1Header()
    header.set_data_shape((1 << 10, 1 << 10, 1 << 10))
    header.set_data_dtype(np.uint8)
    header["vox_offset"] = 352
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(header.binaryblock + bytes(4)))
    given = {"memory": "600MB", "executor": "processes:2", "axes": None}
    plain, packed = planned(tmp_path / "a.npy", **given | {"axes": "xyz"}), planned(tmp_path / "a.nii.gz", **given)
    assert (plain.unpacked_bytes, packed.unpacked_bytes) == (0, 1 << 30)
    assert packed.memory_bytes == pytest.approx(plain.memory_bytes, rel=0.3)
    assert packed.memory_bytes < 600_000_000
    assert workers_within(packed, packed.budget) == 2
    assert not any("--memory" in note for note in packed.notes)


def test_blocks_that_do_not_fit_beside_each_other_are_planned_one_at_a_time(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", (512, 1024, 1024), "uint8", chunks=(256, 1024, 1024), compression="gzip")
    plan = planned(tmp_path / "a.h5", memory="800MB", executor="processes:2", axes=None, layout="flat")
    assert workers_within(plan, plan.budget) == 1
    assert 2 * (256 << 20) < plan.memory_bytes < 800_000_000
    assert not any("--memory" in note for note in plan.notes)
