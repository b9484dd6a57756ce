import bz2
import contextlib
import gzip
import multiprocessing
import pickle
import warnings

import nrrd
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converters.errors import ConverterError, DamagedError, OptionError, SourceError
from converters.geometry import Geometry
from converters.sources.mapped import MappedSource
from formats.grid import Box
from tests.converters.sources.reading import opened, refusal, whole

ARRAY = np.asfortranarray(np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5) * 37)
MICRONS = {"space dimension": 3, "space directions": np.diag([0.5, 0.25, 2.0]), "space units": ["microns"] * 3}
SLICER = {
    "space": "left-posterior-superior",
    "space directions": np.array([[0.0, 2, 0], [1.5, 0, 0], [0, 0, -3]]),
    "space origin": [10.0, 20, 30],
    "kinds": ["domain"] * 3,
}
ASSUMED_MM = "the header names no unit of length; its space is anatomical and mm is taken; --resolution X,Y,Z (nm) says otherwise"


def written(path, array=ARRAY, detached=False, **header):
    """Write with pynrrd; header: fields by their names with _ for a space."""
    fields = {name.replace("_", " "): value for name, value in ({"encoding": "raw"} | header).items()}
    with warnings.catch_warnings():
        # pynrrd asks for the time by datetime.utcnow().
        warnings.filterwarnings("ignore", "datetime", DeprecationWarning)
        nrrd.write(str(path), array, fields, detached_header=detached)
    return path


DATA = ARRAY.tobytes("F")


def by_hand(path, *fields, data=DATA, end="\n", magic="NRRD0004"):
    """Write lines and data: fields that pynrrd does not write."""
    lines = [magic, "type: int16", "dimension: 3", "sizes: 3 4 5", "encoding: raw", "endian: little", *fields]
    path.write_bytes((end.join(lines) + end).encode() + (end.encode() + data if data is not None else b""))
    return path


def spooled(source, tmp_path):
    return source.spooled(tmp_path / "spool", lambda done, total: None)


NM = {"resolution": (8.0, 9.0, 40.0)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.nrrd"


@pytest.fixture
def nhdr(tmp_path):
    return tmp_path / "a.nhdr"


@pytest.mark.parametrize("encoding", ["raw", "gzip", "gz", "bzip2", "bz2"])
@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize("dtype", ["i1", "u1", "<i2", ">u2", "<i4", ">u4", "<i8", ">u8", ">f4", "<f8"])
def test_encodings_and_data_types(tmp_path, encoding, detached, dtype):
    path = tmp_path / ("a.nhdr" if detached else "a.nrrd")
    array = np.random.default_rng(0).integers(0, 100, (3, 4, 5)).astype(dtype)
    written(path, array, detached, encoding=encoding, **MICRONS)
    source = opened(path)
    assert source.dtype == dtype
    assert source.block == ((1, 1, 1) if encoding == "raw" else (3, 4, 5))
    assert isinstance(source, MappedSource) == (encoding == "raw")
    np.testing.assert_array_equal(whole(source)[..., 0], array)
    np.testing.assert_array_equal(whole(spooled(source, tmp_path))[..., 0], array)
    assert len(source.fingerprint()) == (2 if detached else 1)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("signed char", "i1"), ("uchar", "u1"), ("unsigned short int", "u2"), ("Signed  Short", "i2"), ("uint16_t", "u2")],
)
def test_other_names_of_types(path, name, dtype):
    by_hand(path, data=bytes(120))
    path.write_bytes(path.read_bytes().replace(b"type: int16", f"type: {name}".encode()))
    assert opened(path, **NM).dtype == dtype


def test_fiji(path):
    """What Fiji's Nrrd_Writer writes for a stack of 0.1 x 0.1 x 0.5 µm."""
    by_hand(
        path,
        "# Created by Nrrd_Writer at Tue Mar 03 10:00:00 CET 2020",
        "space dimension: 3",
        "space directions: (0.1,0,0) (0,0.1,0) (0,0,0.5)",
        'space units: "microns" "microns" "microns"',
    )
    source = opened(path, voxel_offset=(1, 2, 3))
    assert source.geometry == Geometry((100, 100, 500), (1, 2, 3))
    assert source.notes == ()
    np.testing.assert_array_equal(whole(source)[..., 0], ARRAY)


