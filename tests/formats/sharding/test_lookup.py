"""Finding an id in shards whose every byte is a stranger's."""

import gzip
import struct
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from formats.errors import DecodeError
from formats.info import Sharding
from formats.sharding.lookup import LARGEST_MINISHARD_INDEX, Stretch, parse_index_entry, parse_minishard_index, read_entry
from tests.formats.sharding.shards import get_range_of

ONE = Sharding(preshift_bits=0, minishard_bits=0, shard_bits=0)
PACKED = Sharding(0, 0, 0, "identity", "gzip", "gzip")


def words(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}Q", *(n % 2**64 for n in numbers))


def shard_of(index: bytes, data: bytes = b"") -> bytes:
    """Return a shard of one minishard."""
    return words(len(data), len(data) + len(index)) + data + index


def read(shard: bytes, entry_id: int, sharding: Sharding = ONE, limit: int = 100) -> bytes | None:
    return read_entry(get_range_of({"0.shard": shard}), entry_id, sharding, limit)


def test_an_absent_shard_holds_nothing() -> None:
    assert read_entry(lambda name, start, length: None, 5, ONE, 100) is None


def test_ids_in_any_order_and_data_that_lies_backwards() -> None:
    """As the viewer reads it: sums wrap at 64 bits, and of two entries with one id the first counts."""
    shard = shard_of(words(9, -4, 4, 3, -5, -3, 3, 2, 1), b"abcdef")
    assert [read(shard, n) for n in (9, 5, 4)] == [b"def", b"bc", None]
    index = parse_minishard_index(words(9, -4, 4, 3, -5, -3, 3, 2, 1), ONE)
    assert index.ids.tolist() == [9, 5, 9]
    assert index.starts.tolist() == [19, 17, 16]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (words(5), "has 8 bytes, expected 16"),
        (words(6, 5), "tells bytes 6 to 5$"),
        (words(5, 2**63), f"tells bytes 5 to {2**63}$"),
        (words(0, LARGEST_MINISHARD_INDEX + 1), "a minishard index of 16777217 bytes, expected no more than 16777216"),
    ],
)
def test_an_index_entry_that_cannot_be_is_refused(entry: bytes, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        parse_index_entry(entry, ONE)


def test_index_entries_count_from_the_end_of_the_shard_index() -> None:
    assert parse_index_entry(words(7, 31), Sharding(0, 3, 0)) == Stretch(128 + 7, 24)
    assert parse_index_entry(words(7, 7), Sharding(0, 3, 0)) is None


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (bytes(25), "a minishard index of 25 bytes, expected a multiple of 24"),
        (words(1, -1, 5), "data before the begin or beyond the end of any file"),
        (words(1, 2**63, 5), "data before the begin or beyond the end of any file"),
        (words(1, 0, 2**63), "data before the begin or beyond the end of any file"),
        (words(1, 5, -5), "data before the begin or beyond the end of any file"),
    ],
)
def test_a_minishard_index_that_cannot_be_is_refused(index: bytes, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        parse_minishard_index(index, ONE)


def test_what_unpacks_without_end_is_refused() -> None:
    bomb = gzip.compress(bytes(LARGEST_MINISHARD_INDEX + 24))
    with pytest.raises(DecodeError, match="unpacks to more than the 16777216 bytes expected"):
        parse_minishard_index(bomb, PACKED)
    data = gzip.compress(bytes(5000))
    shard = shard_of(gzip.compress(words(1, 0, len(data))), data)
    assert read(shard, 1, PACKED, 5000) == bytes(5000)
    with pytest.raises(DecodeError, match=r"^0\.shard: gzip data of \d+ bytes unpacks to more than the 4999 bytes expected"):
        read(shard, 1, PACKED, 4999)


def test_data_that_is_larger_than_it_may_be_is_not_even_read() -> None:
    shard = shard_of(words(1, 0, 10**15))
    with pytest.raises(DecodeError, match=r"^0\.shard: an entry of 1000000000000000 bytes, expected no more than 100$"):
        read(shard, 1)


@pytest.mark.parametrize(
    ("shard", "message"),
    [
        (b"", r"^0\.shard: minishard 0: an entry of the shard index has 0 bytes, expected 16$"),
        (words(0, 24) + bytes(5), r"^0\.shard: minishard 0: 24 bytes from byte 16 on are expected, the file has 5 of them$"),
        (shard_of(words(1, 0, 40), b"ab"), r"^0\.shard: 40 bytes from byte 16 on are expected, the file has 26 of them$"),
    ],
)
def test_a_shard_that_is_cut_off_is_refused_and_not_empty(shard: bytes, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        read(shard, 1)


def test_a_shard_that_goes_away_is_refused_and_not_empty() -> None:
    found = [words(0, 24)]
    with pytest.raises(DecodeError, match=r"^0\.shard: minishard 0: .* the file is gone$"):
        read_entry(lambda name, start, length: found.pop() if found else None, 1, ONE, 100)


def test_zlib_is_no_gzip() -> None:
    import zlib

    shard = shard_of(gzip.compress(words(1, 0, 20)), zlib.compress(b"x" * 50, 0)[:20])
    with pytest.raises(DecodeError, match=r"^0\.shard: gzip data of 20 bytes is corrupt"):
        read(shard, 1, PACKED)


@given(st.binary(max_size=120), st.integers(0, 4), st.sampled_from([ONE, PACKED, Sharding(0, 2, 1, "murmurhash3_x86_128")]))
@example(b"", 0, ONE)
def test_any_bytes_are_read_or_refused(shard: bytes, entry_id: int, sharding: Sharding) -> None:
    with suppress(DecodeError):
        data = read_entry(lambda name, start, length: shard[start : start + length], entry_id, sharding, 100)
        assert data is None or len(data) <= 100
