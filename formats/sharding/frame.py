"""What stands around the data in a shard file: the shard index before it, the minishard indices behind it (sharded.md)."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from formats.gzip import compress
from formats.info import Sharding
from formats.sharding.ids import places

INDEX_ENTRY_BYTES = 16
"""A minishard's entry in the shard index: begin and end of its index, relative to the shard index's end."""


@dataclass(frozen=True)
class ShardFrame:
    """A shard file without its data: the file is head, the data of the entries in this order, tail, and nothing else.

    head: the shard index. order: int64 [n], positions in the ids that the frame was made for. tail: the minishard indices.
    What lies before an entry, where the frame was made for that, is written right before it.
    """

    head: bytes
    order: NDArray[np.int64]
    tail: bytes


def shard_frame(
    ids: NDArray[np.uint64], sizes: NDArray[np.int64], sharding: Sharding, before: NDArray[np.int64] | None = None
) -> ShardFrame:
    """Return the frame of the one shard that holds these entries, the same for the same entries in any order.

    ids: uint64 [n]. sizes: int64 [n], the bytes of each entry as stored, after data_encoding. before: int64 [n], bytes that lie
    right before each entry and that no index tells of, as a mesh has its fragments before its manifest (meshes.md);
    none by default. Each minishard's entries lie one behind the other by ascending id. Raises ValueError for an id that is there
    twice, ids of several shards, negative sizes.
    """
    gaps = np.zeros_like(sizes) if before is None else before
    shards, minishards = places(ids, sharding)
    _check(ids, sizes, gaps, shards)
    order = np.lexsort((ids, minishards))
    ids, sizes, gaps, minishards = ids[order], sizes[order], gaps[order], minishards[order]
    ends = np.cumsum(gaps + sizes, dtype=np.int64)
    index = np.zeros((1 << sharding.minishard_bits, 2), "<u8")
    tail, position = [], int(ends[-1]) if len(ends) else 0
    for part in _runs(minishards):
        begins = ends[part] - sizes[part]
        encoded = _minishard_index(ids[part], begins, sizes[part], sharding)
        index[minishards[part.start]] = position, position + len(encoded)
        tail.append(encoded)
        position += len(encoded)
    return ShardFrame(index.tobytes(), order, b"".join(tail))


def _check(ids: NDArray[np.uint64], sizes: NDArray[np.int64], gaps: NDArray[np.int64], shards: NDArray[np.uint64]) -> None:
    for lengths in sizes, gaps:
        if len(ids) != len(lengths):
            raise ValueError(f"{len(ids)} ids and {len(lengths)} sizes, expected as many")
        if len(lengths) and lengths.min() < 0:
            raise ValueError(f"a size of {lengths.min()} bytes, expected 0 or more")
    several = shards[shards != shards[:1]]
    if several.size:
        raise ValueError(f"ids of shard {shards[0]:x} and of shard {several[0]:x}, expected those of one shard")
    found, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise ValueError(f"id {found[counts > 1][0]} is there {counts[counts > 1][0]} times, expected once")


def _runs(minishards: NDArray[np.uint64]) -> list[slice]:
    """Return where each run of one number lies in sorted numbers."""
    bounds = [0, *(np.flatnonzero(np.diff(minishards)) + 1).tolist(), len(minishards)]
    return [slice(a, b) for a, b in pairwise(bounds) if a < b]


def _minishard_index(ids: NDArray[np.uint64], begins: NDArray[np.int64], sizes: NDArray[np.int64], sharding: Sharding) -> bytes:
    """Return one minishard index: each id as its distance from the one before, and begins relative to the end before."""
    rows = np.zeros((3, len(ids)), "<u8")
    rows[0] = np.diff(ids, prepend=np.uint64(0))
    rows[1] = begins
    rows[1, 1:] -= (begins + sizes)[:-1].astype("<u8")
    rows[2] = sizes
    data = rows.tobytes()
    return compress(data) if sharding.minishard_index_encoding == "gzip" else data