@pytest.mark.parametrize("unit", ["pixel", "pixels", "", "???"])
def test_fiji_without_a_calibration(path, unit):
    by_hand(path, "space directions: (1.0,0,0) (0,1.0,0) (0,0,1.0)", f'space units: "{unit}" "{unit}" "{unit}"')
    told = f"1 {unit}" if unit else "1 without a unit"
    assert refusal(OptionError, path) == (
        f"{path}: its metadata tells a voxel size x, y, z of {told}, {told}, {told}, expected three lengths above 0 with "
        "their units: add --resolution X,Y,Z in nm, e.g. --resolution 8,8,40"
    )
    assert opened(path, **NM).geometry == Geometry((8, 9, 40))


def test_one_slice_of_fiji_tells_no_depth(path):
    written(path, ARRAY[:, :, 0], space_dimension=2, space_directions=np.diag([0.5, 0.25]), space_units=["um", "um"])
    assert "tells a voxel size x, y, z of 0.5 um, 0.25 um, nothing, expected three" in refusal(OptionError, path)
    source = opened(path, **NM)
    assert source.shape == (3, 4, 1)
    np.testing.assert_array_equal(whole(source)[..., 0, 0], ARRAY[:, :, 0])


def test_slicer_and_itk(path):
    written(path, **SLICER)
    source = opened(path)
    assert source.notes == (ASSUMED_MM,)
    assert source.geometry.resolution == (2e6, 1.5e6, 3e6)
    assert source.geometry.world == "RAS"
    # LPS -> RAS: the first two rows change their signs.
    assert source.geometry.affine == ((0, -1.5e6, 0, -10e6), (-2e6, 0, 0, -20e6), (0, 0, -3e6, 30e6))
    assert not source.label


@pytest.mark.parametrize(
    ("space", "turn"),
    [
        ("right-anterior-superior", (1, 1, 1)),
        ("RAS", (1, 1, 1)),
        ("Left Posterior Superior", (-1, -1, 1)),
        ("LPS", (-1, -1, 1)),
        ("left-anterior-superior", (-1, 1, 1)),
        ("LAS", (-1, 1, 1)),
    ],
)
@pytest.mark.parametrize(("unit", "nm"), [("mm", 1e6), ("um", 1e3), ("m", 1e9)])
def test_spaces_and_units(path, space, turn, unit, nm):
    written(path, **SLICER | {"space": space, "space units": [unit] * 3})
    source = opened(path)
    assert source.notes == ()
    assert source.geometry.world == "RAS"
    expected = np.array([[0, 1.5, 0, 10], [2, 0, 0, 20], [0, 0, -3, 30]]) * nm * np.array(turn)[:, np.newaxis]
    np.testing.assert_allclose(source.geometry.affine, expected)


@pytest.mark.parametrize("space", ["scanner-xyz", "3D-right-handed", "3D-left-handed"])
def test_other_spaces_place_the_volume_but_not_in_a_body(path, space):
    written(path, **SLICER | {"space": space})
    assert "of 2 without a unit, 1.5 without a unit, 3 without a unit, expected" in refusal(OptionError, path)
    written(path, **SLICER | {"space": space, "space units": ["mm"] * 3})
    geometry = opened(path).geometry
    assert geometry.world == ""
    assert geometry.affine == ((0, 1.5e6, 0, 10e6), (2e6, 0, 0, 20e6), (0, 0, -3e6, 30e6))


def test_a_resolution_stretches_the_directions(path):
    written(path, **SLICER)
    source = opened(path, resolution=(4e6, 1e6, 1e6))
    assert source.geometry.affine == ((0, -1e6, 0, -10e6), (-4e6, 0, 0, -20e6), (0, 0, -1e6, 30e6))
    assert source.notes == ()


def test_an_origin_places_a_volume_of_no_space(path):
    written(path, **MICRONS, space_origin=[1.0, 2, 3])
    assert opened(path).geometry.affine == ((500, 0, 0, 1000), (0, 250, 0, 2000), (0, 0, 2000, 3000))
    assert opened(path).geometry.world == ""


def test_spacings_with_units(path):
    written(path, spacings=[0.5, 0.25, 2.0], units=["um", "um", "micron"])
    path.write_bytes(path.read_bytes().replace(b'"micron"', '"µm"'.encode()))
    assert opened(path).geometry == Geometry((500, 250, 2000))
    path.write_bytes(path.read_bytes().replace("µm".encode(), "µm".encode("latin-1")))
    assert opened(path).geometry == Geometry((500, 250, 2000))


