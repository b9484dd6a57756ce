import gzip
import os
import tempfile
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from converters.errors import DamagedError, DiskFullError, SourceError
from converters.sources.packed import first_bytes
from formats.grid import Box
from tests.converters.sources.reading import opened

SHAPE = (64, 65, 300)
BYTES = 352 + 2 * 64 * 65 * 300


def silent(done, total):
    pass


@pytest.fixture(scope="module")
def voxels():
    return np.random.default_rng(0).integers(0, 3000, SHAPE, np.uint16)


@pytest.fixture(scope="module")
def packed(voxels, tmp_path_factory):
    image = nib.Nifti1Image(voxels, np.eye(4))
    image.header.set_xyzt_units("mm")
    return gzip.compress(image.to_bytes(), 1)


@pytest.fixture
def path(packed, tmp_path):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(packed)
    return path


def test_unpacking_reports_packed_bytes(path, packed, tmp_path):
    reports = []
    opened(path).spooled(tmp_path / "spool", lambda done, total: reports.append((done, total)))
    assert {total for _, total in reports} == {len(packed)}
    done = [done for done, _ in reports]
    assert len(done) >= 3
    assert done == sorted(done)
    assert done[-1] == len(packed)


@pytest.mark.parametrize("piece", [100, 9_999, 1 << 20])
def test_a_look_finds_its_voxels_in_pieces_of_any_size(path, voxels, monkeypatch, piece):
    monkeypatch.setattr("converters.sources.packed._PIECE", piece)
    for box in (Box((3, 0, 7), (64, 65, 40)), Box((0, 60, 100), (1, 61, 101)), Box((10, 20, 30), (11, 50, 31))):
        found = opened(path).read(box)
        assert found.dtype == voxels.dtype
        np.testing.assert_array_equal(found[..., 0], voxels[tuple(map(slice, box.start, box.end))])


def test_the_spool_holds_the_voxels_and_nothing_lies_beside_it(path, voxels, tmp_path):
    spooled = opened(path).spooled(tmp_path / "deep" / "spool", silent)
    files = list((tmp_path / "deep" / "spool").iterdir())
    assert files == [spooled.array.file]
    assert files[0].read_bytes() == voxels.tobytes("F")
    assert spooled.path == path
    assert spooled.spooled(tmp_path, silent) is spooled


def test_only_the_point_of_time_that_is_read_is_spooled(tmp_path):
    series = np.arange(4 * 5 * 6 * 7, dtype=np.int16).reshape(4, 5, 6, 7)
    nib.save(nib.Nifti1Image(series, np.eye(4)), tmp_path / "t.nii.gz")
    spooled = opened(tmp_path / "t.nii.gz", time=3).spooled(tmp_path / "spool", silent)
    assert next((tmp_path / "spool").glob("t.nii.gz.*.spool")).read_bytes() == series[..., 3].tobytes("F")
    np.testing.assert_array_equal(spooled.read(Box((0, 0, 0), (4, 5, 6))), series[..., 3:4])


def test_a_spool_is_written_once_for_each_version_of_the_file(path, voxels, tmp_path):
    spool = opened(path).spooled(tmp_path / "spool", silent).array.file
    assert spool.read_bytes() == voxels.tobytes("F")
    written = spool.stat().st_mtime_ns
    assert opened(path).spooled(tmp_path / "spool", silent).array.file == spool
    assert spool.stat().st_mtime_ns == written
    os.utime(path, ns=(1, 1))
    assert opened(path).spooled(tmp_path / "spool", silent).array.file != spool


@pytest.mark.parametrize("kept", [0.5, 0.999, -8, -1])
def test_a_file_that_is_cut_short_is_refused(path, packed, tmp_path, kept):
    path.write_bytes(packed[: int(len(packed) * kept) if kept > 0 else kept])
    found = len(_unpackable(path))
    with pytest.raises(SourceError) as refused:
        opened(path).spooled(tmp_path / "spool", silent)
    assert str(refused.value).startswith(f"{path}: the gzip file is cut short (")
    assert str(refused.value).endswith(f" bytes unpacked, {BYTES} expected): copy it again")
    told = int(str(refused.value).split("(")[1].split(" ")[0])
    assert found - (1 << 20) <= told <= found
    assert list((tmp_path / "spool").iterdir()) == []


