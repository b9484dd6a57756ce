import gzip
from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine

from converters.errors import OptionError, SourceError
from formats.grid import Box
from tests.converters.sources.reading import opened

SHAPE = (4, 5, 6)
MARKER = (1, 3, 2)
NM = {"meter": 1e9, "mm": 1e6, "micron": 1e3, "unknown": 1e6}
OBLIQUE = np.array([[0.9, -0.4, 0.3, -20], [0.5, 1.7, -0.6, 33.3], [-0.1, 0.8, 3.1, 7]])
SHEARED = np.array([[1, 0.4, 0, 5], [0, 2, -0.7, 6], [0.2, 0, -3, 7]])
VECTOR, LABEL = 1007, 1002


def homogeneous(rows):
    return np.vstack([rows, [0, 0, 0, 1]])


def signed_permutations():
    """All 48 ways in which the voxel axes run along the world's, with voxels of 0.7 x 1.5 x 2 mm."""
    for order, signs in product(permutations(range(3)), product((1, -1), repeat=3)):
        rows = np.zeros((3, 4))
        for axis, (row, sign, size) in enumerate(zip(order, signs, (0.7, 1.5, 2), strict=True)):
            rows[row, axis] = sign * size
        rows[:, 3] = (-90.5, 126, -72.25)
        yield pytest.param(
            homogeneous(rows), id="".join("RAS"[row] if s > 0 else "LPI"[row] for row, s in zip(order, signs, strict=True))
        )


AFFINES = [
    *signed_permutations(),
    pytest.param(homogeneous(OBLIQUE), id="oblique"),
    pytest.param(homogeneous(SHEARED), id="sheared"),
]


def marked():
    array = np.zeros(SHAPE, np.uint8)
    array[MARKER] = 200
    return array


def save(path, array, affine=None, *, sform=2, qform=0, units="mm", time_unit="unknown", **fields):
    """Write a NIfTI-1 file whose header says exactly this."""
    image = nib.Nifti1Image(array, np.eye(4) if affine is None else affine, dtype=array.dtype)
    image.set_sform(affine if sform else None, sform)
    image.set_qform(affine if qform else None, qform)
    image.header.set_xyzt_units(units, time_unit)
    for name, value in fields.items():
        image.header[name] = value
    nib.save(image, path)
    return path


def patch(path, dtype, offset, *values):
    """Write over a field of the header what nibabel would not write."""
    data = bytearray(path.read_bytes())
    field = np.array(values, dtype).tobytes()
    data[offset : offset + len(field)] = field
    path.write_bytes(data)
    return path


def marker_in_world(source):
    """World position, nm, of the centre of the marker's voxel, from what is read and what the viewer is told."""
    voxel = np.argwhere(source.read(Box((0, 0, 0), source.shape))[..., 0] == 200)[0]
    dataset_nm = (voxel + source.geometry.voxel_offset + 0.5) * source.geometry.resolution
    matrix = np.array(source.geometry.transform())
    return matrix[:, :3] @ dataset_nm + matrix[:, 3]


@pytest.mark.parametrize("affine", AFFINES)
@pytest.mark.parametrize("offset", [(0, 0, 0), (-100, 7, 2001)])
def test_a_marker_lies_where_nibabel_has_it(tmp_path, affine, offset):
    path = save(tmp_path / "a.nii", marked(), affine)
    source = opened(path, voxel_offset=offset)
    expected_mm = apply_affine(nib.load(path).affine, MARKER)
    np.testing.assert_allclose(marker_in_world(source) / 1e6, expected_mm, rtol=0, atol=1e-6)
    assert source.geometry.world == "RAS"


