"""Which sharding suits a scale or a set of ids, and which chunks lie in a shard.

Within the viewer's means: it reads a shard's index entry, a minishard index, then the data, and looks through a minishard
index from its begin for every id: shard indices of at most 8 KiB, minishard indices of hundreds to a few thousand ids.
"""

import math

from formats.grid import Box, Triple, morton_bits, morton_cell, morton_cuboid
from formats.info import Sharding

_CHUNK_BITS = 9
"""8 x 8 x 8 chunks a shard: 512 x 512 x 512 voxels of chunks of 64 x 64 x 64."""
_CHUNKS_A_FILE = 256
"""Chunks that a shard holds on average, at least, where a grid's extents leave many shards half empty."""
_MOST_FILES = 10_000
"""Shards in a scale's folder."""

_MINISHARD_CHUNK_BITS = 10, 12
"""Chunks in a minishard: 1024 while the shard index stays small, else up to 4096."""
_MINISHARD_IDS = 1000
_MINISHARD_BITS = 9
"""512 minishards make a shard index of 8 KiB."""
_MOST_CHUNK_BITS = _MINISHARD_CHUNK_BITS[1] + _MINISHARD_BITS
"""2 million chunks a shard; beyond 20 thousand million chunks there are more files instead."""


def volume_sharding(grid_shape: Triple, *, gzipped: bool) -> Sharding:
    """Return how the chunks of a scale go into shards that are cuboids of chunks (hash identity).

    grid_shape: chunks along x, y, z. gzipped: whether gzip makes the chunks smaller. Raises ValueError for a grid that needs
    more than 64 bits.
    """
    total = morton_bits(grid_shape)
    most_files = min(_MOST_FILES, max(1, math.prod(grid_shape) // _CHUNKS_A_FILE))
    inside = min(total, _CHUNK_BITS)
    while _files(grid_shape, inside) > most_files and inside < _MOST_CHUNK_BITS:
        inside += 1
    least, most = _MINISHARD_CHUNK_BITS
    preshift = min(inside, max(least, min(most, inside - _MINISHARD_BITS)))
    return Sharding(
        preshift_bits=preshift,
        minishard_bits=inside - preshift,
        shard_bits=total - inside,
        minishard_index_encoding="gzip",
        data_encoding="gzip" if gzipped else "raw",
    )


def hashed_sharding(count: int, *, gzipped: bool) -> Sharding:
    """Return how the data of ids that may be any numbers (meshes, skeletons, annotations) go into shards.

    count: how many ids there are. gzipped: whether gzip makes their data smaller.
    """
    bits = (-(-max(1, count) // _MINISHARD_IDS) - 1).bit_length()
    minishard_bits = min(bits, _MINISHARD_BITS)
    return Sharding(
        preshift_bits=0,
        minishard_bits=minishard_bits,
        shard_bits=bits - minishard_bits,
        hash="murmurhash3_x86_128",
        minishard_index_encoding="gzip",
        data_encoding="gzip" if gzipped else "raw",
    )


def shard_shape(sharding: Sharding, grid_shape: Triple) -> Triple:
    """Return how many chunks along x, y, z a shard of a scale spans, each a power of two; the grid may cut them.

    Raises ValueError unless each shard is one cuboid: hash identity, and as many bits as the grid's chunk ids have.
    """
    inside = sharding.preshift_bits + sharding.minishard_bits
    if sharding.hash != "identity" or inside + sharding.shard_bits < morton_bits(grid_shape):
        raise ValueError(f"the shards of {sharding} are no cuboids in a grid of {grid_shape} chunks")
    return morton_cuboid(inside, grid_shape)


def shard_cells(shard: int, sharding: Sharding, grid_shape: Triple) -> Box:
    """Return the grid positions of the chunks in a shard, cut at the end of the grid; its voxels, here chunks, are 0 for none.

    grid_shape: chunks along x, y, z. Raises ValueError unless each shard is one cuboid, and for a shard that there is not.
    """
    shape = shard_shape(sharding, grid_shape)
    if not 0 <= shard < 1 << sharding.shard_bits:
        raise ValueError(f"shard {shard:x} is not there: there are {1 << sharding.shard_bits}")
    first = shard << sharding.preshift_bits + sharding.minishard_bits
    if first >> morton_bits(grid_shape):
        return Box((0, 0, 0), (0, 0, 0))
    whole = Box((0, 0, 0), shape).shifted(morton_cell(first, grid_shape))
    return whole.intersection(Box((0, 0, 0), grid_shape))


def _files(grid_shape: Triple, inside: int) -> int:
    """Return how many shards hold chunks when the lowest bits of the code lie inside a shard."""
    extents = morton_cuboid(inside, grid_shape)
    return math.prod(-(-n // extent) for n, extent in zip(grid_shape, extents, strict=True))
