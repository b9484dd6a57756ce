import contextlib
import gzip
import multiprocessing
import pickle
import struct
import warnings

import mrcfile
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converters.errors import ConverterError, OptionError, SourceError
from converters.geometry import Geometry
from formats.grid import Box
from tests.converters.sources.reading import opened, refusal, whole

ARRAY = np.arange(2 * 3 * 5, dtype=np.int16).reshape(2, 3, 5)
IMOD = struct.pack("<i", 1146047817)
WORDS = {"mode": 12, "start": 16, "m": 28, "cell": 40, "angles": 52, "map": 64, "least": 76, "ispg": 88, "nsymbt": 92}
WORDS |= {"nversion": 108, "imod": 152, "origin": 196, "MAP": 208, "stamp": 212}
"""Where the words of the header begin (MRC2014)."""


def written(path, array=ARRAY, voxel_size=(10.0, 20.5, 30.0), order="<"):
    """Write with mrcfile, whose arrays are [section, row, column]."""
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(array.astype(array.dtype.newbyteorder(order)))
        file.voxel_size = voxel_size
    return path


def patch(path, **words):
    data = bytearray(path.read_bytes())
    for word, new in words.items():
        data[WORDS[word] : WORDS[word] + len(new)] = new
    path.write_bytes(data)


def ints(*numbers):
    return struct.pack(f"<{len(numbers)}i", *numbers)


def floats(*numbers):
    return struct.pack(f"<{len(numbers)}f", *numbers)


@pytest.fixture
def path(tmp_path):
    return written(tmp_path / "a.mrc")


def test_lengths_are_angstrom(path):
    source = opened(path, voxel_offset=(1, 2, 3))
    assert source.shape == (5, 3, 2)
    assert source.geometry == Geometry((1.0, 2.05, 3.0), (1, 2, 3))
    assert source.notes == ()
    assert not source.label
    assert set(source.fingerprint()) == {"a.mrc"}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["i1", "i2", "f4", "u2", "f2"])
def test_modes_and_byte_orders(tmp_path, dtype, order):
    array = np.random.default_rng(0).integers(0, 100, (4, 3, 2)).astype(dtype)
    source = opened(written(tmp_path / "a.mrc", array, order=order))
    assert source.dtype == np.dtype(dtype).newbyteorder(order)
    np.testing.assert_array_equal(whole(source)[..., 0], array.T)
    assert source.geometry.resolution == (1.0, 2.05, 3.0)


@pytest.mark.parametrize("name", ["a.map", "a.rec", "a.st", "a.ali", "a.ccp4", "A.MRC"])
def test_names(tmp_path, name):
    np.testing.assert_array_equal(whole(opened(written(tmp_path / name)))[..., 0], ARRAY.T)


@pytest.mark.parametrize("name", ["a.mrc.gz", "a.map.gz", "a.rec.gz", "a.mrc"])
def test_gzip(tmp_path, path, name):
    (tmp_path / name).write_bytes(gzip.compress(path.read_bytes()))
    source = opened(tmp_path / name)
    assert source.block == source.shape
    np.testing.assert_array_equal(whole(source)[..., 0], ARRAY.T)
    np.testing.assert_array_equal(whole(source.spooled(tmp_path / "spool", lambda *_: None))[..., 0], ARRAY.T)


def test_an_extended_header_is_passed_over(path):
    with mrcfile.open(path, "r+") as file:
        file.set_extended_header(np.arange(768, dtype=np.uint8))
    np.testing.assert_array_equal(whole(opened(path))[..., 0], ARRAY.T)


def test_a_stack_of_volumes_is_one_of_points_of_time(tmp_path):
    array = np.arange(7 * 4 * 3 * 2, dtype=np.float32).reshape(7, 4, 3, 2)
    path = written(tmp_path / "a.mrc", array)
    assert "axis t has 7 points of time and a volume holds one: add --time N" in refusal(OptionError, path)
    source = opened(path, time=5)
    assert source.shape == (2, 3, 4)
    assert source.geometry.resolution == (1.0, 2.05, 3.0)
    np.testing.assert_array_equal(whole(source)[..., 0], array[5].T)
    assert opened(path, axes="xyzc").num_channels == 7


def test_one_image(tmp_path):
    source = opened(written(tmp_path / "a.mrc", ARRAY[0]))
    assert source.shape == (5, 3, 1)
    np.testing.assert_array_equal(whole(source)[..., 0, 0], ARRAY[0].T)


@pytest.mark.parametrize("axes", ["xyz", "xzy", "yxz", "yzx", "zxy", "zyx"])
def test_columns_rows_sections_can_be_any_axes(path, axes):
    patch(path, map=ints(*("xyz".index(axis) + 1 for axis in axes)), m=ints(10, 20, 30), cell=floats(100, 400, 900))
    patch(path, start=ints(1, 2, 3))
    source = opened(path)
    extents = dict(zip(axes, (5, 3, 2), strict=True))
    assert source.shape == (extents["x"], extents["y"], extents["z"])
    assert source.geometry.resolution == (1.0, 2.0, 3.0)
    starts = dict(zip(axes, (1, 2, 3), strict=True))
    assert source.geometry.affine == ((1, 0, 0, starts["x"]), (0, 2, 0, 2 * starts["y"]), (0, 0, 3, 3 * starts["z"]))
    expected = ARRAY.transpose([2 - axes.index(axis) for axis in "xyz"])
    np.testing.assert_array_equal(whole(source)[..., 0], expected)


