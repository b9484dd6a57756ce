"""The copy of a Zarr array into shards, and that the check reads shards."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from benchmarks.peers.check import check
from benchmarks.peers.job import Job
from benchmarks.peers.run_tensorstore_copy import convert

SIZE = (200, 130, 70)
SHARDING = {
    "@type": "neuroglancer_uint64_sharded_v1",
    "hash": "identity",
    "preshift_bits": 2,
    "minishard_bits": 1,
    "shard_bits": 3,
    "minishard_index_encoding": "gzip",
}


@pytest.fixture
def job(tmp_path: Path) -> Job:
    voxels = np.random.default_rng(1).integers(0, 255, SIZE, np.uint8)
    np.save(tmp_path / "voxels.npy", np.asfortranarray(voxels))
    zarr.create_array(tmp_path / "source.zarr", data=np.ascontiguousarray(voxels.T), chunks=(64, 64, 64), zarr_format=2)
    scale: dict[str, Any] = {"key": "8_8_8", "size": list(SIZE), "resolution": [8, 8, 8], "voxel_offset": [0, 0, 0]}
    scale |= {"encoding": "raw", "chunk_sizes": [[64, 64, 64]], "sharding": {**SHARDING, "data_encoding": "gzip"}}
    info = {"type": "image", "data_type": "uint8", "num_channels": 1, "scales": [scale]}
    return Job(str(tmp_path / "source.zarr"), str(tmp_path / "voxels.npy"), str(tmp_path / "dataset"), info, 1)


def test_the_copy_is_in_shards_and_is_as_it_must_be(job: Job) -> None:
    convert(job)
    names = [path.name for path in Path(job.destination, "8_8_8").iterdir()]
    assert names
    assert all(name.endswith(".shard") for name in names)
    assert check(job) == ""


def test_a_shard_that_is_missing_is_told(job: Job) -> None:
    convert(job)
    next(Path(job.destination, "8_8_8").iterdir()).unlink()
    assert check(job) == "scale 8_8_8: voxels differ from the source's"