def test_units_an_axis_with_directions(path):
    written(path, space_dimension=3, space_directions=np.diag([0.5, 0.25, 2.0]), units=["um"] * 3)
    assert opened(path).geometry == Geometry((500, 250, 2000))


def test_directions_in_different_units_tell_the_size_alone(path):
    written(path, **MICRONS | {"space units": ["um", "um", "nm"], "space origin": [1, 2, 3]})
    assert opened(path).geometry == Geometry((500, 250, 2))


@pytest.mark.parametrize("header", [{}, {"spacings": [0.5, 0.25, 2.0]}, {"spacings": [np.nan] * 3, "units": ["mm"] * 3}])
def test_no_voxel_size_stops(path, header):
    written(path, **header)
    assert "expected three lengths above 0 with their units: add --resolution X,Y,Z in nm" in refusal(OptionError, path)


def test_a_singular_affine_is_left_out(path):
    written(path, **SLICER | {"space directions": np.array([[1.0, 0, 0], [2, 0, 0], [0, 0, 3]])})
    source = opened(path)
    assert source.geometry == Geometry((1e6, 2e6, 3e6))
    assert source.notes[1] == (
        "the header's affine is singular and left out: the volume has a voxel size but no place in the world"
    )


def test_a_header_without_kinds_notes_what_is_assumed(path):
    written(path)
    assert opened(path, **NM).notes == ("axes taken as xyz (x=3, y=4, z=5), as x varies fastest on disk; --axes says otherwise",)
    assert opened(path, axes="zyx", **NM).shape == (5, 4, 3)
    assert opened(path, axes="zyx", **NM).notes == ()


def test_axes_of_the_options_take_their_directions_with_them(path):
    written(path, **MICRONS, space_origin=[1.0, 2, 3])
    source = opened(path, axes="zyx")
    assert source.geometry.resolution == (2000, 250, 500)
    assert source.geometry.affine == ((0, 0, 500, 1000), (0, 250, 0, 2000), (2000, 0, 0, 3000))
    np.testing.assert_array_equal(whole(source)[..., 0], ARRAY.T)


FOUR = np.asfortranarray(np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5))


@pytest.mark.parametrize("kind", ["RGB-color", "vector", "3D-symmetric-matrix", "covariant-vector"])
@pytest.mark.parametrize("first", [True, False])
def test_channels_stand_first_or_last(path, kind, first):
    array = FOUR if first else np.asfortranarray(FOUR.transpose(1, 2, 3, 0))
    kinds = [kind, *["domain"] * 3] if first else [*["space"] * 3, kind]
    none = np.full((1, 3), np.nan)
    directions = np.vstack([none, np.diag([1.0, 2, 3])] if first else [np.diag([1.0, 2, 3]), none])
    written(path, array, kinds=kinds, space="RAS", space_directions=directions)
    source = opened(path)
    assert source.shape == (3, 4, 5)
    assert source.num_channels == 2
    assert source.geometry.resolution == (1e6, 2e6, 3e6)
    np.testing.assert_array_equal(whole(source), FOUR.transpose(1, 2, 3, 0))
    assert opened(path, channel=1).num_channels == 1


def test_directions_alone_tell_which_axes_are_of_space(path):
    directions = np.vstack([np.full((1, 3), np.nan), np.diag([1.0, 2, 3])])
    written(path, FOUR, space="RAS", space_directions=directions)
    assert opened(path).num_channels == 2
    assert opened(path).notes[0] == "the axis of 2 that is none of space is taken for channels; --axes says otherwise"


def test_a_colour_picture(path):
    by_hand(path, "kinds: RGB-color domain domain", "spacings: nan 0.5 0.25", 'units: "" "um" "um"')
    source = opened(path, **NM)
    assert (source.shape, source.num_channels) == ((4, 5, 1), 3)
    assert "z of 0.5 um, 0.25 um, nothing" in refusal(OptionError, path)


