import contextlib
import io
import multiprocessing
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converters.errors import ConverterError, DamagedError, OptionError, SourceError
from converters.geometry import Geometry
from converters.sources.mapped import MappedSource
from converters.sources.opening import open_source
from converters.sources.packed import PackedSource
from converters.sources.source import SourceOptions
from formats.grid import Box
from tests.converters.sources.reading import whole

NM = (8.0, 9.0, 40.0)
ARRAY = np.arange(2 * 3 * 5, dtype=np.uint16).reshape(2, 3, 5)
SAVERS = {"stored": np.savez, "deflated": np.savez_compressed}


def silent(done, total):
    pass


def opened(path, **options):
    return open_source(path, SourceOptions(**{"resolution": NM, **options}))


def refusal(error, path, **options):
    with pytest.raises(error) as refused:
        opened(path, **options)
    return str(refused.value)


@pytest.fixture(params=SAVERS)
def saver(request):
    return SAVERS[request.param]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.npz"


def test_the_only_array_is_taken(path, saver, tmp_path):
    saver(path, ARRAY)
    source = opened(path, voxel_offset=(1, 2, 3))
    assert source.name == str(path)
    assert source.shape == (5, 3, 2)
    assert source.geometry == Geometry(NM, (1, 2, 3))
    assert source.notes == ("axes taken as zyx (z=2, y=3, x=5), as x varies fastest in C order; --axes says otherwise",)
    assert set(source.fingerprint()) == {"a.npz"}
    np.testing.assert_array_equal(whole(source)[..., 0], ARRAY.T)
    np.testing.assert_array_equal(whole(source.spooled(tmp_path / "spool", silent))[..., 0], ARRAY.T)


def test_a_stored_array_is_mapped_and_a_deflated_one_unpacked(path, tmp_path):
    np.savez(path, ARRAY)
    assert isinstance(opened(path), MappedSource)
    assert np.shares_memory(whole(opened(path)), whole(opened(path)))
    np.savez_compressed(path, ARRAY)
    source = opened(path)
    assert isinstance(source, PackedSource)
    assert source.block == source.shape
    reports = []
    source.spooled(tmp_path / "spool", lambda *report: reports.append(report))
    assert reports[-1][0] <= reports[-1][1] == path.stat().st_size


@pytest.mark.parametrize("name", ["raw", "raw.npy", "labels"])
def test_one_of_several_is_named(path, saver, name):
    arrays = {"raw": ARRAY, "labels": ARRAY.astype(np.uint64) << 40, "table": np.arange(3.0)}
    saver(path, **arrays)
    source = opened(path, array=name, axes="xyz")
    np.testing.assert_array_equal(whole(source)[..., 0], arrays[name.removesuffix(".npy")])
    assert source.dtype == arrays[name.removesuffix(".npy")].dtype


def test_without_a_name_the_arrays_are_listed(path, saver):
    saver(path, raw=ARRAY, labels=ARRAY.astype(np.uint64), table=np.arange(3.0), names=np.array(["a"], dtype=object))
    listed = "raw (2 x 3 x 5, uint16), labels (2 x 3 x 5, uint64), table (3, float64), names (1, object)"
    assert refusal(OptionError, path) == f"{path}: holds {listed}: add --array NAME, e.g. --array raw"
    assert refusal(OptionError, path, array="seg") == (
        f"{path}: no array seg in it; it holds {listed}: add --array NAME, e.g. --array raw"
    )


def test_many_arrays_are_not_all_listed(path):
    np.savez(path, *[ARRAY] * 25)
    assert "arr_19 (2 x 3 x 5, uint16) and 5 more: add --array NAME" in refusal(OptionError, path)


def test_an_array_in_a_folder_of_the_zip_file(path):
    with zipfile.ZipFile(path, "w") as file:
        for name, array in (("a/b", ARRAY), ("c", ARRAY + 1)):
            data = io.BytesIO()
            np.save(data, array)
            file.writestr(f"{name}.npy", data.getvalue())
        file.writestr("readme.txt", "text")
    np.testing.assert_array_equal(whole(opened(path, array="a/b"))[..., 0], ARRAY.T)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("version", [1, 2])
def test_orders_and_versions(path, saver, order, version):
    data = io.BytesIO()
    np.lib.format.write_array(data, np.asarray(ARRAY, order=order), version=(version, 0))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if saver is np.savez_compressed else zipfile.ZIP_STORED) as file:
        file.writestr("a.npy", data.getvalue())
    np.testing.assert_array_equal(whole(opened(path, axes="zyx"))[..., 0], ARRAY.T)


def test_zip64(path):
    # numpy always forces the extra field of zip64 on members.
    np.savez(path, ARRAY)
    assert b"\x01\x00\x10\x00" in path.read_bytes()[:100] or b"\x01\x00\x14\x00" in path.read_bytes()[:100]
    np.testing.assert_array_equal(whole(opened(path))[..., 0], ARRAY.T)


def test_a_zip_file_behind_something_else(path, saver):
    saver(path, ARRAY)
    path.write_bytes(b"#!/bin/sh\n" + path.read_bytes())
    np.testing.assert_array_equal(whole(opened(path))[..., 0], ARRAY.T)


