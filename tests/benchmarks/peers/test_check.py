"""The check of a peer's output, on datasets that tensorstore writes, whole and spoilt."""

import gzip
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.peers.check import check
from benchmarks.peers.job import Job
from benchmarks.peers.run_tensorstore import convert

SIZE = (96, 64, 65)


def _job(folder: Path, encoding: str, voxels: NDArray[Any]) -> Job:
    scales = []
    for k in range(2):
        edge = 8 * 2**k
        size = [-(-side // 2**k) for side in voxels.shape]
        scale = {"key": f"{edge}_{edge}_{edge}", "size": size, "resolution": [edge] * 3, "voxel_offset": [0, 0, 0]}
        scales.append({**scale, "encoding": encoding, "chunk_sizes": [[64, 64, 64]]})
        if encoding == "compressed_segmentation":
            scales[-1]["compressed_segmentation_block_size"] = [8, 8, 8]
    kind = "segmentation" if encoding == "compressed_segmentation" else "image"
    info = {"type": kind, "data_type": voxels.dtype.name, "num_channels": 1, "scales": scales}
    np.save(folder / "source.npy", np.asfortranarray(voxels))
    source = str(folder / "source.npy")
    return Job(source, source, str(folder / "dataset"), info, 1)


def _image() -> NDArray[np.uint8]:
    x, y, z = np.indices(SIZE)
    return (128 + 100 * np.sin((x + y + z) / 9)).astype(np.uint8)


def _labels() -> NDArray[np.uint32]:
    x, y, z = np.indices(SIZE)
    return (1 + x // 9 + 20 * (y // 7) + 400 * (z // 5)).astype(np.uint32)


@pytest.mark.parametrize("encoding", ["raw", "jpeg", "compressed_segmentation"])
def test_what_tensorstore_writes_is_as_it_must_be(tmp_path: Path, encoding: str) -> None:
    job = _job(tmp_path, encoding, _labels() if encoding == "compressed_segmentation" else _image())
    convert(job)
    assert check(job) == ""


def test_nested_gzip_chunks_are_found(tmp_path: Path) -> None:
    job = _job(tmp_path, "raw", _image())
    convert(job)
    for flat in list((tmp_path / "dataset").glob("*/*_*_*")):
        nested = flat.parent / (flat.name.replace("_", "/") + ".gz")
        nested.parent.mkdir(parents=True, exist_ok=True)
        nested.write_bytes(gzip.compress(flat.read_bytes()))
        flat.unlink()
    assert check(job) == ""


def _spoilt(folder: Path, job: Job, scale: str, chunk: str) -> str:
    convert(job)
    path = folder / "dataset" / scale / chunk
    path.write_bytes(bytes(path.stat().st_size))
    return check(job)


def test_wrong_voxels_are_told_with_their_scale(tmp_path: Path) -> None:
    assert _spoilt(tmp_path, _job(tmp_path, "raw", _image()), "8_8_8", "64-96_0-64_64-65") == (
        "scale 8_8_8: voxels differ from the source's"
    )


def test_wrong_averages_are_told_with_their_scale(tmp_path: Path) -> None:
    told = _spoilt(tmp_path, _job(tmp_path, "raw", _image()), "16_16_16", "0-48_0-32_0-33")
    assert told.startswith("scale 16_16_16: grey values are off by ")


def test_labels_from_elsewhere_are_told_with_their_scale(tmp_path: Path) -> None:
    job = _job(tmp_path, "compressed_segmentation", _labels())
    convert(job)
    other = tmp_path / "other"
    other.mkdir()
    convert(_job(other, "compressed_segmentation", _labels() + np.uint32(1)))
    chunk = "16_16_16/0-48_0-32_0-33"
    (tmp_path / "dataset" / chunk).write_bytes((other / "dataset" / chunk).read_bytes())
    assert check(job) == "scale 16_16_16: labels that the finer scale does not have at their place"


def test_another_plan_of_scales_is_told(tmp_path: Path) -> None:
    job = _job(tmp_path, "raw", _image())
    convert(job)
    fewer = replace(job, info={**job.info, "scales": job.scales[:1]})
    assert check(fewer).startswith("info has the scales ")