def test_a_time_axis(path):
    array = np.asfortranarray(np.arange(3 * 4 * 5 * 6, dtype=np.int16).reshape(3, 4, 5, 6))
    written(path, array, kinds=["domain", "domain", "domain", "time"], spacings=[1, 1, 1, 0.1], units=["um", "um", "um", "s"])
    assert "axis t has 6 points of time and a volume holds one: add --time N, N from 0 to 5" in refusal(OptionError, path)
    source = opened(path, time=4)
    assert source.geometry == Geometry((1000, 1000, 1000))
    np.testing.assert_array_equal(whole(source)[..., 0], array[..., 4])


@pytest.mark.parametrize("kinds", ["domain domain domain time", "space space space space", None])
def test_a_space_with_time(path, kinds):
    array = np.asfortranarray(FOUR.transpose(1, 2, 3, 0))
    header = {"space": "right-anterior-superior-time", "space directions": np.diag([1.0, 2, 3, 0.5])}
    header |= {"space origin": [4, 5, 6, 7], "space units": ["mm", "mm", "mm", "s"]} | ({"kinds": kinds.split()} if kinds else {})
    written(path, array, **header)
    source = opened(path, time=1)
    assert source.geometry == Geometry((1e6, 2e6, 3e6), (0, 0, 0), ((1e6, 0, 0, 4e6), (0, 2e6, 0, 5e6), (0, 0, 3e6, 6e6)), "RAS")
    np.testing.assert_array_equal(whole(source)[..., 0], array[..., 1])


@pytest.mark.parametrize(
    ("kinds", "extra", "axes"),
    [
        ("list domain domain domain", "", "c"),
        ("list domain domain domain", 'labels: "time" "" "" ""', "t"),
        ("time list domain domain", "", "tc"),
    ],
)
def test_a_list_is_channels_or_time(path, kinds, extra, axes):
    """Slicer's sequences (.seq.nrrd) and layers of segments (.seg.nrrd) both call their axis a list."""
    written(path, FOUR, kinds=kinds.split())
    if extra:
        path.write_bytes(path.read_bytes().replace(b"encoding:", extra.encode() + b"\nencoding:"))
    source = opened(path, time=0 if "t" in axes else None, **NM)
    assert source.num_channels == (1 if axes == "t" else 3 if axes == "tc" else 2)


def test_a_long_list_is_time_but_in_a_segmentation_channels(path, tmp_path):
    array = np.asfortranarray(FOUR.transpose(3, 0, 1, 2))
    written(path, array, kinds=["list", "domain", "domain", "domain"])
    assert "axis t has 5 points of time" in refusal(OptionError, path, **NM)
    assert opened(written(tmp_path / "a.seg.nrrd", array, kinds=["list", *["domain"] * 3]), **NM).num_channels == 5


@pytest.mark.parametrize(
    "kinds", [None, "domain domain domain domain", "RGB-color vector domain domain", "list list list domain"]
)
def test_axes_that_the_header_does_not_tell(path, kinds):
    written(path, FOUR, **({"kinds": kinds.split()} if kinds else {}))
    assert refusal(OptionError, path) == (
        f"{path}: which of its axes (2 x 3 x 4 x 5, kinds {kinds or 'not told'}) are x, y, z is not clear: add --axes with one "
        "letter an axis, the fastest first, e.g. --axes xyzt or --axes cxyz (c channels, t time)"
    )
    np.testing.assert_array_equal(whole(opened(path, axes="cxyz", **NM)), FOUR.transpose(1, 2, 3, 0))


def test_segmentations_of_slicer_are_labels(path, tmp_path):
    assert opened(written(tmp_path / "a.seg.nrrd", **SLICER)).label
    assert opened(written(path, **SLICER, Segment0_ID="Segment_1")).label is False
    path.write_bytes(path.read_bytes().replace(b"Segment0 ID:=", b"Segment0_ID:="))
    assert opened(path).label


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("magic", ["NRRD0001", "NRRD0005"])
def test_headers_of_other_writers(path, end, magic):
    by_hand(
        path,
        "# comment: with a colon",
        "Space Units: mm mm mm",
        "spacedirections:  ( 1 , 0 , 0 )  (0,2,0) (0,0,3e0)",
        "key:=value: with := both",
        "measurement frame: (1,0,0) (0,1,0) (0,0,1)",
        "content: déjà vu",
        end=end,
        magic=magic,
        data=ARRAY.tobytes("F") + b"more",
    )
    source = opened(path)
    assert source.geometry == Geometry((1e6, 2e6, 3e6))
    np.testing.assert_array_equal(whole(source)[..., 0], ARRAY)