def _unpackable(path: Path) -> bytes:
    """What the standard library gets out of a file that is cut short."""
    return zlib.decompressobj(31).decompress(path.read_bytes())


@pytest.mark.parametrize("where", [0.5, 0.9])
def test_a_corrupt_file_is_refused(path, packed, tmp_path, where):
    data = bytearray(packed)
    middle = int(len(data) * where)
    data[middle : middle + 40] = bytes(40)
    path.write_bytes(data)
    with pytest.raises(
        SourceError, match=r"a\.nii\.gz: the gzip file is corrupt \(\d+ bytes unpacked, 2496352 expected\): copy it again$"
    ):
        opened(path).spooled(tmp_path / "spool", silent)
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_wrong_check_sum_is_refused(path, packed, tmp_path):
    path.write_bytes(packed[:-8] + bytes(4) + packed[-4:])
    with pytest.raises(SourceError, match=rf"is corrupt \(\d+ bytes unpacked, {BYTES} expected\)"):
        opened(path).spooled(tmp_path / "spool", silent)


def test_what_follows_the_voxels_is_checked_and_left_out(path, packed, voxels, tmp_path):
    path.write_bytes(packed + gzip.compress(b"more"))
    opened(path).spooled(tmp_path, silent)
    assert next(tmp_path.glob("a.nii.gz.*.spool")).read_bytes() == voxels.tobytes("F")


def test_a_box_before_the_damage_is_read_and_one_behind_it_is_not(path, packed, voxels):
    path.write_bytes(packed[: len(packed) // 2])
    source = opened(path)
    np.testing.assert_array_equal(source.read(Box((3, 4, 5), (64, 10, 20)))[..., 0], voxels[3:, 4:10, 5:20])
    with pytest.raises(DamagedError, match=r"the gzip file is cut short .* expected"):
        source.read(Box((3, 4, 250), (64, 10, 260)))


def test_a_file_that_goes_while_it_is_read(path, tmp_path):
    source = opened(path)
    path.unlink()
    sentence = r"a\.nii\.gz: cannot be read \(No such file or directory\)$"
    with pytest.raises(DamagedError, match=sentence):
        source.read(Box((0, 0, 0), (1, 1, 1)))
    with pytest.raises(SourceError, match=sentence):
        source.spooled(tmp_path / "spool", silent)


def test_a_header_that_cannot_be_unpacked(path, packed):
    path.write_bytes(packed[:30])
    with pytest.raises(SourceError, match=r"a\.nii\.gz: the gzip file is cut short \(0 bytes unpacked\): copy it again$"):
        opened(path)
    path.write_bytes(b"\x1f\x8b" + bytes(100))
    with pytest.raises(SourceError, match=r"a\.nii\.gz: the gzip file is corrupt \(0 bytes unpacked\): copy it again$"):
        opened(path)


def test_first_bytes(path, packed):
    assert first_bytes(path, 352) == gzip.decompress(packed)[:352]
    assert first_bytes(path, 10**9) == gzip.decompress(packed)
    path.write_bytes(b"plain")
    assert first_bytes(path, 3) == b"pla"
    assert first_bytes(path, 30) == b"plain"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, a device that is always full")
def test_a_full_disk(path, tmp_path, monkeypatch):
    def on_the_full_device(dir, prefix, suffix):
        descriptor, name = mkstemp(dir=dir, prefix=prefix, suffix=suffix)
        os.close(descriptor)
        return os.open("/dev/full", os.O_WRONLY), name

    mkstemp = tempfile.mkstemp
    monkeypatch.setattr(tempfile, "mkstemp", on_the_full_device)
    spool = tmp_path / "spool"
    with pytest.raises(DiskFullError) as refused:
        opened(path).spooled(spool, silent)
    assert str(refused.value) == (
        f"{spool}: no room left to unpack {path} ({BYTES - 352} bytes are needed): free some and start again"
    )
    assert list(spool.iterdir()) == []


def test_a_folder_that_cannot_be_written(path, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SourceError, match=r"a\.nii\.gz: cannot be unpacked into .*/file \(.*[Ee]xists\)$"):
        opened(path).spooled(tmp_path / "file", silent)


def test_an_interrupted_spool_leaves_nothing(path, tmp_path):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        opened(path).spooled(tmp_path / "spool", interrupt)
    assert list((tmp_path / "spool").iterdir()) == []
