"""Whole shards for the tests: as our frames make them, and as tensorstore and cloud-volume have them."""

import gzip
from typing import Any

import numpy as np
import tensorstore as ts
from cloudvolume.datasource.precomputed.sharding import ShardingSpecification

from formats.info import SHARDED, Sharding
from formats.sharding.frame import shard_frame
from formats.sharding.ids import places, shard_name


def specification(sharding: Sharding) -> ShardingSpecification:
    """Return the same for cloud-volume."""
    return ShardingSpecification(
        type="neuroglancer_uint64_sharded_v1",
        preshift_bits=sharding.preshift_bits,
        hash=sharding.hash,
        minishard_bits=sharding.minishard_bits,
        shard_bits=sharding.shard_bits,
        minishard_index_encoding=sharding.minishard_index_encoding,
        data_encoding=sharding.data_encoding,
    )


def our_shards(entries: dict[int, bytes], sharding: Sharding) -> dict[str, bytes]:
    """Return the files, by name, that hold the entries."""
    if sharding.data_encoding == "gzip":
        entries = {entry_id: gzip.compress(data) for entry_id, data in entries.items()}
    ids = np.array(list(entries), np.uint64)
    stored = list(entries.values())
    numbers, _ = places(ids, sharding)
    files = {}
    for shard in set(numbers.tolist()):
        members = np.flatnonzero(numbers == shard)
        frame = shard_frame(ids[members], np.array([len(stored[n]) for n in members], np.int64), sharding)
        data = b"".join(stored[members[n]] for n in frame.order)
        files[shard_name(shard, sharding)] = frame.head + data + frame.tail
    return files


def tensorstore_shards(entries: dict[int, bytes], sharding: Sharding) -> dict[str, bytes]:
    """Return the files that tensorstore writes for the entries."""
    store = _store(sharding)
    with ts.Transaction() as transaction:
        inside = store.with_transaction(transaction)
        for entry_id, data in entries.items():
            inside[_key(entry_id)] = data
    return {name.decode(): store.base[name] for name in store.base.list().result()}


def read_by_tensorstore(files: dict[str, bytes], ids: list[int], sharding: Sharding) -> dict[int, bytes | None]:
    """Return what tensorstore reads for the ids."""
    store = _store(sharding)
    for name, data in files.items():
        store.base[name] = data
    results = {entry_id: store.read(_key(entry_id)).result() for entry_id in ids}
    return {entry_id: result.value if result.state == "value" else None for entry_id, result in results.items()}


def get_range_of(files: dict[str, bytes]) -> Any:
    """Return what our reader asks for bytes of files that lie in memory."""

    def get_range(name: str, start: int, length: int) -> bytes | None:
        return files[name][start : start + length] if name in files else None

    return get_range


def _key(entry_id: int) -> bytes:
    return entry_id.to_bytes(8, "big")


def _store(sharding: Sharding) -> Any:
    metadata = {
        "@type": SHARDED,
        "hash": sharding.hash,
        "preshift_bits": sharding.preshift_bits,
        "minishard_bits": sharding.minishard_bits,
        "shard_bits": sharding.shard_bits,
        "minishard_index_encoding": sharding.minishard_index_encoding,
        "data_encoding": sharding.data_encoding,
    }
    return ts.KvStore.open({"driver": "neuroglancer_uint64_sharded", "base": "memory://", "metadata": metadata}).result()
