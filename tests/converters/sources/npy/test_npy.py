import numpy as np
import pytest

from converters.errors import OptionError, SourceError
from converters.geometry import Geometry
from converters.sources.opening import open_source
from converters.sources.source import SourceOptions

NM = (8.0, 9.0, 40.0)


def saved(tmp_path, array, **how):
    np.save(tmp_path / "a.npy", array, **how)
    return tmp_path / "a.npy"


def opened(path, **options):
    return open_source(path, SourceOptions(**{"resolution": NM, **options}))


@pytest.mark.parametrize(
    ("array", "shape", "note"),
    [
        (
            np.zeros((3, 4, 5)),
            (5, 4, 3),
            "axes taken as zyx (z=3, y=4, x=5), as x varies fastest in C order; --axes says otherwise",
        ),
        (
            np.zeros((3, 4, 5), order="F"),
            (3, 4, 5),
            "axes taken as xyz (x=3, y=4, z=5), as x varies fastest in Fortran order; --axes says otherwise",
        ),
        (np.zeros((3, 4)), (4, 3, 1), "axes taken as yx (y=3, x=4), as x varies fastest in C order; --axes says otherwise"),
        (
            np.zeros((3, 4), order="F"),
            (3, 4, 1),
            "axes taken as xy (x=3, y=4), as x varies fastest in Fortran order; --axes says otherwise",
        ),
    ],
)
def test_without_axes_x_is_what_varies_fastest(tmp_path, array, shape, note):
    source = opened(saved(tmp_path, array), voxel_offset=(-1, 2, 3))
    assert source.shape == shape
    assert source.notes == (note,)
    assert source.geometry == Geometry(NM, (-1, 2, 3))
    assert not source.label


@pytest.mark.parametrize("order", ["C", "F"])
def test_axes_stand_in_the_order_of_the_arrays_shape(tmp_path, order):
    source = opened(saved(tmp_path, np.zeros((3, 4, 5, 2), order=order)), axes="xyzc")
    assert source.shape == (3, 4, 5)
    assert source.num_channels == 2
    assert source.notes == ()


def test_no_voxel_size_stops(tmp_path):
    path = saved(tmp_path, np.zeros((3, 4, 5)))
    with pytest.raises(OptionError) as refused:
        open_source(path, SourceOptions())
    assert str(refused.value) == (
        f"{path}: a .npy file tells no voxel size: add --resolution X,Y,Z in nm, e.g. --resolution 8,8,40"
    )


def test_four_dimensions_need_axes(tmp_path):
    path = saved(tmp_path, np.zeros((2, 3, 4, 5)))
    with pytest.raises(OptionError) as refused:
        opened(path)
    assert str(refused.value) == (
        f"{path}: the array has 4 dimensions (2 x 3 x 4 x 5) and nothing tells what they are: add --axes with one letter a "
        "dimension, e.g. --axes zyxc or --axes czyx (c channels, t time)"
    )


def test_a_time_axis_is_told_by_axes(tmp_path):
    path = saved(tmp_path, np.zeros((7, 3, 4, 5)))
    with pytest.raises(OptionError, match="axis t has 7 points of time and a volume holds one: add --time N, N from 0 to 6"):
        opened(path, axes="tzyx")
    assert opened(path, axes="tzyx", time=6).shape == (5, 4, 3)


def test_wrong_axes_are_named_as_they_were_given(tmp_path):
    path = saved(tmp_path, np.zeros((3, 4, 5)))
    with pytest.raises(OptionError, match=r"--axes zyxc names 4 axes, the array has 3 \(3 x 4 x 5\): one letter an axis"):
        opened(path, axes="zyxc")
    with pytest.raises(OptionError, match="--axes zyc cannot be"):
        opened(path, axes="zyc")


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.zeros(5), "its header tells a shape of 5; 2 to 5 axes of at least 1 are read"),
        (np.zeros(()), "its header tells a shape of no axis; 2 to 5 axes of at least 1 are read"),
        (np.zeros((1,) * 6), "its header tells a shape of 1 x 1 x 1 x 1 x 1 x 1; 2 to 5 axes of at least 1 are read"),
        (np.zeros((3, 0, 5)), "its header tells a shape of 3 x 0 x 5; 2 to 5 axes of at least 1 are read"),
        (np.array([[1, None]]), "holds Python objects (pickled), which are never loaded; save the array as numbers"),
    ],
)
def test_arrays_that_are_no_volume(tmp_path, array, sentence):
    path = saved(tmp_path, array)
    with pytest.raises(SourceError) as refused:
        opened(path)
    assert str(refused.value) == f"{path}: {sentence}"


@pytest.mark.parametrize("length", [1, 6, 9, 60])
def test_a_header_that_is_cut_short(tmp_path, length):
    path = saved(tmp_path, np.zeros((3, 4, 5)))
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(SourceError, match=r"a\.npy: not a \.npy file, or one whose header is not sound \("):
        opened(path)


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (-3, 4, 5), }",
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (3.0, 4, 5), }",
        b"{'descr': '<f8', 'fortran_order': False, }",
        b"{'descr': '<q9', 'fortran_order': False, 'shape': (3, 4, 5), }",
        b"__import__('os').abort()",
        b"[" * 5000,
        b"\xff\xfe",
    ],
)
@pytest.mark.parametrize("version", [1, 2, 3, 9])
def test_a_header_that_is_not_sound(tmp_path, header, version):
    path = tmp_path / "a.npy"
    length = len(header).to_bytes(2 if version == 1 else 4, "little")
    path.write_bytes(b"\x93NUMPY" + bytes([version, 0]) + length + header + bytes(480))
    with pytest.raises(SourceError, match=r"a\.npy: "):
        opened(path)


def test_an_array_that_is_cut_short(tmp_path):
    path = saved(tmp_path, np.zeros((3, 4, 5)))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(SourceError) as refused:
        opened(path)
    assert str(refused.value) == (f"{path}: 607 bytes found, 608 expected from its header: the file is cut short; copy it again")


def test_an_array_larger_than_any_disk_is_refused_before_it_is_mapped(tmp_path):
    path = saved(tmp_path, np.zeros((3, 4, 5)))
    path.write_bytes(path.read_bytes().replace(b"(3, 4, 5), }         ", b"(99999999999, 4, 5), }"))
    with pytest.raises(SourceError, match=r"609 bytes found, 15999999999968 expected"):
        opened(path)