def test_lines_and_bytes_to_skip(nhdr, tmp_path):
    for skip, before, after in ((3, b"a\nb\nxyz", b""), (-1, b"a\nb\nmany bytes", b""), (-4, b"a\nb\n", b"end")):
        (tmp_path / "a.raw").write_bytes(before + ARRAY.tobytes("F") + after)
        by_hand(nhdr, "data file: a.raw", "line skip: 2", f"byte skip: {skip}", data=None)
        np.testing.assert_array_equal(whole(opened(nhdr, **NM))[..., 0], ARRAY)


def test_bytes_to_skip_of_packed_voxels_are_unpacked_ones(nhdr, tmp_path):
    (tmp_path / "a.raw.gz").write_bytes(b"a line\n" + gzip.compress(b"xyz" + ARRAY.tobytes("F")))
    by_hand(nhdr, "data file: a.raw.gz", "line skip: 1", "byte skip: 3", data=None)
    nhdr.write_bytes(nhdr.read_bytes().replace(b"raw\nendian", b"gzip\nendian"))
    source = opened(nhdr, **NM)
    np.testing.assert_array_equal(whole(source)[..., 0], ARRAY)
    np.testing.assert_array_equal(whole(spooled(source, tmp_path))[..., 0], ARRAY)
    nhdr.write_bytes(nhdr.read_bytes().replace(b"byte skip: 3", b"byte skip: -1"))
    assert refusal(SourceError, nhdr, **NM) == f"{nhdr}: byte skip -1 of packed voxels, 0 or more is read: unpack them first"


def pieces(folder, pattern, arrays, pack=bytes):
    for number, array in arrays:
        (folder / (pattern % number)).write_bytes(pack(array.tobytes("F")))


SLICES = [(number, ARRAY[:, :, z]) for z, number in enumerate((1, 3, 5, 7, 9))]
ROWS = [(y + 4 * z, ARRAY[:, y, z]) for z in range(5) for y in range(4)]
SLABS = [(1 - z, ARRAY[:, :, z : z + 1]) for z in range(5)]


@pytest.mark.parametrize(
    ("pattern", "arrays", "told"),
    [
        ("s%03d.raw", SLICES, "s%03d.raw 1 9 2"),
        ("s%03d.raw", SLICES, "s%03d.raw 1 10 2 2"),
        ("%d", ROWS, "%d 0 19 1 1"),
        ("%2d.x", SLABS, "%2d.x 1 -3 -1 3"),
    ],
)
@pytest.mark.parametrize(("encoding", "pack"), [("raw", bytes), ("gzip", gzip.compress), ("bzip2", bz2.compress)])
def test_files_by_numbers(nhdr, tmp_path, pattern, arrays, told, encoding, pack):
    pieces(tmp_path, pattern, arrays, pack)
    by_hand(nhdr, f"data file: {told}", data=None)
    nhdr.write_bytes(nhdr.read_bytes().replace(b"raw\nendian", f"{encoding}\nendian".encode()))
    source = opened(nhdr, **NM)
    assert source.shape == (3, 4, 5)
    np.testing.assert_array_equal(whole(source)[..., 0], ARRAY)
    for box in (Box((0, 0, 2), (3, 4, 3)), Box((1, 2, 1), (2, 4, 4)), Box((2, 3, 4), (3, 4, 5))):
        np.testing.assert_array_equal(source.read(box)[..., 0], ARRAY[box.slices()])
    assert len(source.fingerprint()) == len(arrays) + 1
    assert spooled(source, tmp_path) is source
    part = {2: (3, 4, 1), 1: (3, 1, 1)}[arrays[0][1].squeeze().ndim]
    assert source.block == ((1, 1, 1) if encoding == "raw" else part)