def test_objects_are_never_unpickled(path, saver):
    saver(path, np.array([[ARRAY, None]], dtype=object))
    assert refusal(SourceError, path) == (
        f"{path}, array arr_0: holds Python objects (pickled), which are never loaded; save the array as numbers"
    )


def test_no_voxel_size_stops(path, saver):
    saver(path, ARRAY)
    assert refusal(OptionError, path, resolution=None) == (
        f"{path}, array arr_0: a .npz file tells no voxel size: add --resolution X,Y,Z in nm, e.g. --resolution 8,8,40"
    )


def test_what_is_no_volume(path, saver):
    saver(path, np.arange(3))
    assert refusal(SourceError, path) == (
        f"{path}, array arr_0: its header tells a shape of 3; 2 to 5 axes of at least 1 are read"
    )


def test_a_zip_file_without_arrays(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("readme.txt", "text")
    assert refusal(SourceError, path) == f"{path}: a zip file without an array: 1 files in it, none of them ends in .npy"


def test_something_else_by_that_name(path):
    path.write_bytes(b"text" * 100)
    assert refusal(SourceError, path) == (
        f"{path}: not an .npz file, or one that is cut short (File is not a zip file): copy it again"
    )


def test_what_is_no_array_by_the_name_of_one(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.npy", b"text")
    assert refusal(SourceError, path).startswith(f"{path}, array a: not a .npy file, or one whose header is not sound (")


def test_an_encrypted_array(path):
    np.savez(path, ARRAY)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert refusal(SourceError, path) == (f"{path}, array arr_0: encrypted, which is not read; save the array without a password")


def test_a_method_that_is_not_read(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as file:
        file.writestr("a.npy", b"text")
    assert refusal(SourceError, path) == (
        f"{path}, array a: packed by method 14 of zip, 0 (stored) and 8 (deflate) are read; save it with numpy.savez or "
        "numpy.savez_compressed"
    )


def test_an_array_larger_than_its_member(path, saver):
    saver(path, ARRAY)
    data = io.BytesIO()
    np.save(data, ARRAY)
    cut = data.getvalue()[:-2]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if saver is np.savez_compressed else zipfile.ZIP_STORED) as file:
        file.writestr("a.npy", cut)
    assert refusal(SourceError, path) == (
        f"{path}, array a: {len(cut)} bytes unpacked told by the zip file, {len(cut) + 2} expected from the array's header: the "
        "file is damaged; copy it again"
    )


def test_an_array_whose_place_is_damaged(path, saver):
    saver(path, ARRAY)
    data = path.read_bytes()
    path.write_bytes(b"\0\0\0\0" + data[4:])
    assert refusal(SourceError, path) == (
        f"{path}, array arr_0: the zip file is damaged where the array begins or cut short: copy it again"
    )


def test_a_corrupt_stream(path, tmp_path):
    np.savez_compressed(path, np.random.default_rng(0).integers(0, 999, (40, 50, 60), np.uint16))
    data = bytearray(path.read_bytes())
    data[100_000:100_040] = bytes(40)
    path.write_bytes(data)
    source = opened(path)
    with pytest.raises(
        SourceError, match=r"a\.npz: the deflate stream in it is (corrupt|cut short) \(\d+ bytes unpacked, 240128 "
    ):
        source.spooled(tmp_path / "spool", silent)
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_wrong_check_sum(path, tmp_path):
    np.savez_compressed(path, ARRAY)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 16] ^= 1
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"the deflate stream in it is corrupt \(188 bytes unpacked\): copy it again"):
        opened(path).spooled(tmp_path / "spool", silent)


def test_a_file_that_changes_while_it_is_read(path):
    np.savez(path, ARRAY)
    source = opened(path)
    np.savez(path, ARRAY + 1, ARRAY)
    with pytest.raises(DamagedError, match="the file was changed while it was being read; start again"):
        whole(source)


def test_sources_are_read_in_spawned_workers(path, tmp_path):
    np.savez(path, ARRAY)
    np.savez_compressed(tmp_path / "b.npz", ARRAY)
    sources = [opened(path), opened(tmp_path / "b.npz")]
    assert [pickle.loads(pickle.dumps(source)) for source in sources] == sources
    with multiprocessing.get_context("spawn").Pool(1) as workers:
        for array in workers.map(whole, sources):
            np.testing.assert_array_equal(array[..., 0], ARRAY.T)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    patches=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=8)), max_size=4),
    kept=st.floats(0.2, 1),
)
def test_a_damaged_file_ends_in_a_source_or_in_a_sentence(path, saver, tmp_path, patches, kept):
    saver(path, ARRAY)
    data = bytearray(path.read_bytes())
    for where, patch in patches:
        at = int(where * len(data))
        data[at : at + len(patch)] = patch
    path.write_bytes(data[: int(len(data) * kept)] or b"P")
    with contextlib.suppress(ConverterError):
        source = opened(path)
        assert source.read(Box((0, 0, 0), (1, 1, 1))).shape == (1, 1, 1, 1)
        source.spooled(tmp_path / "spool", silent)
