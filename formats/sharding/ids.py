"""Which shard and minishard an id lies in, and a shard's name (sharded.md, "sharding specification")."""

import numpy as np
from numpy.typing import NDArray

from formats.info import Sharding

_Words = NDArray[np.uint32]

_ID_BITS = 64
_KEY_BYTES = np.uint32(8)

_C1, _C2, _C3 = np.uint32(0x239B961B), np.uint32(0xAB0E9789), np.uint32(0x38B34AE5)
_MIX1, _MIX2 = np.uint32(0x85EBCA6B), np.uint32(0xC2B2AE35)


def murmurhash3_x86_128_low(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the low 8 bytes of MurmurHash3_x86_128, seed 0, of each value's 8 little-endian bytes.

    values: uint64 [n]. The hash of fewer than 16 bytes is its tail alone, and of an 8-byte key the third and fourth of the four
    words begin alike and stay alike.
    """
    words = [(values >> np.uint64(shift)).astype(np.uint32) for shift in (0, 32)]
    h1 = (_rotated(words[0] * _C1, 15) * _C2) ^ _KEY_BYTES
    h2 = (_rotated(words[1] * _C2, 16) * _C3) ^ _KEY_BYTES
    h3 = np.full_like(h1, _KEY_BYTES)
    h1, h2, h3 = (_mixed(word) for word in _added(h1, h2, h3))
    h1, h2, _ = _added(h1, h2, h3)
    return h1.astype(np.uint64) | (h2.astype(np.uint64) << np.uint64(32))


def places(ids: NDArray[np.uint64], sharding: Sharding) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return the shard and the minishard number of each id, uint64 [n]."""
    hashed = _shifted(ids, sharding.preshift_bits)
    if sharding.hash == "murmurhash3_x86_128":
        hashed = murmurhash3_x86_128_low(hashed)
    shards = _shifted(hashed, sharding.minishard_bits) & _mask(sharding.shard_bits)
    return shards, hashed & _mask(sharding.minishard_bits)


def shard_name(shard: int, sharding: Sharding) -> str:
    """Return the file name of a shard, `2a.shard`: base 16 in lower case, as wide as the largest one's."""
    width = -(-sharding.shard_bits // 4)
    return f"{shard:0{max(1, width)}x}.shard"


def _rotated(words: _Words, bits: int) -> _Words:
    return (words << np.uint32(bits)) | (words >> np.uint32(32 - bits))


def _added(h1: _Words, h2: _Words, h3: _Words) -> tuple[_Words, _Words, _Words]:
    """Return the words after the hash has added each to the first and the first to each; the fourth is like the third."""
    h1 = h1 + h2 + h3 + h3
    return h1, h2 + h1, h3 + h1


def _mixed(words: _Words) -> _Words:
    words = (words ^ (words >> np.uint32(16))) * _MIX1
    words = (words ^ (words >> np.uint32(13))) * _MIX2
    return words ^ (words >> np.uint32(16))


def _shifted(ids: NDArray[np.uint64], bits: int) -> NDArray[np.uint64]:
    # A shift by the whole width is undefined in C, and the format allows it.
    return ids >> np.uint64(bits) if bits < _ID_BITS else np.zeros_like(ids)


def _mask(bits: int) -> np.uint64:
    return np.uint64((1 << bits) - 1)