@pytest.mark.parametrize("affine", AFFINES)
def test_a_marker_lies_where_nibabel_has_it_by_the_qform(tmp_path, affine):
    # set_qform leaves out shears; the oracle is the header that it writes.
    path = save(tmp_path / "a.nii", marked(), affine, sform=0, qform=1)
    np.testing.assert_allclose(
        marker_in_world(opened(path)) / 1e6, apply_affine(nib.load(path).affine, MARKER), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.hdr"])
@pytest.mark.parametrize("image_class", [nib.Nifti1Image, nib.Nifti2Image])
def test_the_affine_is_the_same_in_every_wrapping(tmp_path, name, image_class):
    if name.endswith("hdr"):
        image_class = nib.Nifti1Pair if image_class is nib.Nifti1Image else nib.Nifti2Pair
    image = image_class(marked(), homogeneous(OBLIQUE))
    image.header.set_xyzt_units("mm")
    nib.save(image, tmp_path / name)
    expected_mm = apply_affine(nib.load(tmp_path / name).affine, MARKER)
    np.testing.assert_allclose(marker_in_world(opened(tmp_path / name)) / 1e6, expected_mm, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("sform", "qform"), [(0, 0), (0, 1), (2, 0), (4, 1)])
def test_sform_and_qform_are_chosen_by_code(tmp_path, sform, qform):
    path = save(tmp_path / "a.nii", marked(), np.diag([-2, 3, 4, 1]), sform=sform, qform=qform)
    patch(path, "<f4", 280, -2, 0, 1, 5)  # the sform's first row
    source = opened(path)
    np.testing.assert_allclose(marker_in_world(source) / 1e6, apply_affine(nib.load(path).affine, MARKER), rtol=0, atol=1e-6)
    told = any("neither sform nor qform places the volume" in note for note in source.notes)
    assert told == ((sform, qform) == (0, 0))


@pytest.mark.parametrize("units", NM)
def test_units(tmp_path, units):
    path = save(tmp_path / "a.nii", marked(), homogeneous(OBLIQUE), units=units)
    source = opened(path)
    expected = apply_affine(nib.load(path).affine, MARKER) * NM[units]
    np.testing.assert_allclose(marker_in_world(source), expected, rtol=1e-12)
    np.testing.assert_allclose(source.geometry.resolution, np.linalg.norm(OBLIQUE[:, :3], axis=0) * NM[units], rtol=1e-6)
    assert source.notes == (
        ("the header names no unit of length, mm is taken; --resolution X,Y,Z (nm) says otherwise",) if units == "unknown" else ()
    )


def test_a_unit_that_is_none_is_unknown(tmp_path):
    source = opened(save(tmp_path / "a.nii", marked(), np.eye(4), xyzt_units=5))
    assert "names no unit of length" in source.notes[0]


def test_the_voxel_size_has_no_float32_noise(tmp_path):
    source = opened(save(tmp_path / "a.nii", marked(), np.diag([0.7, -1.2, 0.05, 1])))
    assert source.geometry.resolution == (700000, 1200000, 50000)


def test_a_resolution_stretches_the_voxels_and_keeps_their_directions(tmp_path):
    path = save(tmp_path / "a.nii", marked(), homogeneous(OBLIQUE))
    geometry = opened(path, resolution=(10.0, 20.0, 30.0)).geometry
    was, stretched = np.array(opened(path).geometry.affine), np.array(geometry.affine)
    assert geometry.resolution == (10, 20, 30)
    norms = np.linalg.norm(stretched[:, :3], axis=0)
    np.testing.assert_allclose(norms, (10, 20, 30))
    np.testing.assert_allclose(stretched[:, :3] / norms, was[:, :3] / np.linalg.norm(was[:, :3], axis=0))
    np.testing.assert_array_equal(stretched[:, 3], was[:, 3])


@pytest.mark.parametrize("size", [0, -1, np.nan, np.inf])
@pytest.mark.parametrize("code", [{"qform": 0}, {"qform": 1}])
def test_a_voxel_size_that_is_none_stops(tmp_path, size, code):
    path = patch(save(tmp_path / "a.nii", marked(), np.eye(4), sform=0, **code), "<f4", 80, size)
    with pytest.raises(OptionError) as refused:
        opened(path)
    assert str(refused.value) == (
        f"{path}: its header tells a voxel size of {size}, 1, 1 mm, and each must be above 0: add --resolution X,Y,Z in nm"
    )
    geometry = opened(path, resolution=(5.0, 6.0, 7.0)).geometry
    assert geometry.resolution == (5, 6, 7)
    np.testing.assert_allclose(np.linalg.norm(np.array(geometry.affine)[:, :3], axis=0), (5, 6, 7))


def test_the_sform_needs_no_voxel_size(tmp_path):
    path = patch(save(tmp_path / "a.nii", marked(), np.diag([2, 3, 4, 1])), "<f4", 80, 0, 0, 0)
    assert opened(path).geometry.resolution == (2e6, 3e6, 4e6)


@pytest.mark.parametrize("row", [(0, 0, 0, 0), (np.nan, 0, 0, 0), (0, 1, 0, 0)])
def test_a_singular_affine_is_left_out(tmp_path, row):
    path = patch(save(tmp_path / "a.nii", marked(), np.diag([2, 3, 4, 1])), "<f4", 280, *row)
    source = opened(path)
    assert source.geometry.affine is None
    assert source.geometry.world == ""
    assert source.geometry.resolution == (2e6, 3e6, 4e6)
    assert source.notes == (
        "the header's affine is singular and left out: the volume has a voxel size but no place in the world",
    )
    assert opened(path, resolution=(5.0, 6.0, 7.0)).geometry.resolution == (5, 6, 7)


def test_a_quaternion_that_is_none_places_nothing(tmp_path):
    path = patch(save(tmp_path / "a.nii", marked(), np.diag([2, 3, 4, 1]), sform=0, qform=1), "<f4", 256, 3, 3, 3)
    source = opened(path)
    assert source.geometry.affine is None
    assert source.geometry.resolution == (2e6, 3e6, 4e6)


def test_the_label_intent(tmp_path):
    assert opened(save(tmp_path / "a.nii", marked(), np.eye(4), intent_code=LABEL)).label
    assert not opened(save(tmp_path / "b.nii", marked(), np.eye(4))).label


@pytest.mark.parametrize(
    ("more", "header", "channels"),
    [
        ((1,), {}, 1),
        ((2,), {}, 2),
        ((4,), {}, 4),
        ((7,), {"intent_code": VECTOR}, 7),
        ((3,), {"intent_code": VECTOR, "time_unit": "sec"}, 3),
        ((1, 6), {}, 6),
        ((1, 6), {"time_unit": "sec"}, 6),
        ((1, 1, 1), {}, 1),
    ],
)
def test_a_short_fourth_axis_and_the_fifth_are_channels(tmp_path, more, header, channels):
    source = opened(save(tmp_path / "a.nii", np.zeros((*SHAPE, *more), np.uint8), np.eye(4), **header))
    assert source.shape == SHAPE
    assert source.num_channels == channels
    told = f"the fourth axis, of {channels}, is taken for channels; --axes xyzt takes it for time"
    assert source.notes == ((told,) if len(more) == 1 and channels > 1 else ())


@pytest.mark.parametrize(
    ("more", "header", "points"),
    [((5,), {}, 5), ((2,), {"time_unit": "sec"}, 2), ((3,), {"time_unit": "msec"}, 3), ((2, 6), {}, 2)],
)
def test_a_time_axis_needs_a_point_of_time(tmp_path, more, header, points):
    path = save(tmp_path / "a.nii", np.zeros((*SHAPE, *more), np.uint8), np.eye(4), **header)
    with pytest.raises(OptionError) as refused:
        opened(path)
    assert str(refused.value) == (
        f"{path}: its axis t has {points} points of time and a volume holds one: add --time N, N from 0 to {points - 1}"
    )
    with pytest.raises(OptionError) as refused:
        opened(path, time=points)
    assert str(refused.value) == f"{path}: --time {points} is not there: choose 0 to {points - 1}"
    assert opened(path, time=points - 1).shape == SHAPE


def test_colours_in_time_need_a_point_of_time(tmp_path):
    colours = np.zeros((*SHAPE, 3), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    path = save(tmp_path / "a.nii", colours, np.eye(4))
    with pytest.raises(OptionError, match="axis t has 3 points of time"):
        opened(path)
    assert opened(path, time=2).num_channels == 3
    with pytest.raises(OptionError, match=r"--axes xyzc cannot be: the header fixes the axes xyz.* e\.g\. --axes xyzt"):
        opened(path, axes="xyzc")


def test_colours_with_two_axes_more_are_refused(tmp_path):
    colours = np.zeros((*SHAPE, 1, 2), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    path = save(tmp_path / "a.nii", colours, np.eye(4))
    with pytest.raises(SourceError) as refused:
        opened(path)
    assert str(refused.value) == (
        f"{path}: an image of colours whose header tells a shape of 4 x 5 x 6 x 1 x 2; 4 axes at most are read"
    )


def test_axes_say_what_the_fourth_is(tmp_path):
    array = np.arange(120 * 6, dtype=np.uint16).reshape(*SHAPE, 6)
    path = save(tmp_path / "a.nii", array, np.eye(4))
    source = opened(path, axes="xyzc")
    assert source.num_channels == 6
    assert source.notes == ()
    np.testing.assert_array_equal(source.read(Box((0, 0, 0), SHAPE)), array)
    short = save(tmp_path / "b.nii", array[..., :3], np.eye(4))
    np.testing.assert_array_equal(opened(short, axes="xyzt", time=1).read(Box((0, 0, 0), SHAPE)), array[..., 1:2])
    assert opened(save(tmp_path / "c.nii", marked(), np.eye(4)), axes="xyz").shape == SHAPE


@pytest.mark.parametrize(
    ("axes", "sentence"),
    [
        (
            "zyxc",
            "--axes zyxc cannot be: the header fixes the axes xyz, which come first; only a letter for each axis after them",
        ),
        ("xyzz", "--axes xyzz cannot be: the header fixes the axes xyz"),
        ("xyz", "--axes xyz names 3 axes, the array has 4 (4 x 5 x 6 x 6): one letter an axis"),
        ("xyzct", "--axes xyzct names 5 axes, the array has 4 (4 x 5 x 6 x 6): one letter an axis"),
        ("xyzcc", "--axes xyzcc names 5 axes, the array has 4"),
    ],
)
def test_axes_against_the_header_are_refused(tmp_path, axes, sentence):
    path = save(tmp_path / "a.nii", np.zeros((*SHAPE, 6), np.uint8), np.eye(4))
    with pytest.raises(OptionError) as refused:
        opened(path, axes=axes)
    assert str(refused.value).startswith(f"{path}: {sentence}")


def test_a_channel_that_is_not_there(tmp_path):
    path = save(tmp_path / "a.nii", np.zeros((*SHAPE, 3), np.uint8), np.eye(4))
    with pytest.raises(OptionError, match=r"--channel 3 is not there: choose 0 to 2$"):
        opened(path, channel=3)
    single = save(tmp_path / "b.nii", marked(), np.eye(4))
    with pytest.raises(OptionError, match=r"--channel 1 is not there: the source has one channel; leave --channel out$"):
        opened(single, channel=1)
    with pytest.raises(OptionError, match=r"--time 1 is not there: the source has one point of time; leave --time out$"):
        opened(single, time=1)
    assert opened(single, channel=0, time=0).num_channels == 1


@pytest.mark.parametrize(("slope", "intercept"), [(0, 5), (np.nan, 5), (np.inf, 5), (1, 0)])
def test_a_slope_that_is_none_scales_nothing(tmp_path, slope, intercept):
    path = patch(save(tmp_path / "a.nii", marked(), np.eye(4)), "<f4", 112, slope, intercept)
    source = opened(path)
    assert source.dtype == np.uint8
    np.testing.assert_array_equal(source.read(Box((0, 0, 0), SHAPE))[..., 0], np.asanyarray(nib.load(path).dataobj))


def test_colours_are_not_scaled(tmp_path):
    path = save(tmp_path / "a.nii", np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")]), np.eye(4))
    assert opened(patch(path, "<f4", 112, 2, 1)).dtype == np.uint8


def test_what_nibabel_says_of_a_header_stays_off_the_terminal(tmp_path, capfd, caplog):
    path = patch(save(tmp_path / "a.nii", marked(), np.eye(4)), "<f4", 80, 0, 0, 0)
    opened(path)
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_one_plane(tmp_path):
    image = nib.Nifti1Image(np.arange(20, dtype=np.uint8).reshape(4, 5), np.diag([2, 3, 4, 1]))
    image.header.set_xyzt_units("mm")
    nib.save(image, tmp_path / "a.nii")
    source = opened(tmp_path / "a.nii")
    assert source.shape == (4, 5, 1)
    assert source.geometry.resolution == (2e6, 3e6, 4e6)
    assert source.read(Box((1, 1, 0), (3, 2, 1)))[:, 0, 0, 0].tolist() == [6, 11]


SOUND = 352 + 120


@pytest.mark.parametrize(
    ("dtype", "offset", "values", "sentence"),
    [
        ("S4", 344, (b"nope",), "not a NIfTI file: neither the header of NIfTI-1 nor that of NIfTI-2 stands at its beginning"),
        ("<i4", 0, (347,), "not a NIfTI file: neither the header"),
        ("S4", 344, (b"ni1",), "the header of a pair of files: give it the name NAME.hdr, beside its voxels in NAME.img"),
        ("<i2", 70, (3,), "its header is not sound (data code 3 not recognized"),
        ("<i2", 70, (1,), "its header is not sound (data code 1 not supported"),
        ("<i2", 42, (0,), "its header tells a shape of 0 x 5 x 6; 2 to 5 axes of at least 1 are read"),
        ("<i2", 42, (-4,), "its header tells a shape of -4 x 5 x 6; 2 to 5 axes of at least 1 are read"),
        ("<i2", 40, (1,), "its header tells a shape of 4; 2 to 5 axes of at least 1 are read"),
        (
            "<i2",
            40,
            (6, 4, 5, 6, 2, 2, 2),
            "its header tells a shape of 4 x 5 x 6 x 2 x 2 x 2; 2 to 5 axes of at least 1 are read",
        ),
        ("<f4", 108, (16,), "vox offset 16 too low"),
        ("<f4", 108, (0,), "its header puts the voxels at byte 0, expected is 352 or above"),
        ("<f4", 108, (np.nan,), "its header puts the voxels at byte nan, expected is 352 or above"),
        ("<f4", 108, (np.inf,), "its header puts the voxels at byte inf, expected is 352 or above"),
        ("<f4", 112, (2, np.inf), "its header is not sound (Valid slope but invalid intercept inf)"),
        (
            "<i2",
            42,
            (32767, 32767, 32767),
            f"{SOUND} bytes found, {352 + 32767**3} expected from its header: the file is cut short; copy it",
        ),
    ],
)
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_header_that_is_not_sound(tmp_path, name, dtype, offset, values, sentence):
    path = patch(save(tmp_path / "a.nii", marked(), np.eye(4)), dtype, offset, *values)
    if name.endswith("gz"):
        path = path.rename(tmp_path / name)
        path.write_bytes(gzip.compress(path.read_bytes()))
        sentence = sentence.replace(f"{SOUND} bytes found, ", f"the gzip file holds too little ({SOUND} bytes unpacked, ").split(
            " from"
        )[0]
    with pytest.raises(SourceError) as refused:
        opened(path).spooled(tmp_path, lambda done, total: None)
    assert str(refused.value).startswith(f"{path}: ")
    assert sentence in str(refused.value)


@pytest.mark.parametrize("length", [1, 4, 347, 351, SOUND - 1])
def test_a_file_that_is_cut_short(tmp_path, length):
    path = save(tmp_path / "a.nii", marked(), np.eye(4))
    assert path.stat().st_size == SOUND
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(SourceError) as refused:
        opened(path)
    assert str(refused.value) == (
        f"{path}: not a NIfTI file: neither the header of NIfTI-1 nor that of NIfTI-2 stands at its beginning"
        if length < 348
        else f"{path}: {length} bytes found, {SOUND} expected from its header: the file is cut short; copy it again"
    )


@pytest.mark.parametrize("zipped", [True, False])
def test_the_content_and_not_the_name_tells_gzip(tmp_path, zipped):
    path = save(tmp_path / "a.nii", marked(), homogeneous(OBLIQUE))
    data = path.read_bytes()
    named = tmp_path / ("wrong.nii" if zipped else "wrong.nii.gz")
    named.write_bytes(gzip.compress(data) if zipped else data)
    np.testing.assert_array_equal(opened(named).read(Box((0, 0, 0), SHAPE)), opened(path).read(Box((0, 0, 0), SHAPE)))
