import json
import multiprocessing
import os
import pickle
from itertools import product

import h5py
import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converters.errors import DamagedError, OptionError, SourceError
from converters.geometry import Geometry
from converters.sources.opening import open_source
from converters.sources.source import SourceOptions
from formats.grid import Box
from tests.converters.sources.reading import whole

NM = (8.0, 9.0, 40.0)


def opened(path, **options):
    return open_source(path, SourceOptions(**{"resolution": NM, **options}))


def error_of(path, **options):
    with pytest.raises((SourceError, OptionError)) as refused:
        open_source(path, SourceOptions(**options))
    return str(refused.value).replace(str(path.parent) + os.sep, "")


def save(path, xyz, attributes=None, **how):
    """Write an array [x, y, z] as an HDF5 dataset z, y, x."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=xyz.T, **how).attrs.update(attributes or {})
    return path


def numbers(shape, dtype="u2"):
    return np.random.default_rng(5).integers(0, 2**16, shape).astype(dtype)


def cut(volume, size):
    """Yield the position of each piece, its first voxel and its voxels."""
    counts = [-(-n // s) for n, s in zip(volume.shape, size, strict=True)]
    for cell in product(*(range(count) for count in counts)):
        start = tuple(c * s for c, s in zip(cell, size, strict=True))
        yield cell, start, volume[tuple(slice(a, a + s) for a, s in zip(start, size, strict=True))]


@pytest.fixture(scope="module")
def six_by_six(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pieces")
    volume = numbers((44, 29, 22))
    for (x, y, z), _, voxels in cut(volume, (8, 5, 4)):
        save(folder / f"x{x + 1}y{y + 1}z{z + 1}.hdf5", voxels, chunks=(2, 4, 4), compression="gzip")
    assert len(os.listdir(folder)) == 216
    return opened(folder / "x{1}y{1}z{1}.hdf5"), volume


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_box_of_216_pieces_equals_slicing(six_by_six, data):
    source, volume = six_by_six
    edges = [sorted(data.draw(st.lists(st.integers(0, n), min_size=2, max_size=2, unique=True))) for n in source.shape]
    box = Box(tuple(a for a, _ in edges), tuple(b for _, b in edges))
    np.testing.assert_array_equal(source.read(box)[..., 0], volume[box.slices()])


def test_216_pieces_are_one_volume(six_by_six):
    source, volume = six_by_six
    assert (source.shape, source.dtype, source.num_channels, source.label) == (volume.shape, np.uint16, 1, False)
    assert source.geometry == Geometry(NM)
    assert source.block == (4, 5, 2)
    assert source.notes == (
        "216 pieces are laid side by side, 6 x 6 x 6 along x, y, z",
        "axes taken as zyx (z=4, y=5, x=8), as x varies fastest in HDF5; --axes says otherwise",
    )
    np.testing.assert_array_equal(whole(source)[..., 0], volume)
    assert whole(source).flags.f_contiguous


def test_216_pieces_pickle(six_by_six):
    source, volume = six_by_six
    data = pickle.dumps(source)
    assert len(data) < 216 * 1000
    assert pickle.loads(data) == source
    assert pickle.loads(data) is pickle.loads(data)
    np.testing.assert_array_equal(whole(pickle.loads(data))[..., 0], volume)


def _sum(source):
    return int(whole(source).sum())


def test_worker_processes_read_pieces(six_by_six):
    source, volume = six_by_six
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_sum, (source,)) == int(volume.sum())


def test_few_files_are_open_at_a_time(six_by_six):
    source, _ = six_by_six
    whole(source)
    there = os.listdir("/proc/self/fd")
    links = [os.readlink(f"/proc/self/fd/{n}") for n in there if os.path.islink(f"/proc/self/fd/{n}")]
    assert sum(link.endswith(".hdf5") for link in links) <= 16


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("z{0}_y{0}.h5", "z{z}_y{y}.h5"),
        ("Z{01}Y{01}.h5", "Z{z1:02}Y{y1:02}.h5"),
        ("y{0000}/z{0000}/y{0000}_z{0000}.h5", "y{y:04}/z{z:04}/y{y:04}_z{z:04}.h5"),
        ("y{9}/z-{7}/data.h5", "y{y9}/z-{z7}/data.h5"),
        ("(+y[{9}])z {7}.h5", "(+y[{y9}])z {z7}.h5"),
    ],
)
def test_patterns_of_names(tmp_path, pattern, name):
    volume = numbers((5, 8, 36))
    for (_, y, z), _, voxels in cut(volume, (5, 3, 3)):
        save(tmp_path / name.format(y=y, z=z, y1=y + 1, z1=z + 1, y9=y + 9, z7=z + 7), voxels)
    for stray in ("z1y1.h5", "z01y01.h5", "notes.txt", "z0_y0.h5.bak", "z00_y0.h5", "Z1Y1.h5"):
        (tmp_path / stray).write_bytes(b"?")
    source = opened(tmp_path / pattern, voxel_offset=(1, 2, 3))
    np.testing.assert_array_equal(whole(source)[..., 0], volume)
    assert source.geometry.voxel_offset == (1, 2, 3)
    assert source.notes[0] == "36 pieces are laid side by side, 1 x 3 x 12 along x, y, z"


def test_a_missing_piece_is_named(tmp_path):
    for (x, _, _), _, voxels in cut(numbers((9, 3, 3)), (3, 3, 3)):
        if x != 1:
            save(tmp_path / f"x{x}.h5", voxels)
    assert error_of(tmp_path / "x{0}.h5", resolution=NM) == (
        "x{0}.h5: the piece x1.h5 is missing, and 2 others are there: copy it too, or list the pieces in a JSON file with "
        '"missing": "zeros"'
    )
    assert error_of(tmp_path / "y{0}.h5", resolution=NM) == "y{0}.h5: there is no such file; the first would be y0.h5"
    assert "the first would be x9/y00.h5" in error_of(tmp_path / "x{9}/y{00}.h5", resolution=NM).replace(str(tmp_path) + "/", "")


def test_a_number_far_away_does_not_take_long(tmp_path):
    for number in (1, 999_999_999):
        save(tmp_path / f"x{number}.h5", numbers((3, 3, 3)))
    assert "the piece x2.h5 is missing, and 2 others are there" in error_of(tmp_path / "x{1}.h5")


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("a{1}.h5", "no axis is named before {1}: write x, y or z before each number, e.g. x{1}y{1}z{1}.h5"),
        ("{1}.h5", "no axis is named before {1}: write x, y or z before each number, e.g. x{1}y{1}z{1}.h5"),
        ("x{1}{2}.h5", "no axis is named before {2}: write x, y or z before each number, e.g. x{1}y{1}z{1}.h5"),
        (
            "x{n}.h5",
            "there is no such file, and as a pattern of names it has braces without a whole number in them: write the first "
            "number there, e.g. x{1}y{1}z{1}.h5 or x{0000}/y{0000}.h5",
        ),
    ],
)
def test_what_is_no_pattern(tmp_path, monkeypatch, pattern, sentence):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError) as refused:
        open_source(pattern, SourceOptions())
    assert str(refused.value) == f"{pattern}: {sentence}"


def test_pieces_beside_each_other_have_the_same_extents(tmp_path):
    for (x, y, _), _, voxels in cut(numbers((9, 6, 3)), (3, 3, 3)):
        save(tmp_path / f"x{x}y{y}.h5", voxels[:2] if (x, y) == (1, 1) else voxels)
    assert error_of(tmp_path / "x{0}y{0}.h5", resolution=NM) == (
        "x1y1.h5: has 2 voxels along x, x1y0.h5 beside it 3: pieces side by side need the same; is one cut short?"
    )


@pytest.mark.parametrize(
    ("extents", "told"), [((3, 2, 3), "x1.h5: has 2"), ((3, 3, 4), "x2.h5: has 4"), ((2, 3), "x1.h5: has 3")]
)
def test_only_the_last_piece_is_smaller(tmp_path, extents, told):
    for position, extent in enumerate(extents):
        save(tmp_path / f"x{position}.h5", numbers((extent, 3, 3)))
    assert error_of(tmp_path / "x{0}.h5", resolution=NM) == (
        f"{told} voxels along x, x0.h5 {extents[0]}: only the last piece along an axis may be smaller; a JSON file can say where "
        "each piece starts"
    )


def test_pieces_are_of_one_kind(tmp_path):
    save(tmp_path / "x0.h5", numbers((3, 3, 3)))
    save(tmp_path / "x1.h5", numbers((3, 3, 3), "u4"))
    assert error_of(tmp_path / "x{0}.h5", resolution=NM) == (
        "x{0}.h5: x0.h5 holds uint16, x1.h5 uint32: save all pieces as the same type"
    )
    save(tmp_path / "y0.h5", numbers((3, 3, 3, 2)))
    save(tmp_path / "y1.h5", numbers((3, 3, 3, 1)))
    assert error_of(tmp_path / "y{0}.h5", resolution=NM, axes="czyx") == (
        "y{0}.h5: y0.h5 has 2 channels, y1.h5 1: all pieces need the same"
    )


def test_byte_orders_may_differ(tmp_path):
    volume = numbers((6, 3, 3))
    save(tmp_path / "x0.h5", volume[:3].astype(">u2"))
    save(tmp_path / "x1.h5", volume[3:].astype("<u2"))
    np.testing.assert_array_equal(whole(opened(tmp_path / "x{0}.h5"))[..., 0], volume)


def test_the_voxel_size_is_that_of_the_pieces(tmp_path):
    size = {"element_size_um": np.array([0.04, 0.009, 0.008], "f4")}
    save(tmp_path / "x0.h5", numbers((3, 3, 3)), size)
    save(tmp_path / "x1.h5", numbers((3, 3, 3)), size)
    assert open_source(tmp_path / "x{0}.h5", SourceOptions()).geometry == Geometry(NM)
    save(tmp_path / "x1.h5", numbers((3, 3, 3)), {"element_size_um": np.array([0.05, 0.009, 0.008], "f4")})
    assert error_of(tmp_path / "x{0}.h5") == (
        "x{0}.h5: the voxels of x0.h5 are 8, 9, 40 nm large and those of x1.h5 8, 9, 50 nm: add --resolution X,Y,Z in nm"
    )
    save(tmp_path / "x1.h5", numbers((3, 3, 3)))
    assert error_of(tmp_path / "x{0}.h5").startswith("x1.h5: its metadata tells no voxel size")
    assert opened(tmp_path / "x{0}.h5").geometry == Geometry(NM)


def test_the_place_is_that_of_the_pieces_where_they_agree(tmp_path):
    for position, x in enumerate((100.0, 124.0)):
        save(tmp_path / f"x{position}.h5", numbers((3, 3, 3)), {"resolution": (40, 9, 8), "offset": (0.0, 0.0, x)})
    geometry = open_source(tmp_path / "x{0}.h5", SourceOptions()).geometry
    assert geometry.affine == ((8.0, 0.0, 0.0, 104.0), (0.0, 9.0, 0.0, 4.5), (0.0, 0.0, 40.0, 20.0))
    save(tmp_path / "x1.h5", numbers((3, 3, 3)), {"resolution": (40, 9, 8), "offset": (0.0, 0.0, 100.0)})
    source = open_source(tmp_path / "x{0}.h5", SourceOptions())
    assert source.geometry.affine is None
    assert "the pieces tell different places in the world, which are left out" in source.notes


@pytest.mark.parametrize(
    ("extent", "chunk", "block"), [(8, 4, 4), (8, 8, 8), (10, 4, 10), (10, 7, 10), (100, 8, 8), (100, 64, 100), (10, None, 1)]
)
def test_the_block_is_the_pieces_where_it_fits_them(tmp_path, extent, chunk, block):
    for position in range(2):
        how = {} if chunk is None else {"chunks": (3, 3, chunk), "compression": "lzf"}
        save(tmp_path / f"x{position}.h5", numbers((extent, 3, 3)), **how)
    assert opened(tmp_path / "x{0}.h5").block == (block, 1 if chunk is None else 3, 1 if chunk is None else 3)


def test_pieces_that_must_be_unpacked_are(tmp_path):
    volume = numbers((7, 5, 4))
    for (x, _, _), _, voxels in cut(volume, (4, 5, 4)):
        (tmp_path / f"x{x}").mkdir()
        image = nib.Nifti1Image(voxels, np.diag([2, 2, 2, 1]))
        image.header.set_xyzt_units("mm")
        nib.save(image, tmp_path / f"x{x}" / "same.nii.gz")
    source = open_source(tmp_path / "x{0}" / "same.nii.gz", SourceOptions())
    np.testing.assert_array_equal(whole(source)[..., 0], volume)
    assert source.block == (4, 5, 4)
    told = []
    spooled = source.spooled(tmp_path / "spool", lambda done, total: told.append((done, total)))
    np.testing.assert_array_equal(whole(spooled)[..., 0], volume)
    assert spooled.block == (1, 1, 1)
    assert told == sorted(told)
    assert all(0 <= done <= total == volume.size for done, total in told)


def test_a_damaged_piece_is_named(tmp_path):
    for position in range(2):
        save(tmp_path / f"x{position}.h5", numbers((3, 3, 3)), chunks=(3, 3, 3), compression="gzip")
    source = opened(tmp_path / "x{0}.h5")
    (tmp_path / "x1.h5").unlink()
    with pytest.raises(DamagedError, match=r"x1\.h5: dataset data cannot be read any more"):
        whole(source)
    assert source.read(Box((0, 0, 0), (3, 3, 3))).shape == (3, 3, 3, 1)


def test_a_changed_piece_changes_the_fingerprint(tmp_path):
    for position in range(2):
        save(tmp_path / f"x{position}.h5", numbers((3, 3, 3)))
    before = opened(tmp_path / "x{0}.h5").fingerprint()
    assert before == opened(tmp_path / "x{0}.h5").fingerprint()
    assert json.loads(json.dumps(before)) == before
    os.utime(tmp_path / "x1.h5", (10, 10))
    assert opened(tmp_path / "x{0}.h5").fingerprint() != before


# Lists


def listed(folder, *pieces, **members):
    path = folder / "list.json"
    path.write_text(json.dumps({"pieces": list(pieces), **members}))
    return path


def piece(file, *start, **members):
    return {"file": file, "start": list(start), **members}


def test_a_list_of_pieces(tmp_path):
    volume = numbers((7, 6, 5))
    save(tmp_path / "sub" / "a.h5", volume[:3])
    save(tmp_path / "b.h5", volume[3:, :2])
    np.save(tmp_path / "c.npy", volume[3:, 2:].T)
    path = listed(
        tmp_path,
        piece("c.npy", 3, 2, 0),
        piece("sub/a.h5", 0, 0, 0, array="data"),
        piece("b.h5", 3, 0, 0),
        resolution=[8, 9.5, 40],
    )
    source = open_source(path, SourceOptions())
    np.testing.assert_array_equal(whole(source)[..., 0], volume)
    assert source.geometry == Geometry((8.0, 9.5, 40.0))
    assert source.notes[0] == "3 pieces are listed"
    assert opened(path, voxel_offset=(5, 6, 7)).geometry == Geometry(NM, (5, 6, 7))
    assert set(source.fingerprint()) == {"pieces", "sha256", "list.json"}


def test_holes_are_zeros_when_the_list_says_so(tmp_path):
    volume = numbers((6, 6, 6)) | 1
    save(tmp_path / "a.h5", volume[:3, :3])
    save(tmp_path / "b.h5", volume[3:, 3:])
    pieces = piece("a.h5", 0, 0, 0), piece("b.h5", 3, 3, 0)
    assert error_of(listed(tmp_path, *pieces), resolution=NM) == (
        "list.json: its 2 pieces hold 108 of the 216 voxels of 6 x 6 x 6 (x, y, z), none that at 0, 3, 0: list all pieces with "
        'the voxels before each, or add "missing": "zeros" to the list'
    )
    source = opened(listed(tmp_path, *pieces, missing="zeros"))
    expected = volume.copy()
    expected[:3, 3:] = expected[3:, :3] = 0
    np.testing.assert_array_equal(whole(source)[..., 0], expected)
    assert not source.read(Box((0, 4, 0), (2, 6, 6))).any()
    shifted = listed(tmp_path, piece("a.h5", 0, 0, 2))
    assert "none that at 0, 0, 0" in error_of(shifted, resolution=NM)


def test_overlapping_pieces_are_named(tmp_path):
    save(tmp_path / "a.h5", numbers((3, 3, 3)))
    save(tmp_path / "b.h5", numbers((3, 3, 3)))
    assert error_of(listed(tmp_path, piece("b.h5", 2, 1, 0), piece("a.h5", 0, 0, 0)), resolution=NM) == (
        "list.json: a.h5 and b.h5 overlap: both hold the voxels from 2, 1, 0 to 3, 3, 3 (x, y, z)"
    )
    assert "overlap" in error_of(listed(tmp_path, piece("a.h5", 0, 0, 0), piece("a.h5", 0, 0, 0)), resolution=NM)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(starts=st.lists(st.tuples(*[st.integers(0, 5)] * 3), min_size=1, max_size=6))
def test_overlaps_and_holes_are_found(tmp_path, starts):
    if not (tmp_path / "a.h5").exists():
        save(tmp_path / "a.h5", np.ones((2, 2, 2), "u1"))
    counts = np.zeros([max(start[axis] for start in starts) + 2 for axis in range(3)], int)
    for x, y, z in starts:
        counts[x : x + 2, y : y + 2, z : z + 2] += 1
    path = listed(tmp_path, *(piece("a.h5", *start) for start in starts), missing="zeros")
    if counts.max() > 1:
        assert "overlap: both hold the voxels from" in error_of(path, resolution=NM)
        return
    np.testing.assert_array_equal(whole(opened(path))[..., 0], counts)
    if counts.min() < 1:
        hole = ", ".join(str(n) for n in np.unravel_index(np.argmin(counts), counts.shape))
        told = error_of(listed(tmp_path, *(piece("a.h5", *start) for start in starts)), resolution=NM)
        assert f"none that at {hole}: list all pieces" in told


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "Invalid JSON: EOF while parsing a value at line 1 column 0"),
        ("[]", "Input should be an object"),
        ("{}", "pieces: Field required"),
        ('{"pieces": []}', "pieces: Tuple should have at least 1 item after validation, not 0"),
        ('{"pieces": [{"file": "a.h5"}]}', "pieces.0.start: Field required"),
        ('{"pieces": [{"file": "a.h5", "start": [0, 0]}]}', "pieces.0.start.2: Field required"),
        ('{"pieces": [{"file": "a.h5", "start": [0, 0, -1]}]}', "pieces.0.start.2: Input should be greater than or equal to 0"),
        ('{"pieces": [{"file": "a.h5", "start": [0, 0, 0.5]}]}', "pieces.0.start.2: Input should be a valid integer"),
        ('{"pieces": [{"file": "a.h5", "start": [0, 0, 0], "end": 5}]}', "pieces.0.end: Extra inputs are not permitted"),
        ('{"pieces": [{"file": "a.h5", "start": [0, 0, 0]}], "unit": "nm"}', "unit: Extra inputs are not permitted"),
        ('{"pieces": [{"file": "a.h5", "start": [0, 0, 0]}], "missing": "ones"}', "missing: String should match pattern"),
        ('{"pieces": [{"file": "a.h5", "start": [0, 0, 0]}], "resolution": [0, 8, 8]}', "resolution.0: Input should be greater"),
    ],
)
def test_what_is_no_list(tmp_path, text, sentence):
    path = tmp_path / "list.json"
    path.write_text(text or " ")
    told = error_of(path)
    assert told.startswith(f"list.json: {sentence if text else 'Invalid JSON: EOF while parsing a value'}")
    assert told.endswith(
        '; expected is a list of pieces such as {"pieces": [{"file": "a.h5", "start": [0, 0, 0]}, '
        '{"file": "b.h5", "start": [1024, 0, 0]}]}'
    )


def test_a_listed_file_that_is_not_there(tmp_path):
    assert error_of(listed(tmp_path, piece("a.h5", 0, 0, 0), missing="zeros")) == (
        "list.json: the piece a.h5 is not there: copy it too, or take it off the list"
    )
    assert error_of(listed(tmp_path, piece("list.json", 0, 0, 0))) == (
        "list.json: the piece list.json is a list of pieces itself: list its pieces here"
    )


def test_a_huge_json_is_not_read(tmp_path):
    path = tmp_path / "list.json"
    with path.open("wb") as file:
        file.truncate((1 << 26) + 1)
    assert error_of(path) == "list.json: 67108865 bytes are no list of pieces, which has 67108864 at most"


def test_the_piece_with_several_datasets_asks_for_one(tmp_path):
    for position in range(2):
        with h5py.File(tmp_path / f"x{position}.h5", "w") as file:
            file["raw"] = np.full((3, 3, 3), position, "u1")
            file["labels"] = np.full((3, 3, 3), position, "u8")
    assert error_of(tmp_path / "x{0}.h5", resolution=NM).startswith("x0.h5: holds 2 datasets, labels (3 x 3 x 3, uint64), raw")
    assert opened(tmp_path / "x{0}.h5", array="raw").shape == (6, 3, 3)
    path = listed(tmp_path, piece("x0.h5", 0, 0, 0, array="raw"), piece("x1.h5", 3, 0, 0, array="raw"))
    assert opened(path).dtype == np.uint8
