"""The forms that the image is brought into: the same voxels, as each form's own library reads them."""

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile
import zarr

from benchmarks.samples import make_samples
from benchmarks.source_samples import FORMS, bytes_of, make_form

SHAPE = (48, 40, 24)


def _silent(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_samples(tmp_path_factory.mktemp("samples"), SHAPE, _silent).image


def _read(path: Path) -> Any:
    """Return what a form holds, [z, y, x]."""
    if path.suffix == ".zarr":
        return zarr.open_array(path, mode="r")[:]
    return np.stack([tifffile.imread(part) for part in sorted(path.iterdir())])


@pytest.mark.parametrize("name", FORMS)
def test_a_form_holds_the_voxels_and_is_made_once(image: Path, name: str) -> None:
    told: list[str] = []
    path = make_form(image, name, told.append)
    assert make_form(image, name, told.append) == path
    assert told == [f"making {path.name}"]
    assert np.array_equal(_read(path), np.asanyarray(nibabel.load(image).dataobj).T)


def test_forms_are_packed_as_they_say(image: Path) -> None:
    paths = {name: make_form(image, name, _silent) for name in FORMS}
    metadata = {name: zarr.open_array(paths[name], mode="r").metadata for name in ("blosc", "zstd")}
    assert [(one.chunks, one.compressor.codec_id) for one in metadata.values()] == [((64,) * 3, "blosc"), ((128,) * 3, "zstd")]
    for name, compression in (("slices", tifffile.COMPRESSION.NONE), ("zlib-slices", tifffile.COMPRESSION.ADOBE_DEFLATE)):
        with tifffile.TiffFile(paths[name] / "slice_0000.tif") as file:
            assert file.pages.first.compression == compression


def test_bytes_are_those_of_all_files(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "one").write_bytes(bytes(7))
    (tmp_path / "a" / "b" / "two").write_bytes(bytes(10))
    assert bytes_of(tmp_path) == 17
