"""Hashes, shard numbers and names."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.info import Sharding
from formats.sharding.ids import murmurhash3_x86_128_low, places, shard_name
from tests.formats.sharding.shards import specification

# Made with the package mmh3 5.3.1: mmh3.mmh3_x86_128_digest(value.to_bytes(8, "little"), 0)[:8].hex()
MURMUR = [
    (0, "41ae28e084b07247"),
    (1, "9aced416d667bde8"),
    (1822975381 >> 6, "1210c282adf7e4c4"),
    (2**32 - 1, "be5187c0ff607200"),
    (2**32, "64fd783b132db1bb"),
    (0x0123456789ABCDEF, "939d104c26368070"),
    (2**53 + 1, "98633958796cdedf"),
    (2**64 - 1, "1a5d2b21bd664f57"),
]


@st.composite
def shardings(draw: st.DrawFn) -> Sharding:
    minishard_bits = draw(st.integers(0, 32))
    hash_name = draw(st.sampled_from(["identity", "murmurhash3_x86_128"]))
    # cloud-volume takes no preshift of 64.
    return Sharding(draw(st.integers(0, 63)), minishard_bits, draw(st.integers(0, 64 - minishard_bits)), hash_name)


def test_murmur_hashes_are_those_of_another_implementation() -> None:
    values = np.array([value for value, _ in MURMUR], np.uint64)
    assert murmurhash3_x86_128_low(values).astype("<u8").tobytes().hex() == "".join(digest for _, digest in MURMUR)


def test_no_ids_have_no_places() -> None:
    shards, minishards = places(np.zeros(0, np.uint64), Sharding(0, 3, 3, "murmurhash3_x86_128"))
    assert shards.shape == minishards.shape == (0,)


def test_a_place_that_cloud_volume_tests_by() -> None:
    shards, minishards = places(np.array([1822975381], np.uint64), Sharding(6, 11, 7, "murmurhash3_x86_128"))
    assert (f"{shards[0]:x}", minishards[0]) == ("42", 18)


@given(shardings(), st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=5))
def test_ids_are_where_cloud_volume_looks_for_them(sharding: Sharding, ids: list[int]) -> None:
    shards, minishards = places(np.array(ids, np.uint64), sharding)
    for entry_id, shard, minishard in zip(ids, shards, minishards, strict=True):
        expected = specification(sharding).compute_shard_location(np.uint64(entry_id))
        assert int(minishard) == int(expected.minishard_number)
        assert shard_name(int(shard), sharding) == f"{expected.shard_number}.shard"


@pytest.mark.parametrize("hash_name", ["identity", "murmurhash3_x86_128"])
def test_all_ids_lie_in_one_place_when_all_bits_are_shifted_out(hash_name: str) -> None:
    sharding = Sharding(64, 4, 4, hash_name)
    shards, minishards = places(np.array([0, 1, 2**64 - 1], np.uint64), sharding)
    assert len(set(shards.tolist())) == len(set(minishards.tolist())) == 1


def test_places_of_all_64_bits() -> None:
    shards, minishards = places(np.array([2**64 - 1, 2**63], np.uint64), Sharding(0, 0, 64))
    assert shards.tolist() == [2**64 - 1, 2**63]
    assert minishards.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("shard", "bits", "name"),
    [(0, 0, "0.shard"), (0, 1, "0.shard"), (15, 4, "f.shard"), (10, 5, "0a.shard"), (0x2A, 7, "2a.shard"), (1, 9, "001.shard"),
     (2**64 - 1, 64, "ffffffffffffffff.shard")],
)  # fmt: skip
def test_names_by_hand(shard: int, bits: int, name: str) -> None:
    assert shard_name(shard, Sharding(0, 0, bits)) == name
