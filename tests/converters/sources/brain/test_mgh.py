import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine

from converters.errors import OptionError, SourceError
from tests.converters.sources.reading import opened

AFFINE = np.array([[-0.9, 0.1, 0.3, 12], [0.2, -0.2, 1.4, -30], [0.1, -1.2, 0.2, 8], [0, 0, 0, 1]], "f4")


def written(path, array=None, **fields):
    image = nib.MGHImage(np.zeros((4, 5, 6), np.int16) if array is None else array, AFFINE)
    data = bytearray(image.to_bytes())
    for offset, values in fields.values():
        data[offset : offset + values.nbytes] = values.tobytes()
    path.write_bytes(data)
    return path


def test_a_voxel_lies_where_nibabel_has_it(tmp_path):
    path = written(tmp_path / "a.mgh")
    geometry = opened(path, voxel_offset=(3, -4, 5)).geometry
    voxel = np.array([3, 1, 4])
    matrix = np.array(geometry.transform())
    world = matrix[:, :3] @ ((voxel + (3, -4, 5) + 0.5) * geometry.resolution) + matrix[:, 3]
    affine = nib.MGHImage.from_bytes(path.read_bytes()).affine
    np.testing.assert_allclose(world / 1e6, apply_affine(affine, voxel), rtol=0, atol=1e-5)
    np.testing.assert_allclose(geometry.resolution, np.linalg.norm(AFFINE[:3, :3], axis=0) * 1e6, rtol=1e-6)
    assert opened(path).notes == ()


def test_a_header_without_orientation(tmp_path):
    path = written(tmp_path / "a.mgh", flag=(28, np.zeros(1, ">i2")))
    source = opened(path)
    assert source.geometry.resolution == (1e6, 1e6, 1e6)
    matrix = nib.MGHImage.from_bytes(path.read_bytes()).affine
    np.testing.assert_allclose(source.geometry.affine, matrix[:3] * 1e6)
    assert source.notes == (
        "the header tells neither voxel size nor orientation: 1 mm and coronal slices are taken, as FreeSurfer does",
    )


def test_a_voxel_size_that_is_none(tmp_path):
    path = written(tmp_path / "a.mgh", delta=(30, np.array([0, 1, 1], ">f4")))
    with pytest.raises(OptionError, match=r"a\.mgh: its header tells a voxel size of 0, 1, 1 mm, and each must be above 0: add"):
        opened(path)
    assert opened(path, resolution=(1.0, 2.0, 3.0)).geometry.resolution == (1, 2, 3)


def test_frames(tmp_path):
    short = opened(written(tmp_path / "a.mgh", np.zeros((4, 5, 6, 3), np.float32)))
    assert short.num_channels == 3
    assert short.notes == ("the fourth axis, of 3, is taken for channels; --axes xyzt takes it for time",)
    long = written(tmp_path / "b.mgh", np.zeros((4, 5, 6, 8), np.float32))
    with pytest.raises(OptionError, match="its axis t has 8 points of time"):
        opened(long)
    assert opened(long, time=7).num_channels == 1
    assert opened(long, axes="xyzc").num_channels == 8


@pytest.mark.parametrize(
    ("offset", "values", "sentence"),
    [
        (0, np.array([2], ">i4"), "not an MGH file: it does not begin with the header of MGH version 1"),
        (20, np.array([7], ">i4"), "its header tells the data type 7, which is not one of MGH's"),
        (4, np.array([0], ">i4"), "its header tells a shape of 0 x 5 x 6; 2 to 5 axes of at least 1 are read"),
        (4, np.array([-1], ">i4"), "its header tells a shape of -1 x 5 x 6; 2 to 5 axes of at least 1 are read"),
        (4, np.array([4000], ">i4"), "bytes found, 240284 expected from its header: the file is cut short; copy it again"),
    ],
)
def test_a_header_that_is_not_sound(tmp_path, offset, values, sentence):
    path = written(tmp_path / "a.mgh", field=(offset, values))
    with pytest.raises(SourceError) as refused:
        opened(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert str(refused.value).endswith(sentence)