def test_files_by_a_list(nhdr, tmp_path):
    pieces(tmp_path, "some slice %d", SLICES)
    names = [f"some slice {number}" for number, _ in SLICES]
    by_hand(nhdr, "data file: LIST", *names, data=None)
    np.testing.assert_array_equal(whole(opened(nhdr, **NM))[..., 0], ARRAY)
    (tmp_path / "slabs").mkdir()
    pieces(tmp_path / "slabs", "%d", [(0, ARRAY[:2].transpose(1, 2, 0)), (1, ARRAY[2:].transpose(1, 2, 0))])
    by_hand(nhdr, "data file: LIST 3", "slabs/0", "slabs/1", data=None)
    assert refusal(SourceError, nhdr, **NM) == f"{nhdr}: its 2 data files cannot share the 5 of the last axis evenly"
    by_hand(nhdr, "data file: LIST", *names[:4], data=None)
    assert refusal(SourceError, nhdr, **NM) == (
        f"{nhdr}: its header names 4 data files, expected 5, one for each 2 dimensions of sizes 3 4 5"
    )


def test_one_file_of_a_list_is_read_as_a_view(nhdr, tmp_path):
    pieces(tmp_path, "%d", SLICES)
    by_hand(nhdr, "data file: %d 1 9 2", data=None)
    source = opened(nhdr, **NM)
    box = Box((0, 1, 3), (3, 4, 4))
    assert np.shares_memory(source.read(box), source.read(box))


def test_damaged_parts_are_told_by_their_names(nhdr, tmp_path):
    pieces(tmp_path, "%d", SLICES, gzip.compress)
    by_hand(nhdr, "data file: %d 1 9 2", data=None)
    nhdr.write_bytes(nhdr.read_bytes().replace(b"raw\nendian", b"gzip\nendian"))
    source = opened(nhdr, **NM)
    data = (tmp_path / "5").read_bytes()
    (tmp_path / "5").write_bytes(data[:-8] + bytes(4) + data[-4:])
    np.testing.assert_array_equal(source.read(Box((0, 0, 3), (3, 4, 4)))[..., 0], ARRAY[:, :, 3:4])
    with pytest.raises(DamagedError) as refused:
        source.read(Box((0, 0, 2), (1, 1, 3)))
    assert str(refused.value).startswith(f"{tmp_path / '5'}: the gzip file is corrupt (")
    (tmp_path / "7").unlink()
    with pytest.raises(DamagedError, match=r"7: cannot be read \(No such file"):
        source.read(Box((0, 0, 3), (1, 1, 4)))
    assert refusal(SourceError, nhdr, **NM) == f"{tmp_path / '7'}: no such file"


def test_a_part_that_is_cut_short(nhdr, tmp_path):
    pieces(tmp_path, "%d", SLICES)
    (tmp_path / "3").write_bytes(bytes(23))
    by_hand(nhdr, "data file: %d 1 9 2", data=None)
    assert refusal(SourceError, nhdr, **NM) == (
        f"{tmp_path / '3'}: 23 bytes found, 24 expected from its header: the file is cut short; copy it again"
    )


@pytest.mark.parametrize("name", ["/etc/hostname", "../a.raw", "sub/../../a.raw", ""])
def test_data_files_outside_the_headers_folder_are_not_read(nhdr, tmp_path, name):
    by_hand(nhdr, f"data file: {name}", data=None)
    assert refusal(SourceError, nhdr, **NM) == (
        f"{nhdr}: its data file {name!r} lies outside the header's folder: copy it there and change its name in the header"
    )


