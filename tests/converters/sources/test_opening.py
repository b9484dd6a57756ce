import json
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from converters.errors import DamagedError, SourceError
from converters.sources.opening import fingerprint, open_source
from converters.sources.source import SourceOptions
from formats.grid import Box

READ = ".nii, .nii.gz, .hdr, .img, .hdr.gz, .img.gz, .mgh, .mgz, .mgh.gz, .head, .brik, .brik.gz, .npy"
NM = SourceOptions(resolution=(1.0, 1.0, 1.0))


def refusal(path):
    with pytest.raises(SourceError) as refused:
        open_source(path, NM)
    return str(refused.value)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.npy", "a.mgz"])
def test_a_file_that_is_not_there(tmp_path, name):
    assert refusal(tmp_path / name) == f"{tmp_path / name}: no such file"


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.npy", "a.mgz", "a.hdr", "a.tif"])
def test_an_empty_file(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    assert refusal(tmp_path / name) == f"{tmp_path / name}: the file is empty (0 bytes); copy it again"


def test_a_directory(tmp_path):
    assert refusal(tmp_path) == f"{tmp_path}: a directory; give the path of a file ({READ})"


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


@pytest.mark.parametrize("name", ["a.nii", "a.NII.GZ", "a.npy", "a.mgh", "a.mgz", "a.hdr", "a.head"])
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
    with pytest.raises(SourceError) as refused:
        fingerprint(tmp_path / name)
    assert str(refused.value) == sentence


@pytest.mark.parametrize("name", ["a.img", "a.hdr"])
def test_a_pair_is_opened_by_either_file(tmp_path, name):
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    nib.save(nib.Nifti1Pair(array, np.eye(4)), tmp_path / "a.img")
    source = open_source(tmp_path / name, SourceOptions())
    assert source.path == tmp_path / name
    np.testing.assert_array_equal(source.read(Box((0, 0, 0), (2, 3, 4)))[..., 0], array)
    assert set(fingerprint(tmp_path / name)) == {"a.img", "a.hdr"}


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


def test_a_fingerprint_tells_size_and_time(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((2, 3)))
    stat = path.stat()
    print_ = fingerprint(path)
    assert print_ == {"a.npy": {"size": 176, "mtime_ns": stat.st_mtime_ns}}
    assert json.loads(json.dumps(print_)) == print_
    with pytest.raises(SourceError, match=r"b\.npy: cannot be read \(No such file or directory\)"):
        fingerprint(tmp_path / "b.npy")


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
