"""What `plan` says a conversion will cost, against what it then gave. Times are measured in benchmarks."""

from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from converters.options import ConvertOptions
from converters.sources.hdf5.reader import Hdf5Reader
from converters.volumes import estimate as estimating
from converters.volumes.conversion import convert
from converters.volumes.estimate import estimate
from converters.volumes.plan import make_plan


def textured(dtype: str) -> NDArray[Any]:
    """Return cells with noise inside, whose entropy differs a little from place to place."""
    x, y, z = np.ogrid[:190, :210, :170]
    cells = (x // 13 + 20 * (y // 17) + 400 * (z // 9) + (x * y * z) // 30_011).astype(dtype)
    if dtype.startswith("uint32"):
        return cells
    return (cells % 40 + np.random.default_rng(0).integers(0, 30, cells.shape)).astype(dtype)


@pytest.mark.parametrize("layout", ["nested", "flat", "sharded"])
@pytest.mark.parametrize(("dtype", "encoding"), [("uint8", "raw"), ("uint8", "jpeg"), ("int16", "raw"), ("uint32", "auto")])
@pytest.mark.parametrize("ending", [".npy", ".nii.gz"])
def test_files_and_bytes(dtype: str, encoding: str, layout: str, ending: str, tmp_path: Path) -> None:
    given: dict[str, Any] = {"encoding": encoding, "layout": layout, "executor": "serial", "chunk_size": (32, 32, 32)}
    if ending == ".npy":
        np.save(tmp_path / "a.npy", np.asfortranarray(textured(dtype)))
        given |= {"axes": "xyz", "resolution": (8, 8, 8)}
    else:
        nibabel.save(nibabel.Nifti1Image(textured(dtype), np.eye(4)), tmp_path / "a.nii.gz")
    options = ConvertOptions.model_validate(given)
    cost = estimate(make_plan(tmp_path / f"a{ending}", options))
    summary = convert(tmp_path / f"a{ending}", tmp_path / "dataset", options, lambda progress: None)
    files = [path for path in (tmp_path / "dataset").rglob("*") if path.is_file()]
    assert cost.files == len(files)
    assert cost.stored_bytes == pytest.approx(summary.record.counts["stored_bytes"], rel=0.1)
    assert 0 < cost.seconds < 60


@pytest.mark.parametrize("chunks", [(1, 210, 190), (40, 210, 190), (170, 210, 1), (7, 11, 190)])
def test_a_source_of_large_blocks_is_looked_at_in_a_few_places(
    chunks: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(estimating, "_SEPARATE_BYTES", 1 << 16)
    monkeypatch.setattr(estimating, "_LOOK_BYTES", 1 << 18)
    read: list[int] = []
    plain = Hdf5Reader.read

    def counted(self: Hdf5Reader, index: tuple[slice, ...]) -> NDArray[Any]:
        voxels = plain(self, index)
        read.append(voxels.size)
        return voxels

    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", data=textured("uint8").T, chunks=chunks, compression="gzip")
    given = {"resolution": (8, 8, 8), "executor": "serial", "chunk_size": (32, 32, 32), "type": "image"}
    options = ConvertOptions.model_validate(given)
    plan = make_plan(tmp_path / "a.h5", options)
    monkeypatch.setattr(Hdf5Reader, "read", counted)
    cost = estimate(plan)
    assert len(read) <= 4
    assert sum(read) <= 4 * max(1 << 18, 40 * 210 * 190)
    summary = convert(tmp_path / "a.h5", tmp_path / "dataset", options, lambda progress: None)
    assert cost.stored_bytes == pytest.approx(summary.record.counts["stored_bytes"], rel=0.1)