def test_data_files_in_folders_below_and_absolute_ones_in_the_headers_folder(nhdr, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.raw").write_bytes(ARRAY.tobytes("F"))
    for name in ("sub/a.raw", "./sub/a.raw", str(tmp_path / "sub" / "a.raw")):
        by_hand(nhdr, f"datafile: {name}", data=None)
        np.testing.assert_array_equal(whole(opened(nhdr, **NM))[..., 0], ARRAY)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("data file: SKIPLIST", "its data files are a SKIPLIST, which is not read: list them under LIST"),
        ("data file: %d 1 9 0", "its header tells `datafile: %d 1 9 0`, expected a step that is not 0: it is damaged"),
        (
            "data file: %d 1 9 x",
            "its header tells `datafile: %d 1 9 x`, expected NAME, LIST [DIMENSION] or PATTERN%03d FIRST LAST STEP [DIMENSION]",
        ),
        ("data file: %d 1 9 2 4", "its header tells `datafile: %d 1 9 2 4`, expected files of 1 to 3 dimensions: it is damaged"),
        ("data file: %d 1 999999999 1", "its header names 999999999 data files, expected 5, one for each 2 dimensions of sizes"),
        ("line skip: 1000", "/a.nrrd has fewer lines than the header's line skip, "),
        ("byte skip: 1", "121 bytes found, 122 expected"),
        ("byte skip: x", "its header tells `byteskip: x`, expected whole numbers: it is damaged"),
        ("byte skip: 1 2", "its header tells `byteskip: 1 2`, expected one whole number: it is damaged"),
        ("type: float", "its header has the field type twice: it is damaged"),
        ("nonsense", "its header has the line `nonsense`, expected `field: text`: it is damaged"),
        ("kinds: domain domain", "its header tells `kinds: domain domain`, expected one for each of 3 axes: it is damaged"),
        ("spacings: 1 1", "its header tells `spacings: 1 1`, expected one for each of 3 axes: it is damaged"),
        ("spacings: 1 1 x", "its header tells `spacings: 1 1 x`, expected numbers: it is damaged"),
        ("space directions: (1,0,0)", "`spacedirections: (1,0,0)`, expected one for each of 3 axes: it is damaged"),
        ("space directions: (1,a) none none", "(1,a) none none`, expected vectors such as (1,0,0): it is damaged"),
    ],
)
def test_headers_that_are_not_sound(path, line, sentence):
    by_hand(path, line, data=ARRAY.tobytes("F") + b"x" if "skip: 1" in line else ARRAY.tobytes("F"))
    if line == "byte skip: 1":
        path.write_bytes(path.read_bytes()[:-1])
        sentence = f"{len(path.read_bytes())} bytes found, {len(path.read_bytes()) + 1} expected"
    assert sentence in refusal(SourceError, path, **NM)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("int16", "block", "its voxels are of the type block: blocks of bytes that nothing explains; save them as numbers"),
        ("int16", "char", "its voxels are of the type char: no data type of NRRD; save them as numbers"),
        (
            "raw",
            "ascii",
            "its voxels are in the encoding ascii, raw, gzip and bzip2 are read: write it again, e.g. with `unu save",
        ),
        ("raw", "hex", "its voxels are in the encoding hex, raw, gzip and bzip2 are read"),
        ("raw", "zrl", "its voxels are in the encoding zrl, raw, gzip and bzip2 are read"),
        ("endian: little", "endian: middle", "its header tells `endian: middle`, expected little or big: it is damaged"),
        ("endian: little\n", "", "its header has no field endian, which every NRRD file needs: it is damaged"),
        ("sizes: 3 4 5\n", "", "its header has no field sizes, which every NRRD file needs: it is damaged"),
        ("dimension: 3", "dimension: 4", "its header tells dimension 4 and 3 sizes"),
        ("3 4 5", "3 4 0", "its header tells a shape of 3 x 4 x 0; 2 to 5 axes of at least 1 are read"),
        ("dimension: 3\nsizes: 3 4 5", "dimension: 1\nsizes: 3", "its header tells a shape of 3; 2 to 5 axes"),
        ("3 4 5", "3 4 x", "its header tells `sizes: 3 4 x`, expected whole numbers: it is damaged"),
        ("3 4 5", "3 4 99999999999999999999", "expected whole numbers up to 4611686018427387904: it is damaged"),
        ("3 4 5", "4000000000000000000 " * 3, "bytes found, 128000000000000000000000000000000000000000000000000000"),
        ("3 4 5", "4 4 5", "bytes found, 2"),
        ("NRRD0004", "NRRD0009", "not an NRRD file: it does not begin with NRRD0001 to NRRD0006"),
        ("NRRD0004", "text", "not an NRRD file: it does not begin with NRRD0001 to NRRD0006"),
    ],
)
def test_what_is_not_read(path, old, new, sentence):
    by_hand(path)
    path.write_bytes(path.read_bytes().replace(old.encode(), new.encode()))
    assert sentence in refusal(SourceError, path, **NM)
    assert refusal(SourceError, path, **NM).startswith(f"{path}: ")


def test_an_origin_of_two_numbers(path):
    by_hand(path, "space: RAS", "space directions: (1,0,0) (0,1,0) (0,0,1)", "space origin: (1,2)")
    assert refusal(SourceError, path) == (
        f"{path}: its header tells `spaceorigin: (1,2)`, expected a vector of 3 numbers: it is damaged"
    )


