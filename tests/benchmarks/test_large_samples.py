"""Large inputs: voxels that are known without the file, and files that other libraries read as those voxels."""

from collections.abc import Callable
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
import tensorstore
import tifffile

from benchmarks.large_samples import KINDS, Kind, Volume, Voxels, make_sample, make_texture

SHAPE = (300, 150, 37)


@pytest.fixture(params=[np.uint8, np.uint16])
def volume(request: pytest.FixtureRequest) -> Volume:
    texture = np.random.default_rng(3).integers(0, 256, (4, 32, 64), request.param)
    return Volume(SHAPE, texture)


def whole(volume: Volume) -> Voxels:
    """Return [z, y, x], voxel by voxel."""
    z, y, x = np.indices(volume.shape[::-1])
    return volume.at(x, y, z)


def test_planes_are_made_of_the_voxels_that_are_told_one_by_one(volume: Volume) -> None:
    expected = whole(volume)
    assert np.array_equal(np.concatenate([planes for _, planes in volume.planes(8)]), expected)
    assert [begin for begin, _ in volume.planes(8)] == [0, 8, 16, 24, 32]


def test_no_repetition_of_the_texture_lies_in_front_of_another(volume: Volume) -> None:
    blocks = whole(volume)[:36, :128, :256].reshape(9, 4, 4, 32, 4, 64).transpose(0, 2, 4, 1, 3, 5).reshape(9, 16, -1)
    assert all(len(np.unique(of_one_depth, axis=0)) > 1 for of_one_depth in blocks)


def _nifti(path: Path) -> Voxels:
    voxels: Voxels = np.asanyarray(nibabel.Nifti1Image.from_filename(path).dataobj).T
    return voxels


def _hdf5(path: Path) -> Voxels:
    with h5py.File(path) as file:
        voxels: Voxels = file["volume"][:]
    return voxels


def _tiff(folder: Path) -> Voxels:
    return np.stack([tifffile.imread(path) for path in sorted(folder.iterdir())])


def _zarr(folder: Path) -> Voxels:
    spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": f"{folder}/"}}
    voxels: Voxels = tensorstore.open(spec).result().read().result()
    return voxels


READERS: dict[str, Callable[[Path], Voxels]] = {
    "nii.gz": _nifti,
    "hdf5": _hdf5,
    "hdf5-slices": _hdf5,
    "hdf5-slabs": _hdf5,
    "tiff": _tiff,
    "tiff-zlib": _tiff,
    "zarr": _zarr,
    "zarr-slices": _zarr,
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_holds_the_voxels_for_its_own_library(volume: Volume, name: str, tmp_path: Path) -> None:
    path = tmp_path / f"sample{KINDS[name].file}"
    KINDS[name].write(volume, path)
    found = READERS[name](path)
    assert found.dtype == volume.dtype
    assert np.array_equal(found, whole(volume))


def test_slices_of_a_tiff_are_one_strip(volume: Volume, tmp_path: Path) -> None:
    KINDS["tiff-zlib"].write(volume, tmp_path / "stack")
    with tifffile.TiffFile(tmp_path / "stack" / "slice_00036.tif") as file:
        assert len(file.pages[0].dataoffsets) == 1
        assert file.pages[0].compression == tifffile.COMPRESSION.ADOBE_DEFLATE


def test_shape_has_as_many_gigabytes_as_were_asked_for() -> None:
    assert KINDS["nii.gz"].shape(8) == (2048, 2048, 1908)
    assert KINDS["tiff-zlib"].shape(8) == (8192, 8192, 60)


def test_an_input_is_made_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    written: list[Path] = []

    def write(volume: Volume, path: Path) -> None:
        written.append(path)
        path.touch()

    monkeypatch.setitem(KINDS, "nii.gz", Kind("", (64, 32), "uint16", ".nii.gz", write))
    np.save(tmp_path / "texture-r1.npy", np.zeros((2, 4, 8), np.uint8))
    samples = [make_sample(tmp_path, "nii.gz", 0.001, lambda line: None) for _ in range(2)]
    assert [path.name for path in written] == ["begun-nii.gz-64x32x245-r1.nii.gz"]
    assert samples[0].path == samples[1].path == tmp_path / "nii.gz-64x32x245-r1.nii.gz"
    assert samples[1].path.exists()


def test_deep_texture_is_the_grey_one_with_noise_below(tmp_path: Path) -> None:
    grey = np.arange(200, dtype=np.uint8).reshape(2, 10, 10)
    np.save(tmp_path / "texture-r1.npy", grey)
    deep = make_texture(tmp_path, "uint16", lambda line: None)
    assert deep.dtype == np.uint16
    assert np.array_equal(deep // 16, grey)
    assert len(np.unique(deep % 16)) == 16
