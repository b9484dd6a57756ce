"""What stands around the data in a shard file."""

import gzip
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.info import Sharding
from formats.sharding.frame import shard_frame

RAW = Sharding(preshift_bits=1, minishard_bits=1, shard_bits=1)


def frame_of(ids: list[int], sizes: list[int], sharding: Sharding):  # type: ignore[no-untyped-def]
    return shard_frame(np.array(ids, np.uint64), np.array(sizes, np.int64), sharding)


def test_a_shard_by_hand() -> None:
    """Ids 8, 1 (minishard 0) and 11 (minishard 1) of shard 0; the shard index is 32 bytes, the data 5 + 3 + 4."""
    frame = frame_of([11, 8, 1], [4, 3, 5], RAW)
    first = struct.pack("<6Q", 1, 7, 0, 0, 5, 3)
    second = struct.pack("<3Q", 11, 8, 4)
    assert frame.head == struct.pack("<4Q", 12, 12 + 48, 60, 60 + 24)
    assert frame.order.tolist() == [2, 1, 0]
    assert frame.tail == first + second


def test_bytes_before_each_entry_by_hand() -> None:
    """As above, with 10 bytes before id 8, 20 before id 1 and 30 before id 11: no index counts them, starts leave them out."""
    ids, sizes, before = np.array([11, 8, 1], np.uint64), np.array([4, 3, 5], np.int64), np.array([30, 10, 20], np.int64)
    frame = shard_frame(ids, sizes, RAW, before)
    first = struct.pack("<6Q", 1, 7, 20, 10, 5, 3)
    second = struct.pack("<3Q", 11, 20 + 5 + 10 + 3 + 30, 4)
    assert frame.head == struct.pack("<4Q", 72, 72 + 48, 120, 120 + 24)
    assert frame.order.tolist() == [2, 1, 0]
    assert frame.tail == first + second


def test_sizes_of_bytes_before_are_checked() -> None:
    one = np.array([1], np.uint64), np.array([1], np.int64), RAW
    with pytest.raises(ValueError, match=r"^1 ids and 2 sizes, expected as many$"):
        shard_frame(*one, np.array([1, 2], np.int64))
    with pytest.raises(ValueError, match=r"^a size of -2 bytes, expected 0 or more$"):
        shard_frame(*one, np.array([-2], np.int64))


def test_a_minishard_without_ids_by_hand() -> None:
    frame = frame_of([3], [10], RAW)
    assert frame.head == struct.pack("<4Q", 0, 0, 10, 34)
    assert frame.tail == struct.pack("<3Q", 3, 0, 10)


def test_a_shard_without_ids_is_all_empty_minishards() -> None:
    frame = frame_of([], [], RAW)
    assert (frame.head, frame.order.tolist(), frame.tail) == (bytes(32), [], b"")


def test_minishard_indices_are_real_gzip() -> None:
    plain = frame_of([11, 8, 1], [4, 3, 5], RAW)
    packed = frame_of([11, 8, 1], [4, 3, 5], Sharding(1, 1, 1, minishard_index_encoding="gzip"))
    bounds = np.frombuffer(packed.head, "<u8").reshape(2, 2) - 12
    assert [packed.tail[a : a + 3] for a, _ in bounds] == [b"\x1f\x8b\x08"] * 2
    assert b"".join(gzip.decompress(packed.tail[a:b]) for a, b in bounds) == plain.tail


@given(st.dictionaries(st.integers(0, 2**64 - 1), st.integers(0, 2**40), min_size=1, max_size=20), st.randoms())
def test_the_same_entries_give_the_same_file(entries: dict[int, int], random) -> None:  # type: ignore[no-untyped-def]
    sharding = Sharding(3, 2, 0, "murmurhash3_x86_128", "gzip")
    ids = list(entries)
    one = frame_of(ids, [entries[n] for n in ids], sharding)
    mixed = random.sample(ids, len(ids))
    other = frame_of(mixed, [entries[n] for n in mixed], sharding)
    assert (one.head, one.tail) == (other.head, other.tail)
    assert [ids[n] for n in one.order] == [mixed[n] for n in other.order]


@pytest.mark.parametrize(
    ("ids", "sizes", "message"),
    [
        ([1, 2, 1], [1, 1, 1], "id 1 is there 2 times, expected once"),
        ([1, 4], [1, 1], "ids of shard 0 and of shard 1, expected those of one shard"),
        ([1], [-1], "a size of -1 bytes, expected 0 or more"),
        ([1], [1, 2], "1 ids and 2 sizes, expected as many"),
    ],
)
def test_what_is_no_shard_is_refused(ids: list[int], sizes: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        frame_of(ids, sizes, RAW)
