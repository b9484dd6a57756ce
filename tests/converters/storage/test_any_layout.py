"""Datasets that anyone wrote: each object where it lies, and gzip that nothing marks."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.storage.any_layout import AnyLayoutStorage
from converters.storage.unmarked import unpacked
from formats.errors import DecodeError

NAME = "8_8_40/-64-0_0-64_64-99"
PLACES = ["8_8_40/-64-0/0-64/64-99", "8_8_40/-64-0/0-64/64-99.gz", NAME, f"{NAME}.gz"]


def put(root: Path, place: str, data: bytes) -> None:
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    (root / place).write_bytes(gzip.compress(data) if place.endswith(".gz") else data)


@pytest.mark.parametrize("place", PLACES)
def test_a_chunk_is_found_wherever_it_lies(tmp_path: Path, place: str) -> None:
    storage = AnyLayoutStorage(tmp_path)
    assert (storage.exists(NAME), storage.get(NAME)) == (False, None)
    put(tmp_path, place, b"voxels")
    assert (storage.exists(NAME), storage.get(NAME)) == (True, b"voxels")
    assert storage.locate(NAME) == f"{tmp_path}/{NAME}"


def test_of_several_the_one_that_the_server_answers_with(tmp_path: Path) -> None:
    for place in reversed(PLACES):
        put(tmp_path, place, place.encode())
        assert AnyLayoutStorage(tmp_path).get(NAME) == place.encode()


@pytest.mark.parametrize("name", ["8_8_40/a\0b", "\ud800"])
def test_a_name_that_no_file_can_have_is_absent(tmp_path: Path, name: str) -> None:
    storage = AnyLayoutStorage(tmp_path)
    assert (storage.get(name), storage.get_range(name, 0, 1), storage.exists(name)) == (None, None, False)


def test_a_part_is_no_longer_than_what_is_there(tmp_path: Path) -> None:
    put(tmp_path, "0.shard", b"0123456789")
    get_range = AnyLayoutStorage(tmp_path).get_range
    assert get_range("0.shard", 8, 1 << 60) == b"89"
    assert get_range("0.shard", 1 << 60, 1 << 60) == b""


def test_what_is_no_chunk_lies_under_its_own_name(tmp_path: Path) -> None:
    put(tmp_path, "8_8_40/2a.shard", b"0123456789")
    put(tmp_path, "info.gz", b"{}")
    storage = AnyLayoutStorage(tmp_path)
    assert storage.get_range("8_8_40/2a.shard", 8, 5) == b"89"
    assert storage.get_range("8_8_40/2b.shard", 8, 5) is None
    assert storage.get("info") == b"{}"
    assert storage.get("8_8_40") is None


@pytest.mark.parametrize("data", [b"no gzip", gzip.compress(b"voxels", mtime=0)[:-1]], ids=["no gzip", "cut short"])
def test_what_is_marked_as_gzip_and_is_none_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "8_8_40").mkdir()
    (tmp_path / f"{NAME}.gz").write_bytes(data)
    with pytest.raises(DecodeError, match="gzip data of"):
        AnyLayoutStorage(tmp_path).get(NAME)


def test_what_unpacks_to_more_than_the_limit_is_refused(tmp_path: Path) -> None:
    put(tmp_path, f"{NAME}.gz", bytes(101))
    assert AnyLayoutStorage(tmp_path, 101).get(NAME) == bytes(101)
    with pytest.raises(DecodeError, match="unpacks to more than the 100 bytes expected"):
        AnyLayoutStorage(tmp_path, 100).get(NAME)


def test_what_cannot_be_read_is_an_error_and_not_absent(tmp_path: Path) -> None:
    put(tmp_path, "8_8_40/other", b"")
    (tmp_path / NAME).symlink_to(NAME.rpartition("/")[2])
    with pytest.raises(OSError, match="symbolic links"):
        AnyLayoutStorage(tmp_path).get(NAME)


@given(st.binary(max_size=200))
def test_gzip_without_a_mark_is_unpacked(data: bytes) -> None:
    assert unpacked(gzip.compress(data), 200) == data


@given(st.binary(max_size=200))
def test_all_else_stays_as_it_is(data: bytes) -> None:
    for other in (b"\x1f\x8b\x08" + data, data, gzip.compress(data)[:-1], gzip.compress(data) + b"\0"):
        assert unpacked(other, 200) == other


def test_what_unpacks_to_too_much_stays_as_it_is() -> None:
    packed = gzip.compress(bytes(101))
    assert unpacked(packed, 100) == packed
