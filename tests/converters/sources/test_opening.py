import subprocess
import sys
from importlib import import_module

import nibabel as nib
import numpy as np
import pytest

from converters.errors import DamagedError, SourceError
from converters.sources import opening
from converters.sources.opening import absolute, is_url, open_source
from converters.sources.source import SourceOptions
from formats.grid import Box

READ = (
    ".nii, .nii.gz, .hdr, .img, .hdr.gz, .img.gz, .mgh, .mgz, .mgh.gz, .head, .brik, .brik.gz, .npy, .npz, .tif, .tiff, .btf, "
    ".tf8, .lsm, .png, .jpg, .jpeg, .h5, .hdf5, .hdf, .he5, .cmap, .nrrd, .nhdr, .mrc, .map, .rec, .st, .ali, .ccp4, .mrc.gz, "
    ".map.gz, .rec.gz, .json"
)
NM = SourceOptions(resolution=(1.0, 1.0, 1.0))


def refusal(path):
    with pytest.raises(SourceError) as refused:
        open_source(path, NM)
    return str(refused.value)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.npy", "a.npz", "a.mgz", "a.tif", "a.h5", "a.nrrd", "a.mrc", "a.json"])
def test_a_file_that_is_not_there(tmp_path, name):
    assert refusal(tmp_path / name) == f"{tmp_path / name}: no such file"


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.npy", "a.npz", "a.mgz", "a.hdr", "a.tif", "a.nrrd", "a.mrc.gz"])
def test_an_empty_file(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    assert refusal(tmp_path / name) == f"{tmp_path / name}: the file is empty (0 bytes); copy it again"


def test_a_folder_of_nothing_that_is_known(tmp_path):
    assert refusal(tmp_path).startswith(f"{tmp_path}: holds no files, and no slices that are read: these are .tif, ")


def test_every_reader_is_there():
    slices_and_patterns = ("slices.slices:open_folder", "slices.slices:open_pattern", "pieces.pieces:open_pattern")
    for _, name in (*opening._READERS, *opening._FOLDERS, *((None, name) for name in slices_and_patterns)):
        module, _, function = name.partition(":")
        assert callable(getattr(import_module(f"converters.sources.{module}"), function))


@pytest.mark.parametrize(
    ("name", "reader"),
    [
        ("a.NII.GZ", "brain.nifti:open_nifti"),
        ("a.ome.tif", "tiff.tiff:open_tiff"),
        ("a.npz", "npy.npz:open_npz"),
        ("a.seg.nrrd", "nrrd.nrrd:open_nrrd"),
        ("emd_1234.map.gz", "mrc:open_mrc"),
        ("a.mgh.gz", "brain.mgh:open_mgh"),
        ("a.hdr.gz", "brain.nifti:open_pair"),
        ("a.h5", "hdf5.hdf5:open_hdf5"),
        ("a.json", "pieces.pieces:open_pieces"),
        ("x{1}y{1}z{1}.h5", "pieces.pieces:open_pattern"),
        ("a*.tif", "slices.slices:open_pattern"),
        ("a[0-9].png", "slices.slices:open_pattern"),
        ("folder", "slices.slices:open_folder"),
        ("folder/info", "precomputed:open_precomputed"),
        ("folder/zarr.json", "zarr.zarr:open_zarr"),
        ("folder/.zattrs", "zarr.zarr:open_zarr"),
        ("folder/attributes.json", "zarr.n5:open_n5"),
    ],
)
def test_which_reader_opens_what(tmp_path, monkeypatch, name, reader):
    monkeypatch.setattr(opening, "_reader", lambda reader: lambda path, options: (reader, path))
    folder = tmp_path / "folder"
    if name.startswith("folder"):
        folder.mkdir()
    if not set(name) & set("*[{") and name != "folder":
        (tmp_path / name).write_bytes(b"a")
    place = folder if name.startswith("folder") else tmp_path / name
    assert open_source(place, NM) == (reader, place)


def test_a_name_with_the_signs_of_a_pattern(tmp_path):
    np.save(tmp_path / "a[1]{2}*.npy", np.zeros((2, 3)))
    assert open_source(tmp_path / "a[1]{2}*.npy", NM).shape == (3, 2, 1)


def test_a_place_means_the_same_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute("a/*.tif") == f"{tmp_path}/a/*.tif"
    assert absolute("https://example.org/a") == "https://example.org/a"
    assert is_url("gs://bucket/a")
    assert not is_url("a/b")


@pytest.mark.parametrize("name", ["a.docx", "a", "nii", "a.nii.zip"])
def test_a_kind_of_file_that_is_not_read(tmp_path, name):
    (tmp_path / name).write_bytes(b"a")
    assert refusal(tmp_path / name) == f"{tmp_path / name}: not a kind of file that is read; these are: {READ}"


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.npy", "a.mgh"])
def test_a_file_that_may_not_be_read(tmp_path, name, monkeypatch):
    path = tmp_path / name
    path.write_bytes(b"a")

    def refuse(self, *_):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(type(path), "open", refuse)
    assert refusal(path) == f"{path}: cannot be read (Permission denied)"


@pytest.mark.parametrize(
    "name", ["a.nii", "a.NII.GZ", "a.npy", "a.npz", "a.mgh", "a.mgz", "a.hdr", "a.head", "a.tif", "a.h5", "a.nrrd", "a.mrc"]
)
@pytest.mark.parametrize("data", [b"a", bytes(100), bytes(range(256)) * 10, b"\x1f\x8b" + bytes(range(256))])
def test_something_else_by_that_name(tmp_path, name, data):
    for other in (name, "a.img", "a.brik"):
        (tmp_path / other).write_bytes(data)
    assert refusal(tmp_path / name).startswith(f"{tmp_path / name}: ")


@pytest.mark.parametrize("name", ["a.hdr", "A.HDR", "a.img", "a.img.gz", "a+orig.HEAD", "a.brik.gz"])
def test_a_pair_of_which_one_is_missing(tmp_path, name):
    (tmp_path / name).write_bytes(b"a")
    other = {"a.hdr": "a.img", "A.HDR": "A.IMG", "a.img": "a.hdr", "a.img.gz": "a.hdr", "a+orig.HEAD": "a+orig.BRIK"}.get(
        name, "a.head"
    )
    sentence = f"{tmp_path / name}: one file of a pair, and {other} is not beside it: copy it there"
    assert refusal(tmp_path / name) == sentence


@pytest.mark.parametrize("name", ["a.img", "a.hdr"])
def test_a_pair_is_opened_by_either_file(tmp_path, name):
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    nib.save(nib.Nifti1Pair(array, np.eye(4)), tmp_path / "a.img")
    source = open_source(tmp_path / name, SourceOptions())
    assert source.name == str(tmp_path / name)
    np.testing.assert_array_equal(source.read(Box((0, 0, 0), (2, 3, 4)))[..., 0], array)
    assert set(source.fingerprint()) == {"a.img", "a.hdr"}


def test_an_analyze_pair_tells_what_is_not_known_of_it(tmp_path):
    nib.save(nib.Spm99AnalyzeImage(np.zeros((2, 3, 4), np.int16), np.diag([-1, 2, 3, 1])), tmp_path / "a.hdr")
    assert (tmp_path / "a.mat").exists()
    source = open_source(tmp_path / "a.hdr", SourceOptions())
    assert source.geometry.resolution == (1e6, 2e6, 3e6)
    assert source.notes == (
        "the header names no unit of length, mm is taken; --resolution X,Y,Z (nm) says otherwise",
        "neither sform nor qform places the volume: x is taken to run from right to left and 0 to be the centre",
        "a.mat, where SPM keeps the orientation of such a pair, is not read",
    )


def test_a_file_that_changes_while_it_is_read(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((2, 3)))
    source = open_source(path, NM)
    np.save(path, np.ones((2, 3, 4)))
    with pytest.raises(DamagedError, match=r"a\.npy: the file was changed while it was being read; start again"):
        source.read(Box((0, 0, 0), source.shape))


def test_a_file_that_goes_while_it_is_read(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((2, 3)))
    source = open_source(path, NM)
    path.unlink()
    with pytest.raises(DamagedError, match=r"a\.npy: cannot be read any more \(.*No such file"):
        source.read(Box((0, 0, 0), source.shape))


def test_readers_are_imported_when_they_are_needed():
    command = "import converters.sources.opening, sys; print([m for m in ('nibabel', 'isal', 'numpy.ma') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
