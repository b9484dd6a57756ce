"""Shards both ways between us, tensorstore and cloud-volume."""

from typing import Any

import numpy as np
from cloudvolume.datasource.precomputed.sharding import ShardReader, synthesize_shard_files
from hypothesis import given, settings
from hypothesis import strategies as st

from formats.info import Sharding
from formats.sharding.lookup import read_entry
from tests.formats.sharding.shards import get_range_of, our_shards, read_by_tensorstore, specification, tensorstore_shards

encoding = st.sampled_from(["raw", "gzip"])
hash_name = st.sampled_from(["identity", "murmurhash3_x86_128"])
small = st.integers(0, 3)
shardings = st.builds(Sharding, small, small, small, hash_name, encoding, encoding)
# Ids close together share shards, those of 64 bits show what is cut.
ids = st.integers(0, 200) | st.integers(0, 2**64 - 1)
entries = st.dictionaries(ids, st.binary(min_size=1, max_size=40), min_size=1, max_size=12)

LIMIT = 40


@settings(max_examples=60)
@given(shardings, entries, st.lists(ids, max_size=3))
def test_tensorstore_reads_ours(sharding: Sharding, data: dict[int, bytes], others: list[int]) -> None:
    files = our_shards(data, sharding)
    assert read_by_tensorstore(files, [*data, *others], sharding) == {n: data.get(n) for n in [*data, *others]}


@settings(max_examples=60)
@given(shardings, entries, st.lists(ids, max_size=3))
def test_we_read_tensorstores(sharding: Sharding, data: dict[int, bytes], others: list[int]) -> None:
    get_range = get_range_of(tensorstore_shards(data, sharding))
    for n in [*data, *others]:
        assert read_entry(get_range, n, sharding, LIMIT) == data.get(n)


@settings(max_examples=40)
@given(shardings, entries)
def test_cloud_volume_reads_ours(sharding: Sharding, data: dict[int, bytes]) -> None:
    reader = ShardReader(None, None, specification(sharding))
    found: dict[int, bytes] = {}
    for shard in our_shards(data, sharding).values():
        found |= {int(n): binary for n, binary in reader.disassemble_shard(shard).items()}
    assert found == data


@settings(max_examples=40)
@given(shardings, entries)
def test_we_read_cloud_volumes(sharding: Sharding, data: dict[int, bytes]) -> None:
    made: dict[str, Any] = synthesize_shard_files(specification(sharding), {np.uint64(n): d for n, d in data.items()})
    get_range = get_range_of(made)
    assert {n: read_entry(get_range, n, sharding, LIMIT) for n in data} == data


def test_many_random_ids_are_found_by_tensorstore() -> None:
    rng = np.random.default_rng(3)
    data = {int(n): int(n).to_bytes(8, "little") for n in rng.integers(0, 2**64, 20_000, np.uint64)}
    sharding = Sharding(0, 4, 3, "murmurhash3_x86_128", "gzip", "raw")
    files = our_shards(data, sharding)
    assert len(files) == 8
    asked = list(data)[::10]
    assert read_by_tensorstore(files, asked, sharding) == {n: data[n] for n in asked}