def test_axes_of_the_options_name_columns_rows_sections(path):
    patch(path, origin=floats(100, 200, 300))
    source = opened(path, axes="xzy")
    assert source.shape == (5, 2, 3)
    assert source.geometry.resolution == (1.0, 3.0, 2.05)
    assert source.geometry.affine == ((1, 0, 0, 10), (0, 0, 2.05, 20), (0, 3, 0, 30))
    np.testing.assert_array_equal(whole(source)[..., 0], ARRAY.transpose(2, 0, 1))


def test_axes_that_the_header_does_not_tell(path):
    patch(path, map=ints(0, 0, 0))
    assert opened(path).shape == (5, 3, 2)
    patch(path, map=ints(1, -2, 3))
    assert refusal(OptionError, path) == (
        f"{path}: its header names the axes 1, -2, 3 (mapc, mapr, maps), expected each of 1, 2, 3 once: add --axes with a letter "
        "for columns, rows, sections (5 x 3 x 2), e.g. --axes xyz"
    )
    assert opened(path, axes="xyz").shape == (5, 3, 2)


def test_the_origin_places_the_first_voxels_centre(path):
    with mrcfile.open(path, "r+") as file:
        file.header.origin = (-100.0, 0.0, 50.0)
        file.nstart = (1, 2, 3)
    source = opened(path)
    assert source.geometry.affine == ((1, 0, 0, -10), (0, 2.05, 0, 0), (0, 0, 3, 5))
    assert source.geometry.world == ""


def test_else_the_first_columns_row_and_sections_numbers(path):
    with mrcfile.open(path, "r+") as file:
        file.nstart = (-1, 2, 3)
    assert opened(path).geometry.affine == ((1, 0, 0, -1), (0, 2.05, 0, 4.1), (0, 0, 3, 9))
    geometry = opened(path, resolution=(4.0, 5.0, 6.0)).geometry
    assert geometry == Geometry((4, 5, 6), affine=((4, 0, 0, -4), (0, 5, 0, 10), (0, 0, 6, 18)))


@pytest.mark.parametrize(
    ("imod", "nversion", "first"),
    [(b"", 0, 10), (b"", 20140, 10), (IMOD, 0, -10), (IMOD + ints(4), 0, 10), (IMOD, 20140, 10)],
)
def test_imod_turns_the_sign_of_the_origin_unless_it_says_otherwise(path, imod, nversion, first):
    patch(path, origin=floats(100, 0, 0), nversion=ints(nversion), imod=imod)
    assert opened(path).geometry.affine[0][3] == first


@pytest.mark.parametrize("origin", [(np.nan, 1, 1), (1, np.inf, 1)])
def test_an_origin_that_is_no_number_is_none(path, origin):
    patch(path, origin=floats(*origin))
    assert opened(path).geometry.affine is None


@pytest.mark.parametrize(
    ("words", "dtype"),
    [
        ({}, "i1"),
        ({"least": floats(0, 127)}, "i1"),
        ({"least": floats(-128, 127)}, "i1"),
        ({"imod": IMOD + ints(1)}, "i1"),
        ({"imod": IMOD + ints(1), "least": floats(0, 255)}, "i1"),
        ({"imod": IMOD + ints(0)}, "u1"),
    ],
)
def test_bytes_are_signed_unless_imod_says_otherwise(tmp_path, words, dtype):
    path = written(tmp_path / "a.mrc", ARRAY.astype(np.int8))
    patch(path, **words)
    assert opened(path).dtype == dtype
    assert opened(path).notes == ()


def test_bytes_whose_values_are_not_those_of_signed_ones(tmp_path):
    path = written(tmp_path / "a.mrc", ARRAY.astype(np.int8))
    patch(path, least=floats(0, 250))
    assert opened(path).dtype == "u1"
    assert opened(path).notes == ("bytes are taken as unsigned, as the header tells values from 0 to 250",)


def test_colours_of_imod(path):
    # 5 x 3 x 2 voxels of 3 bytes: 30 of the 60 bytes' int16 and 30 more.
    colours = np.arange(90, dtype=np.uint8).reshape(2, 3, 5, 3)
    path.write_bytes(path.read_bytes()[:1024] + colours.tobytes())
    patch(path, mode=ints(16))
    source = opened(path)
    assert (source.num_channels, source.dtype) == (3, "u1")
    np.testing.assert_array_equal(whole(source), colours.transpose(2, 1, 0, 3))


@pytest.mark.parametrize(
    ("mode", "what"),
    [
        (3, "complex numbers; save their magnitude as float32 (mode 2)"),
        (4, "complex numbers; save their magnitude as float32 (mode 2)"),
        (101, "of 4 bits; save them as bytes (mode 0), e.g. with newstack of IMOD"),
    ],
)
def test_modes_that_are_not_read(path, mode, what):
    patch(path, mode=ints(mode))
    assert refusal(SourceError, path) == f"{path}: its voxels (mode {mode}) are {what}"