def test_a_header_without_an_end(path):
    path.write_bytes(b"NRRD0004\n" + b"# comment" * (1 << 21))
    assert refusal(SourceError, path) == (
        f"{path}: its header does not end within 16777216 bytes: no NRRD file, or one that is damaged"
    )


def test_packed_voxels_that_are_damaged(path, tmp_path):
    array = np.random.default_rng(0).integers(0, 999, (40, 50, 60), np.uint16)
    for encoding in ("gzip", "bzip2"):
        written(path, array, encoding=encoding)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        sentence = rf"a\.nrrd: the {encoding} stream in it is cut short \(\d+ bytes unpacked, 240000 expected\): copy it again"
        with pytest.raises(SourceError, match=sentence):
            spooled(opened(path, **NM), tmp_path)
        with pytest.raises(DamagedError, match=sentence):
            whole(opened(path, **NM))
        path.write_bytes(data[: len(data) // 2] + bytes(100) + data[len(data) // 2 + 100 :])
        with pytest.raises(SourceError, match=rf"a\.nrrd: the {encoding} stream in it is corrupt \("):
            spooled(opened(path, **NM), tmp_path)
        path.write_bytes(data[: data.index(b"\n\n") + 2] + b"no such stream")
        with pytest.raises(SourceError, match=rf"a\.nrrd: the {encoding} stream in it is corrupt \("):
            spooled(opened(path, **NM), tmp_path)
        written(path, array[:39], encoding=encoding)
        path.write_bytes(path.read_bytes().replace(b"39 50 60", b"40 50 60"))
        with pytest.raises(SourceError, match=rf"the {encoding} stream in it holds too little \(234000 bytes unpacked, 240000 "):
            spooled(opened(path, **NM), tmp_path)


def test_sources_are_read_in_spawned_workers(path, nhdr, tmp_path):
    pieces(tmp_path, "%d", SLICES)
    sources = [opened(by_hand(nhdr, "data file: %d 1 9 2", data=None), **NM)]
    sources += [opened(written(tmp_path / f"{name}.nrrd", encoding=name), **NM) for name in ("raw", "gzip", "bzip2")]
    assert [pickle.loads(pickle.dumps(source)) for source in sources] == sources
    with multiprocessing.get_context("spawn").Pool(1) as workers:
        for array in workers.map(whole, sources):
            np.testing.assert_array_equal(array[..., 0], ARRAY)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=3), min_size=3, max_size=3),
    st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3),
)
def test_headers_are_read_as_pynrrd_reads_them(path, directions, origin):
    header = SLICER | {"space directions": np.array(directions), "space origin": origin, "space": "RAS"}
    written(path, **header)
    told = nrrd.read_header(str(path))
    with contextlib.suppress(OptionError):
        affine = opened(path).geometry.affine
        if affine is not None:
            np.testing.assert_allclose(np.array(affine)[:, :3], told["space directions"].T * 1e6)
            np.testing.assert_allclose(np.array(affine)[:, 3], told["space origin"] * 1e6)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    patches=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=4)), max_size=4),
    number=st.sampled_from([b"", b"99999999999", b"-1", b"nan", b"1e999", b"0"]),
    options=st.sampled_from([{}, {"resolution": (1.0, 2.0, 3.0), "time": 0}, {"axes": "cxyz"}]),
    encoding=st.sampled_from(["raw", "gzip"]),
)
def test_a_damaged_header_ends_in_a_source_or_in_a_sentence(path, patches, number, options, encoding):
    directions = np.vstack([np.full((1, 3), np.nan), np.diag([1.0, 2, 3])])
    kinds = ["list", "domain", "domain", "domain"]
    written(path, FOUR, encoding=encoding, **{**SLICER, "space directions": directions, "kinds": kinds})
    data = bytearray(path.read_bytes())
    end = data.index(b"\n\n")
    for where, patch in patches:
        at = 9 + int(where * (end - 9))
        data[at : at + len(patch)] = patch
    if number:
        data = data.replace(b"3 4 5", b"3 4 " + number)
    path.write_bytes(data)
    with contextlib.suppress(ConverterError), warnings.catch_warnings():
        warnings.simplefilter("error")
        source = opened(path, **options)
        assert source.read(Box((0, 0, 0), (1, 1, 1))).shape == (1, 1, 1, source.num_channels)
        assert min(source.geometry.resolution) > 0
        source.geometry.transform()