def test_4_bits_as_bytes_of_imod(path):
    patch(path, mode=ints(0), imod=IMOD + ints(16))
    assert refusal(SourceError, path).startswith(f"{path}: its voxels (mode 0) are of 4 bits; save them as bytes")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"cell": floats(0, 0, 0)}, "a voxel size x, y, z of 0 angstrom, 0 angstrom, 0 angstrom"),
        ({"m": ints(0, 0, 0)}, "no voxel size"),
        ({"m": ints(-5, 3, 2)}, "a voxel size x, y, z of nothing, 20.5 angstrom, 30 angstrom"),
        ({"cell": floats(np.nan, -3, np.inf)}, "a voxel size x, y, z of nan angstrom, -1 angstrom, inf angstrom"),
    ],
)
def test_no_voxel_size_stops(path, words, told):
    patch(path, **words)
    assert refusal(OptionError, path) == (
        f"{path}: its metadata tells {told}, expected three lengths above 0 with their units: "
        "add --resolution X,Y,Z in nm, e.g. --resolution 8,8,40"
    )
    assert opened(path, resolution=(1.0, 2.0, 3.0)).geometry.resolution == (1, 2, 3)


def test_one_angstrom_is_noted_as_perhaps_none(path):
    written(path, voxel_size=1.0)
    assert opened(path).notes == (
        "the header tells 1 ångström a voxel, as programs do that know none; --resolution X,Y,Z (nm) says otherwise",
    )
    assert opened(path, resolution=(1.0, 2.0, 3.0)).notes == ()


def test_a_voxel_size_comes_without_the_noise_of_float32(path):
    written(path, voxel_size=(1.07, 13.1, 0.7))
    assert opened(path).geometry.resolution == pytest.approx((0.107, 1.31, 0.07), rel=1e-12)


def test_angles_that_are_not_right_are_noted(path):
    patch(path, angles=floats(90, 101.5, 90))
    assert opened(path).notes == ("the cell's angles (90, 101.5, 90 degrees) are left out: voxels are taken as right-angled",)
    patch(path, angles=floats(0, 0, 0))
    assert opened(path).notes == ()


@pytest.mark.parametrize(
    "words", [{"stamp": b"\0\0\0\0", "MAP": b"\0\0\0\0"}, {"stamp": b"\x44\x20\x20\x20"}, {"stamp": b"\x11\x11"}]
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_machine_stamp_that_is_missing_or_wrong(path, words, order):
    written(path, order=order)
    patch(path, **words)
    np.testing.assert_array_equal(whole(opened(path))[..., 0], ARRAY.T)


def test_a_stack_of_volumes_whose_depth_is_wrong(path):
    patch(path, ispg=ints(401), m=ints(5, 3, 7))
    assert refusal(SourceError, path) == (
        f"{path}: a stack of volumes (space group 401) of 2 sections, mz 7: mz tells the sections of one volume, and a "
        "multiple of it is expected; the header is damaged"
    )


def test_something_else_by_that_name(path):
    path.write_bytes(b"text" * 1000)
    assert refusal(SourceError, path) == (
        f"{path}: not an MRC file: in neither byte order are its first words those of an MRC header"
    )
    path.write_bytes(b"text")
    assert refusal(SourceError, path) == (f"{path}: 4 bytes, and an MRC file begins with a header of 1024: copy it again")


def test_a_file_that_is_cut_short(path):
    path.write_bytes(path.read_bytes()[:-1])
    assert refusal(SourceError, path) == (
        f"{path}: 1083 bytes found, 1084 expected from its header: the file is cut short; copy it again"
    )


def test_sources_are_read_in_spawned_workers(path):
    source = opened(path)
    assert pickle.loads(pickle.dumps(source)) == source
    with multiprocessing.get_context("spawn").Pool(1) as workers:
        np.testing.assert_array_equal(workers.map(whole, [source])[0][..., 0], ARRAY.T)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    patches=st.lists(st.tuples(st.integers(0, 215), st.binary(min_size=1, max_size=8)), min_size=1, max_size=4),
    options=st.sampled_from([{}, {"resolution": (1.0, 2.0, 3.0), "time": 0}, {"axes": "xzy"}, {"axes": "xyzt"}]),
)
def test_a_damaged_header_ends_in_a_source_or_in_a_sentence(path, patches, options):
    written(path)
    data = bytearray(path.read_bytes())
    for at, new in patches:
        data[at : at + len(new)] = new
    path.write_bytes(data)
    with contextlib.suppress(ConverterError), warnings.catch_warnings():
        warnings.simplefilter("error")
        source = opened(path, **options)
        assert source.read(Box((0, 0, 0), (1, 1, 1))).shape == (1, 1, 1, source.num_channels)
        assert min(source.geometry.resolution) > 0
        assert np.isfinite(source.geometry.transform() or 0.0).all()
